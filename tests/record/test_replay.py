"""What was recorded on real clocks takes place again in one process, bit for bit."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

import asyncnet
from asyncnet import api
from asyncnet.api import Quiet, Result
from asyncnet.loop.ledger import DELIVERED, LOST, SENT
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import TURN
from asyncnet.loop.timekeeper import Virtual
from asyncnet.record import recorder
from asyncnet.record.journal import Reader, Writer
from asyncnet.record.playback import replay
from asyncnet.record.recorder import Recorder
from asyncnet.runs import snapshot
from asyncnet.runs.rundir import RunDirectory
from asyncnet.runs.stored import recordings
from asyncnet.scenario.schema import ScenarioError, check
from support.recorded import ACROBAT, THINK, Interrupted, assert_identical, on_real_clocks, rows_of
from support.teams import FREE, LOOPS, assert_moved, multiplexer
from support.thinkable import scenarios

pytestmark = pytest.mark.usefixtures("signals_as_they_were")


def record(made, folder, name="0"):
    """Have a loop's events written to a folder; returns what ends it."""
    writer = Writer(folder)
    tape = Recorder(name, lambda data: writer.append(name, data))
    tape.watch(made)
    return lambda: (tape.finish(), writer.close())


# Its tables are full in the middle of an event of several turns, of which the last is the one whose messages are lost.
FULL_IN_AN_EVENT = {
    "name": "any",
    "seed": 0,
    "tick": 1,
    "task": {
        "name": "multiplexer",
        "k": 1,
        "decisions": 40,
        "streams": 1,
        "world": {"waits": False, "interval": 1.0, "timeout": 15.0, "late": "grade-by-stamp"},
    },
    "network": {"hidden": [1, 1], "output": "bernoulli", "split": "layer", "ready": "auto", "timeout": 1},
    "rule": {"name": "reinforce", "learning_rate": 0.02, "credit": "stamped", "lambda": 0.0},
    "clocks": {"default": {"kind": "poisson", "period": 0.5}},
    "links": {"default": [], "activity": [{"loss": 0.5, "delay": 2.0}], "reward": [], "feedback": []},
}


@THINK
@given(scenarios(decisions=40), st.sampled_from(list(LOOPS)), st.floats(0.1, 0.9))
@example(FULL_IN_AN_EVENT, "compiled", 0.5)
def test_whatever_hypothesis_thinks_of_is_replayed_from_its_beginning_and_from_a_state(tmp_path_factory, data, loop, place):
    try:
        scenario = check(data, "test")
    except ScenarioError:
        reject()
    made = LOOPS[loop](scenario, Virtual())
    made.run(lambda running: running.score.done >= place and running.stop("cut"))
    state = snapshot.take(made)
    for begin in (None, state):
        folder = tmp_path_factory.mktemp("record")
        made = LOOPS[loop](scenario, Virtual())
        if begin is not None:
            snapshot.put(made, begin)
        finish, before = record(made, folder), made.digest()
        made.run()
        finish()
        assert made.digest() != before
        rows = rows_of(folder)
        report = replay(scenario, folder, begin)
        assert_identical(report, int((rows[:, 4] >= 0).sum()))
        assert report.loop.digest() == made.digest()
        assert report.loop.books.table().tolist() == made.books.table().tolist()
        assert report.loop.sequence.tolist() == made.sequence.tolist()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_run_that_was_stopped_between_two_looks_at_its_score_is_replayed(loop, tmp_path):
    scenario = multiplexer("weight-max", FREE | {"task.decisions": 2000})

    class Stopping(Recorder):
        def __call__(self, rows):
            super().__call__(rows)
            if self.events > 5000 and made.nodes[0].counts()["decisions"] % 10:  # every tenth has a look
                made.stop("there")

    made, writer = LOOPS[loop](scenario, Virtual()), Writer(tmp_path)
    tape = Stopping("0", lambda data: writer.append("0", data))
    tape.watch(made)
    made.run()
    tape.finish()
    writer.close()
    assert made.stopped == "there"
    assert made.score.decisions % 10 > 0
    report = replay(scenario, tmp_path)
    assert_identical(report, int((rows_of(tmp_path)[:, 4] >= 0).sum()))
    assert report.loop.digest() == made.digest() != Loop(scenario, Virtual()).digest()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_run_on_real_clocks_is_replayed_to_its_very_bits(loop, tmp_path):
    result = on_real_clocks(multiplexer("weight-max", FREE), tmp_path, loop)
    record, folder = result.record, recordings(result.run_dir, 0)
    turns = int((rows_of(folder)[:, 1] == TURN).sum())
    events = sum(node["ticks"] for node in record.nodes.values()) + int(record.ledger[DELIVERED].sum()) + turns
    assert turns > 200
    assert record.ledger[LOST].sum() > 20
    report = replay(result.scenario, folder)
    assert_identical(report, events)
    assert len(list(Reader(folder / "0.anr"))) > 3
    assert report.digests > 3 * len(report.loop.nodes)
    assert report.loop.digest() == record.digest
    assert report.loop.books.table()[[SENT, LOST, DELIVERED]].tolist() == record.ledger[[SENT, LOST, DELIVERED]].tolist()
    assert api.replay(result.run_dir) == (True, report.line)


@pytest.fixture
def no_environment(monkeypatch):
    """Acrobot as it was in another world: it begins elsewhere, and has no steps."""
    from gymnasium.envs.classic_control import AcrobotEnv

    def refuse(self, action):
        raise AssertionError("the environment was stepped")

    monkeypatch.setattr(AcrobotEnv, "step", refuse)
    monkeypatch.setattr(AcrobotEnv, "reset", lambda self, **how: (np.full(6, 0.5, dtype=np.float32), {}))
    with pytest.raises(AssertionError, match="was stepped"):
        gymnasium.make("Acrobot-v1").unwrapped.step(0)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_that_is_late_in_closing_a_segment_closes_several(loop, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "EVERY", 1e9)
    monkeypatch.setattr(recorder, "MOST_EVENTS", 30)
    monkeypatch.setattr(recorder, "MOST_NUMBERS", 40)
    monkeypatch.setattr(Recorder, "_ask", lambda _: None)
    result = on_real_clocks(ACROBAT.replace({"task.decisions": 30}), tmp_path, loop)
    segments = list(Reader(recordings(result.run_dir, 0) / "0.anr"))
    assert sum(len(segment.transitions) for segment in segments) == 31
    assert max(len(segment.events) for segment in segments) == 30
    assert max(segment.transitions.size for segment in segments) == 40
    assert [segment.last for segment in segments] == [False] * (len(segments) - 1) + [True]
    same, found = api.replay(result.run_dir)
    assert same, found


def test_a_replay_in_which_too_much_waits_to_be_heard_ends_in_a_line(tmp_path, monkeypatch):
    result = on_real_clocks(multiplexer("weight-max", FREE), tmp_path)
    monkeypatch.setitem(replay.__globals__, "MOST_WAITING", 1000)
    same, found = api.replay(result.run_dir)
    assert not same
    assert "wait to be heard" in found
    monkeypatch.undo()
    same, found = api.replay(result.run_dir)
    assert same, found


@pytest.mark.parametrize("loop", LOOPS)
def test_a_task_in_python_is_replayed_from_what_its_steps_led_to(loop, tmp_path, request):
    result = on_real_clocks(ACROBAT, tmp_path, loop)
    decisions = result.summary()["decisions"]
    assert decisions > 50
    assert sum(len(segment.transitions) for segment in Reader(recordings(result.run_dir, 0) / "0.anr")) == decisions + 1
    request.getfixturevalue("no_environment")
    same, found = api.replay(result.run_dir)
    assert same, found
    assert found.startswith("identical: ")


@pytest.mark.parametrize(
    ("scenario", "loop", "rows"),
    [(multiplexer("weight-max", FREE), "compiled", 100), (multiplexer("weight-max", FREE), "readable", 100), (ACROBAT, "compiled", 1)],
    ids=["compiled", "readable", "a task in Python"],
)
def test_both_parts_of_a_run_that_was_resumed_are_replayed(scenario, loop, rows, tmp_path, request):
    first = api.run(scenario, time="wall", loop=loop, out=tmp_path, reporter=Interrupted(rows))
    assert first.record.stopped == "interrupted"
    assert api.replay(first.run_dir)[0]
    second = api.resume(first.run_dir)
    assert second.record.stopped == "finished"
    assert second.record.digest != first.record.digest
    assert second.summary()["decisions"] > first.summary()["decisions"] > 0
    assert_moved(scenario, second.record.weights)
    parts = [recordings(first.run_dir, part) for part in (0, 1)]
    assert all(len(rows_of(part)) > 500 for part in parts)
    if scenario is ACROBAT:
        request.getfixturevalue("no_environment")
    same, found = api.replay(first.run_dir)
    assert same, found
    assert found.count("identical: ") == 2


@pytest.mark.parametrize("loop", LOOPS)
def test_a_run_broken_off_within_a_step_of_its_task_is_replayed_to_the_segment_before(loop, tmp_path, monkeypatch):
    from gymnasium.envs.classic_control import AcrobotEnv

    step, steps = AcrobotEnv.step, []

    def interrupted(self, action):
        steps.append(action)
        if len(steps) == 700:  # in the second episode: the end of the first has closed a segment
            raise KeyboardInterrupt
        return step(self, action)

    monkeypatch.setattr(AcrobotEnv, "step", interrupted)
    result = api.run(ACROBAT, time="wall", loop=loop, out=tmp_path)
    assert result.record.stopped == "interrupted"
    report = replay(ACROBAT, recordings(result.run_dir, 0))
    assert report.difference is None
    assert report.events > 300
    assert "ends without the loop's end" in report.damage[0]


def on_ray(held, scenario, folder):
    """A recorded run of Ray actors on real clocks."""
    from asyncnet.actors.team import run_in

    with RunDirectory(folder, scenario, "ray", {"time": "wall"}, every=0.0, recording=True) as kept:
        record = run_in(held, scenario, Quiet(), time="wall", kept=kept)
        result = Result(scenario, "ray", record, kept.path)
        kept.finish(result)
    assert record.stopped == "finished"
    assert_moved(scenario, record.weights)
    return result


def rough(seed):
    """A team on jittery clocks, one of them slow, with links that lose a tenth."""
    under = ["jittery-clocks", "lossy", "straggler"]
    changes = {"seed": seed, "tick": 1000, "task.k": 2, "task.decisions": 300, "task.world.interval": 8.0}
    return asyncnet.load("multiplexer3-weight-max", under).replace(changes)


@pytest.mark.ray
def test_a_run_of_actors_under_three_hardships_is_replayed_in_one_process(ray_session, tmp_path):
    result = on_ray(ray_session, rough(1), tmp_path)
    record, folder = result.record, recordings(result.run_dir, 0)
    turns = int((rows_of(folder)[:, 1] == TURN).sum())
    assert record.ledger[LOST].sum() > 50
    assert len(list(folder.glob("*.anr"))) == record.measured["actors"] > 3
    report = replay(result.scenario, folder)
    assert_identical(report, sum(node["ticks"] for node in record.nodes.values()) + int(record.ledger[DELIVERED].sum()) + turns)
    assert report.loop.digest() == record.digest
    assert api.verify(result.run_dir) == (True, report.line)


@pytest.mark.ray
@pytest.mark.study
@pytest.mark.timeout(1800)
def test_twenty_runs_of_actors_under_three_hardships_are_replayed(ray_session, tmp_path):
    found = [api.replay(on_ray(ray_session, rough(seed), tmp_path).run_dir) for seed in range(20)]
    print(*(line for _, line in found), f"{sum(not same for same, _ in found)}/20 differ", sep="\n")
    assert all(same for same, _ in found)
