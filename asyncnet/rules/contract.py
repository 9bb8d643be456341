"""What every learning rule keeps to, tried on small teams: `asyncnet check-rule` and the tests of the shipped rules ask the same.

A claim is tried in each setting that the rule can run in: in lock-step, on clocks that tick together, on free clocks with delays and losses. What a rule is not
made for (synchronous phases have no free clocks) is refused by the scenario, and then left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asyncnet import api
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.loop import Loop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.nodes.node import Node
from asyncnet.rules import RULES
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.outside import raised_in
from asyncnet.scenario.reading import Layer
from asyncnet.scenario.schema import Scenario, laid
from asyncnet.team.build import build
from asyncnet.text import in_a_line

# A team of 8, 4 (or 8, or no) and one unit or two that answers the 2-bit multiplexer, or tracks a target.
BASE = {
    "name": "contract",
    "seed": 3,
    "tick": 1000,
    "task": {"name": "multiplexer", "k": 2, "streams": 2, "decisions": 60, "world": {"waits": True, "interval": 8.0}},
    "links": {"default": {"delay": 0.5}},
}
SETTINGS = {
    "lock-step": {},
    "ticking": {"clocks": {"default": {"kind": "periodic", "period": 1.0, "phase": 0.0}}},
    "free": {
        "clocks": {"default": {"kind": "periodic", "period": 1.0, "jitter": 0.3}},
        "task": {"world": {"waits": False, "interval": 9.0}},
        "links": {"activity": [{"delay": {"kind": "exponential", "mean": 0.5}}, {"loss": 0.1}]},
    },
}
CREDITS = {"stamped": {}, "stamped-lambda": {"rule": {"lambda": 0.8}}, "trace": {"rule": {"credit": "trace", "lambda": 0.8}}}


class Broken(AssertionError):
    """A claim that does not hold, and where."""


class Finding(NamedTuple):
    """A claim, whether it holds (None: not asked, for the rule is not made for it), in how many settings it was tried, and the first reason why not."""

    claim: str
    holds: bool | None
    tried: int
    why: str = ""


def teams(rule: str, settings: Iterable[Layer] = (), credits: Iterable[str] = CREDITS) -> dict[str, Scenario]:
    """The settings that a rule can run in, by name; raises ScenarioError, that of the last, if there are none."""
    layers, refusal = list(settings), None
    for hidden in ([8, 4], [8]) if RULES[rule].UNITS else ([],):  # some rules are for one hidden layer, or for none
        found = {}
        for name, changes in SETTINGS.items():
            for credit in credits:
                base = {**BASE, "task": _task(rule), "network": {"hidden": hidden, **_units(rule)}, "rule": {"name": rule, "learning_rate": 0.01}}
                try:
                    found[f"{name}, {credit}"] = laid(Layer("", base), [Layer("", changes), Layer("", CREDITS[credit]), *layers])
                except ScenarioError as error:
                    refusal = error if refusal is None or error.where else refusal
        if found:
            return found
    raise ScenarioError(rule, refusal.key, f"{refusal.why} (it refuses every small team that check-rule has for it; --set may change them)")


def hears_its_layer(rule: str) -> bool:
    """Whether its units hear others of their own layer."""
    return any(port.relation == "layer" for port in RULES[rule].HIDDEN.hears)


def _task(rule: str) -> dict[str, Any]:
    """The multiplexer, or for rules that answer with real numbers alone a target that drifts."""
    task = BASE["task"]
    return task if RULES[rule].OUTPUTS != ("linear",) else {"name": "tracking", **{key: value for key, value in task.items() if key not in ("name", "k")}}


def _units(rule: str) -> dict[str, str]:
    """Units that a rule is made for; one output unit for the two actions, if it can."""
    module = RULES[rule]
    hidden = {"units": module.UNITS[0]} if module.UNITS else {}
    return hidden | {"output": "bernoulli" if "bernoulli" in module.OUTPUTS else module.OUTPUTS[0]}


def run(scenario: Scenario, kind: type[Loop] = CompiledLoop) -> Loop:
    """A finished run."""
    made = kind(scenario, Virtual())
    made.run()
    if made.stopped != "finished":
        raise Broken(f"the run ended: {made.stopped}")
    return made


class Taped(Loop):
    """A loop that writes down what every node heard, in order: ("hear", *arguments) or ("act", now)."""

    def __init__(self, scenario: Scenario, keeper: Any = None) -> None:
        super().__init__(scenario, keeper or Virtual())
        self.tapes: dict[int, list[tuple[Any, ...]]] = {i: [] for i in self.nodes if i}
        for i, tape in self.tapes.items():
            self._record(self.nodes[i], tape)

    @staticmethod
    def _record(made: Node, tape: list[tuple[Any, ...]]) -> None:
        hear, act = made.hear, made.act

        def heard(*event: Any) -> Any:
            tape.append(("hear", *event))
            return hear(*event)

        def acted(*event: Any) -> Any:
            tape.append(("act", *event))
            return act(*event)

        made.hear, made.act = heard, acted


def play(made: Node, tape: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Give a node a taped inbox; returns every message it sends, as plain data."""
    messages = []
    for verb, *event in tape:
        messages += [(message.channel, message.stamp, message.payload.tolist(), message.link) for message in getattr(made, verb)(*event)]
    return messages


def learners(loop: Loop) -> list[Node]:
    """The nodes of units and the critic, in the order of their numbers."""
    return [loop.nodes[i] for i in sorted(loop.nodes) if i and loop.plan.layer_of(i).learns]


def columns(loop: Loop) -> dict[str, dict[str, np.ndarray]]:
    """The learned arrays of each layer, the columns of its nodes side by side."""
    rows: dict[str, dict[str, list[np.ndarray]]] = {}
    for made in learners(loop):
        layer = rows.setdefault(".".join(made.name.split(".")[:2]), {})
        for key, array in _weights(made).items():
            layer.setdefault(key, []).append(array)
    return {layer: {key: np.concatenate(parts, axis=-1) for key, parts in arrays.items()} for layer, arrays in rows.items()}


# The claims. Each takes a scenario, and raises Broken.


def learns_and_stays_finite(scenario: Scenario) -> None:
    """every weight is moved by reward, and everything stays finite"""
    loop, fresh = run(scenario), Loop(scenario, Virtual())
    for before, after in zip(learners(fresh), learners(loop), strict=True):
        for field in after.bound.fields:
            array = getattr(after.view, field.name)
            if not np.isfinite(array).all():
                raise Broken(f"{after.name}: {field.name} holds {array[~np.isfinite(array)][0]}")
        for key, array in _weights(after).items():
            still = int((array == _weights(before)[key]).sum())
            if still:
                raise Broken(f"{after.name}: {still} of {array.size} numbers of its {key} never moved")


def does_not_move_without_reward(scenario: Scenario) -> None:
    """without reward no weight moves"""
    changes = {"links.reward": {"loss": 1.0, "reliable": False}}
    loop, fresh = run(scenario.replace(changes)), Loop(scenario, Virtual())
    for before, after in zip(learners(fresh), learners(loop), strict=True):
        for key, array in _weights(after).items():
            if not np.array_equal(array, _weights(before)[key]):
                raise Broken(f"{after.name}: its {key} moved")


def repeats(scenario: Scenario) -> None:
    """a run ends in the same bits when it is done again"""
    _alike(run(scenario), run(scenario))


def is_read_as_it_is_compiled(scenario: Scenario) -> None:
    """the readable loop and the compiled one end in the same bits"""
    _alike(run(scenario, Loop), run(scenario))


def hears_nothing_but_its_inbox(scenario: Scenario) -> None:
    """the same inbox gives the same bits and the same messages"""
    loop = run(scenario, Taped)
    for i, tape in loop.tapes.items():
        copies = [build(scenario, loop.plan, loop.plan.nodes[i]) for _ in range(2)]
        messages = [play(made, tape) for made in copies]
        if messages[0] != messages[1]:
            raise Broken(f"{copies[0].name} sends other messages")
        for made in copies:
            _same_state(made, loop.nodes[i].state)


def keeps_all_in_its_state(scenario: Scenario) -> None:
    """a copy of the state in a fresh node continues identically"""
    loop = run(scenario, Taped)
    for i, tape in loop.tapes.items():
        half = len(tape) // 2
        first, second = (build(scenario, loop.plan, loop.plan.nodes[i]) for _ in range(2))
        play(first, tape[:half])
        second.move_to(first.state.copy(), 0)
        if play(first, tape[half:]) != play(second, tape[half:]):
            raise Broken(f"{first.name}: the copy sends other messages")
        _same_state(first, second.state)
        _same_state(first, loop.nodes[i].state)


def is_cut_without_a_trace(scenario: Scenario) -> None:
    """a layer as one node and its units as nodes end in the same weights"""
    if hears_its_layer(scenario.rule.name):
        raise ScenarioError("", "", "its units hear each other: in one node they act one after another, as nodes when messages have come")
    whole, cut = run(scenario), run(scenario.replace({"network.split": "unit"}))
    wanted, found = columns(whole), columns(cut)
    for layer, arrays in wanted.items():
        for key, array in arrays.items():
            if found[layer][key].tobytes() != array.tobytes():
                raise Broken(f"{layer}: its {key} differs, by {np.abs(found[layer][key] - array).max():.3g}")


def is_replayed(scenario: Scenario) -> None:
    """a run on real clocks is replayed from its recording"""
    with tempfile.TemporaryDirectory(prefix="asyncnet-contract-") as folder:
        result = api.run(scenario, time="wall", out=Path(folder), checkpoint=0.0)
        same, found = api.replay(result.run_dir)
    if not same:
        raise Broken(found)


def _alike(one: Loop, other: Loop) -> None:
    if one.digest() != other.digest():
        for i, made in sorted(one.nodes.items()):
            _same_state(made, other.nodes[i].state)
        raise Broken("the digests differ")


def _weights(node: Node) -> dict[str, np.ndarray]:
    """The weights and biases of a node: what every rule learns."""
    return {name: array for name, array in node.learned().items() if name in ("weight", "bias")}


def _same_state(made: Node, state: np.ndarray) -> None:
    """Raise Broken with the first array that differs."""
    if made.state.tobytes() != state.tobytes():
        for name, (first, last, _) in made.places.items():
            if made.state[first:last].tobytes() != state[first:last].tobytes():
                raise Broken(f"{made.name}: its {name} differs")


Claim = Callable[[Scenario], None]
# Each with the settings that it is asked in: on jittered clocks a layer and its units learn at different moments; a replay is of one setting enough.
EVERYWHERE: tuple[Claim, ...] = (
    learns_and_stays_finite,
    does_not_move_without_reward,
    repeats,
    is_read_as_it_is_compiled,
    hears_nothing_but_its_inbox,
    keeps_all_in_its_state,
)
TOGETHER: tuple[Claim, ...] = (is_cut_without_a_trace,)
ONCE: tuple[Claim, ...] = (is_replayed,)


def asked(rule: str, settings: Iterable[Layer] = ()) -> list[tuple[Claim, str, Scenario]]:
    """Every claim, with the name of the setting that it is tried in, and the scenario."""
    found = teams(rule, settings)
    together = {name: made for name, made in found.items() if not name.startswith("free")}
    last = list(found)[-1]
    out = [(claim, name, made) for claim in EVERYWHERE for name, made in found.items()]
    out += [(claim, name, made) for claim in TOGETHER for name, made in together.items()]
    return out + [(claim, last, found[last]) for claim in ONCE]


def check(rule: str, settings: Iterable[Layer] = (), tell: Callable[[Finding], None] = lambda _: None) -> list[Finding]:
    """Try all claims of a rule, with settings laid over those of its own; `tell` hears each finding as it comes."""
    cases: dict[Claim, list[tuple[str, Scenario]]] = {}
    for claim, name, scenario in asked(rule, settings):
        cases.setdefault(claim, []).append((name, scenario))
    found = []
    for claim, scenarios in cases.items():
        found.append(_find(claim, scenarios))
        tell(found[-1])
    return found


def _find(claim: Claim, scenarios: Iterable[tuple[str, Scenario]]) -> Finding:
    tried, broken, refused = 0, [], []
    for name, scenario in scenarios:
        try:
            claim(scenario)
        except ScenarioError as error:  # such as a rule that cannot be cut, or whose messages may not be lost
            refused.append(f"{name}: {error.why}")
            continue
        except Broken as error:
            broken.append(f"{name}: {error}")
        except Exception as error:  # whatever the rule's own text raises, in a compiler or in Python
            broken.append(f"{name}: {raised_in(error) or f'{type(error).__name__}: {in_a_line(error)}'}")
        tried += 1
    if broken:
        return Finding(claim.__doc__, False, tried, broken[0] + (f"; and in {len(broken) - 1} more" if broken[1:] else ""))
    return Finding(claim.__doc__, True, tried) if tried else Finding(claim.__doc__, None, 0, refused[0])
