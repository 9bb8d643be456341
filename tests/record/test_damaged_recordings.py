"""What is missing, damaged or planted in a recording is named: the node, its event and its array, or the file and its segment."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from asyncnet import api
from asyncnet.actors.host import Host
from asyncnet.actors.team import groups
from asyncnet.kernels.plain import as_python
from asyncnet.loop.compiled.agenda import of_who, who
from asyncnet.loop.ledger import DUPLICATED, EXPIRED
from asyncnet.loop.loop import Loop, digest
from asyncnet.loop.message import ACTIVITY, CHANNEL_NAMES, TICK, TURN
from asyncnet.loop.timekeeper import Virtual
from asyncnet.record.journal import Digest, Reader, Writer, encode
from asyncnet.record.playback import replay
from asyncnet.record.recorder import WIDTH, fields_of
from asyncnet.runs import snapshot
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.runs.stored import recordings
from asyncnet.team.draw import plan
from support.places import ROOT
from support.recorded import ACROBAT, Interrupted, assert_identical, file_of, on_real_clocks, rows_of
from support.teams import FREE, multiplexer

pytestmark = pytest.mark.usefixtures("signals_as_they_were")


def on_threads(scenario, folder, begin=None):
    """A recorded run on real clocks of the hosts of actors, each in a thread; their frames go from hand to hand. Returns digest and a state midway."""
    team = plan(scenario)
    parts = {str(n): part for n, part in enumerate(groups(team, 1))}
    states = {name: None if begin is None else tuple(snapshot.part(begin, team, part)) for name, part in parts.items()}
    hosts = {name: Host(scenario.data(), part, "ray", "127.0.0.1", record=name, begin=states[name]) for name, part in parts.items()}
    hands = {name: SimpleNamespace(deliver=SimpleNamespace(remote=host.deliver)) for name, host in hosts.items()}
    where = {i: name for name, part in parts.items() for i in part}
    writer, at = Writer(folder), time.time_ns() + 100_000_000
    for name, host in hosts.items():
        host.connect({other: hosts[other].address() for other in hosts if other != name}, where, {other: hands[other] for other in hosts if other != name})
    for host in hosts.values():
        host.start(at)
    taken = []
    while hosts["0"].status()["decisions"] < 20 and hosts["0"].loop.stopped is None:
        time.sleep(0.001)
    for host in hosts.values():  # of different moments, as Ray brings them
        taken.append(host.state())
        time.sleep(0.01)
    assert hosts["0"].await_end(60.0)
    for host in hosts.values():
        host.stop("finished")
    results = [host.result() for host in hosts.values()]
    for name, host in hosts.items():
        assert host.failure is None, host.failure
        writer.append(name, b"".join(data for _, data in host.segments()))
        host.close()
    writer.close()
    midway = None if None in taken else snapshot.merge(Checkpoint(*state) for state in taken)
    return digest({i: np.frombuffer(state) for result in results for i, state in result["states"].items()}), midway


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """The recording of a team in four loops: (scenario, folder, a state midway)."""
    scenario = multiplexer("weight-max", FREE | {"task.decisions": 200})
    for _ in range(5):  # what was on its way when states were taken is the machine's affair
        folder = tmp_path_factory.mktemp("several")
        end, midway = on_threads(scenario, folder)
        if midway is not None and snapshot.balanced(midway, plan(scenario)).arrays["ledger"][[DUPLICATED, EXPIRED]].any(axis=1).all():
            break
    report = replay(scenario, folder)
    assert_identical(report, int((rows_of(folder)[:, 4] >= 0).sum()))
    assert report.loop.digest() == end != Loop(scenario, Virtual()).digest()
    assert len(list(folder.glob("*.anr"))) == len(plan(scenario).nodes) == 4
    return scenario, folder, midway


def test_loops_that_went_on_from_states_of_different_moments_are_replayed(several, tmp_path):
    scenario, _, midway = several
    begin = snapshot.balanced(midway, plan(scenario))
    assert begin.arrays["ledger"][DUPLICATED].sum() > 0, "some of what is said was said before"
    assert begin.arrays["ledger"][EXPIRED].sum() > 0, "and some is never heard"
    end, _ = on_threads(scenario, tmp_path, begin)
    report = replay(scenario, tmp_path, begin)
    assert_identical(report, int((rows_of(tmp_path)[:, 4] >= 0).sum()))
    assert report.loop.digest() == end
    assert report.events > 1000
    assert replay(scenario, tmp_path).difference is not None


@pytest.fixture
def copied(several, tmp_path):
    shutil.copytree(several[1], tmp_path / "copy")
    return tmp_path / "copy"


def test_events_of_several_loops_take_place_in_the_order_of_time(several):
    scenario, folder, _ = several
    seen = []
    replay(scenario, folder, before=lambda event, node: seen.append(event))
    ticks = [event.now for event in seen if event.kind in (TICK, TURN)]
    assert len({event.node for event in seen}) == 4
    assert len(ticks) > 1000
    assert ticks == sorted(ticks)


def test_loops_whose_clocks_are_apart_are_replayed(several, copied):
    scenario, folder, _ = several
    for n, path in enumerate(sorted(copied.glob("*.anr"))):
        apart = np.array([n * (-1) ** n * 30_000, 0, 0])  # digests hold times too, so they are left out
        path.write_bytes(b"".join(encode(segment._replace(events=segment.events + apart, digests=())) for segment in Reader(path)))
    assert rows_of(copied)[:, 0].min() < -50_000
    report = replay(scenario, copied)
    assert (report.difference, report.damage) == (None, [])
    assert report.events == replay(scenario, folder).events


@pytest.mark.parametrize("name", ["0", "1", "3"])
def test_a_loop_whose_recording_is_missing_is_named(name, several, copied):
    (copied / f"{name}.anr").unlink()
    report = replay(several[0], copied)
    nodes = plan(several[0]).nodes
    assert report.difference is None
    assert report.damage == [f"{copied}: nothing is recorded of {nodes[int(name)].name}"]
    assert report.line.startswith(f"identical: {report.events:,} events")


def test_one_file_that_is_cut_short_stops_the_others_where_they_need_it(several, copied):
    scenario, folder, _ = several
    whole = replay(scenario, folder).events
    data = (copied / "2.anr").read_bytes()
    segments = [segment for segment in Reader(copied / "2.anr") if len(segment.events)]
    assert len(segments) > 1
    seen = []
    for left in sorted({0, len(segments) // 2, len(segments) - 1}):  # how many there are is the clock's business
        kept = b"".join(map(encode, segments[:left]))
        assert data.startswith(kept)
        (copied / "2.anr").write_bytes(data[: len(kept) + 20])
        report = replay(scenario, copied)
        assert report.difference is None
        assert len(report.damage) == 1
        assert report.damage[0].startswith(f"{copied / '2.anr'}: ")
        seen.append(report.events)
    assert seen[0] > 0
    assert all(few < more for few, more in itertools.pairwise([*seen, whole]))


def test_a_folder_without_a_recording_is_no_recording(several, tmp_path):
    report = replay(several[0], tmp_path)
    assert report.events == 0
    assert report.damage == [f"{tmp_path}: holds no recording"]


def rewrite(run, at, **changes):
    """Put another segment in the place of one, with its checksum made right."""
    segments = list(Reader(file_of(run)))
    more = len(changes.get("events", segments[at].events)) - len(segments[at].events)
    segments[at] = segments[at]._replace(**changes)
    for n, later in enumerate(segments[at + 1 :], at + 1):  # how many there are is the clock's business
        moved = tuple(digest._replace(event=digest.event + more) for digest in later.digests)
        segments[n] = later._replace(first=later.first + more, digests=moved)
    file_of(run).write_bytes(b"".join(map(encode, segments)))
    assert [type(segment) for segment in Reader(file_of(run))] == [type(segment) for segment in segments], "the reader finds nothing wrong"
    return segments


def test_one_flipped_bit_is_named_with_file_and_segment(run, command):
    whole = file_of(run).read_bytes()
    sizes = [len(encode(segment)) for segment in Reader(file_of(run))]
    starts = np.cumsum([0, *sizes[:-1]])
    events = [int((segment.events[:, 2] >= 0).sum()) for segment in Reader(file_of(run))]
    for at in np.linspace(0, len(whole) - 1, 30).astype(int).tolist():
        file_of(run).write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        number = int((starts <= at).sum()) - 1
        same, found = api.replay(run)
        assert not same
        assert f"{file_of(run)}: " in found
        assert f"segment {number}, at byte {starts[number]}" in found
        assert found.startswith(f"identical: {sum(events[:number]):,} events, ")
    code, out, _ = command("replay", run, "--json")
    assert (code, json.loads(out)) == (1, {"identical": False, "found": found})


def test_a_recording_cut_anywhere_is_replayed_as_far_as_it_goes(run):
    whole = file_of(run).read_bytes()
    segments = list(Reader(file_of(run)))
    ends = np.cumsum([len(encode(segment)) for segment in segments])
    for cut in [*ends[:-1].tolist(), *np.linspace(0, len(whole) - 1, 12).astype(int).tolist()]:
        file_of(run).write_bytes(whole[:cut])
        left = int((ends <= cut).sum())
        report = replay(api.load(run / "config.toml"), recordings(run, 0))
        assert report.difference is None
        assert report.events == sum(int((segment.events[:, 2] >= 0).sum()) for segment in segments[:left])
        assert report.digests == sum(len(segment.digests) for segment in segments[:left])
        (damage,) = report.damage
        assert damage.startswith(f"{file_of(run)}: ")
        assert report.line.endswith(f"; as far as the recording goes: {damage}")
        assert not api.replay(run)[0]


def test_a_changed_digest_is_named_by_node_event_and_array(run, command):
    segments = list(Reader(file_of(run)))
    at = next(n for n, segment in enumerate(segments) if n and segment.digests)
    digests = list(segments[at].digests)
    place = fields_of(Loop(api.load(run / "config.toml"), Virtual()).nodes[2]).index("weight") * WIDTH
    (chosen,) = (n for n, digest in enumerate(digests) if digest.node == 2)
    event, node, fields = digests[chosen]
    digests[chosen] = Digest(event, node, fields[:place] + bytes([fields[place] ^ 1]) + fields[place + 1 :])
    rewrite(run, at, digests=tuple(digests))
    rows = rows_of(recordings(run, 0))[:event]
    number = int(((rows[:, 2] == 2) & (rows[:, 4] >= 0)).sum())
    report = replay(api.load(run / "config.toml"), recordings(run, 0))
    assert (report.difference.event.node, report.difference.event.number, report.difference.array) == ("actor.2", number, "weight")
    code, out, _ = command("replay", run)
    assert code == 1
    assert out.startswith(f"different: event {number} of actor.2, at ")
    assert out.endswith("; its weight differs after it\n")


def test_a_tick_at_another_time_is_named_by_the_first_node_and_array_that_differ(timed, tmp_path):
    run = Path(shutil.copytree(timed.run_dir, tmp_path / "run"))
    segments = list(Reader(file_of(run)))
    ticks = [(n, row) for n, segment in enumerate(segments) for row in np.flatnonzero(segment.events[:, 1] == as_python(who)(TICK, 2, 2)).tolist()]
    for at, row in (ticks[5], ticks[-1]):
        events = segments[at].events.copy()
        events[row, 0] += 1
        file_of(run).write_bytes(b"".join(map(encode, segments)))
        assert api.replay(run)[0]
        rewrite(run, at, events=events)
        event, array, why = replay(timed.scenario, recordings(run, 0)).difference
        nodes = {node.name: node for node in Loop(timed.scenario, Virtual()).nodes.values()}
        assert array in fields_of(nodes[event.node])
        assert why == f"its {array} differs after it"
        if row == ticks[-1][1]:
            assert event.node == "actor.2"
            assert event.number >= len(ticks)


def test_another_sequence_number_is_named_by_its_message(run):
    segments = list(Reader(file_of(run)))
    events = segments[1].events.copy()
    at = np.flatnonzero((events[:, 1] == as_python(who)(ACTIVITY, 2, 1)) & (events[:, 2] >= 0))[3]  # not a loss
    events[at, 2] += 100_000
    rewrite(run, 1, events=events)
    same, found = api.replay(run)
    assert not same
    assert f"activity {events[at, 2]} from actor.1; this message is not on its way now" in found
    assert f"of actor.2, at {events[at, 0] / 1e6:.6f} s" in found


def losses(segments):
    """Segment and row of each loss."""
    return [(n, row) for n, segment in enumerate(segments) for row in np.flatnonzero(segment.events[:, 2] < 0).tolist()]


@pytest.mark.parametrize("how", ["removed", "changed", "added"])
def test_another_loss_is_named(how, run):
    segments, team = list(Reader(file_of(run))), plan(api.load(run / "config.toml"))
    at, row = losses(segments)[-1]
    events = segments[at].events
    _, code, seq = events[row].tolist()
    kind, dst, src = as_python(of_who)(code)
    name, to = f"{CHANNEL_NAMES[kind]} {-seq} from {team.nodes[src].name}", f" to {team.nodes[dst].name}"
    digests = segments[at].digests
    if how == "removed":
        last = segments[at].first + len(events) - 1
        rewrite(run, at, events=np.delete(events, row, axis=0), digests=tuple(digest._replace(event=min(last, digest.event)) for digest in digests))
        expected = f"lost then: nothing; lost now: {name}{to}"
    elif how == "changed":
        events = events.copy()
        events[row, 2] -= 1
        rewrite(run, at, events=events)
        expected = f"lost then: {CHANNEL_NAMES[kind]} {1 - seq} from {team.nodes[src].name}{to}; lost now: {name}{to}"
    else:
        rewrite(run, at, events=np.insert(events, row, events[row] - [0, 0, 1], axis=0))
        expected = f"lost then: {CHANNEL_NAMES[kind]} {1 - seq} from {team.nodes[src].name}{to}; lost now: {name}{to}"
    if at + 1 < len(segments) and how != "changed":
        assert "it does not follow" in api.replay(run)[1]
    assert expected in api.replay(run)[1]


TEAM = 4
CODES = {"of no node": as_python(who)(TICK, TEAM, TEAM), "by no link": as_python(who)(ACTIVITY, 1, 3), "of no kind": as_python(who)(7, 1, 1), "-1": -1}


@pytest.mark.parametrize("code", CODES)
def test_an_event_that_the_team_cannot_have_is_damage(code, run):
    events = list(Reader(file_of(run)))[1].events.copy()
    events[7, 1] = CODES[code]
    rewrite(run, 1, events=events)
    assert api.replay(run)[1].endswith(f"{file_of(run)}: segment 1: an event that this team cannot have")


@pytest.mark.parametrize("digest", [Digest(0, 1, bytes(8)), Digest(10**6, 1, bytes(8)), Digest(-1, 1, b""), Digest(500, TEAM, b""), Digest(500, -1, b"")])
def test_a_digest_of_what_is_not_there_is_damage(digest, run):
    rewrite(run, 1, digests=(digest,))
    assert api.replay(run)[1].endswith(f"{file_of(run)}: segment 1: a digest of no node or no event of this segment")


@pytest.mark.parametrize("fields", [b"", bytes(8), bytes(10_000)])
def test_a_digest_of_another_layout_differs(fields, run):
    segments = list(Reader(file_of(run)))
    rewrite(run, 1, digests=(Digest(segments[1].first + 9, 1, fields),))
    same, found = api.replay(run)
    assert not same
    assert "of actor.1, at " in found
    assert "differs after it" in found


def test_outcomes_of_another_task_are_damage_and_missing_ones_are_named(run, tmp_path):
    rewrite(run, 1, transitions=np.zeros((1, 3)))
    assert api.replay(run)[1].endswith(f"{file_of(run)}: segment 1: transitions that its task cannot have")
    acrobat = on_real_clocks(ACROBAT, tmp_path / "acrobat").run_dir
    segments = list(Reader(file_of(acrobat)))
    rewrite(acrobat, 1, transitions=segments[1].transitions[:, :-1])
    assert api.replay(acrobat)[1].endswith(f"{file_of(acrobat)}: segment 1: transitions that its task cannot have")
    file_of(acrobat).write_bytes(b"".join(map(encode, segments)))
    last = max(n for n, segment in enumerate(segments) if len(segment.transitions))
    rewrite(acrobat, last, transitions=segments[last].transitions[:-1])
    same, found = api.replay(acrobat)
    assert not same
    assert "of world, at " in found
    assert found.endswith("its turn; the recording does not hold what this step of the task led to")


def test_a_run_whose_digest_was_changed_is_not_that_of_its_recording(run):
    digests = json.loads((run / "digests.json").read_text())
    (run / "digests.json").write_text(json.dumps(digests | {"digest": "0" * 64}))
    same, found = api.replay(run)
    assert not same
    assert found.endswith("different: the run's digest is not that of its recording's end")


def test_a_run_that_was_killed_is_replayed_as_far_as_it_was_recorded_and_so_is_how_it_went_on(tmp_path):
    words = ["multiplexer3-weight-max", "--time", "wall", "--set", "task.decisions=20000", "--set", "tick=300", "--out", tmp_path, "--checkpoint", "0.3"]
    child = subprocess.Popen([sys.executable, "-m", "asyncnet", "run", *map(str, words)], stderr=subprocess.DEVNULL)
    path, checkpoints = file_of(tmp_path / "latest"), tmp_path / "latest" / "checkpoints"
    deadline = time.monotonic() + 60
    while not (path.is_file() and len(list(Reader(path))) > 1 and any(checkpoints.glob("[0-9]*"))) and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    run = (tmp_path / "latest").resolve()
    assert json.loads((run / "run.json").read_text())["status"] == "running"
    scenario = api.load(run / "config.toml")
    report = replay(scenario, recordings(run, 0))
    assert report.difference is None
    assert report.events == (rows_of(recordings(run, 0))[:, 4] >= 0).sum() > 1000
    assert report.digests >= len(report.loop.nodes)
    assert report.loop.digest() != Loop(scenario, Virtual()).digest()
    assert f"{file_of(run)}: ends " in report.damage[0]
    assert api.resume(run, reporter=Interrupted(1)).record.stopped == "interrupted"
    same, found = api.replay(run)
    assert not same, "for the end of its first part is gone"
    assert found.startswith(f"{report.line}; identical: ")
    assert found.count("as far as the recording goes") == 1


def test_the_reader_in_the_document_reads_a_recording(short, tmp_path):
    text = (ROOT / "docs" / "recording.md").read_text()
    found = {}
    exec(re.search(r"```python\n(.*?)```", text, re.S).group(1), found)
    for run in (short.run_dir, on_real_clocks(ACROBAT, tmp_path).run_dir):
        read = list(found["segments"](file_of(run).read_bytes()))
        segments = list(Reader(file_of(run)))
        assert len(read) == len(segments) > 1
        for (loop, last, rows, transitions, digests), segment in zip(read, segments, strict=True):
            assert (loop, last) == (segment.loop, segment.last)
            assert rows == list(zip(segment.events[:, 0], *as_python(of_who)(segment.events[:, 1]), segment.events[:, 2], strict=True))
            assert transitions == segment.transitions.tolist()
            assert digests == list(segment.digests)
    assert sum(len(segment.transitions) for segment in segments) > 50
    assert losses(list(Reader(file_of(short.run_dir))))
