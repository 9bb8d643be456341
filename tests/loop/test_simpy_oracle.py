"""A model in SimPy that knows nothing of the engine foretells all its events, one by one (support/simpy_team.py)."""

import ast
import contextlib
import functools
import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asyncnet.kernels.plain import as_python
from asyncnet.loop.compiled.agenda import of_who
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import DROP
from asyncnet.loop.timekeeper import Virtual
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.schema import Scenario, check
from support import simpy_team
from support.simpy_team import KINDS, Assumptions, Row, Team

SEEDS = 24
STUDY = 200
FEWEST = 300  # events of a scenario
OTHERS = {
    "activity goes before reward": Assumptions(order=("turn", "activity", "transition", "feedback", "reward", "tick")),
    "ticks go before messages": Assumptions(order=("turn", "tick", "reward", "transition", "feedback", "activity")),
    "links take a microsecond longer": Assumptions(longer=1),
    "messages are numbered from 0": Assumptions(first_number=0),
    "a node acts before it learns": Assumptions(feedback_first=False),
    "the last to come wins, not the newest": Assumptions(newest_wins=False),
    "credit is for the sample that is held": Assumptions(late_credit=False),
}


@functools.cache
def drawn(seed: int) -> Scenario:
    """A scenario in which who says what to whom depends on no value that is sampled, and nothing is drawn but the scenario itself."""
    chance = random.Random(f"a team for SimPy {seed}")
    while True:
        with contextlib.suppress(ScenarioError):  # what does not go together is refused: a world that waits for somebody who is cut off for good
            scenario = _drawn(chance, seed)
            if enough(foretold(scenario)):  # else, say, no action is ever in time to earn something
                return scenario


def _drawn(chance: random.Random, seed: int) -> Scenario:
    rule = chance.choice(("reinforce", "weight-max", "weight-max"))
    ready, split = chance.choice(("all", "all", "auto", "revise")), chance.choice(("layer", "unit", "unit", 2))
    hidden = [chance.randint(1, 4) for _ in range(chance.randint(1, 3))]
    if ready != "all" and split != "layer":  # a node that revises what several say is heard by the world only, which asks for no values
        hidden = hidden[:1]
    inputs = {f"actor.{len(hidden) + 1}": chance.sample(["observation", f"actor.{len(hidden)}"], 2)} if ready == "all" and chance.random() < 0.3 else {}
    critic = {"critic": {"hidden": [2], "learning_rate": 0.01, "archive": chance.choice((1, 5, 32))}} if chance.random() < 0.3 else {}
    waits = chance.random() < 0.4
    late = "use" if waits else chance.choice(("use", "withhold", "use" if critic else "grade-by-stamp"))
    # Credit that is lost is sent again. One such fault, before any delay: else the engine does otherwise than the documents say (below).
    credit = chance.choice(("reward", "feedback") if rule == "weight-max" else ("reward",))
    resent = [{"kind": "loss", "share": 1.0, "channel": credit, **_stretch(chance)}] if chance.random() < 0.3 else []
    delays: dict[str, Any] = {
        channel: [{"delay": 0.0 if resent and channel != "activity" else chance.choice((0.0, 0.25, 0.5, 1.3)), "stale": chance.choice((0, 0, 0, 1, 3))}]
        for channel in ("activity", "feedback", "reward", "transition")
        if chance.random() < 0.6
    }
    return check(
        {
            "name": "foretold",
            "seed": seed,
            "tick": chance.choice((10, 1000)),
            "task": {
                "name": "multiplexer",
                "k": 1,
                "decisions": 100,
                "world": {"waits": waits, "interval": chance.choice((1.0, 2.5, 4.0, 8.0)), "timeout": chance.choice((5.0, 20.0)), "late": late},
            },
            "network": {
                "hidden": hidden,
                "output": "bernoulli",
                "split": split,
                "ready": ready,
                "inputs": inputs,
                "timeout": chance.randint(1, 6),
                "lag": chance.randint(0, 3),
            },
            "rule": {
                "name": rule,
                "learning_rate": 0.01,
                "credit": chance.choice(("stamped", "stamped", "trace")),
                "archive": chance.choice((1, 2, 5, 32)),
            },
            **critic,
            "clocks": _clocks(chance, [f"actor.{n + 1}" for n in range(len(hidden) + 1)] + ["critic", "dopamine"] * bool(critic)),
            "links": {"default": [{"delay": 0.0 if resent else chance.choice((0.0, 0.0, 0.5, 1.0))}], **delays},
            "faults": [*resent, *(_fault(chance, len(hidden) + 1) for _ in range(chance.choice((0, 0, 1, 2, 4, 6))))],
        },
        "drawn",
    )


def _clocks(chance: random.Random, layers: list[str]) -> dict[str, Any]:
    return {name: _clock(chance) for name in ("default", *layers) if name == "default" or chance.random() < 0.5}


def _clock(chance: random.Random) -> dict[str, Any]:
    beats = {"period": chance.choice((0.5, 0.7, 1.0, 1.0, 3.0)), "phase": chance.choice((0.0, 0.0, 0.3, 1.0))}
    straggles = {"kind": "straggler", "slow": chance.choice((2.0, 3.5)), "start": 40.0, "stop": 90.0}
    return chance.choice(({"kind": "on-arrival"}, {"kind": "periodic"} | beats, {"kind": "periodic"} | beats, straggles | beats))


def _stretch(chance: random.Random) -> dict[str, Any]:
    start = chance.choice((0.0, 7.0, 33.0, 60.5))
    return chance.choice(({"start": start, "stop": start + chance.choice((4.0, 25.0))}, {"every": 30.0, "lasting": chance.choice((3.0, 11.0))}))


def _fault(chance: random.Random, layers: int) -> dict[str, Any]:
    when = _stretch(chance)
    layer = f"actor.{chance.randint(1, layers)}"
    if chance.random() < 0.5:
        what: dict[str, Any] = chance.choice(
            (
                {"kind": "pause"},
                {"kind": "pause", "nodes": [layer]},
                {"kind": "slow", "by": chance.choice((0.6, 2.5))},
                {"kind": "skip", "share": 1.0},
                {"kind": "mailbox", "policy": "newest-wins"},
                {"kind": "mailbox", "policy": "block", "room": chance.choice((1, 3))},
                {"kind": "mailbox", "policy": "drop-oldest", "room": chance.choice((1, 3))},
                {"kind": "mailbox", "policy": "drop-newest", "room": chance.choice((1, 3))},
                {"kind": "shift", "by": 0.7, "start": 10.0, "stop": 80.0},  # not before a first tick (below)
            )
        )
        return when | what | {"together": True}  # else each would have it at times that are drawn
    what = chance.choice(
        (
            {"kind": "cut"},
            {"kind": "hold"},
            {"kind": "loss", "share": 1.0, "channel": "activity"},
            {"kind": "delay", "delay": chance.choice((1.5, 6.0))},
            {"kind": "reorder", "share": 1.0, "by": chance.choice((2.0, 9.0))},
            {"kind": "rate", "per_tick": chance.choice((0.3, 0.6, 2.0)), "room": chance.choice((0, 1, 4))},
            {"kind": "duplicate", "share": 1.0, "by": chance.choice((0.5, 7.0))},
        )
    )
    where: dict[str, Any] = chance.choice(
        (
            {},
            {"channel": "activity"},
            {"channel": "reward"},
            {"from": [layer]},
            {"to": [layer]},
            {"nodes": [layer], "way": chance.choice(("in", "out", "both"))},
        )
    )
    if what["kind"] == "loss" and "channel" in where:
        where = {}
    if what["kind"] not in ("cut", "hold") and chance.random() < 0.3:
        when = {"decisions": [20, 40]}
    return when | what | where


def told(scenario: Scenario, kind: type[Loop]) -> list[Row]:
    """What a loop writes on its tape, in the words of the model."""
    heard: list[np.ndarray] = []
    loop = kind(scenario, Virtual(), tape=heard.append)
    loop.run()
    assert loop.stopped == "finished"
    rows = []
    for now, code, number in np.concatenate(heard).tolist():
        what, dst, src = as_python(of_who)(code)
        rows.append((now, ("dropped " if what >= DROP else "") + KINDS[what % DROP], int(dst), int(src), number))
    return rows


def apart(rows: list[Row]) -> dict[tuple[str, int], list[Row]]:
    """What each node heard or did, and what it said in vain, in order.

    The compiled loop lets messages wait at a node with a clock and writes them on its tape, with the times at which they came, as the node takes them in: just
    before its tick. So the rows of different nodes stand there in another order, and those of each node in the same; a loss is written when its sender sends.
    """
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        found.setdefault(("said", row[3]) if row[4] < 0 else ("heard", row[2]), []).append(row)
    return found


def foretold(scenario: Scenario, assumptions: Assumptions = Assumptions()) -> list[Row]:  # noqa: B008  (it cannot be changed)
    return Team(scenario.data(), assumptions).play()


def enough(rows: list[Row]) -> bool:
    """Whether these are more than some hundred events of three kinds at least, so that there is something to compare."""
    return len(rows) > FEWEST and len({kind for _, kind, *_ in rows}) >= 3


def parting(one: list[Row], other: list[Row]) -> tuple[int, Row | None, Row | None] | None:
    """Where two sequences part, and what comes there in each; None if they are the same."""
    return next(((n, *both) for n, both in enumerate(itertools.zip_longest(one, other)) if both[0] != both[1]), None)


def compare(scenario: Scenario) -> None:
    """Compare both loops with the model."""
    expected = foretold(scenario)
    assert enough(expected)
    assert parting(told(scenario, Loop), expected) is None
    compiled, nodes = apart(told(scenario, CompiledLoop)), apart(expected)
    assert compiled.keys() == nodes.keys()
    assert {who: found for who in nodes if (found := parting(compiled[who], nodes[who]))} == {}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_model_foretells_every_event_of_both_loops(seed):
    compare(drawn(seed))


@pytest.mark.study
@pytest.mark.parametrize("seed", range(STUDY))
def test_the_model_foretells_every_event_of_two_hundred_scenarios(seed):
    compare(drawn(seed))


@functools.cache
def tape(seed: int) -> list[Row]:
    return told(drawn(seed), Loop)


@pytest.mark.parametrize("otherwise", OTHERS)
def test_the_oracle_tells_apart(otherwise):
    differing = (seed for seed in range(SEEDS) if foretold(drawn(seed), OTHERS[otherwise]) != tape(seed))
    assert next(differing, None) is not None


def test_the_scenarios_have_all_that_the_model_knows():
    seen: set[str] = set()
    for seed in range(SEEDS):
        scenario = drawn(seed)
        world, network, rule = scenario.task.world, scenario.network, scenario.rule
        stale = [f"stale {channel}" for channel in ("activity", "feedback", "reward") if scenario.links.stale(channel)]
        said = (
            f"waits {world.waits}",
            world.late,
            f"split {network.split}",
            network.ready,
            f"inputs {bool(network.inputs)}",
            f"critic {bool(scenario.critic)}",
            rule.name,
            rule.credit,
        )
        faults = (fault.policy if fault.kind == "mailbox" else fault.kind for fault in scenario.faults)
        seen.update(said, stale, (clock.kind for clock in scenario.clocks.values()), faults)
    worlds = {"waits True", "waits False", "use", "withhold", "grade-by-stamp"}
    teams = {
        "split layer",
        "split unit",
        "split 2",
        "all",
        "auto",
        "revise",
        "inputs True",
        "critic True",
        "critic False",
        "reinforce",
        "weight-max",
        "stamped",
        "trace",
    }
    links = {"stale activity", "stale feedback", "stale reward", "cut", "hold", "loss", "delay", "reorder", "duplicate", "rate"}
    clocks = {"on-arrival", "periodic", "straggler", "pause", "slow", "skip", "shift", "block", "drop-oldest", "drop-newest", "newest-wins"}
    assert (worlds | teams | links | clocks) - seen == set()


def test_the_model_knows_nothing_of_the_engine():
    text = ast.parse(Path(simpy_team.__file__).read_text())
    plain = {alias.name for node in ast.walk(text) if isinstance(node, ast.Import) for alias in node.names}
    parts = {node.module for node in ast.walk(text) if isinstance(node, ast.ImportFrom)}
    assert plain | parts == {"__future__", "collections", "collections.abc", "simpy", "typing"}


def small(*faults: dict[str, Any], clock: dict[str, Any] | None = None, **links: Any) -> Scenario:
    """A team of two nodes whose world does not wait, with these faults."""
    return check(
        {
            "name": "foretold",
            "seed": 1,
            "tick": 1000,
            "task": {"name": "multiplexer", "k": 1, "decisions": 80, "world": {"waits": False, "interval": 4.0}},
            "network": {"hidden": [2], "output": "bernoulli"},
            "rule": {"name": "reinforce", "learning_rate": 0.01, "archive": 64},
            "clocks": {"default": clock or {"kind": "periodic", "period": 1.0, "phase": 0.0}},
            "links": links,
            "faults": list(faults),
        },
        "small",
    )


def loss(start: float, stop: float) -> dict[str, Any]:
    return {"kind": "loss", "share": 1.0, "channel": "reward", "start": start, "stop": stop}


LATE = {"kind": "periodic", "period": 3.0, "phase": 1.0}
SHIFT = {"kind": "shift", "by": 0.7, "stop": 50.0}


@pytest.mark.parametrize("scenario", [small(loss(10.0, 21.0)), small({**SHIFT, "start": 4.0}, clock=LATE)], ids=["a loss", "a shift"])
def test_the_model_foretells_losses_that_are_sent_again_and_shifts(scenario):
    compare(scenario)


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(small(loss(10.0, 21.0), reward=[{"delay": 3.0}]), id="the delay of the link is none of the times at which it is sent again"),
        pytest.param(small({"kind": "delay", "delay": 3.0, "channel": "reward"}, loss(10.0, 21.0)), id="nor is that of a fault that stands before the loss"),
        pytest.param(small(loss(10.0, 13.0), loss(13.0, 19.0)), id="what is sent again may be lost by another fault"),
        pytest.param(small(loss(10.0, 21.0), loss(10.0, 21.0)), id="two losses at once are waited for once"),
        pytest.param(small({**SHIFT, "start": 1.0}, clock=LATE), id="a first tick is shifted, too"),
        pytest.param(small({**SHIFT, "start": 3.0}, clock=LATE), id="and by a shift at that very moment"),
    ],
)
def test_faults_that_meet_do_what_is_said_of_each(scenario):
    compare(scenario)
