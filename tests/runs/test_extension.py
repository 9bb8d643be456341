"""A run that is given another length ends in the bits of one that had it from the start, however far it had come, and however often."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import asyncnet
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.ledger import account, unexplained
from asyncnet.loop.timekeeper import Virtual
from asyncnet.runs import durable, embedded, extension, snapshot, stored
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.runs.metrics import Score, full
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.team.draw import plan
from support.teams import multiplexer, run
from support.together import Together

SEVERAL = {"task.streams": 3, "task.wrappers": [{"name": "time-limit", "steps": 40}, {"name": "normalize-observation"}]}
LONGER = {
    "decisions": (asyncnet.load("multiplexer3-weight-max"), "task.decisions", (400, 800, 4000)),
    "episodes": (asyncnet.load("cartpole-weight-max"), "task.episodes", (20, 40, 60)),
    "free clocks": (asyncnet.load("cartpole-free"), "task.episodes", (5, 8)),
    "stepped in Python": (asyncnet.load("acrobot-weight-max"), "task.episodes", (1, 2, 3)),
    "several at once": (asyncnet.load("cartpole-weight-max").replace(SEVERAL), "task.episodes", (7, 20)),
}


def rows_of(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def assert_same(extended, whole):
    assert extended.record.stopped == whole.record.stopped == "finished"
    for name in ("digest", "score", "returns", "lengths", "ends", "rewards", "links", "nodes", "fields"):
        assert getattr(extended.record, name) == getattr(whole.record, name), name
    assert extended.scenario == whole.scenario
    assert extended.summary()["changes"] == whole.summary()["changes"]


@pytest.mark.parametrize("kind", LONGER)
def test_a_run_that_has_finished_goes_on_to_the_bits_of_a_longer_one(kind, tmp_path):
    scenario, key, lengths = LONGER[kind]
    first = asyncnet.run(scenario.replace({key: lengths[0]}), out=tmp_path)
    before = first.record.digest
    for length in lengths[1:]:
        extended = asyncnet.resume(first.run_dir, set={key: length})
        assert extended.record.digest != before
        whole = asyncnet.run(scenario.replace({key: length}), out=tmp_path / "whole")
        assert_same(extended, whole)
        assert rows_of(first.run_dir) == rows_of(whole.run_dir)
        for name in ("config.toml", "progress.csv", "returns.csv", "rewards.csv", "weights.safetensors", "ledger.csv", "digests.json"):
            one, other = first.run_dir / name, whole.run_dir / name
            assert one.is_file() == other.is_file()
            assert not one.is_file() or one.read_bytes() == other.read_bytes(), name
        before = extended.record.digest
    assert asyncnet.verify(first.run_dir)[0]
    assert asyncnet.open(first.run_dir).summary["verdict"] == "pass"
    told = stored.about(first.run_dir)
    assert [part.before for part in told.resumed] == [{key.removeprefix("task."): length} for length in lengths[:-1]]


def test_one_that_was_interrupted_is_given_another_length(tmp_path):
    scenario = asyncnet.load("cartpole-weight-max").replace({"task.episodes": 50})
    for length in (70, 40):
        cut = asyncnet.run(scenario, out=tmp_path, on_progress=lambda live: live.stop() if live.episodes >= 30 else None, every=7)
        assert cut.record.stopped == "interrupted"
        assert 30 <= cut.record.score["episodes"] < 40
        assert_same(asyncnet.resume(cut.run_dir, set=f"task.episodes={length}"), asyncnet.run(scenario.replace({"task.episodes": length}), out=None))


@pytest.fixture
def finished(tmp_path):
    return asyncnet.run(multiplexer("weight-max", {"task.decisions": 300}), out=tmp_path)


def test_one_that_dies_before_its_first_checkpoint_goes_on_to_the_length_that_it_was_given(finished, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(embedded, "run", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            asyncnet.resume(finished.run_dir, set={"task.decisions": 500})
    assert asyncnet.open(finished.run_dir).scenario.task.decisions == 500
    with pytest.raises(ScenarioError, match="has not finished"):
        asyncnet.verify(finished.run_dir)
    assert_same(asyncnet.resume(finished.run_dir), asyncnet.run(finished.scenario.replace({"task.decisions": 500}), out=None))
    assert asyncnet.verify(finished.run_dir)[0]


def test_a_disk_that_takes_half_of_what_says_its_length_loses_nothing(finished, monkeypatch):
    replace = durable.replace

    def half(path, data):
        if path.name == "config.toml":
            raise OSError(28, "No space left on device")
        replace(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "replace", half)
        with pytest.raises(ScenarioError, match="No space left on device"):
            asyncnet.resume(finished.run_dir, set={"task.decisions": 500})
    assert "decisions = 300" in (finished.run_dir / "config.toml").read_text()
    assert asyncnet.open(finished.run_dir).scenario.task.decisions == 500
    assert_same(asyncnet.resume(finished.run_dir), asyncnet.run(finished.scenario.replace({"task.decisions": 500}), out=None))
    assert "decisions = 500" in (finished.run_dir / "config.toml").read_text()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("rule.name=reinforce", "--set rule.name=reinforce: rule.name: only a run's length can be changed once it has begun: task.decisions"),
        ("seed=4", "--set seed=4: seed: only a run's length"),
        ("task.world.interval=2", "task.world.interval: only a run's length"),
        ("task={decisions=600,gamma=0.1}", "task.gamma: only a run's length"),
        ("task={decisions=600,world={interval=2}}", "task.world.interval: only a run's length"),
        ("task.decisions=300", "--set task.decisions=300: task.decisions: 300 decisions were done already; it can only go on to more, got 300"),
        ("task.decisions=10", "task.decisions: 300 decisions were done already"),
        ("task.decisions=0", "task.decisions: must be"),
        ("task.episodes=10", "task.episodes: the multiplexer task has no episodes"),
        ("task.decisions", "expected key=value"),
    ],
)
def test_what_cannot_be_changed_is_refused_in_one_line_and_nothing_is_lost(said, why, finished, command):
    before = {file: file.read_bytes() for file in finished.run_dir.rglob("*") if file.is_file()}
    code, out, err = command("resume", finished.run_dir, "--set", said)
    assert (code, out) == (64, "")
    assert err.count("\n") == 1
    assert why in err
    assert {file: file.read_bytes() for file in finished.run_dir.rglob("*") if file.is_file()} == before


def test_episodes_do_not_become_decisions(tmp_path):
    made = asyncnet.run(asyncnet.load("cartpole-weight-max").replace({"task.episodes": 3}), out=tmp_path)
    with pytest.raises(ScenarioError, match=r"task\.decisions: the length of this run is in episodes: task\.episodes"):
        asyncnet.resume(made.run_dir, set={"task.decisions": 1000})


def test_a_run_that_kept_no_state_and_one_whose_archives_would_be_others_are_refused(tmp_path):
    made = asyncnet.run(multiplexer("weight-max", {"task.decisions": 30}), out=tmp_path, checkpoint=0.0)
    with pytest.raises(ScenarioError, match=r"it kept no state to go on from \(--checkpoint 0\)"):
        asyncnet.resume(made.run_dir, set={"task.decisions": 50})
    late = multiplexer("weight-max", {"task.decisions": 30, "task.world": {"waits": False, "interval": 1.0}, "links": {"reward": {"delay": 300.0}}})
    made = asyncnet.run(late.replace({"clocks": {"default": {"kind": "periodic", "period": 1.0}}}), out=tmp_path)
    with pytest.raises(ScenarioError, match=r"task.decisions: actor\.\d keeps 31 samples in so short a run, \d+ in a longer one \(rule.archive\)"):
        asyncnet.resume(made.run_dir, set={"task.decisions": 2000})


def test_the_command_extends_a_run_and_says_so(finished, command):
    code, out, err = command("resume", finished.run_dir, "--set", "task.decisions=450", "--json")
    assert code == 0, err
    assert json.loads(out)["decisions"] == 450
    assert "task.decisions was 300, is 450" in err


class Logged:
    """The world's log and what it asks, written down as world.close_decision says it: an independent account of what a run of one length leaves."""

    def __init__(self, score, room, streams):
        self.score, self.v = score, SimpleNamespace(over=np.zeros(streams), log=np.zeros(room), log_count=np.zeros(1), lateness=np.zeros(65))
        self.v.return_log, self.v.return_count, self.v.episode_log, self.v.counts = np.zeros(room), np.zeros(1), np.zeros((room, 2)), np.zeros(8)
        self.v.look_at = np.array([float(score.look_at)])

    def close(self, reward, returns):
        v = self.v
        for value, length in returns:
            n = int(v.return_count[0])
            v.return_log[n], v.episode_log[n] = value, (length, v.counts[0] + 1)
            v.return_count[0] += 1
            v.counts[1] += 1
        v.log[int(v.log_count[0])] = reward
        v.log_count[0] += 1
        v.counts[0] += 1
        if v.counts[int(self.score.goal_decisions is None)] >= v.look_at[0] or full(v):
            self.score.take(v, int(v.counts[0]))


@given(
    seed=st.integers(0, 2**32 - 1),
    by_episode=st.booleans(),
    streams=st.integers(1, 4),
    room=st.integers(8, 20),
    decisions=st.integers(1, 400),
    goals=st.tuples(st.integers(400, 9000), st.integers(400, 9000)),
    often=st.floats(0.0, 0.6),
)
def test_the_log_is_laid_as_the_longer_run_would_have_it(seed, by_episode, streams, room, decisions, goals, often):
    runs = [Logged(Score(None, goal) if by_episode else Score(goal, None), room, streams) for goal in goals]
    for each in runs:
        chance = np.random.default_rng(seed)
        for _ in range(decisions):
            each.close(chance.normal(), [(chance.normal(), int(chance.integers(1, 9))) for _ in range(streams) if chance.uniform() < often])
    one, other = runs
    assume(one.v.counts[int(by_episode)] < min(goals))  # a run that has come to its end is given no other length
    about, arrays = one.score.saved()
    score = Score(None, goals[1]) if by_episode else Score(goals[1], None)
    laid = extension._laid(one.v, {f"score/{name}": array for name, array in arrays.items()}, score)
    wanted = {f"score/{name}": array for name, array in other.score.saved()[1].items()}
    assert laid.keys() | {"score/sums"} == wanted.keys()
    for name in ("score/returns", "score/episodes"):
        assert laid[name].tolist() == wanted[name].tolist()
    known = min(len(laid["score/rewards"]), len(wanted["score/rewards"]))  # of those before, each keeps sums
    assert laid["score/rewards"][len(laid["score/rewards"]) - known :].tolist() == wanted["score/rewards"][len(wanted["score/rewards"]) - known :].tolist()
    for name in ("log", "log_count", "return_log", "return_count", "episode_log"):
        assert np.array_equal(getattr(one.v, name), getattr(other.v, name)), name
    assert score.look_at == other.score.look_at
    if score.every % one.score.every == 0:
        assert extension._rows(about["rows"], score) == other.score.rows


def ended(together):
    """The state of all hosts of a run that has finished."""
    together.world.await_end(60.0)
    for host in together.hosts.values():
        if not together.virtual:
            host.stop("finished")
        assert host.await_end(60.0)
    for host in together.hosts.values():
        host.books()
    state = snapshot.merge(Checkpoint(*host.state()) for host in together.hosts.values())
    together.end()
    return state


@pytest.mark.parametrize("pack", [1, 2])
def test_loops_that_share_simulated_time_end_where_one_does_and_go_on_from_there(pack):
    short, long = (multiplexer("weight-max", {"task.decisions": count, "links": {"default": {"delay": 0.5}}}) for count in (60, 150))
    state = ended(Together(short, pack).start())
    alone = run(short, CompiledLoop)
    wanted = snapshot.take(alone)
    assert state.about == wanted.about
    assert {name: array.tolist() for name, array in state.arrays.items() if name.startswith("node/")} == {
        name: array.tolist() for name, array in wanted.arrays.items() if name.startswith("node/")
    }
    state, whole = extension.relaid(state, short, long, "test", at_once=True), run(long, CompiledLoop)
    assert Together(long, pack, begin=tuple(state)).start().end().digest == whole.digest()
    other = CompiledLoop(long, Virtual())
    snapshot.put(other, state, at_once=True)
    other.run()
    assert other.digest() == whole.digest() != alone.digest()
    assert account(other).tolist() == account(whole).tolist()


def test_on_real_clocks_what_was_on_its_way_at_the_end_is_there_when_it_goes_on():
    made = multiplexer("weight-max", {"tick": 1000, "task.decisions": 40, "links": {"default": {"delay": 3.0}}, "task.world.timeout": 1000.0})
    state = ended(Together(made, virtual=False, wire="zmq").start())
    assert (state.arrays["agenda"][:, 7] >= 0).any(), "messages were under way"
    long = made.replace({"task.decisions": 90})
    state = snapshot.balanced(extension.relaid(state, made, long, "test", at_once=False), plan(long))
    snapshot.prove(long, state, at_once=False)
    other = CompiledLoop(long, Virtual())
    snapshot.put(other, state)
    other.run()
    assert other.stopped == "finished"
    assert other.score.decisions == 90
    assert not unexplained(account(other)).any()
