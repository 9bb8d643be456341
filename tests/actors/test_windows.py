"""Simulated time that many loops share ends in the bits of one loop, wherever its nodes are."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings

import asyncnet
from asyncnet.actors import windows
from asyncnet.actors.windows import FAR
from asyncnet.api import Quiet, Result
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.compiled.sharing import CHECKPOINT, STOP
from asyncnet.loop.ledger import account, unexplained
from asyncnet.loop.timekeeper import Virtual
from asyncnet.runs import snapshot
from asyncnet.scenario.schema import ScenarioError, check
from asyncnet.team.conditions import models_of
from asyncnet.team.draw import plan
from support.teams import learners, multiplexer, run
from support.thinkable import scenarios
from support.together import TIMEOUT, Together

EXAMPLES = int(os.environ.get("ASYNCNET_EXAMPLES", "40"))
EVERYONE = 10**6
DELAYED = {
    "task.world": {"waits": False, "interval": 8.0},
    "task.decisions": 100,
    "clocks": {"default": {"kind": "periodic", "jitter": 0.2}},
    "links": {"default": {"delay": 0.5}, "activity": {"loss": 0.1}, "reward": {"stale": 2}},
}


def embedded(scenario, until=None):
    """A finished run in one loop, or one that has come to a moment."""
    loop = CompiledLoop(scenario, Virtual())
    before = loop.digest()
    loop.run(**({} if until is None else {"until": until}))
    assert loop.digest() != before
    return loop


def under_way(state):
    """What is on the agendas, with what it says, in order."""
    ends = np.cumsum(np.maximum(state.arrays["agenda"][:, 7], 0))
    said = [values.tobytes() for values in np.split(state.arrays["agenda/values"], ends[:-1])]
    return sorted((*row, values) for row, values in zip(state.arrays["agenda"].tolist(), said, strict=True))


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(scenarios(delayed=True, decisions=8))
def test_any_team_ends_in_the_same_bits_in_one_loop_and_in_many(data):
    try:
        scenario = check(data, "test")
    except ScenarioError:
        reject()
    one = embedded(scenario)
    for pack in (1, 2, EVERYONE):
        many = Together(scenario, pack, reverse=pack == 2).start().end()
        assert many.digest == one.digest()
        assert many.ledger.tolist() == account(one).tolist()
        assert not unexplained(many.ledger).any()
        for result in many.results:
            assert all(row["ticks"] == one.ticks[node.index] for node in one.plan.nodes if (row := result["nodes"].get(node.name)))


@pytest.mark.parametrize("name", ["cartpole-map-async", "cartpole-weight-max", "multiplexer3-map-async"])
def test_shipped_scenarios_end_in_the_same_bits(name):
    changes = {"links.default": {"delay": 0.5}, "tick": 1000}
    whole = asyncnet.load(name)
    scenario = whole.replace(changes | ({"task.episodes": 6} if whole.task.episodes else {"task.decisions": 100}))
    one = embedded(scenario)
    assert all(node.counts()["learned"] > 0 for node in learners(one))
    assert Together(scenario, 2).start().end().digest == one.digest()


def test_frames_over_zeromq_change_nothing():
    scenario = multiplexer("weight-max", DELAYED)
    assert Together(scenario, wire="zmq").start().end().digest == embedded(scenario).digest()


def test_a_link_without_delay_between_two_loops_is_refused_by_name_and_one_within_a_loop_is_not():
    with pytest.raises(ScenarioError, match=r"--time virtual: links.feedback: actor.2 -> actor.1 joins two actors and may take less than a microsecond"):
        Together(multiplexer("weight-max", DELAYED, links={"activity": {"delay": 0.5}, "reward": {"delay": 0.5}}))
    scenario = multiplexer("weight-max", DELAYED, links={"activity": {"delay": 0.5}, "reward": {"delay": 0.5}})
    assert Together(scenario, EVERYONE).start().end().digest == embedded(scenario).digest()


@pytest.mark.parametrize("delay", [{"kind": "exponential", "mean": 5.0}, {"kind": "uniform", "low": 0.0, "high": 2.0}, 0.0004])
def test_a_delay_that_may_be_next_to_nothing_is_no_look_ahead(delay):
    with pytest.raises(ScenarioError, match=r"links\.reward"):
        Together(multiplexer("weight-max", DELAYED, links={"default": {"delay": 1.0}, "reward": []}).replace({"links.default": {"delay": delay}}))


def test_reach_is_the_shortest_way_and_for_a_loop_itself_the_shortest_way_round():
    scenario = multiplexer("weight-max", DELAYED, links={"activity": {"delay": 1.0}, "feedback": {"delay": 7.0}, "reward": {"delay": 2.5}})
    team = plan(scenario)
    found = windows.reach(team, models_of(scenario, team), {i: str(i) for i in range(4)}, list("0123"))
    # world -> 1 -> 2 -> 3 -> world by activity at 1 each, the world's reward at 2.5, feedback 2 -> 1 and 3 -> 2 at 7
    expected = [[3.5, 1, 2, 2.5], [3, 4, 1, 2], [2, 3, 4, 1], [1, 2, 3, 3.5]]
    assert (found / 1000).tolist() == expected
    assert (found < FAR).all()


def test_loops_meet_for_a_checkpoint_in_the_state_of_one_loop_at_that_instant():
    scenario = multiplexer("weight-max", DELAYED | {"task.decisions": 160})
    many = Together(scenario).start()
    while many.world.loop.nodes[0].view.stamp[0] < 20:
        time.sleep(0.001)
    many.world.meet(CHECKPOINT)
    while (parts := [host.state() for host in many.hosts.values()]).count(None):
        time.sleep(0.001)
    many.end()
    merged = snapshot.merge(snapshot.Checkpoint(*part) for part in parts)
    at = merged.about["now"]
    assert {part[0]["now"] for part in parts} == {at}
    assert at > 20 * 8 * scenario.tick
    one = embedded(scenario, until=at)
    assert one.paused
    expected = snapshot.take(one)
    assert sorted(merged.arrays) == sorted(expected.arrays)
    assert under_way(merged) == under_way(expected)
    assert len(under_way(expected)) > 3
    for name, array in expected.arrays.items():
        if "agenda" not in name:
            assert np.array_equal(merged.arrays[name], array), name
    assert merged.about == expected.about
    assert many.digest == embedded(scenario).digest(), "and meeting has changed nothing"


@pytest.mark.parametrize("packs", [(1, EVERYONE), (EVERYONE, 2)])
def test_a_run_that_met_to_stop_goes_on_in_other_loops_to_the_same_end(packs):
    scenario = multiplexer("weight-max", DELAYED | {"task.decisions": 160})
    many = Together(scenario, packs[0]).start()
    while many.world.loop.nodes[0].view.stamp[0] < 20:
        time.sleep(0.001)
    many.world.meet(STOP)
    for host in many.hosts.values():
        assert host.await_end(60.0)
        assert host.loop.stopped == "interrupted"
    whole = snapshot.merge(snapshot.Checkpoint(*host.state()) for host in many.hosts.values())
    many.close()
    assert 0 < whole.about["now"] < 120 * 8 * scenario.tick
    expected = embedded(scenario)
    rest = Together(scenario, packs[1], begin=tuple(whole)).start().end()
    assert rest.digest == expected.digest()
    assert rest.ledger.tolist() == account(expected).tolist()
    alone = CompiledLoop(scenario, Virtual())
    snapshot.put(alone, whole)
    alone.run()
    assert alone.digest() == expected.digest()
    assert alone.score.rows == expected.score.rows


def test_meetings_near_the_end_let_nobody_pass_it():
    scenario = multiplexer("weight-max", DELAYED | {"task.decisions": 60, "task.world.interval": 1.0, "links": {"default": {"delay": 4.0}}})
    many = Together(scenario).start()
    while many.world.loop.stopped is None:
        many.world.meet(CHECKPOINT)
        time.sleep(0.0005)
    many.end()
    assert many.world.loop.at_meeting is not None
    assert many.digest == embedded(scenario).digest()


@pytest.mark.parametrize("seed", range(4))
def test_nobody_passes_an_end_that_an_answer_under_way_brings_about(seed):
    scenario = multiplexer(
        "weight-max",
        {
            "seed": seed,
            "tick": 10,
            "task": {"k": 1, "decisions": 12, "world": {"waits": True, "interval": 1.0, "timeout": 15.0}},
            "network.hidden": [1],
            "rule.learning_rate": 0.02,
            "clocks": {"default": {"kind": "periodic", "period": 0.375}},
            "links": {"default": {"delay": 1.7}},
        },
    )
    one = embedded(scenario)
    for pack in (1, 2, EVERYONE):
        many = Together(scenario, pack).start().end()
        assert many.ledger.tolist() == account(one).tolist()
        ticks = {name: node["ticks"] for result in many.results for name, node in result["nodes"].items()}
        assert len(ticks) == 2
        assert ticks == {node.name: one.ticks[node.index] for node in one.plan.nodes if node.index}


def test_a_loop_that_waits_says_for_whom():
    many = Together(multiplexer("weight-max", DELAYED))
    at = time.time_ns()
    for name, host in many.hosts.items():
        if name != "2":
            host.start(at)
    others, until = [host for name, host in many.hosts.items() if name != "2"], time.monotonic() + TIMEOUT
    while [host.status()["waits"] for host in others] != [["2"]] * len(others):
        assert time.monotonic() < until, [host.status()["waits"] for host in others]
        time.sleep(0.01)
    assert all(host.status()["waited"] > 0.0 for host in others)
    many.hosts["2"].start(at)
    assert many.end().stopped == ["finished"] * len(many.hosts)


def test_messages_longer_than_a_frame_end_in_the_bits_of_one_process():
    changes = {"task": {"streams": 1024, "decisions": 2}, "network.hidden": [1024], "rule": {"learning_rate": 0.01, "archive": 2}}
    scenario = multiplexer("weight-max", DELAYED | changes)
    many = Together(scenario, wire="zmq").start().end()
    assert many.digest == embedded(scenario).digest()
    assert not unexplained(many.ledger).any()


def on_ray(held, scenario, **how):
    """A finished run of Ray actors in simulated time, each with another seed of Python's hash and its nodes built in reverse: that must change nothing."""
    from asyncnet.actors.team import Team, groups

    count = len(groups(plan(scenario), how.get("pack", 1)))
    twists = [{"reverse": True, "options": {"runtime_env": {"env_vars": {"PYTHONHASHSEED": str(7 * n + 1)}}}} for n in range(count)]
    team = Team(scenario, Quiet(), private=held.mark is not None, time="virtual", twists=twists, **how)
    try:
        return team.run()
    finally:
        team.end()


@pytest.mark.ray
@pytest.mark.parametrize("how", [{}, {"pack": 2, "wire": "ray"}, {"pack": EVERYONE}], ids=["an actor a node", "two nodes an actor, wire ray", "two actors"])
def test_ray_actors_end_in_the_bits_of_one_process(ray_session, how):
    scenario = asyncnet.load("cartpole-weight-max").replace({"tick": 1000, "links.default": {"delay": 0.5}, "task.episodes": 5})
    one = embedded(scenario)
    record = on_ray(ray_session, scenario, **how)
    assert record.stopped == "finished"
    assert record.digest == one.digest()
    assert record.ledger.tolist() == account(one).tolist()
    assert record.score == one.score.summary()
    assert record.returns == one.score.returns


@pytest.mark.ray
def test_faults_of_every_kind_strike_on_ray_what_they_strike_in_one_process(ray_session):
    measured = {"kind": "measured", "quantiles": [[0.0, 0.2], [0.7, 1.0], [1.0, 6.0]]}
    faults = [
        {"kind": "loss", "share": 0.2, "burst": 3.0, "every": 100.0, "lasting": 40.0},
        {"kind": "delay", "delay": measured, "poisson": 60.0, "lasting": 30.0},
        {"kind": "rate", "per_tick": 0.4, "room": 6, "every": 90.0, "lasting": 30.0},
        {"kind": "duplicate", "share": 0.3, "channel": "activity"},
        {"kind": "hold", "channel": "reward", "every": 80.0, "lasting": 10.0},
        {"kind": "cut", "nodes": "actor.1", "poisson": 90.0, "lasting": 8.0},
        {"kind": "noise", "channel": "reward", "sigma": 0.2},
        {"kind": "crash", "poisson": 300.0, "lasting": 10.0, "snapshot": 50.0},
        {"kind": "pause", "nodes": "actor.2", "decisions": [20, 25]},
        {"kind": "slow", "by": 2.0, "nodes": "actor.3", "start": 50.0, "stop": 120.0},
        {"kind": "skip", "share": 0.1},
        {"kind": "mailbox", "nodes": "actor.1", "policy": "newest-wins", "poisson": 80.0, "lasting": 20.0},
        {"kind": "mailbox", "nodes": "actor.3", "policy": "drop-oldest", "room": 2, "every": 120.0, "lasting": 30.0},
    ]
    changes = {"links.default": {"delay": 0.5}, "task.decisions": 80, "task.world.interval": 6.0, "faults": faults}
    scenario = asyncnet.load("multiplexer3-weight-max").replace(changes)
    one = embedded(scenario)
    assert (one.struck > 0).all(), one.struck
    record = on_ray(ray_session, scenario, pack=2)
    assert (record.stopped, record.digest) == ("finished", one.digest())
    assert record.struck == one.struck.tolist()
    assert record.ledger.tolist() == account(one).tolist()


@pytest.mark.ray
def test_units_that_hear_each_other_are_each_an_actor_and_end_in_the_bits_of_one_process(ray_session):
    changes = {"tick": 1000, "links.default": {"delay": 0.5}, "network.hidden": [4], "critic.hidden": [4], "task.decisions": 40}
    scenario = asyncnet.load("multiplexer3-coordinated").replace(changes)
    one = embedded(scenario)
    record = on_ray(ray_session, scenario)
    assert (record.stopped, record.digest) == ("finished", one.digest())
    assert one.nodes[1].view.lateral.any()


@pytest.mark.ray
def test_python_hashes_differ_between_the_actors_of_the_test_above(ray_session):
    import ray

    def salted():
        return hash("a node")

    seen = [ray.get(ray.remote(salted).options(runtime_env={"env_vars": {"PYTHONHASHSEED": str(seed)}}).remote()) for seed in (1, 8)]
    assert seen[0] != seen[1]


@pytest.mark.study
@pytest.mark.ray
@pytest.mark.timeout(3600)
def test_forty_teams_that_hypothesis_thinks_of_end_on_ray_in_the_bits_of_one_process(ray_session):
    done = []

    @settings(max_examples=200, database=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(scenarios(delayed=True, decisions=12))
    def examine(data):
        if len(done) == 40:
            return
        try:
            scenario = check(data, "test")
            one = embedded(scenario)
        except ScenarioError:
            return
        expected = one.digest()
        found = [on_ray(ray_session, scenario, pack=pack).digest for pack in (1, 2, EVERYONE)]
        done.append(sum(digest != expected for digest in found))
        print(f"{len(done)}: {len(one.nodes)} nodes, {sum(done)} differ", flush=True)

    examine()
    assert len(done) == 40
    assert sum(done) == 0


@pytest.mark.ray
def test_an_actor_that_hangs_is_named(ray_session, monkeypatch):
    from asyncnet.actors import hosts
    from asyncnet.actors import team as ray_team

    monkeypatch.setattr(hosts, "SILENT", 3.0)
    scenario = multiplexer("weight-max", DELAYED | {"task.decisions": 4000})

    class Hanging(Quiet):
        def row(self, row):
            if not stopped:
                stopped.append(team.ray.get(team.hosts["2"].pid.remote()))
                os.kill(stopped[0], signal.SIGSTOP)

    stopped = []
    team = ray_team.Team(scenario, Hanging(), private=True, time="virtual")
    try:
        record = team.run()
    finally:
        team.end()
    assert stopped
    assert record.stopped == "an actor was lost: actor.2 (no answer for 3 s)"
    assert record.score["decisions"] > 0
    assert Result(scenario, "ray", record).verdict()[0] == "fail"


@pytest.mark.ray
def test_a_loop_that_hangs_is_named_as_the_one_everyone_waits_for(ray_session, monkeypatch):
    from asyncnet.actors import team as ray_team

    monkeypatch.setattr(ray_team, "STALLED", 4.0)
    scenario = multiplexer("weight-max", DELAYED | {"task.decisions": 4000})

    class Hanging(Quiet):
        def row(self, row):
            def hangs(host):
                host.loop.ask(lambda: time.sleep(6.0))

            if not asked:
                asked.append(team.ray.get(team.hosts["2"].__ray_call__.remote(hangs)))

    asked = []
    team = ray_team.Team(scenario, Hanging(), private=True, time="virtual")
    try:
        record = team.run()
    finally:
        team.end()
    assert asked
    assert record.stopped.endswith("everyone waits for actor.2")
    assert Result(scenario, "ray", record).verdict()[0] == "fail"


@pytest.mark.ray
def test_a_team_without_delays_is_refused_on_the_command_line_before_anything_starts(tmp_path):
    words = ["run", "cartpole-weight-max", "--engine", "ray", "--time", "virtual", "--out", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "asyncnet", *words], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 64
    assert done.stderr.count("\n") == 1
    assert "--time virtual: links." in done.stderr
    assert "starting" not in done.stderr
    assert list(tmp_path.iterdir()) == []


TWO_RAYLETS = """
import json
import ray
from ray.cluster_utils import Cluster

import asyncnet
from asyncnet.api import Quiet
from asyncnet.actors import team as ray_team
from asyncnet.actors.session import session

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "resources": {"one": 1}})
try:
    cluster.add_node(num_cpus=1, resources={"other": 1})  # SPREAD alone is Ray's best effort: it may put all on one
    cluster.wait_for_nodes()
    scenario = asyncnet.load("cartpole-weight-max").replace({"tick": 1000, "links.default": {"delay": 0.5}, "task.episodes": 5})
    with session(cluster.address) as held:
        twists = [{"options": {"resources": {side: 0.01}}} for side in ("one", "other", "one", "other", "one")]
        team = ray_team.Team(scenario, Quiet(), private=False, time="virtual", twists=twists)
        nodes = ray.get([host.__ray_call__.remote(lambda host: ray.get_runtime_context().get_node_id()) for host in team.hosts.values()])
        record = team.run()
        team.end()
    print(json.dumps({"raylets": [nodes.count(node) for node in set(nodes)], "digest": record.digest, "stopped": record.stopped}))
finally:
    cluster.shutdown()
"""


@pytest.mark.ray
def test_two_raylets_end_in_the_bits_of_one_process():
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:  # a short path: Ray puts sockets there
        environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": folder}
        done = subprocess.run([sys.executable, "-c", TWO_RAYLETS], capture_output=True, text=True, timeout=200, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert sorted(told["raylets"]) == [2, 3], "nodes on both"
    assert told["stopped"] == "finished"
    scenario = asyncnet.load("cartpole-weight-max").replace({"tick": 1000, "links.default": {"delay": 0.5}, "task.episodes": 5})
    assert told["digest"] == embedded(scenario).digest()


RESUMED = """
import json, sys

import asyncnet
from asyncnet.api import Quiet

class Impatient(Quiet):
    def row(self, row):
        if row["decisions"] >= 60:
            raise KeyboardInterrupt

first = asyncnet.run(sys.argv[1], "ray", out=sys.argv[2], reporter=Impatient())
rest = asyncnet.resume(first.run_dir)
print(json.dumps([first.summary(), rest.summary(), rest.record.ledger.tolist(), asyncnet.replay(first.run_dir)]))
"""


@pytest.mark.ray
def test_a_run_on_real_clocks_is_resumed_with_its_books_in_order_and_replays_in_two_parts(tmp_path):
    (tmp_path / "small.toml").write_text(multiplexer("weight-max", DELAYED | {"task.decisions": 400}).toml())
    words = [sys.executable, "-c", RESUMED, str(tmp_path / "small.toml"), str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    first, rest, ledger, (same, found) = json.loads(done.stdout.splitlines()[-1])
    assert first["stopped"] == "interrupted"
    assert first["decisions"] < 390
    assert rest["stopped"] == "finished"
    assert rest["decisions"] == 400
    assert rest["resumed"].startswith("statistically")
    assert not unexplained(np.array(ledger)).any()
    assert rest["links"]["activity"]["delivered"] > first["links"]["activity"]["delivered"] > 0
    assert same, found
    assert found.count("identical") == 2


def test_messages_that_make_room_for_each_other_are_all_there():
    """Many are under way at once, so tables fill up, and what has come is taken in before they grow."""
    world = {"waits": False, "interval": 1.0, "late": "grade-by-stamp"}
    changes = {"task": {"name": "multiplexer", "k": 2, "decisions": 500, "world": world}, "network.hidden": [16, 16, 16], "rule.learning_rate": 0.001}
    scenario = multiplexer("weight-max", changes | {"clocks.default": {"kind": "periodic"}, "links.default": {"delay": 4.0}})
    expected = run(scenario, CompiledLoop).digest()
    for pack in (2, 1000):
        made = Together(scenario, pack).start().end()
        assert made.digest == expected
        assert not unexplained(made.ledger).any()
