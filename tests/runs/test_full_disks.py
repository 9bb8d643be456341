"""A full disk costs files and never the run, and is said."""

import json
import os
import resource
import subprocess

import pytest

import asyncnet
from asyncnet import api
from asyncnet.api import Quiet
from asyncnet.scenario.schema import ScenarioError, check
from support.commands import strictly, words_of
from support.disk import watch
from support.interrupted import files, interrupted
from support.small import small
from support.teams import multiplexer

pytestmark = pytest.mark.usefixtures("signals_as_they_were")


def test_a_place_where_no_run_can_be_kept_is_a_line_and_nothing_starts(tmp_path, command):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "one.toml").write_text(check(small(), "small").toml())
    for out in (tmp_path / "file", tmp_path / "file" / "runs", "/proc/none/runs"):
        code, printed, err = command("run", tmp_path / "one.toml", "--out", out)
        assert (code, printed) == (64, "")
        assert err.startswith(f"asyncnet: --out: no run can be kept in {out}: ")
        assert err.count("\n") == 1
    assert files(tmp_path) == ["file", "one.toml"]


def whole_files(path):
    """No part of a file is left in a run's directory, and what is JSON is whole."""
    left = files(path)
    assert not [name for name in left if name.endswith(".part")]
    for name in left:
        if name.endswith(".json"):
            strictly((path / name).read_text())
    if "metrics.jsonl" in left:
        text = (path / "metrics.jsonl").read_text()
        assert text == "" or text.endswith("\n")
        for line in text.splitlines():
            strictly(line)
    return left


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.study)])
@pytest.mark.parametrize("time", ["virtual", "wall"])
def test_a_disk_that_is_full_from_any_step_on_costs_files_and_not_the_run(time, every, tmp_path):
    scenario = check(small(task={"decisions": 4}), "small")
    expected = api.run(scenario, out=None)
    refused, costs = set(), set()
    for step in range(0, 10_000, every):
        folder, count = tmp_path / str(step), 0
        folder.mkdir()

        def before(name, call, *args, step=step):
            nonlocal count
            count += 1
            if count > step and name not in ("unlink", "rmdir"):
                if name == "write":
                    call(args[0], args[1][: len(args[1]) // 2])
                raise OSError(28, "No space left on device")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: None)  # it takes milliseconds
            watch(patch.setattr, before)
            try:
                result = api.run(scenario, out=folder, checkpoint=1e-9, time=time)
            except ScenarioError as error:
                refused.add(str(error).replace(str(folder), "there"))
                assert files(folder) == []
                continue
        assert result.record.stopped == "finished"
        if time == "virtual":
            assert result.record.digest == expected.record.digest
        left = whole_files(result.run_dir)
        assert [name for name in os.listdir(folder) if name not in ("latest", result.run_dir.name)] == []
        if count <= step:
            assert not list(result.trouble)
            break
        reasons = list(result.trouble)
        assert result.verdict()[0] == "unknown"
        assert all(reason.endswith(": No space left on device") for reason in reasons)
        assert "run.json could not be written: No space left on device" in reasons
        costs |= {name for name in left if "/" not in name}
    assert refused == {"--out: no run can be kept in there: No space left on device"}
    assert {"config.toml", "run.json", "metrics.jsonl", "progress.csv", "ledger.csv", "digests.json", "summary.json"} <= costs


def test_lines_that_found_no_room_are_there_once_there_is_some(tmp_path, monkeypatch):
    scenario, write, rows = check(small(task={"decisions": 8}), "small"), os.write, []

    def full(descriptor, data):
        if b'"decisions": 3,' in bytes(data) and len(rows) < 5:
            write(descriptor, data[:10])
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    class Counting(Quiet):
        def row(self, row):
            rows.append(row)

    monkeypatch.setattr(os, "write", full)
    result = api.run(scenario, out=tmp_path, reporter=Counting())
    assert result.verdict() == ("pass", [])
    assert [json.loads(line)["decisions"] for line in (result.run_dir / "metrics.jsonl").read_text().splitlines()] == list(range(1, 9))


def spoken(arguments, **how):
    """The real command's exit code, and the one JSON object that it printed."""
    done = subprocess.run(words_of(arguments), capture_output=True, text=True, timeout=200, check=False, **how)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, strictly(done.stdout)


def test_a_limit_on_files_costs_files_and_the_summary_is_printed(tmp_path):
    arguments = ["run", "multiplexer3-weight-max", "--set", "task.decisions=3000", "--checkpoint", "0.01", "--out", str(tmp_path), "--json"]
    code, summary = spoken(arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)))
    assert (code, summary["verdict"], summary["stopped"], summary["decisions"]) == (2, "unknown", "finished", 3000)
    assert "metrics.jsonl is not complete: File too large" in summary["reasons"]
    assert any(reason.startswith("no checkpoint could be written at") for reason in summary["reasons"])
    assert "summary.json" in whole_files(tmp_path / "latest")
    assert json.loads((tmp_path / "latest" / "run.json").read_text())["status"] == "finished"


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_file_system_of_a_megabyte_is_filled_and_the_run_ends_well(tiny_disk):
    arguments = ["run", "multiplexer3-weight-max", "--set", "task.decisions=20000", "--checkpoint", "0.05", "--out", str(tiny_disk), "--json"]
    (tiny_disk / "other").write_bytes(bytes(980_000))
    code, summary = spoken(arguments)
    assert (code, summary["verdict"], summary["stopped"]) == (2, "unknown", "finished")
    assert any(reason.endswith("No space left on device") for reason in summary["reasons"])
    whole_files(tiny_disk / "latest")


def test_a_folder_in_the_place_of_the_link_to_the_latest_run_is_left_alone(tmp_path):
    (tmp_path / "latest").mkdir()
    result = api.run(check(small(), "small"), out=tmp_path)
    assert result.verdict() == ("unknown", ["latest could not be written: Is a directory"])
    assert sorted(os.listdir(tmp_path)) == sorted(["latest", result.run_dir.name])


def test_resume_refuses_a_disk_that_takes_nothing_and_loses_nothing(tmp_path, monkeypatch):
    path = interrupted(multiplexer("weight-max", {"task.decisions": 400}), tmp_path).run_dir
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(ScenarioError, match="nothing can be written there: No space left on device"):
            asyncnet.resume(path)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert asyncnet.resume(path).record.stopped == "finished"
