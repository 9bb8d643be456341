"""What a run leaves can be read by others: weights by name, rewards in bins, what was changed; and what was learned is measured with learning off."""

import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

import asyncnet
from asyncnet.loop.loop import Loop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.runs import checkpoint, embedded, evaluation
from asyncnet.runs.rewards import Rewards
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.schema import changes


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = asyncnet.load("multiplexer3-weight-max", settings=["task.decisions=12000", "task.k=2", 'clocks."actor.1"={kind="periodic",period=1.5}'])
    return asyncnet.run(made, out=tmp_path_factory.mktemp("runs"), seed=3)


def test_weights_are_left_by_the_names_of_nodes(run):
    found = safetensors.numpy.load_file(run.run_dir / "weights.safetensors")
    assert sorted(found) == [f"actor.{n}/{name}" for n in (1, 2, 3) for name in ("bias", "weight")]
    for key, array in found.items():
        node, name = key.split("/")
        assert np.array_equal(array, run.record.weights[node][name])
    assert found["actor.1/weight"].shape == (6, 64)
    assert np.abs(found["actor.3/weight"]).max() > 0.05


def test_lateral_weights_of_a_layer_are_left_too(tmp_path):
    made = asyncnet.load("multiplexer3-coordinated", settings=["task.decisions=20", "network.hidden=[4]", "network.split=layer"])
    result = asyncnet.run(made, out=tmp_path)
    assert {"actor.1/lateral", "actor.1/weight", "critic/weight"} <= safetensors.numpy.load_file(result.run_dir / "weights.safetensors").keys()


def test_rewards_are_means_of_so_many_decisions_each(run):
    with (run.run_dir / "rewards.csv").open() as file:
        rows = [(int(row["decisions"]), float(row["mean_reward"])) for row in csv.DictReader(file)]
    assert [at for at, _ in rows] == list(range(20, 12_001, 20)), "the least width of 1, 2 or 5 times a power of ten that makes no more than a thousand rows"
    assert np.mean([mean for _, mean in rows]) == pytest.approx(run.summary()["mean_reward"])
    assert np.mean([mean for at, mean in rows if at > 10_800]) == pytest.approx(run.summary()["last_mean_reward"])


@pytest.mark.parametrize(("count", "ends"), [(0, []), (1, [1]), (3, [1, 2, 3]), (1000, [*range(1, 1001)]), (1001, [*range(2, 1001, 2), 1001])])
def test_bins_cover_every_decision_once(count, ends):
    found = Rewards(float(n) for n in range(count)).binned()
    assert [end for end, _ in found] == ends
    widths = np.diff([0, *ends])
    assert sum(mean * width for (_, mean), width in zip(found, widths, strict=True)) == pytest.approx(sum(range(count)))


def test_what_was_changed_against_the_shipped_scenario_is_in_run_json_and_the_summary(run):
    wanted = {
        "task.decisions": [50_000, 12_000],
        "task.k": [3, 2],
        **{f'clocks."actor.1".{key}': [None, value] for key, value in (("kind", "periodic"), ("period", 1.5), ("jitter", 0.0), ("drift", 0.0))},
    }
    assert json.loads((run.run_dir / "run.json").read_text())["changes"] == wanted
    assert json.loads((run.run_dir / "summary.json").read_text())["changes"] == wanted
    assert changes(asyncnet.load("multiplexer3-weight-max").replace(seed=9)) == {}
    assert changes(asyncnet.load("multiplexer3-weight-max").replace({"name": "mine"})) is None


def test_a_run_is_opened_with_its_scenario_summary_weights_and_returns(run, tmp_path):
    found = asyncnet.open(run.run_dir)
    assert found.scenario == run.scenario
    assert found.summary["digest"] == run.record.digest
    assert np.array_equal(found.weights["actor.2/bias"], run.record.weights["actor.2"]["bias"])
    assert found.returns.index[-1] == 12_000
    assert found.progress["decisions"].iloc[-1] == 12_000
    cartpole = asyncnet.run(asyncnet.load("cartpole-free").replace({"task.episodes": 5}), out=tmp_path)
    assert asyncnet.open(cartpole.run_dir).returns.tolist() == cartpole.record.returns
    (cartpole.run_dir / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(ScenarioError, match=r"weights\.safetensors"):
        _ = asyncnet.open(cartpole.run_dir).weights


def test_weights_are_left_at_every_checkpoint_and_a_run_that_was_killed_can_be_looked_into(tmp_path):
    killed = f"""
import os, asyncnet
made = asyncnet.load("multiplexer3-weight-max", settings=["task.decisions=4000"])
def look(live):
    if live.decisions >= 3000:
        os.kill(os.getpid(), 9)
asyncnet.run(made, out={str(tmp_path)!r}, checkpoint=1e-6, on_progress=look, every=100)
"""
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -9
    found = asyncnet.open(tmp_path / "latest")
    assert len(found.checkpoints) == checkpoint.KEPT
    first, last = found.checkpoints
    assert 0 < first.decisions < last.decisions <= 3000
    assert first.at < last.at
    assert not np.array_equal(first.weights["actor.1/weight"], last.weights["actor.1/weight"])
    whole = Loop(found.scenario, Virtual())
    whole.run(until=round(last.at * 1e6) + 1)
    for name, array in last.weights.items():
        node, key = name.split("/")
        assert np.array_equal(array, next(one for one in whole.nodes.values() if one.name == node).learned()[key]), name
    assert sorted(last.weights) == [f"actor.{n}/{name}" for n in (1, 2, 3) for name in ("bias", "weight")]
    (last.path / "weights.safetensors").write_bytes(b"nothing")
    (first.path / "manifest.json").write_bytes(b"{}")
    (only,) = found.checkpoints
    with pytest.raises(ScenarioError, match=r"weights\.safetensors"):
        _ = only.weights


@pytest.mark.parametrize(
    ("file", "part", "text", "why"),
    [
        ("rewards.csv", "returns", "at,mean_reward\n20,0.5\n", "there is no column 'decisions'"),
        ("rewards.csv", "returns", "decisions,mean_reward\n20,\x1b[31m\n", "could not convert string to float"),
        ("returns.csv", "episodes", "number,return\n1,0.5\n", "there is no column 'episode'"),
        ("probes.csv", "probes", "actor.1.weight_norm\n0.5\n", "there is no column 'decisions'"),
        ("progress.csv", "progress", "", "there is no column 'decisions'"),
        ("progress.csv", "progress", None, "No such file"),
    ],
)
def test_a_file_of_a_run_that_is_damaged_or_not_there_is_named_with_the_reason(file, part, text, why, run, tmp_path):
    path = shutil.copytree(run.run_dir, tmp_path / "run")
    (path / file).unlink(missing_ok=True)
    if text is not None:
        (path / file).write_text(text)
    with pytest.raises(ScenarioError, match=why) as caught:
        getattr(asyncnet.open(path), part)
    assert caught.value.where == str(path / file)
    assert "\x1b" not in str(caught.value)


def by_hand(rows, streams):
    """Lengths and ends of episodes in the order of the run, from which streams ended an episode in each decision: a reset takes one more."""
    begun, over, out = [0] * streams, [False] * streams, []
    for number, ended in enumerate(rows, 1):
        for b in range(streams):
            if over[b]:
                begun[b], over[b] = number, False
            elif ended[b]:
                out.append((number - begun[b], number))
                over[b] = True
    return out


@pytest.mark.parametrize("loop", ["compiled", "readable"])
def test_an_episode_of_cartpole_is_as_long_as_its_return(loop, tmp_path):
    result = asyncnet.run(asyncnet.load("cartpole-free").replace({"task.episodes": 8}), out=tmp_path, loop=loop)
    found = asyncnet.open(result.run_dir).episodes
    assert found["length"].tolist() == found["return"].tolist() == result.record.lengths
    assert len(set(found["length"])) > 1
    assert found["decisions"].tolist() == [sum(result.record.lengths[: n + 1]) + n for n in range(len(found))], "a decision between two resets the world"
    assert list(found.index) == list(range(1, len(found) + 1))


def test_lengths_of_streams_side_by_side_are_those_that_the_environments_had(monkeypatch):
    from asyncnet.tasks.gym import Gym

    rows, move = [], Gym._move

    def moved(self, v):
        move(self, v)
        rows.append(v.ended.copy() * (1 - v.over))

    monkeypatch.setattr(Gym, "_move", moved)
    limit = {"name": "time-limit", "steps": 20}  # stepped in Python, and some episodes end of themselves and some do not
    made = asyncnet.load("cartpole-weight-max").replace({"task.wrappers": [limit], "task.streams": 3, "task.episodes": 20})
    record = asyncnet.run(made, out=None).record
    assert list(zip(record.lengths, record.ends, strict=True)) == by_hand(rows, 3)
    assert len(record.lengths) == len(record.returns) >= 20
    assert record.lengths == record.returns
    assert 20 in record.lengths
    assert min(record.lengths) < 20


def test_what_was_learned_is_measured_with_learning_off(run):
    result = asyncnet.evaluate(run.run_dir, decisions=3000)
    for node, arrays in result.record.weights.items():
        for name, array in arrays.items():
            assert np.array_equal(array, run.record.weights[node][name]), (node, name)
    assert result.summary()["mean_reward"] == pytest.approx(run.summary()["last_mean_reward"], abs=0.08)
    assert result.summary()["mean_reward"] > 0.4
    assert asyncnet.evaluate(run.run_dir, decisions=3000).record.digest == result.record.digest
    other = asyncnet.evaluate(run.run_dir, decisions=3000, seed=8)
    assert other.summary()["mean_reward"] != result.summary()["mean_reward"]


def test_it_is_measured_on_other_draws_than_those_that_it_learned_from(run):
    made = evaluation.still(run.scenario, None, 100, None)
    assert made.seed not in (run.scenario.seed, run.scenario.seed + 1)
    assert (made.rule.learning_rate, made.rule.optimizer.name) == ((0.0,), "sgd")


@pytest.mark.parametrize("name", ["cartpole-free", "cartpole-map-async", "tracking-idbd", "multiplexer3-coordinated"])
def test_every_kind_of_team_holds_still(name, tmp_path):
    scenario = asyncnet.load(name)
    key = "task.decisions" if scenario.task.decisions else "task.episodes"
    run = asyncnet.run(scenario.replace({key: 3}), out=tmp_path)
    result = asyncnet.evaluate(run.run_dir, **{key.removeprefix("task."): 3})
    assert result.record.stopped == "finished"
    weights = {(node, name): array for node, arrays in run.record.weights.items() for name, array in arrays.items()}
    assert weights
    for (node, key), array in weights.items():
        assert np.array_equal(result.record.weights[node][key], array)


def test_a_run_without_weights_cannot_be_measured(run, command, tmp_path):
    started = asyncnet.run(asyncnet.load("multiplexer3-weight-max").replace({"task.decisions": 50}), out=tmp_path)
    (started.run_dir / "weights.safetensors").unlink()
    code, out, err = command("evaluate", started.run_dir)
    assert (code, out) == (64, "")
    assert "weights.safetensors: No such file" in err
    code, out, _ = command("evaluate", run.run_dir, "--decisions", 100, "--json")
    assert json.loads(out)["decisions"] == 100
    assert embedded.LOOPS
