"""What a run writes of its ticks and messages as it goes is so, costs no bit, stays small, and ends as the ledger does."""

import csv
import itertools
import json
import threading

import numpy as np
import pytest

import asyncnet
from asyncnet.actors import team as actors_team
from asyncnet.api import Quiet
from asyncnet.loop.counts import Counts, together
from asyncnet.loop.ledger import DELIVERED, LOST, SENT
from asyncnet.runs import durable, picture, traffic_log
from asyncnet.runs.picture import Picture, mean_delay, share_lost
from asyncnet.runs.traffic import TRAFFIC, Row, Team
from asyncnet.runs.traffic_log import Log
from asyncnet.scenario.schema import check
from asyncnet.team.draw import plan
from support.interrupted import interrupted
from support.small import small
from support.teams import FREE, multiplexer
from support.together import Together

pytestmark = pytest.mark.usefixtures("signals_as_they_were")
LONGER = FREE | {"task.decisions": 4000}


@pytest.fixture
def eagerly(monkeypatch):
    """A row as often as there can be one."""
    for name in ("FIRST", "EVERY"):
        monkeypatch.setattr(traffic_log, name, 0.001)
    monkeypatch.setattr(traffic_log, "SHARE", 1.0)


def read(run):
    first, *rows = (run / TRAFFIC).read_text().splitlines()
    return Team.model_validate_json(first), [Row.model_validate_json(row) for row in rows]


def ledger_of(run):
    """ledger.csv: (channel, sender, receiver) -> its columns."""
    with (run / "ledger.csv").open(newline="") as file:
        return {tuple(row.pop("link").replace(" -> ", " ").split()): {name: int(value) for name, value in row.items()} for row in csv.DictReader(file)}


def links_of(team, row):
    """The same of a row; what is not there is zero everywhere."""
    ends = team.layers if team.by_layer else team.nodes
    names = zip(*(getattr(team.links, name) for name in ("channel", "src", "dst")), strict=True)
    columns = ("sent", "duplicated", "delivered", "lost", "refused", "expired", "in_flight")
    return {
        (team.channels[channel].name, ends[src].name, ends[dst].name): {name: (getattr(row, name) or [0] * 10**4)[n] for name in columns}
        for n, (channel, src, dst) in enumerate(names)
    }


def test_rows_grow_while_the_run_goes_on_and_the_last_is_the_ledger(eagerly, tmp_path):
    made = multiplexer("weight-max", LONGER)
    result = asyncnet.run(made, out=tmp_path)
    team, rows = read(result.run_dir)
    assert len(rows) > 5
    for before, after in itertools.pairwise(rows):
        for name in ("seconds", "now", "decisions", "ticks", "learned", "sent", "delivered", "lost"):
            assert np.all(np.array(getattr(after, name)) >= np.array(getattr(before, name))), name
    assert any(0 < row.decisions < 4000 and 0 < sum(row.lost) < sum(rows[-1].lost) for row in rows[:-1])
    last = rows[-1]
    assert links_of(team, last) == ledger_of(result.run_dir)
    assert sum(last.lost) > 100, "messages were lost"
    summary = json.loads((result.run_dir / "summary.json").read_text())
    assert (last.decisions, last.episodes) == (summary["decisions"], summary["episodes"])
    for node, ticks, learned in zip(team.nodes[1:], last.ticks[1:], last.learned[1:], strict=True):
        assert (ticks, learned) == (summary["nodes"][node.name]["ticks"], summary["nodes"][node.name]["learned"])
    assert last.now == pytest.approx(1e6 * float(list(csv.DictReader((result.run_dir / "progress.csv").open()))[-1]["time/simulated_s"]))
    assert asyncnet.run(made, out=None).record.digest == result.record.digest


def test_both_loops_count_alike(tmp_path):
    made = check(small(), "small")
    rows = [read(asyncnet.run(made, out=tmp_path, loop=loop).run_dir)[1][-1] for loop in ("compiled", "readable")]
    assert rows[0].model_copy(update={"seconds": 0.0}) == rows[1].model_copy(update={"seconds": 0.0})


def test_a_run_that_keeps_nothing_counts_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(traffic_log, "noted", None)
    monkeypatch.setattr("asyncnet.runs.embedded.noted", None)
    assert asyncnet.run(check(small(), "small"), out=None).record.stopped == "finished"
    assert not list(tmp_path.iterdir())


def test_no_thread_is_left_behind(eagerly, tmp_path):
    asyncnet.run(multiplexer("weight-max", LONGER), out=tmp_path)
    assert "traffic" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(("name", "most"), [("MOST_LINKS", 20), ("MOST_NODES", 10)])
def test_a_large_team_is_added_up_by_layers(name, most, monkeypatch, tmp_path):
    made = multiplexer("weight-max", FREE | {"network.split": "unit"})
    drawn = plan(made)
    monkeypatch.setattr(picture, name, most)
    run = asyncnet.run(made, out=tmp_path).run_dir
    team, rows = read(run)
    assert team.by_layer
    assert len(team.nodes) == (len(drawn.layers) if name == "MOST_NODES" else len(drawn.nodes))
    layer = {node.name: drawn.layers[node.layer].name for node in drawn.nodes}
    expected = {}
    for (channel, src, dst), columns in ledger_of(run).items():
        row = expected.setdefault((channel, layer[src], layer[dst]), dict.fromkeys(columns, 0))
        for column, value in columns.items():
            row[column] += value
    assert links_of(team, rows[-1]) == expected
    ticks = json.loads((run / "summary.json").read_text())["nodes"]
    assert sum(rows[-1].ticks) == sum(node["ticks"] for node in ticks.values())
    assert sum(node.nodes for node in team.nodes) == len(drawn.nodes) > len(drawn.layers)


def test_delays_and_losses_are_those_that_the_conditions_say():
    activity = [{"delay": {"kind": "uniform", "low": 1, "high": 2}}, {"loss": 0.5}, {"loss": 0.5}]
    made = multiplexer("weight-max", {"links": {"default": {"delay": 0.5}, "activity": activity}})
    assert mean_delay(made.links, "activity", 1000) == pytest.approx(2000.0)
    assert mean_delay(made.links, "feedback", 1000) == pytest.approx(500.0)
    assert share_lost(made.links, "activity") == pytest.approx(0.75)
    made = multiplexer("weight-max", {"links": {"default": {"delay": {"kind": "exponential", "mean": 3.0}}}})
    assert mean_delay(made.links, "reward", 10) == pytest.approx(30.0)


def counts(team, number):
    """So much of everything."""
    return Counts(number, number, 0, *[np.full(len(team.nodes), number)] * 2, *[np.full(len(team.links.channel), number)] * 3)


def test_a_file_that_would_grow_too_large_loses_older_rows_evenly(monkeypatch, tmp_path):
    made, now = multiplexer(), [0.0]
    monkeypatch.setattr(traffic_log, "MOST_BYTES", 60_000)
    monkeypatch.setattr(traffic_log.time, "monotonic", lambda: now[0])
    log, team = Log(tmp_path / TRAFFIC, made), Picture(made).team
    for number in range(1500):
        now[0] += 0.5
        log.counts(counts(team, number))
        assert (tmp_path / TRAFFIC).stat().st_size <= 60_000
    log.close()
    _, rows = read(tmp_path)
    found = [row.now for row in rows]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (0, 1499)
    assert len(found) > 80
    gaps = np.diff(found[: len(found) // 2])
    assert gaps.max() <= 4 * gaps.min(), "no hole and no heap"
    assert sorted(path.name for path in tmp_path.iterdir()) == [TRAFFIC]


def test_a_disk_that_is_full_costs_this_file_and_not_the_run(monkeypatch, tmp_path):
    made, add = multiplexer("weight-max", LONGER), durable.Lines.add

    def full(lines, text):
        if '"ticks"' in text:
            raise OSError(28, "No space left on device")
        add(lines, text)

    monkeypatch.setattr(durable.Lines, "add", full)
    result = asyncnet.run(made, out=tmp_path)
    assert result.verdict() == ("unknown", [f"{TRAFFIC} is not complete: No space left on device"])
    assert result.record.digest == asyncnet.run(made, out=None).record.digest


def test_a_run_that_goes_on_keeps_the_rows_that_are_still_true(eagerly, tmp_path):
    made = multiplexer("weight-max", LONGER)
    whole = asyncnet.run(made, out=None)
    path = interrupted(made, tmp_path).run_dir
    team, before = read(path)
    assert before[-1].in_flight is not None, "it said how it was when it was interrupted"
    result = asyncnet.resume(path)
    assert result.record.digest == whole.record.digest
    again, rows = read(path)
    at = asyncnet.runs.stored.about(path).resumed[0].at
    kept = [row for row in before[:-1] if row.now <= at]
    assert len(kept) > 2
    assert (again, rows[: len(kept)]) == (team, kept)
    assert [row.in_flight is None for row in rows] == [True] * (len(rows) - 1) + [False]
    seconds = [row.seconds for row in rows]
    assert seconds == sorted(seconds)
    assert links_of(team, rows[-1]) == ledger_of(path)


@pytest.mark.parametrize("edit", [lambda text: "no team\n" + text, lambda text: text.replace('"format":1', '"format":2'), lambda text: text[: len(text) // 2]])
def test_rows_that_cannot_be_read_are_no_hindrance(edit, eagerly, tmp_path):
    path = interrupted(multiplexer("weight-max", LONGER), tmp_path).run_dir
    (path / TRAFFIC).write_text(edit((path / TRAFFIC).read_text()))
    result = asyncnet.resume(path)
    assert result.verdict()[0] == "pass"
    team, rows = read(path)
    assert links_of(team, rows[-1]) == ledger_of(path)


@pytest.mark.parametrize("virtual", [True, False])
def test_hosts_tell_what_their_own_nodes_and_links_did_and_together_it_is_all(virtual):
    made = multiplexer("weight-max", FREE)
    many = Together(made, 2, virtual=virtual)
    many.start().end()
    shown = together(Counts(*host.status(True)["counts"]) for host in many.hosts.values())
    picture = Picture(made)
    for column, name in ((SENT, "sent"), (LOST, "lost"), (DELIVERED, "delivered")):
        assert np.array_equal(getattr(shown, name), picture._by_link(many.ledger[column])), name
    ticks = {name: node["ticks"] for result in many.results for name, node in result["nodes"].items()}
    assert dict(zip([node.name for node in picture.team.nodes[1:]], shown.ticks[1:].tolist(), strict=True)) == ticks
    assert shown.decisions == 200
    assert shown.lost.sum() > 10


@pytest.mark.ray
def test_a_run_on_ray_tells_as_it_goes(ray_session, monkeypatch):
    monkeypatch.setattr(actors_team, "LOOK", 0.3)
    made, told = multiplexer("weight-max", FREE | {"tick": 1000}), []

    class Kept:
        name, every, recording = "small__kept", 0.0, False

        def traffic(self, counts):
            told.append(counts)

    record = actors_team.run_in(ray_session, made, Quiet(), kept=Kept())
    assert record.stopped == "finished"
    assert len(told) > 2
    assert any(0 < counts.decisions < told[-1].decisions for counts in told), "the first may come before the first decision"
    assert told[-1].decisions <= 200
    last = Picture(made).last(record, 0.0)
    assert np.all(told[-1].sent <= np.array(last.sent))
    assert told[-1].ticks[1:].min() > 0
    assert last.wire["activity"] > 0
