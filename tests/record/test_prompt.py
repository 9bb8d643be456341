"""A replay stops before an event, shows its node, and goes on: `asyncnet replay --until --break`, and verify."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from asyncnet import api
from asyncnet.loop.message import CHANNEL_NAMES, TICK
from asyncnet.record.debug import stop_before
from asyncnet.runs.stored import recordings
from asyncnet.team.draw import plan
from support.recorded import file_of, rows_of
from support.teams import FREE, multiplexer

pytestmark = pytest.mark.usefixtures("signals_as_they_were")


def events_of(run, name):
    """What a node heard, in order."""
    rows = rows_of(recordings(run, 0))
    number = next(node.index for node in plan(api.load(run / "config.toml")).nodes if node.name == name)
    return rows[(rows[:, 2] == number) & (rows[:, 4] >= 0)].tolist()


def test_until_stops_before_that_event_of_that_node(short, command, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("print('stamp', node.view.stamp, node.name, event.number)\n"))
    stamps = []

    def note(event, node):
        if node.name == "actor.2":
            stamps.append(node.view.stamp.copy())
        return len(stamps) == 700

    assert api.replay(short.run_dir, note)[0]
    assert stamps[-1] > 10
    code, out, err = command("replay", short.run_dir, "--until", "actor.2:700")
    assert code == 0
    assert f"stamp {stamps[-1]} actor.2 700\n" in out
    now, kind, _, src, seq = events_of(short.run_dir, "actor.2")[699]
    what = "a tick" if kind == TICK else f"{CHANNEL_NAMES[kind]} {seq} from {plan(short.scenario).nodes[src].name}"
    assert f"before event 700 of actor.2, at {now / 1e6:.6f} s: {what}\n" in err
    assert "  weight " in err
    assert "; stopped there" in out


def test_until_a_number_stops_before_that_event_of_all(short, command, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("print(event.now)\n"))
    code, out, _ = command("replay", short.run_dir, "--until", "900", "--json")
    rows = rows_of(recordings(short.run_dir, 0))
    assert code == 0
    assert str(rows[rows[:, 4] >= 0][899, 0]) in out
    assert '"found": "identical: 899 events, ' in out


def child(*words, said):
    """A completed command; Ray has put a debugger of its own in the place of Python's, for its actors."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONBREAKPOINT"}
    command = [sys.executable, "-m", "asyncnet", *map(str, words)]
    return subprocess.run(command, input=said, capture_output=True, text=True, timeout=100, check=False, env=environment)


def test_break_enters_the_debugger_there_and_goes_on_to_the_end(short):
    done = child("replay", short.run_dir, "--until", "actor.1:30", "--break", said="p node.name, event.number\nc\n")
    assert done.returncode == 0, done.stderr
    assert "(Pdb) ('actor.1', 30)\n(Pdb) " in done.stdout
    assert f"{api.replay(short.run_dir)[1]}\n" in done.stdout
    assert "before event 30 of actor.1" in done.stderr


@pytest.mark.parametrize(
    "where", ["", "0", "x", "actor.1", "actor.1:", "actor.1:0", "actor.1:-3", "actor.1:1.5", ":3", "-1", "²", "9" * 30, "actor.1:" + "9" * 5000]
)
def test_a_place_that_is_none_is_refused(where, short, command):
    code, out, err = command("replay", short.run_dir, f"--until={where}")
    assert (code, out) == (64, "")
    assert err.startswith("asyncnet: --until: ")
    assert err.count("\n") == 1


def test_a_node_that_is_none_is_named_with_the_near_miss(short, command):
    code, _, err = command("replay", short.run_dir, "--until", "actor.9:1")
    assert (code, err.splitlines()[-1]) == (64, "asyncnet: --until: no node actor.9; did you mean actor.3?")


def test_a_stop_knows_whether_its_event_came(short, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    for where, comes in (("actor.1:3", True), ("actor.1:900000", False), ("actor.9:1", False), ("900000", False)):
        stop = stop_before(where)
        assert api.replay(short.run_dir, stop)[0]
        assert stop.reached == comes


def test_break_without_until_is_refused(short, command):
    code, out, err = command("replay", short.run_dir, "--break")
    assert (code, out) == (64, "")
    assert "--break" in err


def test_a_run_without_a_recording_is_refused(command, tmp_path):
    result = api.run(multiplexer("weight-max", FREE | {"task.decisions": 30}), time="wall", out=tmp_path, record=False)
    for verb in ("replay", "verify"):
        code, out, err = command(verb, result.run_dir)
        assert (code, out) == (64, "")
        assert "nothing was recorded" in err


def test_verify_replays_a_run_on_real_clocks(short, run, command):
    code, out, _ = command("verify", short.run_dir)
    assert (code, out) == (0, f"{api.replay(short.run_dir)[1]}\n")
    file_of(run).write_bytes(file_of(run).read_bytes()[:-1])
    code, out, _ = command("verify", run)
    assert code == 1
    assert "as far as the recording goes" in out
