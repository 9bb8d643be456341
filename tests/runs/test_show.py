"""A finished run's summary is shown again as it was; of another it is said how it stands, and what cannot be read is a line."""

import json
import os

import pytest

import asyncnet


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return asyncnet.run(asyncnet.load("multiplexer3-weight-max", settings=["task.decisions=200"]), out=tmp_path_factory.mktemp("runs"))


def test_a_summary_is_shown_again_as_it_was(run, command):
    code, out, _ = command("show", run.run_dir)
    assert code == 0
    assert run.record.digest[:16] in out
    assert "mean reward, last 10 %" in out
    assert json.loads(command("show", run.run_dir, "--json")[1])["digest"] == run.record.digest


@pytest.mark.parametrize("before", [False, True], ids=["never", "once"])
def test_of_a_run_that_has_not_finished_it_is_said_how_it_stands_whether_it_has_ended_before_or_not(before, run, command, tmp_path):
    (tmp_path / "run.json").write_text((run.run_dir / "run.json").read_text().replace('"finished"', '"running"').replace(f'"pid": {os.getpid()}', '"pid": 1'))
    (tmp_path / "checkpoints").mkdir()
    if before:
        (tmp_path / "summary.json").write_text((run.run_dir / "summary.json").read_text())
    code, out, err = command("show", tmp_path)
    assert code == 2
    assert out == f"{tmp_path}: dead: its process is gone\n"
    assert err == f"to go on:\nasyncnet resume {tmp_path}\n"
    assert json.loads(command("show", tmp_path, "--json")[1])["standing"] == "dead: its process is gone"


@pytest.mark.parametrize(("text", "said"), [("{", "not JSON"), ("[]", "summary.json"), ('{"scenario": 3}', "scenario"), (None, "on_time: is no number")])
def test_a_damaged_summary_is_a_line(text, said, run, command, tmp_path):
    (tmp_path / "run.json").write_text((run.run_dir / "run.json").read_text())
    whole = json.loads((run.run_dir / "summary.json").read_text())
    (tmp_path / "summary.json").write_text(json.dumps(whole | {"on_time": "\x1b[31m"}) if text is None else text)
    code, out, err = command("show", tmp_path)
    assert (code, out) == (64, "")
    assert said in err
    assert err.count("\n") == 1
    assert "\x1b" not in err
