"""What a run needs of memory is computed before it starts, and what is under way has a bound."""

import subprocess
import sys

import pytest

import asyncnet
from asyncnet.loop.compiled.compiled_loop import FEW, CompiledLoop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.runs import memory
from asyncnet.scenario.schema import ScenarioError
from asyncnet.team.draw import plan
from support.teams import LOOPS, multiplexer, run

HUGE = ["task.streams=4096", "rule.archive=4096", "network.hidden=[1000,100]"]
SLOW = {"clocks": {"default": {"kind": "periodic"}, "actor.2": {"kind": "periodic", "period": 1e9}}, "links.activity": [{"delay": 0.5}, {"loss": 0.1}]}
SLOW |= {"task.world": {"waits": False, "interval": 8.0}}


def test_a_run_that_would_not_fit_is_refused_by_its_key_before_anything_is_made(tmp_path):
    with pytest.raises(ScenarioError) as refused:
        asyncnet.run(asyncnet.load("multiplexer3-weight-max", settings=HUGE), out=tmp_path / "runs")
    assert refused.value.key == "task.streams"
    assert "GiB" in refused.value.why
    assert "--memory" in refused.value.why
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        (["rule.archive=4096"], "rule.archive"),
        (["network.hidden=[3000, 1000]"], "network.hidden"),
        (["task.streams=512"], "task.streams"),
        (["links.reward.delay=1e5"], "links"),
        (["task.decisions=1000000000"], "task.decisions"),
    ],
)
def test_the_key_is_the_one_without_which_least_would_be_needed(changes, key):
    with pytest.raises(ScenarioError) as refused:
        memory.check(asyncnet.load("multiplexer3-weight-max", settings=changes), limit=0.01)
    assert refused.value.key == key


def test_a_limit_is_for_all_runs_at_once():
    scenario = asyncnet.load("multiplexer3-weight-max")
    needed = memory.estimate(scenario, plan(scenario)) / memory.GIB
    assert memory.check(scenario, limit=4.1 * needed, runs=4)
    with pytest.raises(ScenarioError, match="of 4 at once"):
        memory.check(scenario, limit=3.9 * needed, runs=4)
    assert [memory.together(scenario, share * needed, runs=4) for share in (4.1, 3.9, 1.1)] == [4, 3, 1]
    with pytest.raises(ScenarioError, match="--memory allows more"):
        memory.together(scenario, 0.9 * needed, runs=4)


@pytest.mark.parametrize(
    "changes",
    [
        {"network.hidden": [1500, 1000], "task.k": 6},
        {"task.streams": 300, "network.hidden": [100, 50], "rule.archive": 60, "rule.lambda": 0.5, "task.k": 4},
        {"network.hidden": [3000, 800], "network.split": "unit", "network.reach": 8},
    ],
)
def test_a_run_takes_the_memory_that_was_reckoned(changes, tmp_path):
    scenario = multiplexer("weight-max", {"task.decisions": 5, **changes})
    code = """
import sys
import safetensors.numpy
from asyncnet.runs import snapshot
from asyncnet.scenario import schema as scenario
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.timekeeper import Virtual

def kib(what):
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith(what)))

def run(made):
    loop = CompiledLoop(made, Virtual())
    loop.run()
    safetensors.numpy.save(snapshot.take(loop).arrays)

made = scenario.read(sys.argv[1])
run(made.replace({"network.hidden": [9, 9], "task.streams": 1}))  # compiles, which takes more than many a run
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
before = kib("VmRSS:")
run(made)
print(1024 * (kib("VmHWM:") - before))
"""
    computed = memory.estimate(scenario, plan(scenario))
    path = tmp_path / "s.toml"
    path.write_text(scenario.toml())
    taken = int(subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout)
    assert computed > 50 << 20
    assert 0.4 * computed < taken < 1.1 * computed


def test_what_waits_for_a_node_that_hardly_ever_acts_takes_no_more_than_some_room():
    loop = CompiledLoop(multiplexer("weight-max", SLOW | {"task.decisions": 4000}), Virtual())
    loop.run()
    tables = loop._tables
    assert loop.stopped == "finished"
    assert loop.books.came.sum() > 50_000, "none of these is on the agenda any more"
    assert tables.queue.size < 2 * FEW
    assert tables.pool.size < 2 * FEW


@pytest.mark.parametrize("loop", LOOPS)
def test_a_run_with_more_under_way_than_there_is_room_for_ends_and_names_the_link(loop):
    made = LOOPS[loop](multiplexer("weight-max", {"task.decisions": 4000, **SLOW, "links.activity": {"delay": 5e4, "loss": 0.1}}), Virtual())
    made.most_events = 3000
    made.run()
    assert made.stopped.startswith("out of room: ")
    assert "at most 3,000 may be" in made.stopped
    assert "activity" in made.stopped
    assert run(made.scenario.replace({"links.activity": {"delay": 0.5}, "task.decisions": 40}), LOOPS[loop]).stopped == "finished"


def test_a_small_limit_is_said_in_a_unit_in_which_it_is_something():
    with pytest.raises(ScenarioError, match=r"would need [\d.]+ MiB of memory and may have 0\.1 MiB"):
        memory.check(asyncnet.load("cartpole-free"), 0.0001)
