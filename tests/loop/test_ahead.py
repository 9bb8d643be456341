"""What a run will need is compiled in two processes, once, and the other process outlives nobody."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from asyncnet.kernels.kernel import kept
from asyncnet.loop.compiled import ahead
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.scenario.schema import check
from support.small import small


def piece(name, cost):
    return ahead.Piece(name, None, (), cost)


def test_the_longest_pieces_are_shared_out_first_and_both_processes_have_about_as_much():
    here, there = ahead.shares([piece("c", 3.0), piece("a", 12.0), piece("b", 7.0), piece("go", 15.0), piece("d", 0.5)])
    assert {each.name for each in here + there} == {"a", "b", "c", "d", "go"}
    assert abs(sum(each.cost for each in here) - sum(each.cost for each in there)) < 4.0
    assert here[0].name == "go"


def test_a_run_whose_code_is_there_starts_no_other_process(monkeypatch):
    scenario = check(small(), "test")
    CompiledLoop(scenario, Virtual()).prepare(wired=True)
    names = [each.name for each in ahead.pieces(scenario, wired=True) if kept(each.entry, each.signature)]
    nodes = ["world multiplexer", "sampled coagent adam"]
    loops = [f"the loop: {name}" for name in ("go", "take_all_in", "go_together", "take_in_what_came", "make_way")]
    assert names == [*nodes, *(f"{name}: begin" for name in nodes), *loops]
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started"))
    ahead.compile_ahead(scenario, wired=True)


def begun(tmp_path, monkeypatch):
    """A run with an empty cache, and the process that compiles for it."""
    monkeypatch.setenv("ASYNCNET_CACHE", str(tmp_path / "cache"))
    words = ["run", "cartpole-weight-max", "--set", "task.episodes=20", "--json", "--out", str(tmp_path)]
    run = subprocess.Popen([sys.executable, "-m", "asyncnet", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "in " + str(tmp_path) in run.stderr.readline(), "first of all where the run is"
    assert run.stderr.readline().startswith("compiling what this run needs")
    assert "in another process" in run.stderr.readline()
    (other,) = psutil.Process(run.pid).children()
    return run, other


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core compiles alone")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_other_process_ends_with_the_run(number, tmp_path, monkeypatch):
    run, other = begun(tmp_path, monkeypatch)
    time.sleep(1.0)
    assert other.is_running()
    run.send_signal(number)
    run.communicate(timeout=60)
    assert psutil.wait_procs([other], timeout=10.0)[1] == []


def test_an_other_process_that_is_stopped_is_not_waited_for_without_end(monkeypatch):
    class Small:
        """An entry that takes no time to compile."""

        def compile(self, signature):
            done.append(signature)

    done, processes = [], []
    several = [ahead.Piece(str(number), Small(), (number,), 0.1) for number in range(3)]
    monkeypatch.setattr(ahead, "pieces", lambda *_, **__: several)
    monkeypatch.setattr(ahead, "kept", lambda *_: False)
    monkeypatch.setattr(ahead, "shares", lambda missing: (missing[:2], missing[2:]))
    monkeypatch.setattr(ahead, "_LEAST_TIMEOUT", 0.5)
    monkeypatch.setattr(ahead, "_CHILD", "import time; time.sleep(1000) # {path}")
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *words, **how: processes.append(start(*words, **how)) or processes[-1])
    ahead.compile_ahead(check(small(), "test"))
    assert done == [(0,), (1,)]
    assert [process.poll() for process in processes] == [-signal.SIGKILL]


@pytest.mark.study
def test_every_piece_is_compiled_once_and_the_run_is_the_same(tmp_path, monkeypatch):
    ours = subprocess.run(
        [sys.executable, "-m", "asyncnet", "run", "cartpole-weight-max", "--set", "task.episodes=20", "--json", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    run, _ = begun(tmp_path, monkeypatch)
    said, told = run.communicate(timeout=300)
    assert json.loads(said)["digest"] == json.loads(ours.stdout)["digest"]
    compiled = [line for line in told.splitlines() if line.startswith("compiling ") and "sampled" in line and "process" not in line]
    assert len(compiled) < 2, "what the other process compiled is found"
    files = [path.name for path in (tmp_path / "cache").rglob("*.nbc")]
    assert len(files) == len(set(files)) > 10
