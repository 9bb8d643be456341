"""The command that tries promises again and again counts what failed, goes on where it was stopped, and reckons bounds as it says."""

import json
import random

import pytest

from asyncnet.benchmarks import endurance

HERE = ("same-seed", "loops", "books", "order", "calibration", "heal", "resume", "mistakes", "frames")  # the others start Ray


@pytest.mark.parametrize("name", HERE)
def test_what_is_promised_holds_in_a_trial_of_each_kind(name):
    for seed in range(2):
        tried, failed, wrong = endurance.ROWS[name].trial(random.Random(f"commit {seed}"))
        assert tried > 0
        assert (failed, wrong) == (0, "")


def test_scenarios_that_are_drawn_differ_and_have_faults_of_many_kinds():
    made = [endurance.drawn(random.Random(seed)) for seed in range(60)]
    assert len({one.fingerprint() for one in made}) == 60
    assert len({fault.kind for one in made for fault in one.faults}) > 12
    assert sum(not one.faults for one in made) > 3


@pytest.mark.parametrize(
    ("failed", "tried", "known"), [(0, 100, 1.0 - 0.05**0.01), (0, 3, 1.0 - 0.05 ** (1 / 3)), (1, 10, 0.3942), (5, 50, 0.1990), (10, 10, 1.0)]
)
def test_the_bound_is_that_of_clopper_and_pearson(failed, tried, known):
    assert endurance.bound(failed, tried) == pytest.approx(known, abs=2e-4)


def test_a_run_that_is_stopped_goes_on_and_what_fails_is_counted_and_said(tmp_path, monkeypatch, capsys):
    calls = []

    def trial(chance):
        calls.append(chance.random())
        return 10, int(len(calls) == 2), "it broke" if len(calls) == 2 else ""

    monkeypatch.setitem(endurance.ROWS, "books", endurance.Row(3, 9, trial))
    for trials, code in ((1, 0), (3, 1), (3, 1)):
        with pytest.raises(SystemExit) as ended:
            endurance.main(rows=("books",), out=tmp_path / "lines", trials=trials)
        assert ended.value.code == code
    assert len(calls) == len(set(calls)) == 3
    assert [json.loads(line)["failed"] for line in (tmp_path / "lines").read_text().splitlines()] == [0, 1, 0]
    told = capsys.readouterr()
    assert "books, seed 1: it broke" in told.err
    assert "| books | 3 | 30 | 1 |" in told.out
    assert "| resume | not run |" in told.out


def test_a_message_that_is_not_booked_is_seen(monkeypatch):
    account = endurance.account
    monkeypatch.setattr(endurance, "account", lambda loop: account(loop) + (account(loop)[:1] > 100))
    assert endurance.ROWS["books"].trial(random.Random("commit 0"))[1] > 0
