"""Neither divergence nor an environment that raises is an exception: a run says so, and its files are whole."""

import json

import gymnasium
import numpy as np
import pytest

import asyncnet
from asyncnet import api
from asyncnet.runs import checkpoint
from asyncnet.runs.replicas import replicate, summarize
from support.commands import strictly
from support.interrupted import interrupted

pytestmark = pytest.mark.usefixtures("signals_as_they_were")


@pytest.fixture(scope="module")
def diverging():
    return asyncnet.load("mountaincar-map", settings=["rule.learning_rate=1000.0", "task.decisions=2500"])


def test_a_run_that_diverges_fails_with_reasons_and_its_files_are_json(diverging, tmp_path, command):
    (tmp_path / "one.toml").write_text(diverging.toml())
    code, out, _ = command("run", tmp_path / "one.toml", "--checkpoint", "0.1", "--out", tmp_path / "runs", "--json")
    summary = strictly(out)
    assert (code, summary["verdict"], summary["stopped"]) == (1, "fail", "finished")
    assert any("weights are not finite" in reason for reason in summary["reasons"])
    assert any(reason.startswith("the score is not finite: mean_reward") for reason in summary["reasons"])
    assert summary["mean_reward"] is None
    path = tmp_path / "runs" / "latest"
    rows = [strictly(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["rollout/mean_reward"] is None
    assert rows[-1]["done"] == 1.0
    for file in path.rglob("*.json"):
        strictly(file.read_text())
    assert any(None in row.values() for row in checkpoint.load(path / "checkpoints")[0].about["score"]["rows"])


def test_a_run_that_diverged_is_resumed_to_the_bit(diverging, tmp_path):
    whole = api.run(diverging, out=None)
    part = interrupted(diverging, tmp_path, share=0.9)
    again = asyncnet.resume(part.run_dir)
    assert again.summary()["resumed"] == "exactly"
    assert again.record.digest == whole.record.digest
    assert again.record.fields == whole.record.fields


class Brittle(gymnasium.Env):
    """An environment that cannot bear an action that is no number, and in its third episode nothing at all."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
    episodes = 0

    def reset(self, **how):
        super().reset(**how)
        self.steps, self.episodes = 0, self.episodes + 1
        return np.zeros(2, dtype=np.float32), {}

    def step(self, action):
        self.steps += 1
        if not np.isfinite(action).all():
            raise AssertionError(f"{action!r}\x1b[31m is no action")
        if self.episodes == 3:
            raise ValueError("gears\njammed")
        return np.ones(2, dtype=np.float32), 1.0, self.steps == 20, False, {}


@pytest.fixture
def brittle():
    gymnasium.register("Brittle-v0", entry_point=Brittle)
    yield asyncnet.load("mountaincar-map", settings=["task.id=Brittle-v0", "task.decisions=500"])
    del gymnasium.registry["Brittle-v0"]


@pytest.mark.parametrize("loop", ["compiled", "readable"])
def test_an_environment_that_raises_ends_the_run_with_a_reason(brittle, loop, tmp_path, command):
    result = api.run(brittle, out=tmp_path, loop=loop)
    assert result.verdict()[0] == "fail"
    assert result.verdict()[1][0] == "the task failed: Brittle-v0: ValueError: gears jammed"
    assert result.summary()["decisions"] > 40
    assert json.loads((result.run_dir / "run.json").read_text())["status"] == result.record.stopped
    wild = brittle.replace({"rule.learning_rate": (1000.0,)})
    why = api.run(wild, out=None, loop=loop).verdict()[1][0]
    assert why.startswith("the task failed: Brittle-v0, given actions that are not finite: AssertionError: array([nan]")


def test_replicas_that_diverge_have_a_mean_and_no_error(diverging, capsys):
    results = replicate(diverging.replace({"task.decisions": 1500}), (1, 2), out=None)
    summary = summarize(results)
    assert not np.isfinite(summary["mean"]["mean_reward"])
    assert summary["standard_error"]["mean_reward"] is None
    from asyncnet.console import show_replicas, show_summary

    show_replicas(summary)
    show_summary(results[0].summary())
    assert "nan" in capsys.readouterr().out
