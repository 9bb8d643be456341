"""What became of every message is in the books of its link, and books that do not add up fail a run."""

import csv
from dataclasses import replace

import numpy as np
import pytest

import asyncnet
from asyncnet.api import Result
from asyncnet.loop import ledger
from asyncnet.team.draw import plan
from support.teams import multiplexer

HARD = {"task.decisions": 300, "links": {"default": {"delay": 1.5}, "activity": {"loss": 0.2}, "reward": [{"stale": 3}, {"loss": 0.1, "reliable": False}]}}


@pytest.fixture(params=["layer", "unit"])
def result(request, tmp_path):
    return asyncnet.run(multiplexer("weight-max", HARD | {"network.hidden": [20, 20], "network.split": request.param}), out=tmp_path)


def adds_up(row):
    return row["sent"] + row["duplicated"] == row["delivered"] + row["lost"] + row["refused"] + row["expired"] + row["in_flight"]


def test_every_summary_has_a_ledger_that_adds_up(result):
    summary, links = result.summary(), plan(result.scenario).links
    assert all(adds_up(row) for row in summary["ledger"].values())
    assert all(adds_up(row) for row in summary["links"].values())
    assert summary["verdict"] == "pass"
    if len(links) <= ledger.MOST_ROWS:
        assert len(summary["ledger"]) == len(links)
        assert summary["ledger"]["activity actor.1 -> actor.2"]["lost"] > 0
        assert summary["ledger"]["reward world -> actor.3"]["in_flight"] >= 3
    else:
        assert set(summary["ledger"]) >= {"activity actor.1 -> actor.2", "feedback actor.2 -> actor.1", "reward world -> actor.3"}
        assert len(summary["ledger"]) < 20
    for channel, row in summary["links"].items():
        there = [found for name, found in summary["ledger"].items() if name.startswith(channel)]
        assert row["sent"] == sum(found["sent"] for found in there) > 0


def test_books_without_losses_have_no_column_for_them_and_those_of_a_state_come_back():
    team = plan(multiplexer("weight-max", HARD))
    books = ledger.Books(team, loses=False, doubles=False)
    books.sent[:], books.came[:] = 3, np.arange(len(team.links))
    assert books.lost.size == books.doubled.size == books.refused.size == 0
    table = books.table()
    assert table.shape == (len(ledger.COLUMNS), len(team.links))
    assert table[ledger.DELIVERED, team.arriving].tolist() == books.came.tolist()
    assert not table[ledger.LOST].any()
    rng = np.random.default_rng(1)
    before = rng.integers(0, 9, table.shape)
    before[ledger.IN_FLIGHT] = 0
    books.restore(before)
    assert books.table().tolist() == before.tolist()
    books.may_refuse()
    books.refused[2] += 1
    assert books.table()[ledger.REFUSED, 2] == before[ledger.REFUSED, 2] + 1


def test_the_file_has_every_link(result):
    with (result.run_dir / "ledger.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(plan(result.scenario).links)
    assert len({row["link"] for row in rows}) == len(rows)
    for row in rows:
        assert adds_up({name: int(row[name]) for name in ledger.COLUMNS}), row["link"]
    assert sum(int(row["lost"]) for row in rows) == sum(row["lost"] for row in result.summary()["links"].values()) > 0


def test_a_message_that_nobody_accounts_for_fails_the_run(result):
    table = result.record.ledger.copy()
    table[ledger.DELIVERED, np.argmax(table[ledger.DELIVERED])] -= 1
    verdict, reasons = Result(result.scenario, "embedded", replace(result.record, ledger=table)).verdict()
    assert (verdict, reasons) == ("fail", ["the ledger leaves 1 unexplained"])
