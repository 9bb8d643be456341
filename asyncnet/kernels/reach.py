"""What compiled code is made of: the text of every module from which the kernels of a module take something, and those from which these do.

numba compares the file of an entry alone, but a kernel is compiled together with the kernels and constants that it names in other modules, and so on. What only
a module's ordinary functions and classes use does not count: nobody compiles it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

OTHERS = sys.stdlib_module_names | {"numpy", "numba", "llvmlite"}  # known by their versions


GIVEN = "given_"  # begins the package of a module that was made from a text: given_0a1b2c3d.my_rule

_remembered: dict[str, bytes] = {}


def give(module: str, text: bytes) -> None:
    """The text of a module that is about to be made from it, and not imported from a file."""
    _remembered[module] = text


def called(module: str) -> str:
    """A module's name as whoever wrote it knows it."""
    return module.rpartition(".")[2] if module.startswith(GIVEN) else module


def remember(module: str) -> None:
    """Note a module's text while it is being imported: its kernels may be compiled much later, when somebody may have edited the file."""
    if module not in _remembered and (path := _file(module)) is not None:
        _remembered[module] = path.read_bytes()


def text_of(module: str) -> bytes:
    """A module's text, as it was when it was imported if that is remembered."""
    return _remembered.get(module) or Path(sys.modules[module].__file__).read_bytes()


def seal(module: str, about: str = "") -> str:
    """A hash of `about` and all text that the kernels of a module can reach; the module is being imported, and what it imports has been."""
    whole = hashlib.sha256(about.encode())
    for name, text in sorted(reached(module).items()):
        whole.update(f"\n{name} {len(text)}\n".encode() + text)
    return whole.hexdigest()


def reached(module: str, *functions: str) -> dict[str, bytes]:
    """The text of a module, and of all from which its kernels, and these functions of it, take something, by name."""
    texts: dict[str, bytes] = {}
    todo, seen = [(module, name) for name in (None, "", *functions)], set()
    while todo:
        step = todo.pop()
        if step in seen or (step[0] not in _remembered and _file(step[0]) is None):
            continue
        seen.add(step)
        name, wanted = step
        source = _source(text_of(name))
        texts[name] = source.text
        todo += [(name, None), *source.taken(wanted, name)]
    return texts


def _file(module: str) -> Path | None:
    """Where a module's text is, if it is of those that count."""
    path = Path(getattr(sys.modules.get(module), "__file__", None) or "")
    return path if path.suffix == ".py" and path.is_file() and module.partition(".")[0] not in OTHERS else None


class _Source:
    """A module's text, taken apart: what its statements name, those apart that define something which nobody compiles, and what it imports."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.always: set[tuple[str, str]] = set()  # (name, attribute of it, or "") in what is carried out at its import, or compiled
        self.defined: dict[str, set[tuple[str, str]]] = {}  # the same in each ordinary function and class
        self.imported: dict[str, set[tuple[int, str, str]]] = {}  # name here -> (level, module, name there, or "" for the module itself)
        for statement in ast.parse(text).body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not statement.decorator_list:
                self.defined[statement.name] = self._named(statement)
            else:
                self.always |= self._named(statement)

    def _named(self, statement: ast.stmt) -> set[tuple[str, str]]:
        found = set()
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                found.add((node.id, ""))
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                found.add((node.value.id, node.attr))
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self.imported.setdefault(alias.asname or alias.name, set()).add((node.level, node.module or "", alias.name))
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    self.imported.setdefault(alias.asname or alias.name.partition(".")[0], set()).add((0, alias.name, ""))
        return found

    def taken(self, wanted: str | None, here: str) -> Iterator[tuple[str, str]]:
        """(module, name there) of what the module takes from others: in what always counts (None), or in what somebody else takes from it by name."""
        todo, seen = [(wanted, "")] if wanted else [*self.always], set()
        while todo:
            name, attribute = step = todo.pop()
            if step in seen:
                continue
            seen.add(step)
            todo += self.defined.get(name, ())
            for level, module, there in self.imported.get(name, ()):
                origin = importlib.util.resolve_name("." * level + module, sys.modules[here].__package__) if level else module
                inner = f"{origin}.{there}" in sys.modules  # a module taken from its package
                yield (f"{origin}.{there}", attribute) if inner else (origin, there or attribute)


@functools.cache
def _source(text: bytes) -> _Source:
    return _Source(text)
