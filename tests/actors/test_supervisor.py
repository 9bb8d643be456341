"""Hosts that are lost come back: nothing is lost but what the record says, the books balance, and the recording of all their lives replays."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

import asyncnet
from asyncnet import api
from asyncnet.actors import supervisor
from asyncnet.actors import team as ray_team
from asyncnet.actors.hosts import Hosts
from asyncnet.actors.strip import ROWS, Strip
from asyncnet.api import Quiet, Result
from asyncnet.kernels.plain import as_python
from asyncnet.loop import ledger
from asyncnet.loop.compiled.agenda import who
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import ACTIVITY, LIFE, TICK
from asyncnet.loop.timekeeper import Virtual
from asyncnet.nodes.world import DECISIONS
from asyncnet.record.playback import replay
from asyncnet.runs import embedded, snapshot
from asyncnet.runs.rundir import RunDirectory
from asyncnet.runs.stored import recordings
from asyncnet.team.draw import plan
from asyncnet.team.network import payload_size
from asyncnet.text import in_a_line
from support.pretended_ray import PretendedRay, RayError, RayTaskError
from support.teams import multiplexer

FREE = {"task.decisions": 1500, "task.world": {"waits": False, "interval": 8.0}, "tick": 500, "links": {"default": {"delay": 0.5}}}
SCENARIO = multiplexer("weight-max", FREE)


class Striking(Quiet):
    """A reporter that strikes at certain rows of progress."""

    def __init__(self, *blows):
        self.blows, self.notes = list(blows), []

    def note(self, text):
        self.notes.append(text)

    def row(self, row):
        if self.blows and row["decisions"] >= self.blows[0][0]:
            self.blows.pop(0)[1]()


@pytest.fixture
def pretended(monkeypatch):
    ray = PretendedRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(ray_team, "LOOK", 0.3)
    monkeypatch.setattr(ray_team, "POLL", 0.05)
    monkeypatch.setattr(supervisor, "EVERY", 0.2)
    yield ray
    ray.close()


def run(blows, tmp_path=None, *, scenario=SCENARIO, wire="memory", pack=1, really=True):
    """A run whose hosts are struck after so many decisions: its record, its supervisor, its notes and where its recording is."""
    reporter = Striking(*((at, lambda name=name: team.hosts[name].die(really=really)) for at, name in blows))
    kept = None if tmp_path is None else RunDirectory(tmp_path, scenario, "ray", {}, recording=True)
    team = ray_team.Team(scenario, reporter, private=True, wire=wire, pack=pack, restart="intensity", kept=kept)
    record = team.run()
    return record, team.supervisor, reporter.notes, None if kept is None else recordings(kept.path, 0)


@pytest.mark.parametrize(("blows", "wire", "pack"), [
    ([(500, "2")], "memory", 1),
    ([(500, "0"), (950, "0")], "memory", 1),
    ([(500, "1"), (900, "3"), (900, "2")], "memory", 1),
    ([(500, "1"), (850, "0")], "zmq", 2),
    ([(600, "2")], "ray", 1),
])  # fmt: skip
def test_lost_hosts_come_back_the_books_balance_and_every_life_replays(pretended, tmp_path, blows, wire, pack):
    record, watched, notes, folder = run(blows, tmp_path, wire=wire, pack=pack)
    assert record.stopped == "finished", notes
    assert record.score["decisions"] == 1500
    assert len(watched.restarts) == len(blows) == len(pretended.killed)
    assert sum("is back after" in note for note in notes) == len(blows)
    assert record.measured["restarts"] == watched.restarts
    assert all(0 <= row["lost_s"] <= row["at_s"] for row in watched.restarts)
    assert not ledger.unexplained(record.ledger).any()
    assert record.ledger[ledger.EXPIRED].sum() > 0, "what the lost had heard is gone"
    assert record.ledger[ledger.DUPLICATED].sum() > 0, "what they had said is said again"
    assert not record.measured["malformed"]
    assert record.seconds > 0.9 * record.elapsed / 1e6, "of all of the run, and not of the world's last life"
    report = replay(SCENARIO, folder)
    assert report.line.startswith("identical")
    assert not report.damage
    assert report.loop.digest() == record.digest
    lives = sorted(path.stem for path in folder.glob("*-*.anr"))
    assert len(lives) == len(blows)


def test_one_whose_successor_is_lost_before_it_begins_has_another(pretended, tmp_path):
    def blow():
        pretended.stillborn = 2
        team.hosts["2"].die()

    kept = RunDirectory(tmp_path, SCENARIO, "ray", {}, recording=True)
    team = ray_team.Team(SCENARIO, Striking((400, blow), (800, lambda: team.hosts["2"].die(really=True))), private=True, restart="intensity", kept=kept)
    record = team.run()
    assert record.stopped == "finished"
    assert len(team.supervisor.restarts) == 2
    assert len(pretended.started) == 4 + 2 + 2
    assert not ledger.unexplained(record.ledger).any()
    folder = recordings(kept.path, 0)
    assert sorted(path.stem for path in folder.glob("2*.anr")) == ["2", "2-1", "2-2"]
    report = replay(SCENARIO, folder)
    assert report.line.startswith("identical")
    assert not report.damage


def test_teams_with_critics_and_dopamine_come_back_too(pretended, tmp_path):
    scenario = asyncnet.load("cartpole-free").replace({"task.episodes": 80, "tick": 200})  # on busy machines a blow comes late
    record, watched, _, folder = run([(150, "1"), (350, "0")], tmp_path, scenario=scenario)
    assert record.stopped == "finished"
    assert len(watched.restarts) == 2
    assert not ledger.unexplained(record.ledger).any()
    assert replay(scenario, folder).line.startswith("identical")


def test_a_world_whose_task_lives_in_python_does_not_come_back_alone(pretended, tmp_path):
    scenario = asyncnet.load("acrobot-map-async").replace({"task.episodes": 50})
    record, watched, _, folder = run([(20, "0")], tmp_path, scenario=scenario)
    assert record.stopped == "an actor was lost: world (its process has ended)"
    assert record.lost
    assert watched.restarts == []
    report = replay(scenario, folder)
    assert report.difference is None
    assert any("0.anr" in line for line in report.damage), "as far as the recording goes"


@pytest.mark.parametrize("moment", ["stand", "stands", "connect", "share", "start"])
def test_another_that_is_lost_meanwhile_comes_back_as_well(pretended, tmp_path, monkeypatch, moment):
    answers, struck = Hosts.answers, []

    def asked(hosts, method, *arguments, **how):
        if method == moment and pretended.killed and not struck:
            struck.append(method)
            hosts["1"].die()
        return answers(hosts, method, *arguments, **how)

    monkeypatch.setattr(Hosts, "answers", asked)
    record, watched, _, folder = run([(500, "2")], tmp_path)
    assert struck == [moment]
    assert record.stopped == "finished"
    assert {row["host"] for row in watched.restarts} == {"actor.1", "actor.2"}
    assert not ledger.unexplained(record.ledger).any()
    report = replay(SCENARIO, folder)
    assert report.line.startswith("identical")
    assert not report.damage


def test_the_time_of_the_run_stands_still_however_often_it_takes(pretended, monkeypatch):
    made, waited = ray_team.Host.address, []

    def slow(host):
        if len(pretended.killed) and not waited:
            waited.append(True)
            time.sleep(6.0)
            team.hosts["3"].die(really=True)
        return made(host)

    monkeypatch.setattr(ray_team.Host, "address", slow)
    team = ray_team.Team(SCENARIO, Striking((500, lambda: team.hosts["2"].die(really=True))), private=True, restart="intensity")
    record = team.run()
    assert (record.stopped, waited) == ("finished", [True])
    assert record.elapsed < 1500 * 8 * 500 + 5_500_000, "the six seconds are no time of the run"


def test_one_that_is_lost_before_the_team_begins_is_named(pretended, tmp_path):
    pretended.stillborn = 1
    record, watched, *_ = run([], tmp_path)
    assert record.stopped == "an actor was lost: world (its process has ended)"
    assert (record.lost, watched.restarts) == (True, [])


def test_one_that_is_lost_at_the_end_is_a_loss(pretended, tmp_path):
    scenario = SCENARIO.replace({"task.decisions": 400})
    kept = RunDirectory(tmp_path, scenario, "ray", {}, every=1000.0)
    team = ray_team.Team(scenario, Striking((400, lambda: team.hosts["2"].die(really=True))), private=True, restart="intensity", kept=kept)
    record = team.run()
    assert record.lost, "it goes on from what was fetched last, and ends whole"
    assert record.stopped.endswith("when the run had ended")


@pytest.mark.parametrize("spoil", [b"", b"garbage", None])
def test_a_later_life_that_cannot_be_read_is_damage(pretended, tmp_path, spoil):
    *_, folder = run([(500, "1")], tmp_path)
    path = folder / "1-1.anr"
    path.write_bytes(path.read_bytes()[:-10][:60] if spoil is None else spoil)
    report = replay(SCENARIO, folder)
    assert report.difference is None
    assert any("1-1.anr" in line for line in report.damage)


def test_lives_go_on_after_a_resume_and_replay(pretended, tmp_path):
    longer = SCENARIO.replace({"task.decisions": 3000})
    kept = RunDirectory(tmp_path / "a", longer, "ray", {}, every=1000.0, recording=True)
    stop = threading.Event()
    reporter = Striking((500, lambda: team.hosts["2"].die(really=True)), (1000, stop.set))
    team = ray_team.Team(longer, reporter, private=True, restart="intensity", kept=kept, interrupted=stop)
    assert team.run().stopped == "interrupted"
    state, _ = api.load_checkpoint(kept.path / "checkpoints")
    begin = snapshot.balanced(state, plan(longer))
    again = RunDirectory(tmp_path / "b", longer, "ray", {}, recording=True)
    reporter = Striking((state.about["decisions"] + 500, lambda: team.hosts["2"].die(really=True)))
    team = ray_team.Team(longer, reporter, private=True, restart="intensity", kept=again, begin=begin)
    assert team.run().stopped == "finished"
    report = replay(longer, recordings(again.path, 0), begin)
    assert report.line.startswith("identical")
    assert not report.damage


@pytest.mark.parametrize("wire", ["zmq", "ray"])
def test_what_one_that_was_given_up_still_says_is_refused_and_counted(pretended, wire):
    team_plan, given_up = plan(SCENARIO), []
    link = team_plan.link(ACTIVITY, 2, 3)
    numbers = np.full(payload_size(team_plan, 1, link), 7.0)

    def give_up():
        given_up.append(team.hosts["2"])
        given_up[0].die(really=False)

    def speak():
        host = given_up[0].actor
        rows = np.array([[host.loop.now, as_python(who)(ACTIVITY, 3, 2), 10**6 + n, 10**6, len(numbers)] for n in range(30)])
        host._gateway.have(lambda: host.courier.send("3", rows, np.tile(numbers, len(rows))))

    team = ray_team.Team(SCENARIO, Striking((500, give_up), (1000, speak)), private=True, wire=wire, restart="intensity")
    record = team.run()
    assert record.stopped == "finished"
    assert len(team.supervisor.restarts) == 1
    assert given_up[0] is not team.hosts["2"]
    assert record.measured["outlived"] == 30
    assert record.measured["malformed"] == 0
    assert not ledger.unexplained(record.ledger).any(), "nobody heard it"


def test_a_world_that_waits_does_not_come_back_alone(pretended):
    scenario = multiplexer("weight-max", FREE | {"task.decisions": 300, "task.world": {"waits": True, "interval": 1.0, "timeout": 100.0}})
    team = ray_team.Team(scenario, Quiet(), private=True, restart="intensity")
    assert team.supervisor is None
    team.run()


def test_too_many_losses_are_not_made_good(pretended, monkeypatch):
    monkeypatch.setattr(supervisor, "MOST", 2)
    record, watched, *_ = run([(300, "1"), (700, "2"), (850, "3")])
    assert len(watched.restarts) == 2
    assert record.stopped == "an actor was lost: actor.3 (its process has ended)"
    assert record.lost


def test_so_many_restarts_within_so_long_are_allowed(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(supervisor.clock_time, "monotonic", lambda: now[0])
    watched = supervisor.Supervisor(Hosts(None, {}, lambda: None), plan(SCENARIO), {}, None, None, None, None)
    said = []
    for seconds in (0, 1, 2, 3, 4, 5, 26, 40):
        now[0] = 1000.0 + seconds
        said.append(watched._may())
    assert said == [True, True, True, True, True, False, False, True]


def test_a_checkpoint_is_written_when_the_lost_cannot_come_back(pretended, tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "MOST", 0)
    kept = RunDirectory(tmp_path, SCENARIO, "ray", {}, every=1000.0)
    reporter = Striking((800, lambda: team.hosts["1"].die(really=True)))
    team = ray_team.Team(SCENARIO, reporter, private=True, restart="intensity", kept=kept)
    record = team.run()
    assert record.lost
    state, _ = api.load_checkpoint(kept.path / "checkpoints")
    assert 300 < state.about["decisions"] < 1500
    snapshot.prove(SCENARIO, state, at_once=False)
    balanced = snapshot.balanced(state, plan(SCENARIO))
    rest = CompiledLoop(SCENARIO, Virtual())
    snapshot.put(rest, balanced)
    rest.run()
    assert (rest.stopped, rest.score.decisions) == ("finished", 1500)


@pytest.mark.parametrize("kind", [Loop, CompiledLoop])
def test_a_world_that_went_back_goes_on_behind_the_decision_that_others_have_come_to(kind):
    scenario = multiplexer("weight-max", FREE)
    loop = kind(scenario, Virtual())
    loop.run(until=400_000)
    state, mine = snapshot.take(loop), [*loop.nodes]
    before = int(loop.nodes[0].view.stamp[0])
    assert before > 20
    again = kind(scenario, Virtual())
    snapshot.put(again, snapshot.reborn(state, mine, now=500_000, life=3, reached=before + 50))
    again.run(until=501_000)
    assert int(again.nodes[0].view.stamp[0]) == before + 51
    assert int(again.nodes[0].view.counts[DECISIONS]) == state.about["decisions"] + 1
    again.run(until=600_000)
    said = again.sequence[:, 1:TICK].max(axis=1)
    assert (said > 3 * LIFE).all(), "numbers that nobody has heard"
    assert (said < 3 * LIFE + 1000).all()


def test_both_loops_go_on_alike_after_going_back():
    scenario = multiplexer("weight-max", FREE)
    loop = Loop(scenario, Virtual())
    loop.run(until=400_000)
    state = snapshot.reborn(snapshot.take(loop), [*loop.nodes], now=500_000, life=1, reached=77)
    digests = set()
    for kind in (Loop, CompiledLoop):
        again = kind(scenario, Virtual())
        snapshot.put(again, state)
        again.run(until=900_000)
        digests.add(again.digest())
    assert len(digests) == 1
    assert loop.digest() not in digests


def test_a_recording_whose_other_life_is_missing_is_refused(pretended, tmp_path):
    *_, folder = run([(500, "1"), (950, "1")], tmp_path)
    (folder / "1-1.anr").unlink()
    with pytest.raises(asyncnet.ScenarioError, match=r"1-1\.anr: it is missing"):
        replay(SCENARIO, folder)


def test_a_life_that_does_not_begin_as_it_is_recorded_is_found(pretended, tmp_path):
    *_, folder = run([(500, "1"), (950, "2")], tmp_path)
    (folder / "1-1.anr").rename(folder / "x")
    report = replay(SCENARIO, folder)
    assert report.damage or report.difference is not None, "what actor.1 said in its other life is not there"


def test_what_was_written_down_outlives_its_process():
    child = "import os, sys, time\nfrom asyncnet.actors.strip import Strip\ns = Strip()\nprint(*s.address, flush=True)\nsys.stdin.readline()\n"
    child += "s.rows[1:4] = [[1, 2, 3], [4, 5, 6], [7, 8, -9]]\ns.rows[0, 0] = 3\nprint('written', flush=True)\ntime.sleep(60)\n"
    process = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    strip = Strip(process.stdout.readline().split())
    assert strip.since(0).tolist() == []
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert strip.since(1).tolist() == [[4, 5, 6], [7, 8, -9]]
    with pytest.raises(OSError, match=str(process.pid)):
        Strip([str(process.pid), "3"])


def test_a_strip_that_was_written_over_says_so():
    strip = Strip()
    strip.rows[0, 0] = ROWS + 10
    assert strip.since(9) is None
    assert len(strip.since(10)) == ROWS
    assert strip.since(ROWS + 11) is None


def lost_at(moment, times):
    """An engine whose runs end early so many times, because a part of them was lost."""
    left = [times]

    def start(made, reporter, kept, begin=None, **_):
        if not left[0]:
            return embedded.run(made, reporter, kept=kept, begin=begin)
        left[0] -= 1
        loop = CompiledLoop(made, Virtual())
        if begin is not None:
            snapshot.put(loop, begin)
        loop.run(until=loop.now + moment)
        kept.checkpoint(snapshot.take(loop))
        record = embedded.run(made.replace({"task.decisions": 1}), Quiet())
        return dataclasses.replace(record, stopped="the raylet has ended", lost=True, digest="")

    return start


@pytest.mark.parametrize("times", [1, 3])
def test_a_run_that_lost_a_part_goes_on_from_its_last_checkpoint_to_the_same_bits(tmp_path, monkeypatch, times):
    whole = embedded.run(SCENARIO, Quiet())
    start = lost_at(500_000, times)
    monkeypatch.setattr(api, "_engine", lambda *_: start)
    reporter = Striking()
    result = api.run(SCENARIO, "ray", out=tmp_path, reporter=reporter, time="virtual", checks=lambda result: "checked")
    assert result.record.digest == whole.digest
    assert sum("going on from the last checkpoint" in note for note in reporter.notes) == times
    told = json.loads((result.run_dir / "run.json").read_text())
    assert (told["status"], len(told["resumed"])) == ("finished", times)
    assert result.verdict() == ("fail", ["<lambda>: checked"]), "its checks are asked of the whole"


@pytest.mark.parametrize(("times", "options"), [(4, {}), (1, {"restart": "never"})])
def test_it_gives_up_in_the_end_or_at_once_if_told_so(tmp_path, monkeypatch, times, options):
    start = lost_at(100_000, times)
    monkeypatch.setattr(api, "_engine", lambda *_: start)
    result = api.run(SCENARIO, "ray", out=tmp_path, time="virtual", **options)
    assert result.record.stopped == "the raylet has ended"
    assert result.verdict()[0] == "fail"


@pytest.mark.ray
def test_actors_of_ray_that_are_killed_come_back_and_the_run_replays(ray_session, tmp_path):
    scenario = asyncnet.load("multiplexer3-weight-max").replace({"task.decisions": 2500})
    kept = RunDirectory(tmp_path, scenario, "ray", {}, every=1000.0, recording=True)

    def kill(name):
        os.kill(team.ray.get(team.hosts[name].pid.remote()), signal.SIGKILL)

    reporter = Striking((400, lambda: kill("2")), (1100, lambda: kill("0")))
    team = ray_team.Team(scenario, reporter, private=ray_session.mark is not None, restart="intensity", kept=kept)
    try:
        record = team.run()
    finally:
        team.end()
    assert record.stopped == "finished", reporter.notes
    assert [row["host"] for row in record.measured["restarts"]] == ["actor.2", "world"]
    assert not ledger.unexplained(record.ledger).any()
    report = replay(scenario, recordings(kept.path, 0))
    assert report.line.startswith("identical")
    assert not report.damage
    assert report.loop.digest() == record.digest
    assert Result(scenario, "ray", record, None).summary()["measured"]["restarts"][0]["why"] == "its process has ended"


def test_weights_after_a_loss_are_those_of_the_fetched_state(pretended):
    """The state that a host comes back with is one that it had, not its first one."""
    seen = {}
    made_of = snapshot.reborn

    def noted(state, mine, **how):
        seen[tuple(mine)] = {name: array.copy() for name, array in state.arrays.items() if name.startswith("node/")}
        return made_of(state, mine, **how)

    first = {node.name: node.state.copy() for node in Loop(SCENARIO, Virtual()).nodes.values()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "reborn", noted)
        record, *_ = run([(900, "2")])
    assert record.stopped == "finished"
    (state,) = seen.values()
    (name,) = [name for name in state if name.endswith("actor.2")]
    assert not np.array_equal(state[name], first["actor.2"])


@pytest.mark.study
@pytest.mark.timeout(3600)
def test_fifty_killed_actors_are_back_and_learning_is_as_good_as_without(tmp_path):
    from asyncnet.benchmarks.endurance import killed, not_as_promised

    _, whole = killed(tmp_path / "whole", random.Random(1), 0, 50_000)
    names, summary = killed(tmp_path / "killed", random.Random(1), 50, 50_000)
    print(whole["last_mean_reward"], summary["last_mean_reward"], names, summary["measured"]["restarts"])
    assert len(names) == 50
    assert not_as_promised(names, summary) == []
    assert abs(summary["last_mean_reward"] - whole["last_mean_reward"]) < 0.05
    before = json.loads(
        subprocess.run(
            [sys.executable, "-m", "asyncnet", "resume", summary["run_dir"], "--set", "task.decisions=51000", "--json"], stdout=subprocess.PIPE, check=True
        ).stdout
    )
    assert before["decisions"] == 51_000


@pytest.mark.parametrize(("error", "lost"), [(RayError("the object is lost"), True), (RayTaskError("ValueError: a bug"), False)])
def test_whatever_ray_says_of_an_answer_that_is_gone_is_a_loss_and_a_bug_is_none(error, lost):
    def get(answer, timeout):
        raise error

    ray = SimpleNamespace(exceptions=PretendedRay.exceptions, wait=lambda asked, **how: (asked, []), get=get)
    hosts = Hosts(ray, {"0": ["world"]}, lambda: None)
    hosts["0"] = SimpleNamespace(status=SimpleNamespace(remote=lambda: "an answer"))
    if lost:
        assert hosts.answers("status") == {}
        assert "0" in hosts.gone
    else:
        with pytest.raises(RayTaskError):
            hosts.answers("status")


def test_a_traceback_of_another_process_is_told_by_its_last_line():
    report = 'Traceback (most recent call last):\n  File "team.py", line 1, in run\n    self._start()\nValueError: no such thing\n'
    assert in_a_line(RuntimeError(report)) == "ValueError: no such thing"
