"""What is said of a machine is so, and what is cleaned away is what nobody looks after."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from asyncnet.actors import doctor, reaper
from asyncnet.actors.session import ground
from asyncnet.commands.doctor import Doctor


def said(what):
    """The finding of that name."""
    return next(finding for finding in doctor.findings() if finding.what == what)


@pytest.fixture
def somewhere(tmp_path, monkeypatch):
    """Temporary files and a home of one's own, so that what other tests have going is not seen."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    short = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    monkeypatch.setattr(doctor, "PARENTS", (str(short),))
    found = doctor.leftovers
    monkeypatch.setattr(doctor, "leftovers", lambda: [one for one in found() if one.mark in ("", "abandoned")])
    yield short
    subprocess.run(["rm", "-rf", str(short)], check=True)


@pytest.fixture
def orphan(somewhere):
    """A process of a session whose helper is gone, and a directory of one."""
    directory = somewhere / f"{reaper.PREFIX}abandoned"
    directory.mkdir(mode=0o700)
    (directory / "r").mkdir()
    os.utime(directory, (0.0, 0.0))
    environment = os.environ | {reaper.MARK: "abandoned"}
    with subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"], env=environment, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process, directory
        process.kill()


def test_every_finding_is_fine_or_says_what_to_do(somewhere, capsys):
    found = list(doctor.findings())
    assert len({finding.what for finding in found}) == len(found) > 10
    assert all(finding.verdict == doctor.FINE or finding.advice for finding in found)
    assert Doctor(json=True)() == int(any(finding.verdict == doctor.WRONG for finding in found))
    assert [row["what"] for row in json.loads(capsys.readouterr().out)["findings"]] == [finding.what for finding in found]
    Doctor()()
    shown = capsys.readouterr().out
    assert all(finding.what in shown for finding in found)


def test_what_is_left_of_a_session_that_nobody_looks_after_is_found_and_cleaned_away(orphan, capsys):
    process, directory = orphan
    assert {(one.mark, one.processes, one.directory) for one in doctor.leftovers()} >= {("abandoned", (process.pid,), None), ("", (), directory)}
    assert said("left of sessions").verdict == doctor.WRONG
    Doctor(clean=True, json=True)()
    assert process.wait(10) != 0
    assert not directory.exists()
    told = capsys.readouterr()
    assert f"process {process.pid}" in told.err
    assert str(directory) in told.err
    assert not [one for one in doctor.leftovers() if one.mark == "abandoned" or one.directory == directory]


def test_a_session_that_is_alive_is_left_alone(somewhere, monkeypatch):
    with ground() as here:
        environment = os.environ | here.environment
        with subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"], env=environment, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            os.utime(here.directory, (0.0, 0.0))
            monkeypatch.undo()  # all that there is
            monkeypatch.setattr(doctor, "PARENTS", (str(somewhere),))
            left = [one for one in doctor.leftovers() if one.mark == here.mark or one.directory == here.directory]
            assert not left
            doctor.clean(left)
            assert psutil.pid_exists(process.pid)
            assert process.poll() is None
            assert here.directory.exists()
            process.kill()


def test_a_directory_of_another_kind_or_that_is_young_is_not_taken_away(somewhere):
    (somewhere / f"{reaper.PREFIX}open").mkdir(mode=0o755)
    (somewhere / f"{reaper.PREFIX}file").write_text("")
    (somewhere / f"{reaper.PREFIX}link").symlink_to(Path.home())
    (somewhere / f"{reaper.PREFIX}young").mkdir(mode=0o700)
    os.utime(somewhere / f"{reaper.PREFIX}open", (0.0, 0.0))
    doctor.clean(doctor.leftovers())
    assert len([*somewhere.iterdir()]) == 4


@pytest.mark.parametrize(("mode", "verdict"), [(0o600, doctor.FINE), (0o644, doctor.WRONG)])
def test_a_token_that_others_can_read_is_wrong(somewhere, tmp_path, monkeypatch, mode, verdict):
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(mode)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    finding = said("Ray's token")
    assert finding.verdict == verdict
    assert "secret" not in str(finding)


def test_a_session_without_a_token_or_with_one_that_is_not_there_is_wrong(somewhere, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    assert said("Ray's token").verdict == doctor.WRONG
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert said("Ray's token").verdict == doctor.WRONG


def test_an_address_at_which_nobody_answers_is_noted(somewhere, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    finding = said("a Ray cluster to join")
    assert finding.verdict == doctor.NOTE
    assert "does not answer" in finding.found


def test_several_threads_a_long_folder_and_memory_that_cannot_be_shared_are_noted(somewhere, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert "OMP_NUM_THREADS=1" in said("threads of libraries").advice
    monkeypatch.setattr(doctor.Memory, "of", lambda address: None)
    assert said("memory between actors").verdict == doctor.NOTE
    long = somewhere / "a-folder-of-some-length"
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert "/tmp" in said("temporary files").advice
