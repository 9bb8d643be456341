"""Where a node keeps its state: named arrays cut from one flat float64 array.

A node type declares fields, `("weight", "I O")`, and settings, `("decay", float)`. The letters are dimensions:

    B streams          I inputs             O units (columns)      N values emitted
    K archived samples C credits in wait    S sources              D credit senders
    J credit pieces per unit                M pieces told per input  Z streams with a trace (B or 0)
    P, A, L            parameters, activations and layers of a network inside one node
    R weights learned at a time
    E nodes above whose feedback drives this one, Q its pieces per unit, T 1 if it settles, else 0
    G answers graded at once         W decisions logged before Python takes them      X numbers in an action

Snapshot, digest and shipping a node are then one copy of one array; a whole number is exact in float64 up to 2^53.
"""

import ast
import functools
import math
from collections.abc import Mapping
from types import ModuleType
from typing import NamedTuple

import numpy as np

from asyncnet.kernel import written
from asyncnet.mistakes import near
from asyncnet.reach import text_of

LAYOUT_MARK, RULE_MARK = "# bound: layout", "# bound: rule"
DIMENSIONS = ("B", "I", "O", "N", "K", "C", "S", "D", "J", "M", "Z", "P", "A", "L", "R", "G", "W", "E", "Q", "T", "X")


STAMP = "-1..decision"  # what a field that names a decision holds


class Field(NamedTuple):
    """One named array of a node's state; `shape` is a string of dimension letters and numbers, such as "K B I".

    `holds` says what a state from outside may have there (sound.py), for whatever a kernel uses as an index, a count or a time: "fixed", nothing but what a
    node just built has; "0..C", whole numbers between bounds that are sums of numbers, dimension letters, names of settings, `now` and `decision` (no upper
    one: whatever is exact); "any", which is also what a field holds that says nothing. Several words are for the columns, the last one for all that follow.
    """

    name: str
    shape: str
    holds: str = "any"

    def sizes(self, dims: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(int(d) if d.isdigit() else dims[d] for d in self.shape.split())


@functools.cache
def places(fields: tuple[Field, ...], dims: tuple[tuple[str, int], ...]) -> dict[str, tuple[int, int, tuple[int, ...]]]:
    """Where each field lies: (first, last, shape); nodes of one shape share it."""
    out, at = {}, 0
    for field in fields:
        shape = field.sizes(dict(dims))
        out[field.name] = (at, at + math.prod(shape), shape)
        at = out[field.name][1]
    return out


class Views:
    """The fields as named arrays inside a state, for callers in Python; each is made when it is asked for."""

    __slots__ = ("_state", "_where")

    def __init__(self, state: np.ndarray, where: dict[str, tuple[int, int, tuple[int, ...]]]) -> None:
        self._state, self._where = state, where

    def place(self, name: str) -> int:
        """Where in the state a field begins."""
        return self._where[name][0]

    def part(self, name: str) -> np.ndarray:
        """A field as a flat slice of the state."""
        first, last, _ = self._where[name]
        return self._state[first:last]

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            first, last, shape = self._where[name]
        except KeyError:
            raise AttributeError(name) from None
        return self._state[first:last].reshape(shape)


def unbound(state: np.ndarray, config: np.ndarray) -> tuple:
    """Stands where `bind` writes the code that makes `v`, the fields, and `c`, the settings (cut.py)."""
    raise NotImplementedError("bind() this machine first")


def _cut_source(fields: list[Field], settings: list[tuple[str, type]]) -> str:
    numbers, arrays = [(name, kind is int) for name, kind in settings], [(field.name, field.shape) for field in fields]
    return f"from asyncnet.cut import cutter as _cutter\n\ncut = _cutter({DIMENSIONS}, {numbers}, {arrays})"


def _marked(text: str, mark: str) -> list[ast.stmt]:
    """The statements of a machine's text that end in a comment "# bound: ..."."""
    lines = text.splitlines()
    found = [statement for statement in ast.parse(text).body if any(mark in line for line in lines[statement.lineno - 1 : statement.end_lineno])]
    assert len(found) == text.count(mark), f"{mark} is to stand at a statement of its own"
    return found


def _bound_text(machine: ModuleType, rule: ModuleType | None, cut: str) -> str:
    """The text of a machine in which `cut` stands for its layout, and for its imports of kernels those of the rule, where the rule brings them."""
    text = text_of(machine.__name__).decode()
    instead = {statement.lineno: (statement.end_lineno, cut) for statement in _marked(text, LAYOUT_MARK)}
    asked = _marked(text, RULE_MARK) if rule else []
    if rule:
        _check_names(rule, machine, {alias.name for statement in asked for alias in statement.names})
    for statement in asked:
        lines = [f"from {rule.__name__ if hasattr(rule, alias.name) else statement.module} import {alias.name}" for alias in statement.names]
        instead[statement.lineno] = (statement.end_lineno, "\n".join(lines))
    lines = text.splitlines()
    for first, (last, put) in sorted(instead.items(), reverse=True):
        lines[first - 1 : last] = [put]
    return "\n".join(lines) + "\n"


def _check_names(rule: ModuleType, machine: ModuleType, asked: set[str]) -> None:
    """Refuse a rule's kernel that nobody would call: the machine asks for no such name, and the rule's own text does not use it. It is a misspelt one."""
    text = ast.parse(text_of(rule.__name__).decode())
    used = {node.id for node in ast.walk(text) if isinstance(node, ast.Name)}
    for statement in text.body:
        if isinstance(statement, ast.FunctionDef) and statement.decorator_list and statement.name not in asked | used and statement.name[0] != "_":
            hint = near(statement.name, sorted(asked), "it asks for")
            raise NameError(f"{rule.__name__}.{statement.name}: {machine.__name__} asks for no kernel of that name, and nothing there uses it; {hint}")


class Bound(NamedTuple):
    """A machine bound to a rule: its kernels and its layout."""

    module: ModuleType
    fields: tuple[Field, ...]
    settings: list[tuple[str, type]]

    def config(self, dims: Mapping[str, int], values: Mapping[str, float]) -> np.ndarray:
        """The array that the kernels read: dimensions, settings (every declared one must be given), where each field starts."""
        starts = (place[0] for place in places(self.fields, tuple(dims.items())).values())
        return np.array([*(dims.get(d, 0) for d in DIMENSIONS), *(values[name] for name, _ in self.settings), *starts], dtype=np.float64)


_bound: dict[tuple[str, str], Bound] = {}


def bind(machine: ModuleType, rule: ModuleType | None = None) -> Bound:
    """The text of `machine`, bound to `rule`: one text of the mathematics, compiled once for each rule.

    numba finds a kernel in its cache on disk only if it is a module-level function that names the kernels it calls. So the machine's text is
    written to the cache folder with some lines replaced: the one marked "# bound: layout" by the code that cuts this type's fields, those
    marked "# bound: rule" by imports of this rule's kernels; those that the rule does not bring are the ones named there.
    """
    key = (machine.__name__, rule.__name__ if rule else "")
    if key in _bound:
        return _bound[key]
    fields = [*machine.FIELDS, *(rule.FIELDS if rule else ())]
    settings = [*machine.SETTINGS, *(rule.SETTINGS if rule else ())]
    for names in ([field.name for field in fields], [name for name, _ in settings]):
        assert len(set(names)) == len(names), f"{key}: two fields or settings of one name among {sorted(names)}"
    text = _bound_text(machine, rule, _cut_source(fields, settings))
    _bound[key] = Bound(written("_".join(part.rpartition(".")[2] for part in key if part), text), tuple(fields), settings)
    return _bound[key]
