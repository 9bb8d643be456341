"""A run keeps to the figures that its scenario asks for, or does not pass; and so to what somebody's own functions say."""

import json
import typing

import numpy as np
import pytest

import asyncnet
from asyncnet.scenario.invariants import Figure
from asyncnet.scenario.schema import ScenarioError, check
from support.small import small


def ran(checks=(), **asked):
    return asyncnet.run(check(small(**({"checks": asked} if asked else {})), "small"), out=None, checks=checks)


def test_a_figure_within_its_bounds_passes_and_one_outside_fails_in_one_sentence():
    summary = ran().summary()
    reward = summary["last_mean_reward"]
    assert summary["verdict"] == "pass"
    assert ran(at_least={"last_mean_reward": reward}, at_most={"last_mean_reward": reward, "lost": 0.0, "evicted": 0.0}).verdict() == ("pass", [])
    assert ran(at_least={"last_mean_reward": 2.0}).verdict() == ("fail", [f"last_mean_reward is {reward:.4g}, at least 2 was asked for"])
    assert ran(at_most={"on_time": 0.5}).verdict() == ("fail", ["on_time is 1, at most 0.5 was asked for"])


def test_shares_of_lost_messages_and_of_credits_without_a_sample_are_figures_too():
    lossy = asyncnet.run(check(small(links={"activity": {"loss": 0.3}}, checks={"at_most": {"lost": 0.01}}), "small"), out=None)
    sent, lost = (sum(row[key] for row in lossy.summary()["links"].values()) for key in ("sent", "lost"))
    assert lossy.verdict()[0] == "fail"
    assert f"lost is {lost / sent:.4g}, at most 0.01 was asked for" in lossy.verdict()[1]
    short = small(rule={"archive": 1}, links={"reward": {"stale": 4}}, checks={"at_most": {"evicted": 0.0}})
    assert any(reason.startswith("evicted is") for reason in asyncnet.run(check(short, "small"), out=None).verdict()[1])


def test_each_figure_that_may_be_bounded_is_one_of_a_summary_or_a_share():
    assert set(typing.get_args(Figure)) - {"lost", "evicted"} <= ran().record.score.keys()


def test_a_figure_that_a_run_does_not_have_leaves_it_unknown():
    assert ran(at_least={"mean_return": 1.0}).verdict() == ("unknown", ["mean_return is not known, at least 1 was asked for"])


def test_checks_change_neither_bits_nor_the_fingerprint_of_a_scenario_without_them():
    plain, asked = check(small(), "small"), check(small(checks={"at_least": {"on_time": 0.5}}), "small")
    assert "checks" not in plain.data()
    assert asked.data()["checks"] == {"at_least": {"on_time": 0.5}, "at_most": {}}
    assert asyncnet.run(plain, out=None).record.digest == asyncnet.run(asked, out=None).record.digest


@pytest.mark.parametrize("said", [{"at_least": {"reward": 1.0}}, {"at_least": {"on_time": "much"}}, {"at_most": {"late": float("nan")}}, {"least": {}}])
def test_a_figure_or_a_bound_that_makes_no_sense_is_refused(said):
    with pytest.raises(ScenarioError) as caught:
        check(small(checks=said), "small")
    assert caught.value.key.startswith("checks.")


def test_what_a_function_says_of_a_result_is_a_reason_and_the_result_is_kept(tmp_path):
    def poor(result):
        return f"only {result.summary()['decisions']} decisions"

    def several(result):
        yield "one"
        yield "two\nlines"

    def broken(result):
        raise KeyError("oops")

    assert ran(lambda result: None).verdict() == ("pass", [])
    assert ran(poor).verdict() == ("fail", ["poor: only 30 decisions"])
    found = asyncnet.run(check(small(), "small"), out=tmp_path, checks=[several, broken])
    assert found.verdict() == ("fail", ["several: one", "several: two lines", "broken could not check this: KeyError: 'oops'"])
    assert json.loads((found.run_dir / "summary.json").read_text())["reasons"] == found.verdict()[1]
    assert ran(broken).verdict()[0] == "unknown"


@pytest.mark.parametrize("said", [True, False, np.False_])
def test_a_check_that_says_yes_or_no_has_said_nothing_that_counts(said):
    verdict, (reason,) = ran(lambda result: said).verdict()
    assert verdict == "unknown"
    assert f"returned {bool(said)}; a check returns what is wrong" in reason


def test_a_run_that_goes_on_is_held_to_the_checks_that_it_is_given_again(tmp_path):
    def short(result):
        return f"{result.summary()['decisions']} decisions" if result.summary()["decisions"] < 50 else None

    first = asyncnet.run(check(small(), "small"), out=tmp_path, checks=short)
    assert first.verdict()[0] == "fail"
    assert asyncnet.resume(first.run_dir, set={"task.decisions": 40}, checks=short).verdict() == ("fail", ["short: 40 decisions"])
    assert asyncnet.resume(first.run_dir, set={"task.decisions": 60}, checks=[short]).verdict() == ("pass", [])
    with pytest.raises(TypeError, match="functions of a result"):
        asyncnet.resume(first.run_dir, checks=[1])
