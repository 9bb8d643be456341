"""A loop's complete state as plain arrays, and back: nodes, clocks, messages under way, ledger, task and score.

`take` between two events, `put` into a loop just made, and the future is the same to the bit. Parts that several loops took at one instant add up to the
whole (`merge`), and a loop that hosts a part of the team takes its part out of it, so a run may go on in another number of actors, or in one process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from asyncnet.loop import ledger, underway
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import LIFE, TICK, TURN, Message
from asyncnet.loop.mishaps import MISSED, SEEN
from asyncnet.loop.timekeeper import Virtual
from asyncnet.loop.underway import AT, UnderWay
from asyncnet.nodes.world import DECISIONS
from asyncnet.runs import sound
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.scenario.schema import Scenario, ScenarioError
from asyncnet.team.network import CHANNEL, DST, SRC, Plan

_HELD = 4  # columns of what is held back on stale links


def take(loop: Loop) -> Checkpoint:
    """The state of a loop that is between two events and up to date (Loop.ask sees to both)."""
    nodes = sorted(loop.nodes)
    arrays = {f"node/{loop.nodes[i].name}": loop.nodes[i].state.copy() for i in nodes}
    arrays["counts"] = np.column_stack((nodes, loop.ticks[nodes], loop.skipped[nodes], loop.sequence[nodes]))
    arrays["ledger"] = loop.books.table()
    if loop.struck.size:
        arrays["struck"] = loop.struck.copy()
    if loop.clears.size:
        arrays["clears"] = loop.clears.copy()
    if loop.mishaps:
        arrays["mishaps"] = np.array([[i, *made.record[[SEEN, MISSED]]] for i, made in loop.mishaps.items()], dtype=np.int64)
        arrays |= {f"kept/{loop.nodes[i].name}": made.kept.copy() for i, made in loop.mishaps.items()}
    arrays["agenda"], arrays["agenda/values"] = loop.under_way()
    held = [(link, seq, message.stamp, message.payload) for link in sorted(loop.held) for seq, message in loop.held[link]]
    arrays["held"] = np.array([[link, seq, stamp, sent.size] for link, seq, stamp, sent in held], dtype=np.int64).reshape(-1, _HELD)
    arrays["held/values"] = _joined(sent for *_, sent in held)
    about: dict[str, Any] = {"now": int(loop.now)}
    if 0 in loop.nodes:
        about["decisions"] = int(loop.nodes[0].view.counts[DECISIONS])  # the score may not have looked lately
        about["score"], more = loop.score.saved()
        arrays[f"node/{loop.nodes[0].name}"][loop.nodes[0].view.place("look_at")] = loop.score.look_at  # also where somebody else wants to look before
        arrays |= {f"score/{name}": array for name, array in more.items()}
        if loop.nodes[0].outside is not None:
            about["task"], more = loop.nodes[0].outside.saved()
            arrays |= {f"task/{name}": array for name, array in more.items()}
    return Checkpoint(about, arrays)


def merge(parts: Iterable[Checkpoint]) -> Checkpoint:
    """The parts of a team as one."""
    about: dict[str, Any] = {}
    found: dict[str, list[np.ndarray]] = {}
    for part in parts:
        about |= part.about | {"now": max(part.about["now"], about.get("now", 0))}
        for name, array in part.arrays.items():
            found.setdefault(name, []).append(array)
    added = ("ledger", "struck", "clears")  # each part has its own nodes and links there, and 0 for others
    return Checkpoint(about, {name: sum(arrays[1:], arrays[0]) if name in added else np.concatenate(arrays) for name, arrays in found.items()})


def part(whole: Checkpoint, plan: Plan, mine: Iterable[int]) -> Checkpoint:
    """The same without the states of other nodes than `mine`."""
    names = {f"{kind}/{plan.nodes[i].name}" for i in mine for kind in ("node", "kept")}
    return whole._replace(arrays={name: array for name, array in whole.arrays.items() if name in names or not name.startswith(("node/", "kept/"))})


def balanced(whole: Checkpoint, plan: Plan) -> Checkpoint:
    """The same with a ledger that adds up: what was under way when a run on real clocks was cut is gone (expired), or will be said twice (duplicated)."""
    table = whole.arrays["ledger"].copy()
    waiting = np.zeros(len(plan.links), dtype=np.int64)
    for _, kind, dst, src, *_, size in whole.arrays["agenda"].tolist():
        if size >= 0:
            waiting[plan.link(kind, src, dst)] += 1
    np.add.at(waiting, whole.arrays["held"][:, 0], 1)
    gap = ledger.unexplained(table) - waiting
    table[ledger.EXPIRED] += np.maximum(gap, 0)
    table[ledger.DUPLICATED] += np.maximum(-gap, 0)
    return whole._replace(arrays=whole.arrays | {"ledger": table})


def owned(table: np.ndarray, plan: Plan, nodes: Iterable[int]) -> np.ndarray:
    """What a loop with these nodes counts of a ledger: all of the links that begin there, and what comes of those that end there."""
    sent_here, heard_here = (np.isin(plan.links[:, end], list(nodes)) for end in (SRC, DST))
    mine = table * sent_here
    mine[ledger.DELIVERED] = table[ledger.DELIVERED] * heard_here
    return mine


def reborn(state: Checkpoint, mine: Iterable[int], *, now: int, life: int, reached: int) -> Checkpoint:
    """The state from which nodes whose process was lost go on at `now`, when the others have gone on: their life number `life`, the first being 0.

    What was under way to them or held back by them is gone, and what they say has numbers that nobody has heard. The world goes on behind the decision that
    others have `reached`.
    """
    agenda = state.arrays["agenda"]
    agenda = agenda[agenda[:, underway.SIZE] < 0]
    world = (agenda[:, underway.KIND] == TURN) & (agenda[:, underway.DST] == 0)
    agenda[world, AT], agenda[world, underway.SEQ] = now, max(0, reached)
    counts = state.arrays["counts"].copy()
    counts[np.isin(counts[:, 0], list(mine)), 3 : 3 + TICK] = life * LIFE
    nothing = {"agenda/values": np.zeros(0), "held": np.zeros((0, _HELD), dtype=np.int64), "held/values": np.zeros(0)}
    return state._replace(about=state.about | {"now": now}, arrays=state.arrays | {"agenda": agenda, "counts": counts, **nothing})


def prove(scenario: Scenario, whole: Checkpoint, *, at_once: bool) -> None:
    """Raise a ScenarioError that says why if a run cannot go on from there, before anything is begun; `at_once` as in sound.check."""
    loop = Loop(scenario, Virtual())
    try:
        put(loop, whole, at_once=at_once)
    finally:
        loop.nodes[0].close()


def put(loop: Loop, whole: Checkpoint, *, at_once: bool = False) -> None:
    """Have a loop just made go on from there; raises ScenarioError if the state is no state of its team, or its task cannot go back to where it was."""
    sound.check(loop, whole, at_once=at_once)
    arrays, plan = whole.arrays, loop.plan
    counts = arrays["counts"][np.isin(arrays["counts"][:, 0], list(loop.nodes))]
    here = counts[:, 0]
    loop.ticks[here], loop.skipped[here], loop.sequence[here] = counts[:, 1], counts[:, 2], counts[:, 3 : 3 + TICK]
    for node in loop.nodes.values():
        node.state[:] = arrays[f"node/{node.name}"]
    loop.books.restore(owned(arrays["ledger"], plan, loop.nodes))
    if loop.struck.size:  # what was counted before is one loop's to tell
        loop.struck[:] = arrays["struck"] if 0 in loop.nodes else 0
    if loop.clears.size:  # a link's line is its sender's
        loop.clears[:] = arrays["clears"] * np.isin(plan.links[:, SRC], list(loop.nodes))
    for i, seen, missed in arrays["mishaps"].tolist() if loop.mishaps else ():
        if i in loop.mishaps:
            loop.mishaps[i].record[[SEEN, MISSED]] = seen, missed
            loop.mishaps[i].kept[:] = arrays[f"kept/{loop.nodes[i].name}"]
    loop.now = whole.about["now"]
    if isinstance(loop.keeper, Virtual):
        loop.keeper.now = loop.now
    rows = arrays["agenda"].copy()
    late = (rows[:, AT] < loop.now) & ~(np.isin(rows[:, underway.DST], list(loop.boxes)) & (rows[:, underway.SIZE] >= 0))
    rows[late, AT] = loop.now  # what was late on real clocks is due now; what waits in a mailbox goes on waiting in its order
    loop.expect(underway.of(underway.ordered(UnderWay(rows, arrays["agenda/values"])), loop.nodes))
    for (link, seq, stamp, _), payload in zip(arrays["held"].tolist(), _cut(arrays["held/values"], arrays["held"][:, 3]), strict=True):
        if plan.links[link, SRC] in loop.nodes:
            loop.held.setdefault(link, deque()).append((seq, Message(int(plan.links[link, CHANNEL]), stamp, payload)))
    if 0 in loop.nodes:
        world = loop.nodes[0]
        loop.score.restore(world.view, whole.about["score"], within(arrays, "score/"))
        if world.outside is not None:
            try:
                world.outside.restore(world.view, whole.about["task"], within(arrays, "task/"))
            except ScenarioError:
                raise
            except Exception as error:  # whatever the code of somebody's environment raises
                why = f"its task cannot go back there: {' '.join(str(error).split())[:200] or type(error).__name__}"
                raise ScenarioError(whole.where, "task", why) from None


def _joined(parts: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *parts])


def _cut(values: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    ends = np.cumsum(np.maximum(sizes, 0))
    return [values[end - max(size, 0) : end].copy() for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)]


def within(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin so, by the rest of them."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
