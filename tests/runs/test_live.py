"""A callback sees the run as it is, at the moments that were asked for; it can end it, and changes no bit of it. Probes are numbers that it writes down."""

import csv
import importlib.util
from itertools import pairwise
from statistics import median

import numpy as np
import pandas
import pytest

import asyncnet
from asyncnet.scenario.mistakes import ScenarioError

SCENARIO = asyncnet.load("multiplexer3-weight-max").replace({"task.decisions": 2000})


@pytest.mark.parametrize("loop", ["compiled", "readable"])
@pytest.mark.parametrize("name", ["multiplexer3-weight-max", "cartpole-free", "cartpole-weight-max"])
def test_a_callback_is_called_when_it_was_asked_for_and_changes_no_bit(name, loop):
    scenario = asyncnet.load(name)
    by_episode = scenario.task.episodes is not None
    scenario = scenario.replace({"task.episodes": 12} if by_episode else {"task.decisions": 900})
    seen = []
    watched = asyncnet.run(
        scenario, out=None, loop=loop, on_progress=lambda live: seen.append(live.episodes if by_episode else live.decisions), every=5 if by_episode else 70
    )
    alone = asyncnet.run(scenario, out=None, loop=loop)
    assert watched.record.digest == alone.record.digest
    assert watched.record.score == alone.record.score
    assert seen == ([5, 10] if by_episode else list(range(70, 900, 70)))


@pytest.mark.parametrize("every", [998, 333, 7])
def test_a_callback_between_the_last_two_rows_changes_no_bit_either(every):
    scenario = SCENARIO.replace({"task.decisions": 1000})
    assert asyncnet.run(scenario, out=None, on_progress=lambda _: None, every=every).record.digest == asyncnet.run(scenario, out=None).record.digest


def test_a_run_that_was_watched_when_it_was_interrupted_is_resumed_to_the_same_bits(tmp_path):
    stopped = asyncnet.run(SCENARIO, out=tmp_path, checkpoint=1e-6, on_progress=lambda live: live.stop() if live.decisions >= 999 else None, every=333)
    assert stopped.record.stopped == "interrupted"
    resumed = asyncnet.resume(stopped.run_dir)
    expected = asyncnet.run(SCENARIO, out=None)
    assert resumed.record.digest == expected.record.digest
    assert resumed.record.score == expected.record.score


def test_it_sees_weights_and_activities_as_they_are_now_and_cannot_change_them():
    snaps, kept = [], []

    def look(live):
        weights = live.weights("actor.2")
        snaps.append(weights["weight"].copy())
        kept.append(weights["weight"])
        assert set(live.weights("actor.3")) == {"weight", "bias"}
        assert set(np.unique(live.activity("actor.1"))) <= {0.0, 1.0}
        assert live.row["decisions"] == live.decisions
        with pytest.raises(ValueError, match="read-only"):
            weights["weight"][0, 0] = 1.0
        with pytest.raises(KeyError):
            live.weights("actor.9")
        with pytest.raises(KeyError):
            live.array("actor.1", "nothing")

    result = asyncnet.run(SCENARIO, out=None, on_progress=look, every=500)
    assert len(snaps) == 4
    assert all(not np.array_equal(one, other) for one, other in pairwise(snaps))
    assert np.array_equal(snaps[-1], result.record.weights["actor.2"]["weight"])


def test_a_callback_can_end_the_run(tmp_path):
    result = asyncnet.run(SCENARIO, out=tmp_path, on_progress=lambda live: live.stop("good enough") if live.decisions >= 1000 else None, every=100)
    assert result.record.stopped == "good enough"
    assert 1000 <= result.record.score["decisions"] < 1100
    assert result.verdict() == ("fail", ["good enough"])
    assert asyncnet.run(SCENARIO, out=None, on_progress=lambda live: live.stop(), every=100).record.stopped == "interrupted"


def test_an_exception_of_a_callback_is_raised():
    with pytest.raises(ZeroDivisionError):
        asyncnet.run(SCENARIO, out=None, on_progress=lambda live: 1 / 0)


def test_probes_are_means_and_norms_at_the_moments_asked_for(tmp_path):
    wanted = []

    def look(live):
        wanted.append((live.decisions, np.linalg.norm(live.weights("actor.1")["weight"]), live.activity("actor.1").mean()))

    result = asyncnet.run(SCENARIO, out=tmp_path, on_progress=look, every=400, probe=["actor.1.weight_norm", "actor.1.activity"])
    rows = [(row["decisions"], row["actor.1.weight_norm"], row["actor.1.activity"]) for row in result.probe_rows]
    assert [row[0] for row in rows] == [400, 800, 1200, 1600, 2000]
    assert np.allclose(rows, wanted)
    with (result.run_dir / "probes.csv").open() as file:
        assert [float(row["actor.1.weight_norm"]) for row in csv.DictReader(file)] == [row[1] for row in rows]
    for frame in (result.probes, asyncnet.open(result.run_dir).probes, pandas.read_parquet(result.run_dir / "probes.parquet").set_index("decisions")):
        assert list(frame.columns) == ["episodes", "actor.1.weight_norm", "actor.1.activity"]
        assert list(frame[["actor.1.weight_norm", "actor.1.activity"]].itertuples(name=None)) == rows


def test_without_pyarrow_probes_are_a_csv_file(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: pytest.fail(name) if name != "pyarrow" else None)
    result = asyncnet.run(SCENARIO.replace({"task.decisions": 100}), out=tmp_path, every=50, probe="actor.1.activity")
    assert (result.run_dir / "probes.csv").is_file()
    assert not (result.run_dir / "probes.parquet").exists()


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        ("actor.9.weight_norm", "no node 'actor.9'; did you mean actor."),
        ("actor.1.wieght", "actor.1 has no field wieght; did you mean weight?"),
        ("x", "no node 'x'"),
    ],
)
def test_a_probe_of_what_is_not_there_is_refused_before_anything_starts(probe, said, command, tmp_path):
    code, out, err = command("run", "multiplexer3-weight-max", "--probe", probe, "--out", tmp_path)
    assert (code, out) == (64, "")
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_what_only_one_engine_has_is_refused_on_the_other():
    with pytest.raises(ScenarioError, match="are for the embedded engine"):
        asyncnet.run(SCENARIO, engine="ray", out=None, on_progress=print)
    with pytest.raises(ScenarioError, match="every: at least 1, got 0"):
        asyncnet.run(SCENARIO, out=None, on_progress=print, every=0)


@pytest.mark.study
def test_probes_every_thousand_decisions_cost_no_more_than_two_percent():
    """Paired runs in turns; measured, not asserted on a shared machine."""
    scenario, ratios = SCENARIO.replace({"task.decisions": 200_000}), []
    for _ in range(10):
        plain = asyncnet.run(scenario, out=None).record.seconds
        probed = asyncnet.run(scenario, out=None, probe=["actor.1.weight_norm", "actor.1.activity"]).record.seconds
        ratios.append(probed / plain)
    print(f"\nwith two probes every 1,000 decisions: {median(ratios):.4f} of the time without (from {min(ratios):.3f} to {max(ratios):.3f})")
