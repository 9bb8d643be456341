"""A finished run's summary is shown again as it was; of another it is said how it stands, and what cannot be read is a line."""

import json

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


def test_a_run_without_a_summary_says_how_it_stands(run, command, tmp_path):
    (tmp_path / "run.json").write_text((run.run_dir / "run.json").read_text().replace('"finished"', '"running"'))
    code, out, err = command("show", tmp_path)
    assert (code, out) == (64, "")
    assert "has no summary: " in err
    assert "asyncnet resume" in err


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
