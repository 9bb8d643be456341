"""`asyncnet verify` and `--check-determinism`: a run in simulated time repeats to the bit, and what does not is named."""

import dataclasses
import json

import numpy as np
import pytest

from asyncnet import api
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.loop import Loop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.record.recorder import WIDTH, fields_of
from support.teams import assert_moved, multiplexer

pytestmark = pytest.mark.usefixtures("signals_as_they_were")


@pytest.fixture
def simulated(tmp_path):
    """A finished run in simulated time."""
    scenario = multiplexer("weight-max", {"task.decisions": 300})
    result = api.run(scenario, out=tmp_path)
    assert_moved(scenario, result.record.weights)
    return result


def test_verify_says_identical_of_a_run_in_simulated_time(simulated, command):
    code, out, _ = command("verify", simulated.run_dir)
    assert (code, out) == (0, f"identical: 300 decisions, digest {simulated.record.digest[:16]}\n")


def test_verify_names_node_and_array_of_another_digest(simulated, command):
    path = simulated.run_dir / "digests.json"
    then = json.loads(path.read_text())
    place = fields_of(Loop(simulated.scenario, Virtual()).nodes[3]).index("bias") * 2 * WIDTH
    fields = then["nodes"]["actor.3"]
    then["nodes"]["actor.3"] = f"{fields[:place]}{int(fields[place], 16) ^ 1:x}{fields[place + 1 :]}"
    path.write_text(json.dumps(then | {"digest": "0" * 64}))
    code, out, _ = command("verify", simulated.run_dir)
    assert (code, out) == (1, "different: at the end, the bias of actor.3\n")


def test_verify_refuses_a_run_that_has_not_finished(simulated, command):
    path = simulated.run_dir / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "running"}))
    code, out, err = command("verify", simulated.run_dir)
    assert (code, out) == (64, "")
    assert "this run has not finished" in err


def test_check_determinism_passes_on_the_embedded_engine(tmp_path):
    result = api.run(multiplexer("weight-max", {"task.decisions": 300}), out=tmp_path, check_determinism=True)
    assert result.verdict() == ("pass", [])
    assert result.again is not None
    assert json.loads((result.run_dir / "summary.json").read_text())["deterministic"] is True


def test_check_determinism_names_the_node_and_array_of_a_run_that_does_not_repeat(monkeypatch, command, tmp_path):
    ran, done = CompiledLoop.run, []

    def drifting(self, *arguments, **how):
        ran(self, *arguments, **how)
        done.append(self)
        if len(done) == 2:
            self.nodes[2].view.bias[0] = np.nextafter(self.nodes[2].view.bias[0], 1.0)

    monkeypatch.setattr(CompiledLoop, "run", drifting)
    (tmp_path / "one.toml").write_text(multiplexer("weight-max", {"task.decisions": 300}).toml())
    code, out, _ = command("run", tmp_path / "one.toml", "--check-determinism", "--out", tmp_path / "runs", "--json")
    assert len(done) == 2
    assert code == 1
    summary = json.loads(out)
    assert (summary["verdict"], summary["deterministic"]) == ("fail", False)
    assert summary["reasons"] == ["not deterministic: different: at the end, the bias of actor.2"]


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
def test_a_second_execution_that_was_interrupted_proves_nothing(kept, monkeypatch, tmp_path):
    from asyncnet.runs import embedded

    done, run = [], embedded.run

    def interrupted_later(*given, **how):
        done.append(run(*given, **how))
        return done[-1] if len(done) == 1 else dataclasses.replace(done[-1], stopped="interrupted", digest="0" * 64)

    monkeypatch.setattr(embedded, "run", interrupted_later)
    result = api.run(multiplexer("weight-max", {"task.decisions": 300}), out=tmp_path if kept else None, check_determinism=True)
    assert len(done) == 2
    assert result.verdict() == ("pass", [])
    assert "deterministic" not in result.summary()


def test_check_determinism_is_refused_on_real_clocks(command, tmp_path):
    words = ("multiplexer2-units", "--check-determinism", "--out", tmp_path)
    for more in (("--time", "wall"), ("--engine", "ray")):
        code, out, err = command("run", *words, *more)
        assert (code, out) == (64, "")
        assert "--check-determinism: real clocks do not repeat" in err
    assert list(tmp_path.iterdir()) == []
