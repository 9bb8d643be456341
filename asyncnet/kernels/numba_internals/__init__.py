"""What is taken from inside numba and llvmlite: names without a promise, all in this folder (tests/kernels/test_numba_internals.py says which changed).

Beside numba.types and numba.extending, the interface for those who generate code:

    name                    of                            in this folder                             for
    ir                      llvmlite                      arrays atomics attributes blocks calls sums  the instructions themselves
    cgutils                 numba.core                    attributes blocks sums                     loops, and structs, in generated code
    make_array              numba.np.arrayobj             arrays attributes blocks sums              where an array's elements lie
    populate_array          numba.np.arrayobj             arrays                                     an array over memory that is there: slices count references
    AttributeTemplate       numba.core.typing.templates   attributes                                 the type of `v.weight` follows from its name
    CompileResultCacheImpl  numba.core.caching            caches                                     machine code as bytes, and back
    FunctionCache           numba.core.caching            caches                                     what a dispatcher asks before it compiles
    IndexDataCacheFile      numba.core.caching            caches                                     files that are written whole or not at all
    NullCache               numba.core.caching            caches                                     what FunctionCache is, where there is no place for files
    _CacheLocator           numba.core.caching            caches                                     a folder that is given, where numba's own ask numba.config

Of objects that numba hands out: a dispatcher's `_cache`, `overloads`, `targetctx` and `compile`; of what it compiled `signature`, `library` with its
`get_pointer_to_function`, and `fndesc.llvm_func_name`; a target's `call_conv`, and `codegen`, whose `magic_tuple` is a part of a cache's key.
"""
