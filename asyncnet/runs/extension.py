"""A run of another length than it was asked for: it goes on to the very bits of one that had been asked for that length at once.

Nothing that a team does depends on how long its run is; when Python looks at the world does: once for each row of progress, of which a run has so many. The
moment of the next look and the log, which each look empties, are in the world's state. All that the log can hold is known, so they are laid as they would be.

    look n is after decision L[n], the first after L[n-1] at which a row is due or the log has no room for one more decision
    log[p] holds the last value that was written there: the value p + 1 after the last L[n] that is followed by more than p before L[n + 1]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np

from asyncnet.kernels.layout import Views
from asyncnet.loop.loop import Loop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.nodes.world import DECISIONS, EPISODES
from asyncnet.runs import sound
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.runs.metrics import Score
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.reading import Layer, change, setting, several
from asyncnet.scenario.schema import Scenario
from asyncnet.team.draw import plan
from asyncnet.team.lateness import archives

Unit = Literal["decisions", "episodes"]
LENGTHS = ("task.decisions", "task.episodes")
NEVER = 1 << 62


def layers(said: Mapping[str, Any] | str | Iterable[str]) -> list[Layer]:
    """What is set anew: {"task.episodes": 2000}, or "task.episodes=2000"."""
    if isinstance(said, Mapping):
        return [change(f"set {key}", key, value) for key, value in said.items()]
    return [setting(text) for text in several(said)]


def unit_of(scenario: Scenario) -> Unit:
    """What a run's length is given in: "decisions" or "episodes"."""
    return "decisions" if scenario.task.decisions is not None else "episodes"


def length_of(scenario: Scenario) -> dict[Unit, int]:
    """A run's length, as run.json keeps it."""
    unit = unit_of(scenario)
    return {unit: getattr(scenario.task, unit)}


def asked(before: Scenario, over: Iterable[Layer]) -> Scenario:
    """The scenario with another length; raises ScenarioError if anything else is set."""
    unit = unit_of(before)
    for layer in over:
        if (key := next((key for key in _keys(layer.data) if key not in LENGTHS), None)) is not None:
            raise ScenarioError(layer.where, key, f"only a run's length can be changed once it has begun: task.{unit}")
        made = before.under_layers([layer])
        if unit_of(made) != unit:
            raise ScenarioError(layer.where, f"task.{unit_of(made)}", f"the length of this run is in {unit}: task.{unit}")
        before = made
    return before


def _keys(data: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """What a layer sets, as dotted keys."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{path}{key}.")
        else:
            yield f"{path}{key}"


def relaid(whole: Checkpoint, before: Scenario, made: Scenario, where: str, *, at_once: bool) -> Checkpoint:
    """The state of a run of `before` as a run of `made`, the same of another length, would have it; `at_once` as in sound.check.

    Raises ScenarioError, blaming `where`, for a length that has been reached already, or with which the team's archives are others.
    """
    unit, loop = unit_of(made), Loop(before, Virtual())
    try:
        sound.check(loop, whole, at_once=at_once)
    finally:
        loop.nodes[0].close()
    world = loop.nodes[0]
    name = f"node/{world.name}"
    state = whole.arrays[name].copy()
    world.move_to(state, 0)
    v = world.view
    done = int(v.counts[DECISIONS if unit == "decisions" else EPISODES])
    goal = length_of(made)[unit]
    if goal <= done:
        raise ScenarioError(where, f"task.{unit}", f"{done:,} {unit} were done already; it can only go on to more, got {goal:,}")
    kept, keeps = (archives(each, plan(each)) for each in (before, made))
    if other := next((layer for layer in kept if kept[layer] != keeps[layer]), None):
        why = f"{other} keeps {kept[other]:,} samples in so short a run, {keeps[other]:,} in a longer one (rule.archive); start one anew"
        raise ScenarioError(where, f"task.{unit}", why)
    score = Score(made.task.decisions, made.task.episodes)
    arrays = whole.arrays | {name: state} | _laid(v, whole.arrays, score)
    about = {"rows": _rows(whole.about["score"]["rows"], score), "look_at": score.look_at}
    v.look_at[0] = score.look_at
    return whole._replace(about=whole.about | {"score": about}, arrays=arrays)


def _laid(v: Views, arrays: Mapping[str, np.ndarray], score: Score) -> dict[str, np.ndarray]:
    """Lay the world's log anew, for a run whose rows are due as `score` says, which is brought up to date; returns what that run's score has taken.

    The first rewards, which are known by their sums alone, are not needed: no log reaches back so far.
    """
    waiting, ended = int(v.log_count[0]), int(v.return_count[0])
    summed = int(v.counts[DECISIONS]) - len(arrays["score/rewards"]) - waiting
    rewards = np.concatenate((np.full(summed, np.nan), arrays["score/rewards"], v.log[:waiting]))
    returns = np.concatenate((arrays["score/returns"], v.return_log[:ended]))
    episodes = np.concatenate((arrays["score/episodes"], v.episode_log[:ended].T.astype(np.int64)), axis=1)
    looks = _looks(score, episodes[1], len(rewards), v.log.size, v.over.size)
    ends = np.searchsorted(episodes[1], looks, side="right")
    for log, values, starts in ((v.log, rewards, looks), (v.return_log, returns, ends), (v.episode_log, episodes.T, ends)):
        _lay(log, values, starts)
    last, known = looks[-1], int(ends[-1])
    v.log_count[0], v.return_count[0] = len(rewards) - last, len(returns) - known
    return {"score/rewards": rewards[summed:last], "score/returns": returns[:known], "score/episodes": episodes[:, :known].copy()}


def _looks(score: Score, ends: np.ndarray, decisions: int, room: int, streams: int) -> list[int]:
    """After how many decisions the log was emptied, from 0 on; `score` is asked when rows are due, and told of each that is past."""

    def when(episode: int) -> int:
        """After how many decisions that many episodes have ended."""
        return int(ends[episode - 1]) if episode <= len(ends) else NEVER

    looks, by_episode = [0], score.goal_decisions is None
    while True:
        past = int(np.searchsorted(ends, looks[-1], side="right"))
        row = when(score.look_at) if by_episode else score.look_at
        at = min(row, looks[-1] + room, when(past + room - streams + 1))
        if at > decisions:
            return looks
        looks.append(at)
        unit = int(np.searchsorted(ends, at, side="right")) if by_episode else at
        if unit >= score.look_at:
            score.look_at = score.after(unit)


def _lay(log: np.ndarray, values: np.ndarray, starts: Iterable[int]) -> None:
    """Have the log hold what is left there of values that were written from its beginning on after each of `starts`."""
    log[:] = 0.0
    filled, end = 0, len(values)
    for first in reversed(list(starts)):
        size = min(int(end - first), len(log))
        if size > filled:
            log[filled:size] = values[first + filled : first + size]
            filled = size
        end = first


def _rows(rows: Iterable[Mapping[str, Any]], score: Score) -> list[dict[str, Any]]:
    """The rows that are due in a run of the other length: its very own if its spacing is a multiple of that before, else the next ones there are."""
    out, due, name = [], score.every, "rollout/episodes" if score.goal_decisions is None else "decisions"
    goal = score.goal_decisions or score.goal_episodes
    for row in rows:
        unit = row.get(name) or 0
        if unit >= due:
            out.append({**row, "done": unit / goal})
            due = score.after(unit)
    return out
