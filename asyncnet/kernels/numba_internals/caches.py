"""Machine code on disk: numba's own cache of a function, in the folder that it is given, with files named by what they hold."""

import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, NullCache, _CacheLocator


class _Here(_CacheLocator):
    """Where the code of a function is kept: numba's locators ask numba.config, or look beside the source."""

    def __init__(self, function: Callable, folder: Path) -> None:
        self._folder, self._py_file, self._lineno = folder, function.__code__.co_filename, function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> None:
        """The folder's name says it."""

    def get_disambiguator(self) -> str:
        return str(self._lineno)


class _InFolder(CompileResultCacheImpl):
    def __init__(self, function: Callable, folder: Path) -> None:
        self._lineno, self._locator = function.__code__.co_firstlineno, _Here(function, folder)
        self._filename_base = self.get_filename_base(f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}", getattr(sys, "abiflags", ""))


class _ByWhatItHolds(IndexDataCacheFile):
    """A file for the code of each signature, named by all that tells it from others.

    numba numbers them and keeps an index: two processes that compile at once may both give out a number, and one then loads code for other arguments.
    """

    def holds(self, key: Any) -> bool:
        return os.path.exists(self._data_path(self._name(key)))

    def save(self, key: Any, data: Any) -> None:
        self._save_data(self._name(key), data)

    def load(self, key: Any) -> Any:
        with suppress(FileNotFoundError):
            return self._load_data(self._name(key))

    def _name(self, key: Any) -> str:
        return f"{self._index_name.removesuffix('.nbi')}.{hashlib.sha256(repr(key).encode()).hexdigest()[:20]}.nbc"


class _Told:
    """A cache for which a file that cannot be read or written is one that is not there; it tells what it does not hold, and what cannot be kept."""

    missing: Callable[[], None]
    trouble: Callable[[OSError], None]

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # whatever unpickling a damaged file raises
            found = None
        if found is None:
            self.missing()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            self.trouble(error)


class _Kept(_Told, FunctionCache):
    def __init__(self, function: Callable, folder: Path) -> None:
        # All that FunctionCache's own __init__ does, which would ask numba.config for the folder.
        self._py_func, self._name = function, repr(function)
        self._impl = _InFolder(function, folder)
        self._cache_path = self._impl.locator.get_cache_path()
        self._cache_file = _ByWhatItHolds(self._cache_path, self._impl.filename_base, None)
        self.enable()

    def holds(self, signature: tuple[Any, ...], context: Any) -> bool:
        return self._cache_file.holds(self._index_key(signature, context.codegen()))


class _InMemory(_Told, NullCache):
    def holds(self, signature: tuple[Any, ...], context: Any) -> bool:
        return False


def keep(made: Any, folder: Path | None, missing: Callable[[], None], trouble: Callable[[OSError], None]) -> None:
    """Keep what is compiled of a jitted function in a folder (None: nowhere): `missing` is called when code is not there, `trouble` when it cannot be kept."""
    made._cache = _InMemory() if folder is None else _Kept(made.py_func, folder)
    made._cache.missing, made._cache.trouble = missing, trouble


def kept(made: Any, signature: tuple[Any, ...]) -> bool:
    """Whether the machine code of such a function for these types of arguments is in its folder, or compiled in this process."""
    return signature in made.overloads or made._cache.holds(signature, made.targetctx)
