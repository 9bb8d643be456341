"""A run that was cut and resumed ends in the bits of one that was not, wherever it was cut."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

import asyncnet
from asyncnet.loop import underway
from asyncnet.loop.compiled import compiled_loop
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.compiled.posting import NEED_EVENTS
from asyncnet.loop.ledger import DUPLICATED, EXPIRED, IN_FLIGHT, SENT, account, unexplained
from asyncnet.loop.loop import Loop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.runs import checkpoint, snapshot
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.scenario.reading import shipped
from asyncnet.scenario.schema import ScenarioError, check, read
from asyncnet.team.draw import plan
from support.teams import FREE, LOOPS, brief, multiplexer, runnable
from support.thinkable import scenarios

CUTS = 5


def whole(scenario, loop=CompiledLoop):
    made = loop(scenario, Virtual())
    before = made.digest()
    made.run()
    assert made.stopped == "finished"
    assert made.digest() != before
    return made


def resumed(scenario, cuts, folder, loops=(CompiledLoop,)):
    """A run that goes to each of the cuts, is written to a disk, read, and goes on in a loop just made."""
    made = loops[0](scenario, Virtual())
    for number, cut in enumerate(cuts):
        made.run(until=cut)
        assert made.paused
        checkpoint.save(folder, cut, snapshot.take(made))
        state, damaged = checkpoint.load(folder)
        assert damaged == []
        assert state.about["now"] == cut
        if made.nodes[0].outside is not None:
            made.nodes[0].close()
        made = loops[(number + 1) % len(loops)](scenario, Virtual())
        snapshot.put(made, state)
    made.run()
    return made


def assert_same(made, expected):
    assert made.stopped == expected.stopped == "finished"
    assert made.now == expected.now
    assert made.digest() == expected.digest()
    assert made.score.summary() == expected.score.summary()
    assert made.score.rows == expected.score.rows
    assert account(made).tolist() == account(expected).tolist()
    assert made.struck.tolist() == expected.struck.tolist()


@pytest.mark.parametrize("kind", LOOPS.values(), ids=LOOPS)
def test_a_state_knows_how_many_ticks_were_skipped_and_how_often_each_fault_has_struck(kind):
    scenario = multiplexer("weight-max", FREE | {"faults": [{"kind": "duplicate", "share": 0.3}, {"kind": "skip", "share": 0.2}]})
    made, again = (kind(scenario, Virtual()) for _ in range(2))
    made.run(until=200_000)
    made.skipped[1:] = 5, 6, 7  # as on real clocks, where a node may be late for its tick
    snapshot.put(again, snapshot.take(made))
    assert (made.struck > 0).all()
    assert again.struck.tolist() == made.struck.tolist()
    assert again.skipped.tolist() == made.skipped.tolist()
    assert again.ticks.tolist() == made.ticks.tolist()
    assert again.sequence.tolist() == made.sequence.tolist()


@pytest.mark.parametrize("name", runnable())
def test_every_shipped_scenario_cut_at_five_random_points_ends_as_if_it_had_not_been(name, tmp_path):
    scenario = brief(name)
    expected = whole(scenario)
    cuts = np.random.default_rng(len(name)).integers(1, expected.now, CUTS)
    assert_same(resumed(scenario, sorted(set(cuts.tolist())), tmp_path), expected)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture])
@given(scenarios(decisions=60), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=3))
def test_any_team_cut_anywhere_goes_on_in_either_loop(tmp_path_factory, data, places):
    try:
        scenario = check(data, "test")
    except ScenarioError:
        reject()
    expected = whole(scenario)
    cuts = sorted({max(1, int(place * expected.now)) for place in places} - {expected.now})
    assert_same(resumed(scenario, cuts, tmp_path_factory.mktemp("cut"), (Loop, CompiledLoop)), expected)


def test_the_state_of_a_moment_is_the_same_from_either_loop():
    scenario = multiplexer("weight-max", {"links": {"default": {"delay": 1.3}, "reward": {"stale": 3}}})
    states = []
    for kind in (Loop, CompiledLoop):
        made = kind(scenario, Virtual())
        made.run(until=500_000)
        states.append(snapshot.take(made))
    assert states[0].about == states[1].about
    assert len(states[0].arrays["agenda"]) > 1
    assert len(states[0].arrays["held"]) > 1
    assert {name: array.tolist() for name, array in states[0].arrays.items()} == {name: array.tolist() for name, array in states[1].arrays.items()}


def test_a_state_asked_for_between_two_events_is_as_good_as_one_at_a_pause():
    scenario = multiplexer("weight-max", {"task.decisions": 5000})
    expected = whole(scenario)
    made, taken = CompiledLoop(scenario, Virtual()), []

    def progress(running):
        if running.score.decisions == 1000:
            made.ask(lambda: taken.append(snapshot.take(made)))

    made.run(progress)
    assert made.digest() == expected.digest(), "asking has changed nothing"
    (state,) = taken
    assert 0 < state.about["now"] < expected.now
    other = CompiledLoop(scenario, Virtual())
    snapshot.put(other, state)
    other.run()
    assert_same(other, expected)


class Moments:
    """A loop of a task in Python that calls `do` at one of its moments: each time it is back in Python, and within each step of the task."""

    def __init__(self, monkeypatch, loop, chosen, do):
        self.count = 0

        def moment():
            if self.count in chosen:
                do()
            self.count += 1

        def patched(holder, name):
            original = getattr(holder, name)

            def then(*arguments):
                result = original(*arguments)
                moment()
                return result

            monkeypatch.setattr(holder, name, then)

        for name in ("go", "grown"):
            patched(compiled_loop, name)
        for name in ("act", "hear", "look"):
            for node in loop.nodes.values():
                if hasattr(node, name):
                    patched(node, name)
        patched(loop.nodes[0].outside, "step")


@pytest.fixture(scope="module", params=LOOPS)
def stepped(request):
    """A loop's kind, a scenario whose task is stepped in Python, and its uncut run: with graded turns, feedback, messages that wait."""
    scenario = read(shipped()["acrobot-weight-max"]).replace({"task.episodes": None, "task.decisions": 12, "links": {"default": {"delay": 0.5}}})
    return LOOPS[request.param], scenario, whole(scenario, LOOPS[request.param])


def test_a_run_stopped_at_any_moment_of_an_event_goes_on_to_the_same_bits(stepped, monkeypatch):
    kind, scenario, expected = stepped
    cut = moment = 0
    while True:
        made, taken = kind(scenario, Virtual()), []

        def stop(made=made, taken=taken):
            made.ask(lambda: taken.append(snapshot.take(made)))
            made.stop("interrupted")

        with monkeypatch.context() as patch:
            Moments(patch, made, {moment}, stop)
            made.run()
        if made.stopped == "finished":
            break
        moment += 1
        (state,) = taken
        other = CompiledLoop(scenario, Virtual())
        snapshot.put(other, state)
        assert other.digest() == made.digest(), "what was kept is where it stopped"
        other.run()
        assert_same(other, expected)
        cut += 1
    assert cut > 40


def test_a_state_asked_for_at_any_moment_of_an_event_is_whole(stepped, monkeypatch):
    kind, scenario, expected = stepped
    made, taken = kind(scenario, Virtual()), []
    with monkeypatch.context() as patch:
        moments = Moments(patch, made, range(10**6), lambda: made.ask(lambda: taken.append(snapshot.take(made))))
        made.run()
    assert_same(made, expected)
    assert len(taken) == moments.count - 1 > 40  # the last is the look after the end
    for state in taken:
        other = CompiledLoop(scenario, Virtual())
        snapshot.put(other, state)
        other.run()
        assert_same(other, expected)


def test_a_request_is_heard_without_an_object_for_each_message_under_way(monkeypatch):
    made = CompiledLoop(multiplexer("weight-max", {"links": {"default": {"delay": 1.3}}, "task.decisions": 200}), Virtual())
    made.expect(made.under_way())
    taken = []
    for name in ("events", "gathered"):
        monkeypatch.setattr(underway, name, lambda _: pytest.fail("one by one"))

    def interrupt(_):
        made.ask(lambda: taken.append(snapshot.take(made)))
        made.stop("interrupted")

    made.run(interrupt)
    assert account(made)[IN_FLIGHT].sum() > 0
    assert taken


def test_a_run_out_of_room_in_the_middle_of_an_event_finishes_it(monkeypatch):
    made = CompiledLoop(read(shipped()["acrobot-weight-max"]).replace({"task.episodes": None, "task.decisions": 12}), Virtual())
    step, steps = made.nodes[0].outside.step, []

    def fill(*_):
        made.most_events = 0
        made._tables.control[NEED_EVENTS] = len(made._tables.agenda) + 1

    def stepped(v):
        step(v)
        steps.append(made.stopped)
        if len(steps) == 3:
            fill()

    monkeypatch.setattr(made.nodes[0].outside, "step", stepped)
    made.run(lambda _: fill() if len(steps) == 5 else None)
    assert made.stopped.startswith("out of room")
    assert steps == [None] * 5


@pytest.mark.parametrize("kind", LOOPS.values(), ids=LOOPS)
def test_nothing_is_kept_of_an_event_that_an_exception_broke_off(kind, monkeypatch):
    made, taken = kind(read(shipped()["acrobot-weight-max"]).replace({"task.episodes": 1}), Virtual()), []

    def broken(v):
        made.ask(lambda: taken.append(snapshot.take(made)))
        raise KeyboardInterrupt

    monkeypatch.setattr(made.nodes[0].outside, "step", broken)
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert taken == []


def test_the_state_of_another_team_is_refused_in_one_line():
    made = whole(multiplexer("weight-max", {"task.decisions": 20}))
    other = Loop(multiplexer("weight-max", {"network.hidden": [8, 5]}), Virtual())
    with pytest.raises(ScenarioError, match=r"checkpoint/state.safetensors: node/actor.2: not a state of this team: float64 \(\d+,\) where"):
        snapshot.put(other, snapshot.take(made))


def test_an_environment_that_does_not_come_back_is_refused_by_name():
    scenario = read(shipped()["acrobot-weight-max"]).replace({"task.episodes": 3})
    made = Loop(scenario, Virtual())
    made.run(until=100_000)
    state = snapshot.take(made)
    assert state.arrays["task/actions/0"].size > 10
    state.arrays["task/actions/0"][3] = (state.arrays["task/actions/0"][3] + 1) % 3
    with pytest.raises(ScenarioError, match=r"task.id: Acrobot-v1 did not come back to where it was after its last reset and \d+ actions"):
        snapshot.put(Loop(scenario, Virtual()), state)


def test_what_a_cut_on_real_clocks_loses_or_repeats_is_in_the_ledger():
    scenario = multiplexer("weight-max", {"links": {"default": {"delay": 1.3}}})
    made = CompiledLoop(scenario, Virtual())
    made.run(until=400_000)
    state = snapshot.take(made)
    team, under_way = plan(scenario), state.arrays["agenda"][:, 7] >= 0
    assert under_way.any()
    gone = Checkpoint(state.about, state.arrays | {"agenda": state.arrays["agenda"][~under_way], "agenda/values": np.zeros(0)})
    gone.arrays["ledger"][SENT, 0] -= 3  # as if three had been delivered before the part of their sender was taken
    waiting = np.bincount([team.link(kind, src, dst) for _, kind, dst, src, *_ in state.arrays["agenda"][under_way].tolist()], minlength=len(team.links))
    other = CompiledLoop(scenario, Virtual())
    snapshot.put(other, snapshot.balanced(gone, team))
    gap = waiting - 3 * (np.arange(len(waiting)) == 0)
    assert other.books.table()[EXPIRED].tolist() == np.maximum(gap, 0).tolist()
    assert other.books.table()[DUPLICATED].tolist() == np.maximum(-gap, 0).tolist()
    assert not unexplained(account(other)).any()


def command(*words, **more):
    return subprocess.run([sys.executable, "-m", "asyncnet", *words], capture_output=True, text=True, timeout=200, check=False, **more)


def cut(scenario, folder, how, wait, every="0.05"):
    """A run by the command, told or killed by a signal when `wait(run)` returns: (exit code, what it printed, its directory or None)."""
    file = folder / "cut.toml"
    file.write_text(scenario.toml())
    words = [sys.executable, "-m", "asyncnet", "run", str(file), "--out", str(folder / "runs"), "--json", "--checkpoint", every]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait(run)
        run.send_signal(how)
        out, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert "Traceback" not in err, err
    path = folder / "runs" / "latest"
    return run.returncode, out, path if path.exists() else None


def checkpoints(path):
    folder = path / "checkpoints"
    return [each for each in folder.iterdir() if each.name[0] != "."] if folder.is_dir() else []


CUT = {
    signal.SIGINT: ("acrobot-weight-max", {"task.episodes": 60}),
    signal.SIGTERM: ("mountaincar-map-async", {"task.decisions": 10_000}),
    signal.SIGKILL: ("cartpole-weight-max", {"task.episodes": 250}),
}


@pytest.mark.parametrize("how", CUT, ids=lambda how: how.name)
def test_a_run_that_was_interrupted_or_killed_is_resumed_to_the_same_digest(tmp_path, how):
    name, shorter = CUT[how]
    scenario = read(shipped()[name]).replace(shorter)
    expected = asyncnet.run(scenario, out=None).record

    def first_checkpoint(run):
        while not checkpoints(tmp_path / "runs" / "latest"):
            assert run.poll() is None
            time.sleep(0.01)

    code, out, path = cut(scenario, tmp_path, how, first_checkpoint)
    if how == signal.SIGKILL:
        assert out == ""
    else:
        assert code == 130
        assert json.loads(out)["stopped"] == "interrupted"
    assert len(checkpoints(path)) <= checkpoint.KEPT
    result = command("resume", str(path), "--json")
    assert result.returncode in (0, 2), result.stderr
    summary = json.loads(result.stdout)
    assert summary["stopped"] == "finished"
    assert summary["digest"] == expected.digest
    assert summary["resumed"] == "exactly"
    assert summary["links"] == expected.links
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [row["decisions"] for row in rows] == sorted({row["decisions"] for row in rows})
    assert rows[-1]["done"] == 1.0
    again = command("resume", str(path))
    assert again.returncode == 64
    assert "has finished" in again.stderr


LASTS = 1.0  # seconds, about, of a run that is to be cut


@pytest.mark.study
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", runnable())
def test_every_shipped_scenario_cut_by_ten_signals_at_random_moments_ends_as_if_it_had_not_been(name, tmp_path):
    """Prints what became of the ten: the same bits, finished before the signal, or killed before the first checkpoint."""
    scenario = brief(name)
    before = time.perf_counter()
    whole(scenario)  # compiles
    before = time.perf_counter()
    whole(scenario)
    longer = max(1, round(LASTS / (time.perf_counter() - before)))
    key = "task.decisions" if scenario.task.decisions else "task.episodes"
    scenario = scenario.replace({key: longer * (scenario.task.decisions or scenario.task.episodes)})
    before = time.perf_counter()
    expected = asyncnet.run(scenario, out=None).record
    lasts = time.perf_counter() - before
    chance = np.random.default_rng(len(name))
    counts = {"same": 0, "finished before": 0, "no checkpoint yet": 0}

    def random_moment(run):
        rows = tmp_path / str(number) / "runs" / "latest" / "metrics.jsonl"
        while not rows.exists() or not rows.stat().st_size:
            assert run.poll() is None
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, lasts))

    for number in range(10):
        (tmp_path / str(number)).mkdir()
        how = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[number % 3]
        code, _, path = cut(scenario, tmp_path / str(number), how, random_moment)
        if json.loads((path / "run.json").read_text())["status"] == "finished":
            assert json.loads((path / "digests.json").read_text())["digest"] == expected.digest
            counts["finished before"] += 1
            continue
        assert code == (-how if how == signal.SIGKILL else 130)
        if not checkpoints(path):
            with pytest.raises(ScenarioError, match=r"no checkpoint was written yet|no whole checkpoint"):
                asyncnet.resume(path)
            counts["no checkpoint yet"] += 1
            continue
        signal.signal(signal.SIGALRM, lambda *_: pytest.fail("endless"))
        signal.alarm(120)
        summary = asyncnet.resume(path, checkpoint=0.0).summary()
        signal.alarm(0)
        assert (summary["stopped"], summary["digest"], summary["resumed"]) == ("finished", expected.digest, "exactly"), (number, how)
        counts["same"] += 1
    print(f"\n{name}: {counts}", flush=True)


@pytest.mark.parametrize(
    ("make", "why"), [("nothing", "is not the directory of a run"), ("empty", "no checkpoint was written yet"), ("held", "is still running")]
)
def test_what_cannot_be_resumed_is_said_in_one_line(tmp_path, make, why):
    made = asyncnet.run(asyncnet.load("cartpole-weight-max").replace({"task.episodes": 3}), out=tmp_path, checkpoint=0.0) if make != "nothing" else None
    path = made.run_dir if made else tmp_path
    held = None
    if made:
        about = json.loads((path / "run.json").read_text())
        (path / "run.json").write_text(json.dumps(about | {"status": "running"}))
    if make == "held":
        import fcntl

        checkpoint.save(path / "checkpoints", 1, Checkpoint({"now": 1, "score": {"rows": []}}, {"ledger": np.zeros((7, 1), np.int64)}))
        held = os.open(path / ".lock", os.O_RDWR)
        fcntl.flock(held, fcntl.LOCK_EX)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    result = command("resume", str(path))
    if held is not None:
        os.close(held)
    assert result.returncode == 64
    assert result.stderr.count("\n") == 1
    assert why in result.stderr
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before, "and nothing is lost"


def test_a_full_disk_costs_checkpoints_and_not_the_run(tmp_path, monkeypatch):
    from asyncnet.runs import rundir

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rundir, "save", full)
    result = asyncnet.run(asyncnet.load("cartpole-weight-max").replace({"task.episodes": 40}), out=tmp_path, checkpoint=1e-6)
    assert result.record.stopped == "finished"
    verdict, reasons = result.verdict()
    assert verdict == "unknown"
    assert len(reasons) == 1
    assert "no checkpoint could be written" in reasons[0]
    assert reasons[0].endswith("No space left on device")
