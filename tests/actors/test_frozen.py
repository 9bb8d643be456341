"""A part of a run on Ray that is frozen or killed is named, and the run ends with its summary: an actor, or a process of Ray's own, at any moment.

The study does it thirty times; ASYNCNET_FREEZES says how often.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from asyncnet.actors.reaper import MARK, leftovers

NAMED = 30.0  # seconds, the promise
GUARD = 120.0  # seconds; only a hang takes that long
DECISIONS = 1500
PARTS = ("learner", "world", "raylet", "gcs_server")
WHENS = ("start", "run", "end")
OWN = {"raylet": "the raylet", "gcs_server": "the control store"}

# The command, which also notes which process hosts which nodes.
COMMAND = """
import json, sys
from asyncnet.actors.conductor import Eyes

def know(eyes, pid, hosts, awaited, known=Eyes.know):
    print("hosts", json.dumps([pid, hosts]), file=sys.stderr, flush=True)
    known(eyes, pid, hosts, awaited)

Eyes.know = know
from asyncnet.cli import main
main(sys.argv[1:])
"""


def memory() -> set[str]:
    """The shared memory of this machine that has a name."""
    return set(os.listdir("/dev/shm"))


class Driven:
    """A run in a process of its own, and what can be seen of it from outside."""

    def __init__(self, out: Path, decisions: int = DECISIONS, restart: str = "never") -> None:
        self.out, self.mark, self.directory, self.shared = out, "", out, memory()
        words = ["run", "multiplexer3-weight-max", "--engine", "ray", "--restart", restart, "--json", "--set", f"task.decisions={decisions}", "--out", str(out)]
        with (out / "stdout").open("w") as said, (out / "stderr").open("w") as noted:
            self.process = subprocess.Popen([sys.executable, "-c", COMMAND, *words], stdout=said, stderr=noted, start_new_session=True)

    def notes(self) -> str:
        return (self.out / "stderr").read_text()

    def until(self, what):
        """Wait until that is something, and return it."""
        end = time.monotonic() + GUARD
        while not (found := what()):
            assert self.process.poll() is None, self.notes()
            assert time.monotonic() < end, self.notes()
            time.sleep(0.02)
        return found

    def rows(self) -> int:
        """How many rows of progress have been kept."""
        try:
            return (self.out / "latest" / "metrics.jsonl").read_text().count("\n")
        except FileNotFoundError:
            return 0

    def find(self, part: str) -> tuple[psutil.Process, str]:
        """A process of the session as soon as it is there, and which nodes it hosts, if that is known."""
        self.mark = self.mark or self.until(self._mark)
        return self.until(lambda: self._find(part))

    def _mark(self) -> str:
        for process in psutil.Process(self.process.pid).children():
            try:
                around = process.environ()
                if MARK in around:
                    self.directory = Path(around["RAY_AUTH_TOKEN_PATH"]).parent
                    return around[MARK]
            except psutil.Error:
                pass
        return ""

    def _find(self, part: str) -> tuple[psutil.Process, str] | None:
        lines = self.notes().splitlines(keepends=True)
        nodes = dict(json.loads(line.removeprefix("hosts ")) for line in lines if line.startswith("hosts ") and line.endswith("\n"))
        for process in leftovers(self.mark):
            try:
                name = process.name()
            except psutil.Error:
                continue
            if part in OWN:
                if name == part:
                    return process, OWN[part]
            elif process.pid in nodes:
                if (nodes[process.pid] == "world") == (part == "world"):
                    return process, nodes[process.pid]
            elif not nodes and name.startswith("ray::") and name != "ray::IDLE":  # one that is starting: whose it is has not been said yet
                return process, ""
        return None

    def strike(self, part: str, number: signal.Signals) -> tuple[float, str]:
        """Send the signal; returns when, and who it was."""
        process, who = self.find(part)
        process.send_signal(number)
        return time.monotonic(), who

    def end(self) -> dict:
        """Wait for the end and say what it came to."""
        try:
            code = self.process.wait(GUARD)
        finally:
            self.process.kill()
        ended = time.monotonic()
        said = (self.out / "stdout").read_text()
        summary = json.loads(said) if said.strip() else None  # one object and nothing else, whatever Ray prints
        status = json.loads((self.out / "latest" / "run.json").read_text())["status"]
        left = [f"{process.pid} {process.name()}" for process in leftovers(self.mark)] + [str(self.directory)] * self.directory.exists()
        left += sorted(memory() - self.shared)
        return {"code": code, "ended": ended, "summary": summary, "status": status, "left": left}


def assert_named(ended: dict, who: str) -> None:
    assert ended["code"] == 1
    assert ended["summary"]["verdict"] == "fail"
    assert ended["summary"]["stopped"] == ended["status"]
    named = ended["summary"]["reasons"][0].partition("; lost with it")[0]
    assert who in named
    assert who or "world" in named or "actor." in named, "of one that was starting it says who had not come yet"
    assert ended["left"] == []


@pytest.mark.ray
@pytest.mark.parametrize(("part", "number", "said"), [("raylet", signal.SIGKILL, "has ended"), ("world", signal.SIGSTOP, "no answer for 10 s")])
def test_a_part_that_is_gone_or_frozen_is_named_and_the_run_ends_with_its_summary(part, number, said, tmp_path):
    driven = Driven(tmp_path, decisions=20_000)
    driven.until(driven.rows)
    _, who = driven.strike(part, number)
    ended = driven.end()
    assert_named(ended, who)
    assert said in ended["summary"]["reasons"][0]
    assert "world" in ended["summary"]["reasons"][0], "the nodes that went with it"
    assert ended["summary"]["decisions"] > 0
    assert ended["summary"]["digest"] == ""
    assert driven.rows() > 0


@pytest.mark.ray
def test_a_control_store_that_is_killed_while_ray_starts_is_named(tmp_path):
    driven = Driven(tmp_path)
    driven.strike("gcs_server", signal.SIGKILL)
    ended = driven.end()
    assert_named(ended, "the control store")
    assert ended["summary"]["decisions"] == 0


@pytest.mark.ray
def test_a_ray_that_ends_while_it_starts_is_started_anew(tmp_path):
    driven = Driven(tmp_path, restart="intensity")
    driven.strike("raylet", signal.SIGKILL)
    ended = driven.end()
    assert (ended["code"], ended["status"], ended["summary"]["decisions"]) == (0, "finished", DECISIONS)
    assert "Ray did not start: the raylet has ended; once more\n" in driven.notes()
    assert ended["left"] == []


@pytest.mark.ray
@pytest.mark.study
@pytest.mark.timeout(7200)
def test_thirty_freezes_and_kills_are_named_in_time_and_leave_nothing(tmp_path):
    draw, wrong = random.Random(13), []
    for n in range(int(os.environ.get("ASYNCNET_FREEZES", "30"))):
        part, when, number = PARTS[n % 4], WHENS[n // 4 % 3], (signal.SIGSTOP, signal.SIGKILL)[n // 12 % 2]
        out = tmp_path / str(n)
        out.mkdir()
        driven = Driven(out)
        if when == "start":
            driven.find(part)
            time.sleep(draw.uniform(0.0, 2.0))
        else:
            rows = {"run": 1, "end": 190}[when]  # of 200, each of 7 or 8 decisions
            driven.until(lambda driven=driven, rows=rows: driven.rows() >= rows)
            time.sleep(draw.uniform(0.0, {"run": 8.0, "end": 1.5}[when]))
        try:
            at, who = driven.strike(part, number)
        except (AssertionError, psutil.Error):
            at, who = time.monotonic(), "nobody: it had ended"
        ended = driven.end()
        summary, took = ended["summary"] or {}, ended["ended"] - at
        line = f"{n:2} {when:5} {number.name} {part} ({who or 'not yet a host'}): {took:.1f} s, exit {ended['code']}, {summary.get('stopped')}"
        print(line, flush=True)
        try:
            assert ended["left"] == []
            assert ended["status"] == summary["stopped"]
            assert took < NAMED
            if ended["status"] != "finished":
                assert_named(ended, who)
            else:  # it struck when all was done, and there may have been time to see it, or Ray had another process take over
                assert (ended["code"], summary["decisions"]) == (0, DECISIONS)
                noted = [line for line in driven.notes().splitlines() if "stood still as the run ended" in line]
                assert any(who in line for line in noted) or number == signal.SIGKILL or took < 1.0
        except (AssertionError, KeyError) as error:
            wrong.append(f"{line}\n{error}")
    assert not wrong, "\n".join(wrong)


def holders() -> list[str]:
    """The processes that hold memory which hosts share."""
    out = []
    for process in psutil.process_iter():
        try:
            held = [os.readlink(one) for one in Path(f"/proc/{process.pid}/fd").iterdir()]
            held += Path(f"/proc/{process.pid}/maps").read_text().splitlines()
        except OSError:
            continue
        out += [f"{process.pid} {process.name()}"] * any("/memfd:asyncnet " in one for one in held)
    return out


@pytest.mark.ray
@pytest.mark.study
@pytest.mark.timeout(7200)
def test_sixty_kills_at_random_moments_leave_no_memory_process_or_directory(tmp_path):
    draw, wrong = random.Random(16), []
    for n in range(int(os.environ.get("ASYNCNET_KILLS", "60"))):
        part, out, others = (*PARTS, "driver")[n % 5], tmp_path / str(n), holders()
        out.mkdir()
        driven = Driven(out)
        driven.mark = driven.until(driven._mark)
        time.sleep(draw.uniform(0.0, 12.0))
        who = part
        try:
            if part == "driver":
                driven.process.kill()
            else:
                _, who = driven.strike(part, signal.SIGKILL)
        except (AssertionError, psutil.Error):
            who = "nobody: it had ended"
        driven.process.wait(GUARD)
        until = time.monotonic() + 10.0
        left = [part]
        while left and time.monotonic() < until:
            left = [*leftovers(driven.mark), *(one for one in holders() if one not in others), *sorted(memory() - driven.shared)]
            left += [driven.directory] * driven.directory.exists()
            time.sleep(0.1)
        print(f"{n:2} {part} ({who}): {left or 'nothing left'}", flush=True)
        if left:
            wrong.append(f"{n} {part} ({who}): {left}")
    assert not wrong, "\n".join(wrong)
