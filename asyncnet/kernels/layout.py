"""Where a node keeps its numbers: named arrays cut from flat float64 arrays, most of them from one, its state.

A node type declares fields, `("weight", "I O")`, and settings, `("decay", float)`. The letters are dimensions; a machine may have others of its own:

    B streams          I inputs             O units (columns)      N values emitted
    K archived samples C credits in wait    S sources              D credit senders
    J partial sums of credit per unit                M partial sums of feedback per input  Z streams with a trace (B or 0)
    P, A, L            parameters, activations and layers of a network inside one node
    R weights learned at a time
    E nodes above whose feedback drives this one, Q their partial sums per unit
    F inputs that listen to feedback
    G answers graded at once         W decisions logged before Python takes them      X numbers in an action
    Y slots of the optimiser, V squared eligibilities that it asks for at a time (0: none)

Snapshot, digest and shipping a node are then one copy of one array; a whole number is exact in float64 up to 2^53.
"""

import functools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from asyncnet.scenario.mistakes import ScenarioError

DIMENSIONS = ("B", "I", "O", "N", "K", "C", "S", "D", "J", "M", "Z", "P", "A", "L", "R", "G", "W", "E", "Q", "X", "Y", "F", "V")


STAMP = "-1..decision"  # what a field that names a decision holds
STATE, GIVEN, SCRATCH = range(3)  # where a field lies


class Field(NamedTuple):
    """One named array of a node's state; `shape` is a string of dimension letters and numbers, such as "K B I".

    `holds` says what a state from outside may have there (sound.py), for whatever a kernel uses as an index, a count or a time: "fixed", nothing but what a
    node just built has; "0..C", whole numbers between bounds that are sums of numbers, dimension letters, names of settings, `now` and `decision` (no upper
    one: whatever is exact); "any", which is also what a field holds that says nothing. Several words are for the columns, the last one for all that follow.
    One that is not `digested` only waits for Python to take it, and is no part of what two runs are compared by.

    It `lies` in the node's state; or, GIVEN by the plan and never changed, beside its settings, once for all nodes that have the same; or as SCRATCH beside the
    outbox, where any node leaves what it likes: worth nothing when a call begins.
    """

    name: str
    shape: str
    holds: str = "any"
    digested: bool = True
    lies: int = STATE

    def sizes(self, dims: Mapping[str, int]) -> tuple[int, ...]:
        for d in self.shape.split():
            if not d.isdigit() and d not in dims:
                raise ScenarioError(f"field {self.name}", "", f"has the shape {self.shape!r}, and a node of this kind has no {d}; it has {', '.join(dims)}")
        return tuple(int(d) if d.isdigit() else dims[d] for d in self.shape.split())


@functools.cache
def places(fields: tuple[Field, ...], dims: tuple[tuple[str, int], ...], at: int = 0) -> dict[str, tuple[int, int, tuple[int, ...]]]:
    """Where each field lies, the first of them `at`: (first, last, shape); nodes of one shape share it."""
    out = {}
    for field in fields:
        shape = field.sizes(dict(dims))
        out[field.name] = (at, at + math.prod(shape), shape)
        at = out[field.name][1]
    return out


def end(where: Mapping[str, tuple[int, int, tuple[int, ...]]], at: int = 0) -> int:
    """Where fields at these places end, the first of which lies `at`."""
    return max((last for _, last, _ in where.values()), default=at)


class Views:
    """The fields in a state and the given ones in a config as named arrays, for callers in Python; each is made when it is asked for."""

    __slots__ = ("_config", "_given", "_state", "_where")

    def __init__(
        self,
        state: np.ndarray,
        where: Mapping[str, tuple[int, int, tuple[int, ...]]],
        config: np.ndarray,
        given: Mapping[str, tuple[int, int, tuple[int, ...]]],
    ) -> None:
        self._state, self._where, self._config, self._given = state, where, config, given

    def place(self, name: str) -> int:
        """Where in the state a field begins."""
        return self._where[name][0]

    def part(self, name: str) -> np.ndarray:
        """A field as a flat slice of the state."""
        first, last, _ = self._where[name]
        return self._state[first:last]

    def __getattr__(self, name: str) -> np.ndarray:
        array, where = (self._config, self._given) if name in self._given else (self._state, self._where)
        try:
            first, last, shape = where[name]
        except KeyError:
            raise AttributeError(name) from None
        return array[first:last].reshape(shape)
