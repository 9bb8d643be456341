"""What is ticked and crossed of a rule is what it does: each measure tells a rule that has the property from one that has not, and each mark has its runs."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import asyncnet
from asyncnet.loop.message import FEEDBACK
from asyncnet.loop.timekeeper import Virtual
from asyncnet.rules import contract
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.reading import setting
from asyncnet.studies import crew, experiments, locality, marks, property_table
from asyncnet.studies.experiments import FREE, IN_STEP, NO_REWARD, NONE, RANDOM
from asyncnet.studies.locality import heard
from asyncnet.studies.properties import properties
from asyncnet.team.build import build
from support.commands import started
from support.outside import RULE, afterwards_as_before
from support.places import ROOT

HEARS_TOO_MUCH = '''
"""REINFORCE whose hidden units also hear what became of every decision: not local, and more than one number."""
from typing import Literal
from asyncnet.rules.settings import CoagentSettings
from asyncnet.team.ports import ACTIVITIES, INPUTS, REWARD_AS_CREDIT, In, Kind
NAME, LINE = "hears-too-much", "hears more than it may"
UNITS, OUTPUTS, FREE_LOGITS = ("bernoulli",), ("bernoulli",), False
OUTPUT = Kind("asyncnet.machines.sampled", "asyncnet.rules.coagent", hears=(INPUTS, REWARD_AS_CREDIT), says=(ACTIVITIES,))
HIDDEN = OUTPUT._replace(hears=(INPUTS, REWARD_AS_CREDIT, In("outcomes", "transition", "world")))
class Settings(CoagentSettings):
    name: Literal["hears-too-much"]
def values(settings, layer):
    return {"power": 0.0, "after": 1}
'''
READS_OTHERS = '''
"""REINFORCE whose nodes share a number behind the back of the loop."""
from typing import Literal
import numpy as np
from asyncnet.kernels.kernel import kernel
from asyncnet.rules import coagent
from asyncnet.rules.settings import CoagentSettings
from asyncnet.team.ports import ACTIVITIES, INPUTS, REWARD_AS_CREDIT, Kind
NAME, LINE = "reads-others", "reads what others write"
UNITS, OUTPUTS, FREE_LOGITS = ("bernoulli",), ("bernoulli",), False
HIDDEN = OUTPUT = Kind("asyncnet.machines.sampled", __name__, hears=(INPUTS, REWARD_AS_CREDIT), says=(ACTIVITIES,))
FIELDS, SETTINGS = coagent.FIELDS, coagent.SETTINGS
SHARED = np.zeros(1)
class Settings(CoagentSettings):
    name: Literal["reads-others"]
def values(settings, layer):
    return {"power": 0.0, "after": 1}
@kernel
def learn(v, c, slot, on, feedback):
    """Learn, and leave a trace of that for the others."""
    SHARED[0] += v.credit[0, 0]
    v.bias[0] += SHARED[0]
    return coagent.learn(v, c, slot, on, feedback)
'''


def small(rule, setting="lock-step", **more):
    """A team of 8, 4 (or fewer) and an output with that rule, one stream."""
    return next(made for name, made in contract.teams(rule).items() if name.startswith(setting)).replace({"task.streams": 1, "task.decisions": 60, **more})


@pytest.fixture
def variants():
    with afterwards_as_before():
        for trial in experiments.TRIALS.values():
            if trial.other:
                asyncnet.register(trial.other, "rule")
        yield


@pytest.fixture
def brought(tmp_path):
    """Registers a rule that is a text."""
    with afterwards_as_before():

        def bring(text):
            path = tmp_path / "my_rule.py"
            path.write_text(text)
            return asyncnet.register(path).NAME

        yield bring


@pytest.mark.parametrize(("rule", "setting"), [("reinforce", "lock-step"), ("weight-max", "free"), ("map-propagation-async", "ticking"), ("lms", "lock-step")])
def test_nodes_of_the_shipped_rules_come_to_the_same_bits_alone_and_hear_neighbours_and_one_number(rule, setting):
    found = heard(small(rule, setting), 60)
    assert (found.apart, found.scalars, found.alike) == ("", 1.0, True)
    assert {port.relation for port in found.ports} <= {"below", "above", "broadcast"}
    assert sum(port.messages for port in found.ports) > 100
    assert 0.5 < found.updates[0] <= found.updates[1] <= 1.0
    assert marks._local(found)[0]
    assert (found.told > 0) == (rule not in ("reinforce", "lms"))


def test_what_weight_max_tells_reads_weights_and_is_silent_while_those_stand_still_what_map_tells_is_not():
    growth, drive = heard(small("weight-max"), 60), heard(small("map-propagation-async", "ticking"), 60)
    assert growth.reads > 0.3
    assert drive.reads > 0.9
    assert growth.still == 0.0
    assert drive.still > 0.5


def test_random_feedback_reads_no_weights_and_no_feedback_says_nothing(variants):
    for name, clocks in (("weight-max-other-feedback", "lock-step"), ("map-propagation-async-other-feedback", "ticking")):
        found = heard(small(name, clocks, **{"rule.feedback": "random"}), 60)
        assert found.told > 50
        assert found.reads == 0.0
        silent = heard(small(name, clocks, **{"rule.feedback": "none"}), 60)
        assert silent.told > 50
        assert silent.still is None  # no number that was told is not 0


def told_by(scenario):
    """(node after the event, its weights before, feedback) of every event of the second layer of a run at which it tells its inputs something."""
    loop = contract.Taped(scenario, Virtual())
    loop.run()
    number = next(i for i, node in loop.nodes.items() if node.name == "actor.2")
    node = build(scenario, loop.plan, loop.plan.nodes[number])
    for verb, *event in loop.tapes[number]:
        before = node.view.weight.copy()
        for message in getattr(node, verb)(*event):
            if message.channel == FEEDBACK:
                yield node, before, message.payload


def test_the_random_feedback_of_weight_max_is_the_rules_with_other_weights(variants):
    seen = 0
    for node, before, told in told_by(small("weight-max-other-feedback", **{"task.decisions": 40})):
        view = node.view
        slot = int(view.stamp[0]) % view.archive_x.shape[0]
        change = np.outer(view.archive_x[slot, 0], view.archive_e[slot, 0] * view.credit[0])
        assert np.allclose(told, 2.0 * (view.feedback_weight * change).sum(axis=1), atol=1e-12)
        assert not np.allclose(view.feedback_weight, before)
        seen += int(np.abs(told).max() > 0.0)
    assert seen > 10


def test_the_random_feedback_of_map_propagation_is_its_error_through_other_weights(variants):
    seen = 0
    for node, _, told in told_by(small("map-propagation-async-other-feedback", "ticking", **{"task.decisions": 20})):
        wanted = node.view.feedback_weight @ node.view.error[0]
        assert np.allclose(told[: wanted.size], wanted, atol=1e-12)
        seen += int(np.abs(told[: wanted.size]).max() > 0.0)
    assert seen > 10


def test_a_rule_that_hears_more_than_its_neighbours_and_one_number_is_crossed(brought):
    critic = {"hidden": (4,), "units": "relu", "learning_rate": 0.01}  # with one, the world says what became of a decision
    made = small("reinforce").replace({"rule.name": brought(HEARS_TOO_MUCH), "critic": critic})
    found = heard(made, 40)
    assert found.scalars == 5.0  # the reward; the stamp, the reward and two masks
    assert marks._local(found)[0] is False
    assert marks._scalar(found, learns=True)[0] is False
    assert "actor.1 hears 5 numbers of nodes that are no neighbours (world)" in marks._local(found)[2]


def test_a_rule_whose_nodes_read_each_other_behind_the_loops_back_is_found_out(tmp_path):
    (tmp_path / "my_rule.py").write_text(READS_OTHERS)
    (tmp_path / "base.toml").write_text(small("reinforce", **{"network.hidden": [4], "task.decisions": 8}).toml())
    code = """
import asyncnet
from asyncnet.studies.locality import heard
for name in ("reinforce", asyncnet.register("my_rule.py").NAME):
    print(repr(heard(asyncnet.load("base.toml", settings=[f"rule.name={name}"]), 8).apart))
"""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}  # compiled, a kernel could not write into an array of its module
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["''", "'actor.1'"]


def few(kept, floor=0.0, n=4):
    """Scores in step around 1, without reward around the floor, on free clocks that share of what is between."""
    noise = np.linspace(-0.02, 0.02, n)
    return {IN_STEP: dict(enumerate(1.0 + noise)), NO_REWARD: dict(enumerate(floor + noise)), FREE: dict(enumerate(floor + kept * (1.0 - floor) - noise))}


@pytest.mark.parametrize(("share", "holds"), [(0.95, True), (0.6, True), (0.5, None), (0.4, False), (0.0, False)])
@pytest.mark.parametrize("floor", [0.0, -5.0])
def test_half_of_what_is_learned_in_step_has_to_be_kept_with_its_whole_interval(share, holds, floor):
    scores = few(share, floor)
    found = marks.kept(scores, FREE)
    assert found.value == pytest.approx(share, abs=0.02)
    if floor == 0.0:
        assert marks._free(scores, {}, learns=True)[0] is holds
    assert marks._free(scores, {FREE: "waits"}, learns=True)[:2] == (False, "refused")


def test_a_seed_that_learns_nothing_in_step_counts_and_does_not_decide():
    scores = {IN_STEP: {1: 1.0, 2: 0.9, 3: 0.001, 4: -0.1}, NO_REWARD: dict.fromkeys(range(1, 5), 0.0), FREE: {1: 0.5, 2: 0.4, 3: 0.2, 4: 0.1, 5: 9.0}}
    found = marks.kept(scores, FREE)
    assert (found.n, found.value) == (4, pytest.approx(1.2 / 1.801))
    assert found.low < found.value < found.high


def test_feedback_that_brings_nothing_in_step_leaves_the_mark_open_and_says_so():
    told = locality.Heard(10, 2, "", (), (1.0, 1.0), True, 10, 1.0, 0.5)
    scores = few(1.0) | {NONE: dict.fromkeys(range(4), 1.5), RANDOM: dict.fromkeys(range(4), 1.0)}
    found = marks._feedback(told, scores, FREE)
    assert found[:2] == (None, "reads weights")
    assert found[2].endswith("In step it brings nothing that could be kept")


def test_symmetric_feedback_is_crossed_where_random_weights_lose_most_of_what_feedback_brings():
    told = locality.Heard(10, 2, "", (), (1.0, 1.0), True, 10, 1.0, 0.5)
    scores = few(1.0) | {NONE: dict(enumerate([0.2, 0.21, 0.19, 0.2]))}
    for score, holds in ((0.2, False), (0.9, True)):
        found = marks._feedback(told, scores | {RANDOM: {seed: score + 0.01 * seed for seed in range(4)}}, FREE)
        assert found[0] is holds
    assert marks._feedback(told, scores, FREE)[:2] == (None, "reads weights")
    assert marks._feedback(told._replace(reads=0.0), scores, FREE)[0] is True
    assert marks._feedback(told._replace(told=0, reads=None), scores, FREE)[0] is True


def test_a_rule_that_learns_several_times_of_one_decision_or_of_several_at_once_is_not_online():
    once = locality.Heard(10, 2, "", (), (0.97, 1.0), True, 0, None, None)
    assert marks._online(once, learns=True)[0] is True
    assert marks._online(once, learns=False)[0] is None
    assert marks._online(once._replace(updates=(0.9, 2.0)), learns=True)[0] is False
    assert marks._online(once._replace(updates=(0.1, 0.1)), learns=True)[0] is False


def test_where_a_mark_is_not_the_papers_that_is_said():
    found = [marks.Mark("free clocks", True, "", "", False, ())]
    assert "the paper crosses it" in marks.explained("weight-max", found)[0]
    assert marks.explained("weight-max", [found[0]._replace(holds=False)]) == []
    assert property_table.sign(found[0]) == "✓ (✗)"


def test_experiments_differ_in_what_they_are_named_for_and_a_rule_in_phases_is_refused_on_free_clocks(variants):
    planned = experiments.experiments("map-propagation", settings=[setting("task.decisions=500")])
    made = {label: experiments.made(planned[label]) for label in (IN_STEP, NO_REWARD, RANDOM, NONE)}
    assert {scenario.task.decisions for scenario in made.values()} == {500}
    assert len({scenario.fingerprint() for scenario in made.values()}) == 4
    assert (made[RANDOM].rule.feedback, made[NONE].rule.feedback) == ("random", "none")
    with pytest.raises(ScenarioError, match="synchronous phases"):
        experiments.made(planned[FREE])
    free = experiments.made(experiments.experiments("coordinated-exploration")[FREE])
    assert {clock.kind for clock in free.clocks.values()} == {"poisson"}
    assert (free.task.world.waits, free.network.split) == (False, "unit")


def test_each_mark_has_runs_that_are_shown_and_verified_and_only_what_is_missing_is_run_again(tmp_path, monkeypatch):
    given = []
    give = crew.Member.give
    monkeypatch.setattr(crew.Member, "give", lambda self, cell, order: given.append(order["scenario"]["name"]) or give(self, cell, order))

    def measured():
        given.clear()
        return properties("lms", seeds=2, settings=[setting("task.decisions=1500")], out=tmp_path / "found", workers=1)

    first = measured()
    (row,) = first.rows
    assert len(given) == 6
    assert [mark.holds for mark in row.marks] == [True] * 5
    for mark in row.marks:
        assert len(row.behind(mark)) == 2 * len(mark.rests_on) > 0
    for run in [run for runs in row.runs.values() for run in runs]:
        assert asyncnet.open(run.run_dir).summary["digest"] == run.digest
        assert asyncnet.verify(run.run_dir)[0]
    assert len({run.digest for runs in row.runs.values() for run in runs}) == 6
    assert json.loads((tmp_path / "found" / "properties.json").read_text())[0]["runs"]["in step"][0]["digest"] == row.runs[IN_STEP][0].digest
    assert measured() == first
    assert given == []
    gone = row.runs[FREE][1]
    shutil.copytree(gone.run_dir, tmp_path / "found" / "runs" / "broken__off")  # what a run that was ended leaves: a directory that no cell names
    shutil.rmtree(gone.run_dir)
    again = measured()
    assert given == ["lms.free-clocks"]
    assert again.rows[0].runs[FREE][1].digest == gone.digest
    assert not (tmp_path / "found" / "runs" / "broken__off").exists()
    text = property_table.markdown(again)
    assert text.splitlines()[2].startswith("| lms | ✓")
    assert all(run.digest[:16] in text for runs in again.rows[0].runs.values() for run in runs)


def test_a_rule_of_ones_own_is_measured_from_its_file(tmp_path):
    (tmp_path / "my_rule.py").write_text(RULE)
    words = ["properties", "--rule", "my_rule.py", "--seeds", "2", "--workers", "1", "--set", "task.decisions=1500", "--to", "table.md"]
    code, out, err = started(tmp_path, *words, COLUMNS="80")
    assert code == 0, err
    assert "reinforce-baseline" in out.splitlines()[2]
    assert "nobody tells its inputs anything" in out
    assert "| reinforce-baseline |" in (tmp_path / "table.md").read_text()
    run = next(line.split()[0] for line in out.splitlines() if line.startswith("    properties/runs/"))
    assert started(tmp_path, "show", run)[0] in (0, 1)
    code, said, err = started(tmp_path, "verify", run)
    assert (code, said.split(":")[0]) == (0, "identical"), err


@pytest.mark.parametrize(
    ("words", "said"), [(["renforce"], "renforce: no rule of that name; did you mean reinforce"), (["lms", "--seeds", "0"], "--seeds: at least 1, got 0")]
)
def test_what_cannot_be_asked_is_said_in_a_line_and_nothing_is_kept(words, said, tmp_path):
    code, out, err = started(tmp_path, "properties", *words)
    assert (code, out) == (64, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
