"""Compiled functions called by their address, in numba's own calling convention."""

from typing import Any

from llvmlite import ir
from numba import types


def address(made: Any, signature: tuple[types.Type, ...], returns: types.Type) -> int:
    """Where the machine code of an entry for these types of arguments begins; compiles it, or finds it compiled. TypeError if it returns another type."""
    made.compile(signature)
    found = made.overloads[signature]
    if found.signature.return_type != returns:
        raise TypeError(f"{made.__name__} returns {found.signature.return_type}, not {returns}")
    return found.library.get_pointer_to_function(found.fndesc.llvm_func_name)


def by_address(arguments: tuple[types.Type, ...], returns: types.Type) -> Any:
    """A call of the function with that signature at an address: call(address, *arguments)."""

    def call(typingctx, at, *others):
        signature = returns(types.int64, *arguments)

        def generate(context, builder, signature, args):
            convention = context.call_conv
            pointer = builder.inttoptr(args[0], ir.PointerType(convention.get_function_type(returns, arguments)))
            status, value = convention.call_function(builder, pointer, returns, arguments, args[1:])
            with builder.if_then(status.is_error, likely=False):
                convention.return_status_propagate(builder, status)
            return value

        return signature, generate

    return call


def c_function(count: int) -> Any:
    """A call of the C function of whole numbers (and any more of them) at an address: call(address, *arguments); what it returns is cut to 64 bits."""
    whole = ir.IntType(64)

    def call(typingctx, at, *others):
        signature = types.int64(types.int64, *[types.int64] * count)

        def generate(context, builder, signature, args):
            kind = ir.FunctionType(whole, [whole] * count, var_arg=True)
            return builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])

        return signature, generate

    return call
