"""`v.weight`, `c.decay` and `c.rule.learn` in compiled code: types whose attributes are read where they are named (cut.py says from where).

`v` and `c` are three addresses. A field becomes an array, a setting a number, only where a kernel names it. Settings never change while compiled code
runs; the compiler is told so. A part is nothing but a type.
"""

from collections.abc import Callable, Mapping
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, lower_getattr_generic, models, register_model
from numba.np.arrayobj import make_array

from asyncnet.kernels.numba_internals.arrays import array_value

ARRAYS = ("state", "config", "scratch")


class Fields(types.Type):
    """The type of a family's `v`: of each field its shape, the place of its start in config, and in which of the arrays it lies (layout.py).

    A shape is of places in config or plain numbers ("1").
    """

    def __init__(self, family: str, fields: Mapping[str, tuple[tuple[int | str, ...], int, int]]) -> None:
        self.fields = fields
        super().__init__(f"v of {family}")


class Part(types.Type):
    """The type of a part of `c`; `kernel` finds its kernels by name."""

    def __init__(self, family: str, name: str, kernel: Callable[[str], Any]) -> None:
        self.kernel = kernel
        super().__init__(f"{name} of {family}")


class Settings(types.Type):
    """The type of a family's `c`: place in config of each setting, and whether it is a whole number; and the parts."""

    def __init__(self, family: str, settings: Mapping[str, tuple[int, bool]], parts: Mapping[str, Part]) -> None:
        self.settings, self.parts = settings, parts
        super().__init__(f"c of {family}")


register_model(Part)(models.OpaqueModel)


@register_model(Fields)
@register_model(Settings)
class _Addresses(models.StructModel):
    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, [(name, types.CPointer(types.float64)) for name in ARRAYS])


@infer_getattr
class _FieldTypes(AttributeTemplate):
    key = Fields

    def generic_resolve(self, kind: Fields, name: str) -> types.Type | None:
        return types.Array(types.float64, len(kind.fields[name][0]), "C") if name in kind.fields else None


@infer_getattr
class _SettingTypes(AttributeTemplate):
    key = Settings

    def generic_resolve(self, kind: Settings, name: str) -> types.Type | None:
        if name in kind.parts:
            return kind.parts[name]
        return (types.int64 if kind.settings[name][1] else types.float64) if name in kind.settings else None


@infer_getattr
class _KernelTypes(AttributeTemplate):
    key = Part

    def generic_resolve(self, kind: Part, name: str) -> types.Type | None:
        found = kind.kernel(name)
        return None if found is None else types.Dispatcher(found)


def _number(builder: ir.IRBuilder, config: ir.Value, place: int) -> ir.Value:
    read = builder.load(builder.gep(config, [ir.Constant(ir.IntType(64), place)]))
    read.set_metadata("invariant.load", builder.module.add_metadata([]))
    return read


def _whole(builder: ir.IRBuilder, config: ir.Value, place: int) -> ir.Value:
    return builder.fptosi(_number(builder, config, place), ir.IntType(64))


@lower_getattr_generic(Part)
def _kernel(context: Any, builder: ir.IRBuilder, kind: Part, value: ir.Value, name: str) -> ir.Value:
    return context.get_dummy_value()


@lower_getattr_generic(Settings)
def _setting(context: Any, builder: ir.IRBuilder, kind: Settings, value: ir.Value, name: str) -> ir.Value:
    if name in kind.parts:
        return context.get_dummy_value()
    config = cgutils.create_struct_proxy(kind)(context, builder, value=value).config
    place, whole = kind.settings[name]
    return (_whole if whole else _number)(builder, config, place)


@lower_getattr_generic(Fields)
def _field(context: Any, builder: ir.IRBuilder, kind: Fields, value: ir.Value, name: str) -> ir.Value:
    node = cgutils.create_struct_proxy(kind)(context, builder, value=value)
    shape, start, lies = kind.fields[name]
    sizes = [context.get_constant(types.intp, int(d)) if isinstance(d, str) else _whole(builder, node.config, d) for d in shape]
    data = builder.gep(getattr(node, ARRAYS[lies]), [_whole(builder, node.config, start)])
    return array_value(context, builder, types.Array(types.float64, len(shape), "C"), data, sizes)


def cut(v: Fields, c: Settings) -> Any:
    """What makes the two of them from (state, config, scratch)."""

    def cut(typingctx, state, config, scratch):
        signature = types.Tuple((v, c))(state, config, scratch)

        def generate(context, builder, signature, args):
            made = []
            for kind in (v, c):
                node = cgutils.create_struct_proxy(kind)(context, builder)
                for name, kind_of_array, array in zip(ARRAYS, (state, config, scratch), args, strict=True):
                    setattr(node, name, make_array(kind_of_array)(context, builder, array).data)
                made.append(node._getvalue())
            return context.make_tuple(builder, signature.return_type, made)

        return signature, generate

    return cut
