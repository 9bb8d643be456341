"""What every engine promises, asked of each: the embedded one with either loop, and Ray actors with either wire and several nodes an actor."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

import asyncnet
from asyncnet.api import Quiet, Result
from asyncnet.loop.ledger import REFUSED, SENT
from asyncnet.loop.loop import Loop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.runs import embedded

FREE = {"task.decisions": 300, "tick": 1000, "task.k": 2, "task.world.interval": 8.0}
WAITS = {**FREE, "tick": 1, "task.world": {"waits": True, "interval": 1.0, "timeout": 200_000.0}}
ARRIVAL = {"clocks": {"default": {"kind": "on-arrival"}}, "links": {"default": []}}

ENGINES = {
    "compiled": ("embedded", {"loop": "compiled"}),
    "readable": ("embedded", {"loop": "readable"}),
    "ray": ("ray", {}),
    "ray, wire ray": ("ray", {"wire": "ray"}),
    "ray, wire zmq, three nodes an actor": ("ray", {"wire": "zmq", "pack": 3}),
}
WORLDS = {
    "free": asyncnet.load("multiplexer3-weight-max").replace(FREE),
    "lossy": asyncnet.load("multiplexer3-weight-max", ["lossy"]).replace(FREE),
    "waits": asyncnet.load("multiplexer3-weight-max").replace(WAITS, **ARRIVAL),
    "actor and critic": asyncnet.load("cartpole-free").replace({"task.episodes": 5}),
}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.ray) if "ray" in name else name for name in ENGINES])
def ran(request):
    """A function that gives the result of a world on one of the engines, which has run it once; Ray's share one session."""
    kind, options = ENGINES[request.param]
    held = request.getfixturevalue("ray_session") if kind == "ray" else None

    @functools.cache
    def run(world):
        scenario = WORLDS[world]
        if held is None:
            return Result(scenario, kind, embedded.run(scenario, Quiet(), **options), None)
        from asyncnet.actors.team import run_in

        return Result(scenario, kind, run_in(held, scenario, Quiet(), **options), None)

    return run


def start(scenario):
    """The weights before the run."""
    loop = Loop(scenario, Virtual())
    return {node.name: node.learned() for i, node in loop.nodes.items() if i}


@pytest.mark.parametrize("world", ["free", "waits"])
def test_a_run_makes_every_decision_moves_every_weight_and_accounts_for_its_messages(ran, world):
    result = ran(world)
    summary = result.summary()
    assert summary["stopped"] == "finished"
    assert summary["decisions"] == 300
    assert re.fullmatch("[0-9a-f]{64}", summary["digest"])
    before = start(WORLDS[world])
    assert before.keys() == result.record.weights.keys()
    for name, arrays in before.items():
        for key, array in arrays.items():
            assert array.shape == result.record.weights[name][key].shape
            assert not np.array_equal(array, result.record.weights[name][key]), (name, key)
    for row in summary["links"].values():
        assert row["sent"] == row["delivered"] + row["lost"] + row["in_flight"] > 0
        assert row["in_flight"] <= 64
    if world == "waits":
        assert summary["on_time"] == 1.0
        assert all(row["learned"] >= 290 for row in summary["nodes"].values())


def test_a_lossy_link_loses_its_share_on_every_engine(ran):
    row = ran("lossy").summary()["links"]["activity"]
    assert row["sent"] > 2000  # three standard errors are 0.02 there
    assert 0.07 < row["lost"] / row["sent"] < 0.13


def test_an_actor_critic_team_runs_on_every_engine(ran):
    result = ran("actor and critic")
    summary = result.summary()
    assert summary["episodes"] >= 5
    assert summary["nodes"]["critic"]["learned"] > (0 if result.engine == "ray" else 20)  # on real clocks as often as a crowded machine lets it tick
    assert summary["links"]["transition"]["sent"] == summary["decisions"]


@pytest.mark.ray
def test_real_and_injected_delay_are_both_reported(ray_session):
    from asyncnet.actors.team import run_in

    scenario = asyncnet.load("multiplexer3-weight-max").replace(FREE)
    record = run_in(ray_session, scenario, Quiet())
    row = record.links["activity"]
    assert 10 < row["wire_p50_us"] <= row["wire_p99_us"]
    for name, node in record.nodes.items():
        assert "tick_rate" in node
        assert 0 <= node["late_p50_us"] <= node["late_p99_us"], name
        assert 0 < node["late_max_us"] * 1.1 >= node["late_p99_us"], name


@pytest.mark.ray
def test_a_node_that_cannot_keep_its_clock_is_named(ray_session):
    from asyncnet.actors.team import run_in

    # A tick of a microsecond is out of reach: no machine wakes so often.
    scenario = asyncnet.load("multiplexer3-weight-max").replace({"task.decisions": 500, "tick": 1, "task.world.interval": 2000.0})
    record = run_in(ray_session, scenario, Quiet())
    assert "actor.1" in record.measured["off_clock"]
    verdict, reasons = Result(scenario, "ray", record, None).verdict()
    assert verdict == "unknown"
    assert any("actor.1" in reason for reason in reasons)


def strike(held, number, host, scenario, again=0.0):
    """The record of a run whose actor of that name gets a signal at the first row of progress, and `again` seconds later one to go on."""
    from asyncnet.actors import team as ray_team

    class Struck(Quiet):
        def row(self, row):
            if not pids:
                pids.append(started.ray.get(started.hosts[host].pid.remote()))
                os.kill(pids[0], number)
                if again:
                    threading.Timer(again, os.kill, (pids[0], signal.SIGCONT)).start()

    pids = []
    started = ray_team.Team(scenario, Struck(), private=held.mark is not None)
    try:
        return started.run()
    finally:
        started.end()


@pytest.mark.ray
@pytest.mark.parametrize(("host", "name"), [("0", "world"), ("2", "actor.2")])
def test_a_lost_actor_ends_the_run_and_is_named(ray_session, host, name):
    scenario = asyncnet.load("multiplexer3-weight-max").replace({**FREE, "task.decisions": 100_000})
    record = strike(ray_session, signal.SIGKILL, host, scenario)
    assert record.stopped == f"an actor was lost: {name} (its process has ended)"
    summary = Result(scenario, "ray", record, None).summary()
    assert summary["verdict"] == "fail"
    assert summary["decisions"] > 0
    assert summary["digest"] == "", "not all nodes' ends are known"
    assert set(record.weights) == {"actor.1", "actor.2", "actor.3"} - {name}


@pytest.mark.ray
def test_a_world_that_stood_still_for_a_while_is_a_reason(ray_session):
    scenario = asyncnet.load("multiplexer3-weight-max").replace({**FREE, "task.decisions": 300})
    record = strike(ray_session, signal.SIGSTOP, "0", scenario, again=2.5)
    assert record.stopped == "finished"
    ((_, lasted),) = record.measured["pauses"]["world"]
    assert lasted > 1.5
    verdict, reasons = Result(scenario, "ray", record, None).verdict()
    assert verdict == "unknown"
    assert any(reason.startswith("world stood still for ") for reason in reasons)


@pytest.mark.ray
def test_a_node_whose_code_fails_ends_the_run_and_is_named(ray_session):
    from asyncnet.actors import team as ray_team

    class Broken(Quiet):
        said = []

        def note(self, text):
            self.said.append(text)

        def row(self, row):
            def breaks(host):
                host.loop.ask(lambda: 1 // 0)

            started.ray.get(started.hosts["1"].__ray_call__.remote(breaks))

    scenario = asyncnet.load("multiplexer3-weight-max").replace({**FREE, "task.decisions": 100_000})
    started = ray_team.Team(scenario, Broken(), private=True)
    try:
        record = started.run()
    finally:
        started.end()
    assert record.stopped == "actor.1 failed: ZeroDivisionError: integer division or modulo by zero"
    assert Broken.said[-1] == "ZeroDivisionError: integer division or modulo by zero"
    assert any("Traceback" in line for line in Broken.said)
    assert Result(scenario, "ray", record, None).verdict()[0] == "fail"
    assert record.digest == ""


@pytest.mark.ray
def test_a_loop_that_stops_by_itself_ends_the_run_and_is_named(ray_session):
    from asyncnet.actors import team as ray_team

    class Full(Quiet):
        def row(self, row):
            def gives_up(host):
                host.loop.stop("out of room: 1 messages are under way")

            started.ray.get(started.hosts["1"].__ray_call__.remote(gives_up))

    scenario = asyncnet.load("multiplexer3-weight-max").replace({**FREE, "task.decisions": 100_000})
    started = ray_team.Team(scenario, Full(), private=True)
    try:
        record = started.run()
    finally:
        started.end()
    assert record.stopped == "actor.1 stopped: out of room: 1 messages are under way"
    assert 0 < record.score["decisions"] < 100_000
    assert Result(scenario, "ray", record, None).verdict()[0] == "fail"


@pytest.mark.ray
def test_a_world_that_finishes_while_all_are_asked_how_it_goes_has_finished(ray_session, monkeypatch):
    from asyncnet.actors import team as ray_team

    scenario = asyncnet.load("multiplexer3-weight-max").replace({**FREE, "task.decisions": 200})
    started = ray_team.Team(scenario, Quiet(), private=True)
    everybody, asked = started.hosts.all, []

    def late(what, *more, **how):
        """The world is said not to have finished yet when it is asked alone."""
        if what != "status" or how.get("of") != ["0"]:
            return everybody(what, *more, **how)
        asked.append(what)
        if len(asked) == 1:  # by then it has
            time.sleep(3.0)
        return {name: one | {"stopped": None} for name, one in everybody(what, *more, **how).items()}

    monkeypatch.setattr(started.hosts, "all", late)
    try:
        record = started.run()
    finally:
        started.end()
    assert record.stopped == "finished"
    assert record.score["decisions"] == 200


def test_what_a_scenario_did_not_ask_for_is_a_reason():
    scenario = asyncnet.load("multiplexer3-weight-max").replace(FREE)
    record = embedded.run(scenario, Quiet())
    assert Result(scenario, "ray", record).verdict() == ("pass", [])
    for measured, reason in (
        ({"malformed": 1}, "1 messages were malformed"),
        ({"pauses": {"world": [(1.0, 2.0), (12.3, 40.1)]}}, "world stood still for 40.1 s at 12.3 s, and 1 times more"),
        ({"slow_answers": {"actor.1": 7.0}}, "actor.1 took 7.0 s to answer"),
    ):
        assert Result(scenario, "ray", dataclasses.replace(record, measured=measured)).verdict() == ("unknown", [reason])
    books = record.ledger.copy()
    books[[SENT, REFUSED], 3] += 27_341
    assert Result(scenario, "ray", dataclasses.replace(record, ledger=books)).verdict() == ("unknown", ["27,341 messages found no room on the wire"])


LONG = ["run", "multiplexer3-weight-max", "--engine", "ray", "--restart", "never", "--json", "--set", "task.decisions=40000"]


def drive(tmp_path):
    """A driver in a process group of its own, once it has shown its first progress."""
    command = [sys.executable, "-m", "asyncnet", *LONG, "--out", str(tmp_path)]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in driver.stderr:
        if "decisions" in line:
            break
    family = psutil.Process(driver.pid).children(recursive=True)
    assert len(family) >= 5  # Ray and our actors are there
    return driver, family


def gone(family, timeout=10.0):
    _, alive = psutil.wait_procs(family, timeout=timeout)
    return [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.ray
def test_a_killed_driver_leaves_no_process_behind(tmp_path):
    driver, family = drive(tmp_path)
    driver.kill()
    driver.wait()
    assert gone(family) == []


@pytest.mark.ray
def test_an_interrupt_gives_a_summary_and_leaves_no_process_behind(tmp_path):
    driver, family = drive(tmp_path)
    time.sleep(1.0)
    os.killpg(driver.pid, signal.SIGINT)
    out, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert '"stopped": "interrupted"' in out
    assert (tmp_path / "latest" / "summary.json").exists()
    assert gone(family) == []
