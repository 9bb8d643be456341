"""A run looked into while it goes on: what a callback is given, and probes, which are callbacks that write numbers down.

A run that nobody looks into never comes here. Looking changes no bit of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from asyncnet.scenario.mistakes import ScenarioError, near
from asyncnet.scenario.schema import Scenario
from asyncnet.team.draw import plan

if TYPE_CHECKING:
    from asyncnet.loop.loop import Loop

NORM = "_norm"
NAMES = {"activity": "y"}  # what people say for a field


class Live:
    """A running team between two events. Arrays are read-only views of what the nodes hold now: copy what is to be kept."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._nodes = {node.name: node for node in loop.nodes.values()}

    @property
    def decisions(self) -> int:
        """How many were taken so far."""
        return self._loop.score.decisions

    @property
    def episodes(self) -> int:
        """How many have ended."""
        return self._loop.score.episodes

    @property
    def returns(self) -> list[float]:
        """Every episode's return so far."""
        return list(self._loop.score.returns)

    @property
    def row(self) -> dict[str, Any]:
        """Progress so far, as in metrics.jsonl."""
        return self._loop.score.row(self._loop.now)

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes."""
        return list(self._nodes)

    def weights(self, node: str) -> dict[str, np.ndarray]:
        """What a node has learned: "weight" (inputs, units), "bias" (units,), ...; raises KeyError for a node that is none."""
        return {name: self.array(node, name) for name in self._nodes[node].learned()}

    def activity(self, node: str) -> np.ndarray:
        """The values that a node holds (streams, units); raises KeyError for a node that is none."""
        return self.array(node, "activity")

    def array(self, node: str, field: str) -> np.ndarray:
        """A field of a node's state; raises KeyError for a node, or a field, that is none."""
        found = self._nodes[node]
        name = NAMES.get(field, field)
        if name not in found.places:
            raise KeyError(field)
        array = getattr(found.view, name).view()
        array.flags.writeable = False
        return array

    def stop(self, why: str = "interrupted") -> None:
        """End the run before its next event; it is as one that was interrupted, unless another reason is given."""
        self._loop.stop(why)


class Watch(NamedTuple):
    """A callback, and how often it is called: every so many decisions, or episodes where the run's length is given in these."""

    every: int
    call: Callable[[Live], None]


def watch_of(every: int, calls: Iterable[Callable[[Live], None]]) -> Watch | None:
    """One callback for several; None for none. Raises ScenarioError for a number below 1."""
    several = list(calls)
    if every < 1:
        raise ScenarioError("every", "", f"at least 1, got {every}")

    def call(live: Live) -> None:
        for each in several:
            each(live)

    return Watch(every, call) if several else None


class Probes:
    """Numbers of a running team, written down: "NODE.FIELD" the mean of an array, "NODE.FIELD_norm" its Euclidean norm."""

    def __init__(self, scenario: Scenario, names: Iterable[str]) -> None:
        """Raises ScenarioError for a node or a field that is none, with the near miss."""
        self.names = list(dict.fromkeys(names))
        self.rows: list[dict[str, float]] = []
        self._places = [self._place(scenario, name) for name in self.names]

    def _place(self, scenario: Scenario, name: str) -> tuple[str, str, bool]:
        from asyncnet.team.build import build

        team = plan(scenario)
        nodes = {node.name: node for node in team.nodes}
        node, _, field = name.rpartition(".")
        if node not in nodes:
            raise ScenarioError(f"--probe {name}", "", f"no node {node or name!r}; {near(node or name, nodes)}")
        known: Mapping[str, Any] = build(scenario, team, nodes[node]).places
        norm = field.endswith(NORM) and NAMES.get(field, field) not in known
        plain = field.removesuffix(NORM) if norm else field
        if NAMES.get(plain, plain) not in known:
            raise ScenarioError(f"--probe {name}", "", f"{node} has no field {plain}; {near(plain, [*NAMES, *known])}")
        return node, plain, norm

    def __call__(self, live: Live) -> None:
        """Take a row."""
        row: dict[str, float] = {"decisions": live.decisions, "episodes": live.episodes}
        for name, (node, field, norm) in zip(self.names, self._places, strict=True):
            array = live.array(node, field)
            row[name] = float(np.sqrt(np.square(array).sum()) if norm else array.mean())
        self.rows.append(row)
