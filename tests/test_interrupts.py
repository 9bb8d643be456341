"""Ctrl-C and SIGTERM end the command in order, with 130 and without a traceback, at whatever moment they come."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import asyncnet
from asyncnet import interrupts
from asyncnet.api import Quiet

BOTH = (signal.SIGINT, signal.SIGTERM)
pytestmark = pytest.mark.usefixtures("signals_as_they_were")


@pytest.fixture(autouse=True)
def nothing_heard_before(monkeypatch):
    monkeypatch.setattr(interrupts, "_last", float("-inf"))


def does(run, what):
    """Whether a process catches SIGTERM ("SigCgt": before that it is Python that starts, and not ours) or ignores it ("SigIgn": at its end)."""
    status = Path(f"/proc/{run.pid}/status").read_text()
    found = re.search(rf"^{what}:\s*(\w+)", status, re.M)
    return bool(found and int(found[1], 16) >> (signal.SIGTERM - 1) & 1)


@contextmanager
def started(*words, **environment):
    """The command as a process that listens."""
    run = subprocess.Popen(
        [sys.executable, "-m", "asyncnet", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        while not does(run, "SigCgt"):
            assert run.poll() is None
            time.sleep(0.001)
        yield run
    finally:
        run.kill()
        run.communicate()


def assert_left(run, how):
    run.send_signal(how)
    _, err = run.communicate(timeout=60)
    assert (run.returncode, re.findall("Traceback|ignored", err)) == (130, []), err


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The directory of a run."""
    return asyncnet.run(asyncnet.load("cartpole-weight-max").replace({"task.episodes": 3}), out=tmp_path_factory.mktemp("finished")).run_dir


def verbs(finished, out):
    long = ["cartpole-weight-max", "--set", "task.episodes=1000000", "--out", str(out), "--json"]
    return {
        "run": ["run", *long],
        "replicas": ["run", *long, "--seeds", "3", "--workers", "2"],
        "resume": ["resume", str(finished)],
        "replay": ["replay", str(finished)],
        "verify": ["verify", str(finished)],
        "list": ["list"],
        "validate": ["validate", "cartpole-weight-max"],
        "bench": ["bench", "embedded"],
    }


@pytest.mark.parametrize(("how", "after"), [(signal.SIGTERM, 0.0), (signal.SIGINT, 0.2), (signal.SIGTERM, 0.6)])
def test_a_command_that_has_begun_is_left_at_once(how, after, finished, tmp_path):
    with started(*verbs(finished, tmp_path)["run"]) as run:
        time.sleep(after)
        assert_left(run, how)


def test_a_command_is_left_while_it_compiles(tmp_path):
    with started(*verbs("", tmp_path)["run"], ASYNCNET_CACHE=str(tmp_path / "cache")) as run:
        assert ["compiling" in run.stderr.readline() for _ in range(2)] == [False, True]  # the first says what begins
        time.sleep(1.0)
        assert_left(run, signal.SIGINT)


def test_a_bench_ends_with_the_run_that_an_interrupt_ends(tmp_path):
    for number in range(4):
        with started("bench", "embedded", "--seconds", "4") as bench:
            assert [bench.stderr.readline() for _ in range(2)][1].startswith("timing ")
            time.sleep(0.3 * number)
            assert_left(bench, BOTH[number % 2])


@pytest.mark.study
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("verb", verbs("", ""))
def test_every_verb_is_left_at_any_of_24_moments_of_its_first_two_seconds(verb, finished, tmp_path):
    """The shorter verbs are over before that: they pass as what they are."""
    ended = []
    for number in range(24):
        with started(*verbs(finished, tmp_path / str(number))[verb]) as run:
            time.sleep(number / 12)
            if run.poll() is None and not does(run, "SigIgn"):
                assert_left(run, BOTH[number % 2])
                ended.append(number)
    assert len(ended) >= 4
    print(f"\n{verb}: {len(ended)} of 24 ended by a signal", flush=True)


@pytest.mark.study
@pytest.mark.timeout(3600)
def test_a_command_is_left_at_any_of_24_moments_of_compiling(tmp_path):
    for number in range(24):
        with started(*verbs("", tmp_path)["run"], ASYNCNET_CACHE=str(tmp_path / f"cache {number}")) as run:
            assert ["compiling" in run.stderr.readline() for _ in range(2)] == [False, True]  # the first says what begins
            time.sleep(number)
            assert_left(run, BOTH[number % 2])


@pytest.mark.ray
@pytest.mark.study
@pytest.mark.timeout(3600)
def test_a_command_is_left_while_ray_starts(tmp_path):
    for number in range(12):
        with started(*verbs("", tmp_path)["run"], "--engine", "ray") as run:
            time.sleep(1.0 + number / 2)
            assert_left(run, BOTH[number % 2])


def told(handler):
    """What is called when SIGINT comes three times within `instead`, with that handler outside; and whether KeyboardInterrupt got out."""
    signal.signal(signal.SIGINT, handler)
    calls = []
    try:
        with interrupts.instead(lambda: calls.append("told")):
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
                interrupts._last = float("-inf")
    except KeyboardInterrupt:
        calls.append("raised")
    assert signal.getsignal(signal.SIGINT) is handler
    return calls


def test_the_first_interrupt_is_told_and_a_later_one_does_what_it_does_outside(monkeypatch):
    monkeypatch.setattr(interrupts, "_last", float("-inf"))
    monkeypatch.setattr(os, "_exit", lambda code: (_ for _ in ()).throw(KeyboardInterrupt(code)))
    assert told(signal.default_int_handler) == ["told", "raised"]
    assert told(interrupts.leave) == ["told", "raised"]
    heard = []
    assert told(lambda *_: heard.append(1)) == []
    assert len(heard) == 3, "a handler that raises nothing is somebody else's business"


def test_an_interrupt_sent_again_at_once_is_the_same(monkeypatch):
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail("left"))
    interrupts.listen()
    calls = []
    with interrupts.instead(lambda: calls.append("told")):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
    assert calls == ["told"]


def test_code_that_ends_by_exceptions_is_given_one(monkeypatch):
    interrupts.listen()
    with pytest.raises(KeyboardInterrupt), interrupts.raised():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is interrupts.leave


def test_a_run_in_another_thread_is_told_too():
    scenario = asyncnet.load("cartpole-weight-max").replace({"task.episodes": 20_000})
    running, ended = threading.Event(), []

    class Shown(Quiet):
        def row(self, row):
            running.set()

    thread = threading.Thread(target=lambda: ended.append(asyncnet.run(scenario, out=None, reporter=Shown())))
    thread.start()
    assert running.wait(100)
    interrupts.tell_threads()
    thread.join(60)
    assert [result.record.stopped for result in ended] == ["interrupted"]
