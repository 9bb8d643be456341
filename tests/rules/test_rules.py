"""What every learning rule keeps to, and what its updates are on average."""

import importlib
import inspect
import typing

import numpy as np
import pytest
from pydantic import ValidationError

from asyncnet.kernels import layout
from asyncnet.kernels.plain import as_python
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import ACTIVITY, FEEDBACK, REWARD
from asyncnet.loop.timekeeper import Virtual
from asyncnet.machines.hearing import COUNT_NAMES
from asyncnet.rules import RULES, coagent, contract
from asyncnet.rules.settings import LearnerSettings
from asyncnet.scenario.reading import setting
from asyncnet.scenario.schema import ScenarioError
from asyncnet.team.build import build
from asyncnet.team.draw import plan
from asyncnet.team.ports import INPUTS, RELATIONS
from support.enumeration import exact_gradient, expectation
from support.scripted import Team
from support.teams import Taped, learners, multiplexer, run, tracking

COAGENTS = [name for name, rule in RULES.items() if rule.HIDDEN.kernels == "asyncnet.rules.coagent"]
CREDITS = {"stamped": {}, "stamped-lambda": {"rule.lambda": 0.8}, "trace": {"rule.credit": "trace", "rule.lambda": 0.8}}
UNHEARD = {"loss": 1.0, "reliable": False}


def takes(rule, credit):
    """Whether a rule can learn from that kind of credit: some know no traces."""
    settings = {key.removeprefix("rule."): value for key, value in CREDITS[credit].items()}
    try:
        return bool(RULES[rule].Settings(name=rule, learning_rate=0.1, **settings))
    except ValidationError:
        return False


every_rule_and_credit = pytest.mark.parametrize(("rule", "credit"), [(rule, credit) for rule in RULES for credit in CREDITS if takes(rule, credit)])
every_rule = pytest.mark.parametrize("rule", list(RULES))
every_free_rule = pytest.mark.parametrize("rule", [name for name in RULES if name != "map-propagation"])  # synchronous phases have no lost messages, no jitter
every_sampler = pytest.mark.parametrize("rule", COAGENTS)  # those that act when a message comes; units that settle have tests of their own
every_credit = pytest.mark.parametrize("credit", list(CREDITS))


def team(rule, credit, changes=None, /, **more):
    """A small team of two streams, with the softmax output that all rules know that have hidden units; without, one unit that hears its error."""
    small = {"task.streams": 2, "task.decisions": 60, **CREDITS[credit]}
    if not RULES[rule].UNITS:
        return tracking({**small, **(changes or {})}, **more)
    return multiplexer(rule, {**small, "network.output": "softmax", **(changes or {})}, **more)


def one(scenario, name):
    """One freshly built node and the number of inputs it has."""
    drawn = plan(scenario)
    node = build(scenario, drawn, next(node for node in drawn.nodes if node.name == name))
    return node, node.view.x.shape[1]


def output_node(scenario):
    return one(scenario, plan(scenario).learning[-1].name)


def say(node, now, stamp, seq, x):
    """An activity message of two streams, all values `x`."""
    return node.hear(now, ACTIVITY, 0, seq, stamp, np.concatenate((np.zeros(2), np.broadcast_to(x, node.view.x.size))))


def weights(node):
    return np.concatenate([node.view.weight.ravel(), node.view.bias.ravel()])


def counts(node):
    return dict(zip(COUNT_NAMES, node.view.counts.astype(int).tolist(), strict=True))


# What a rule says of itself


@every_rule
def test_a_rule_says_its_name_its_line_its_kernels_and_whom_it_listens_to(rule):
    module = RULES[rule]
    assert rule == module.NAME
    assert 20 < len(module.LINE) <= 120
    assert module.__doc__.count("\n") >= 3, "its equations and its source"
    for kind in (module.HIDDEN, module.OUTPUT):
        assert kind.hearing("inputs") == INPUTS
        assert kind.hearing("credit").out in ("reward", "feedback")
        assert all(port.relation in RELATIONS for port in kind.hears)
        assert "activity" in [out.name for out in kind.says]
    kernels = importlib.import_module(module.HIDDEN.kernels)
    assert all(isinstance(field, layout.Field) for field in kernels.FIELDS)
    known = (*layout.DIMENSIONS, *getattr(importlib.import_module(module.HIDDEN.machine), "DIMENSIONS", ()))
    for field in kernels.FIELDS:
        assert all(part.isdigit() or part in known for part in field.shape.split()), field
    for name in ("initialise", "respond", "finish_eligibility", "decay_and_add", "learn"):
        assert inspect.getdoc(as_python(getattr(kernels, name, getattr(coagent, name)))), f"{name} says what it does"


@every_rule
def test_every_setting_of_a_rule_has_a_type_and_a_source_of_its_value(rule, monkeypatch):
    module = RULES[rule]
    assert issubclass(module.Settings, LearnerSettings)
    assert typing.get_args(module.Settings.model_fields["name"].annotation) == (rule,)
    for name, field in module.Settings.model_fields.items():
        assert field.annotation not in (None, typing.Any), name
        assert name == "name" or name not in module.Settings.__annotations__ or field.description, f"{name} says what it is"
    node, _ = one(team(rule, "stamped"), "actor.1")
    found = dict(zip([name for name, _ in node.bound.settings], node.config[len(node.bound.dimensions) :].tolist(), strict=False))
    given = module.values(team(rule, "stamped").rule, 0)
    assert {name: found[name] for name in given} == given, "what the rule says is what its kernels read"
    assert all(kind is float or found[name] == int(found[name]) for name, kind in node.bound.settings)
    for name in given.keys() & dict(importlib.import_module(module.HIDDEN.kernels).SETTINGS).keys():
        monkeypatch.setattr(module, "values", lambda settings, layer, name=name: {key: value for key, value in given.items() if key != name})
        with pytest.raises(ScenarioError, match=f"setting {name}: nobody gives it a value"):  # nobody else gives it, and none is taken for granted
            one(team(rule, "stamped"), "actor.1")


# What every rule keeps to


@every_rule_and_credit
def test_without_reward_no_weight_moves(rule, credit):
    scenario = team(rule, credit, {"links.reward": UNHEARD})
    before = [weights(node) for node in learners(Taped(scenario))]
    after = run(scenario)
    assert all(counts(node)["sampled"] == 60 for node in learners(after))
    assert all(counts(node)["learned"] == 0 for node in learners(after))
    assert all(np.array_equal(a, weights(b)) for a, b in zip(before, learners(after), strict=True))


@every_rule_and_credit
def test_with_reward_every_weight_moves(rule, credit):
    scenario = team(rule, credit)
    before = [weights(node) for node in learners(Taped(scenario))]
    after = run(scenario)
    assert all(counts(node)["learned"] == 59 for node in learners(after)), "the last reward comes when the run is over"
    for old, node in zip(before, learners(after), strict=True):
        assert np.abs(weights(node) - old).min() > 0.0


@every_free_rule
def test_a_rule_that_tells_moves_hidden_weights_only_by_what_it_is_told(rule):
    scenario = team(rule, "stamped", {"links.feedback": UNHEARD})
    before, after = learners(Taped(scenario)), learners(run(scenario))
    moved = [not np.array_equal(weights(a), weights(b)) for a, b in zip(before, after, strict=True)]
    told = RULES[rule].HIDDEN.hearing("credit").relation == "above"
    assert moved == [not told] * (len(moved) - 1) + [True]


CLAIMS = [
    (rule, claim, setting)
    for rule in RULES
    for claim, setting, _ in contract.asked(rule)
    if claim is not contract.is_cut_without_a_trace or not contract.hears_its_layer(rule)
]


@pytest.mark.parametrize(("rule", "claim", "setting"), CLAIMS, ids=lambda value: getattr(value, "__name__", value))
def test_a_shipped_rule_keeps_to_the_contract(rule, claim, setting):
    claim(contract.teams(rule)[setting])


@every_rule
def test_every_rule_is_tried_with_every_claim_and_kind_of_credit(rule):
    tried = [(claim, setting.partition(", ")[2]) for name, claim, setting in CLAIMS if name == rule]
    together = () if rule == "coordinated-exploration" else contract.TOGETHER  # a unit that hears its neighbours answers to when their messages come
    assert {claim for claim, _ in tried} == {*contract.EVERYWHERE, *together, *contract.ONCE}
    credits = {credit for credit in CREDITS if takes(rule, credit)}
    assert {credit for _, credit in tried} == credits
    assert len({setting for name, _, setting in CLAIMS if name == rule}) >= len(credits) * (1 if rule == "map-propagation" else 2)


def test_a_claim_that_does_not_hold_is_said_with_its_setting_and_its_array():
    found = {finding.claim: finding for finding in contract.check("reinforce", [setting("rule.learning_rate=0.0")])}
    broken = found[contract.learns_and_stays_finite.__doc__]
    assert broken.holds is False
    assert broken.why.startswith("lock-step, stamped: actor.1: 48 of 48 numbers of its weight never moved; and in 8 more")
    assert all(finding.holds for claim, finding in found.items() if finding is not broken)


@every_sampler
def test_credit_for_a_sample_that_was_evicted_or_overtaken_is_counted_and_changes_nothing(rule):
    node, _ = output_node(team(rule, "stamped", {"rule.archive": 4}))
    for s in range(10):
        say(node, 10 * s, s, s, 1.0)
    before = weights(node)
    assert not node.hear(101, REWARD, 0, 1, 2, np.ones(2))
    assert counts(node)["evicted"] == 1
    node.hear(102, REWARD, 0, 2, 8, np.zeros(2))
    assert not node.hear(103, REWARD, 0, 3, 4, np.ones(2)), "its place is taken by the credit of stamp 8"
    assert counts(node)["late"] == 1
    assert np.array_equal(weights(node), before)
    node.hear(104, REWARD, 0, 4, 9, np.ones(2))
    assert not np.array_equal(weights(node), before)


def test_a_part_of_credit_that_comes_too_late_is_added_to_no_newer_credit():
    found = []
    for late in (False, True):
        node, _ = one(team("weight-max", "stamped", {"rule.archive": 4, "network.split": "unit"}), "actor.1.0")
        above, size = node.view.pending_from.shape[1], node.view.pending_credit[0].size // node.view.pending_from.shape[1]
        assert above > 2
        for s in range(9):
            say(node, 10 * s, s, s, 1.0)
        before = weights(node)
        for port in range(above):
            node.hear(100 + port, FEEDBACK, port, 1, 8, np.full(size, 0.5 + port))
            if late and port < above - 1:
                node.hear(100 + port, FEEDBACK, above - 1, 2 + port, 4, np.full(size, 9.0))
        assert counts(node)["late"] == late * (above - 1)
        assert not np.array_equal(weights(node), before)
        found.append(weights(node).tobytes())
    assert found[0] == found[1]


@every_sampler
def test_credit_older_than_the_trace_is_counted_and_changes_nothing(rule):
    node, _ = output_node(team(rule, "stamped-lambda"))
    for s in range(4):
        say(node, 10 * s, s, s, 1.0)
    node.hear(41, REWARD, 0, 1, 3, np.ones(2))
    before = weights(node)
    node.hear(42, REWARD, 0, 2, 1, np.ones(2))
    assert counts(node)["overtaken"] == 1
    assert np.array_equal(weights(node), before)


@pytest.mark.parametrize("credit", ["stamped-lambda", "trace"])
@every_sampler
def test_a_trace_decays_with_every_decision_also_those_that_were_never_sampled(rule, credit):
    node, _ = output_node(team(rule, credit))
    e = {}
    for stamp in (0, 1, 4):
        say(node, 10 * stamp, stamp, stamp, 1.0)
        e[stamp] = node.view.archive_e[stamp % len(node.view.archive_e)].copy()
    node.hear(41, REWARD, 0, 1, 4, np.ones(2))
    trace = 0.8**4 * e[0] + 0.8**3 * e[1] + e[4]  # gamma = 1
    gradient = node.view.slots_bias[0] / (1.0 - 0.9)  # Adam's first moment after its first step
    assert np.allclose(gradient, trace.mean(axis=0), rtol=1e-12, atol=0.0)
    assert not np.allclose(0.8**2 * e[0] + 0.8 * e[1] + e[4], trace)


@every_credit
@every_sampler
def test_credit_that_comes_twice_is_applied_once(rule, credit):
    node, _ = output_node(team(rule, credit))
    start = weights(node)
    say(node, 0, 0, 0, 1.0)
    node.hear(5, REWARD, 0, 1, 0, np.ones(2))
    once = weights(node)
    assert not np.array_equal(once, start)
    node.hear(6, REWARD, 0, 2, 0, np.ones(2))
    assert np.array_equal(weights(node), once)
    assert (counts(node)["learned"], counts(node)["duplicate"]) == (1, 1)


@every_credit
@every_sampler
def test_credit_before_the_first_sample_changes_nothing(rule, credit):
    node, _ = output_node(team(rule, credit))
    start = weights(node)
    node.hear(1, REWARD, 0, 1, 0, np.ones(2))
    assert np.array_equal(weights(node), start)
    assert counts(node)["learned"] == 0


@every_credit
@every_sampler
def test_older_activity_never_overwrites_newer(rule, credit):
    node, _ = one(team(rule, credit), "actor.1")
    say(node, 0, 5, 7, 1.0)
    sampled = node.view.y.copy()
    for stamp, seq in ((4, 8), (0, 100), (5, 6), (5, 7)):
        assert not say(node, 1, stamp, seq, -1.0)
        assert (node.view.x == 1.0).all()
        assert np.array_equal(node.view.y, sampled)
    assert say(node, 2, 6, 9, -1.0)
    assert (node.view.x == -1.0).all()


@every_sampler
def test_a_layer_waits_for_every_piece_of_a_stamp_and_says_its_samples_once(rule):
    node, inputs = one(team(rule, "stamped", {"network.split": 4}), "actor.2")
    assert (len(node.view.source), inputs) == (2, 8)
    piece = np.concatenate((np.zeros(2), np.ones(8)))
    assert not node.hear(0, ACTIVITY, 1, 1, 0, piece)
    (message,) = node.hear(3, ACTIVITY, 0, 1, 0, piece)
    assert (message.channel, message.stamp) == (ACTIVITY, 0)
    assert not node.hear(4, ACTIVITY, 0, 2, 0, piece)


@pytest.mark.parametrize("decay", [0.0, 0.8])
@pytest.mark.parametrize("rule", COAGENTS)
def test_streams_are_averaged_and_told_apart(rule, decay):
    power = RULES[rule].values(RULES[rule].Settings(name=rule, learning_rate=0.1), 0)["power"]
    rng = np.random.default_rng(4)
    W, b = [rng.normal(size=shape) for shape in ((3, 4), (4, 2), (2, 1))], [rng.normal(size=n) for n in (4, 2, 1)]
    x, draws, reward = rng.normal(size=(2, 4, 3)), [rng.integers(0, 2, (2, 4, n)).astype(float) for n in (4, 2, 1)], rng.normal(size=(2, 4))
    reward[0], adam = 0.0, (0.0, 0.999, 1e-8)  # the first update moves nothing: what follows depends on the traces alone

    def updates(rows):
        made = Team(W, b, power=power, decay=decay, streams=len(rows), adam=adam)
        for s in range(2):
            made.observe(10 * s, s, x[s][rows], [draw[s][rows] for draw in draws])
            made.reward(10 * s + 5, s, reward[s][rows])
        return [p["adam_m" + kind].copy() for p in made.parameters() for kind in "wb"], made.unit_reward

    alone = [updates([row]) for row in range(4)]
    together, told = updates([0, 1, 2, 3])
    for level, gradient in enumerate(together):
        assert np.abs(gradient).max() > 1e-3
        assert gradient == pytest.approx(np.mean([gradients[level] for gradients, _ in alone], axis=0), abs=1e-14)
    for level, array in enumerate(told):
        assert np.array_equal(array, np.concatenate([each[level] for _, each in alone]))
    copies, _ = updates([2, 2, 2, 2])
    assert all(np.array_equal(a, b) for a, b in zip(copies, alone[2][0], strict=True)), "four copies of one stream are that stream, bit for bit"


# What the updates are on average, by running through every configuration of a tiny net


def tiny(out, scale, seed, bias=1.0):
    """A random 3-3-3-1 net (two columns and three actions if softmax) with an input and a reward table."""
    rng, shapes = np.random.default_rng(seed), [(3, 3), (3, 3), (3, 1 + (out == "softmax"))]
    W, b = [rng.normal(0, scale, shape) for shape in shapes], [bias * rng.normal(0, scale, shape[1]) for shape in shapes]
    return W, b, rng.choice([-1.0, 1.0], 3), rng.normal(size=2 + (out == "softmax"))


def expected_update(net, out, power, after=1):
    """Exact expectation of what is handed to Adam, [weight, bias, ...]; with beta1 = 0 its first moment is just that."""
    W, b, x, rewards = net
    made = Team(W, b, out, power=power, after=after, adam=(0.0, 0.999, 1e-8))

    def estimator(x, h):
        made.reset()
        made.observe(0, 0, x, h)
        made.reward(5, 0, [rewards[int(h[-1].argmax() if out == "softmax" else h[-1][0, 0])]])
        return [p["adam_m" + kind].copy() for p in made.parameters() for kind in "wb"]

    return expectation(estimator, W, b, x, out)


@pytest.mark.parametrize("out", ["bernoulli", "softmax"])
def test_the_expected_reinforce_update_is_the_exact_gradient(out):
    for seed in range(3):
        net = tiny(out, 1.0, seed)
        wanted, found = exact_gradient(*net, out), expected_update(net, out, power=0.0)
        assert min(np.abs(g).max() for g in wanted) > 1e-4
        assert max(np.abs(f - g).max() for f, g in zip(found, wanted, strict=True)) < 1e-10


@pytest.mark.parametrize(("scale", "cosine", "slack"), [(0.1, 0.9999, 0.02), (0.5, 0.995, 0.2)])
def test_expected_weight_max_points_along_the_gradient_and_doubles_it_at_each_layer_below_the_top(scale, cosine, slack):
    cosines, gains = [], []
    for seed in range(20):
        net = tiny("bernoulli", scale, seed, bias=0.0)
        wanted, found = (
            [np.concatenate([w.ravel(), c]) for w, c in zip(parts[::2], parts[1::2], strict=True)]
            for parts in (exact_gradient(*net), expected_update(net, "bernoulli", power=2.0))
        )
        cosines.append([f @ g / np.linalg.norm(f) / np.linalg.norm(g) for f, g in zip(found, wanted, strict=True)])
        gains.append([np.linalg.norm(f) / np.linalg.norm(g) for f, g in zip(found, wanted, strict=True)])
    assert np.mean(cosines, axis=0).min() > cosine
    assert np.median(gains, axis=0) == pytest.approx([4.0, 2.0, 1.0], rel=slack)
    assert np.array(gains)[:, -1] == pytest.approx(1.0, abs=1e-9), "the output layer follows REINFORCE"


def test_feedback_before_the_update_is_reckoned_with_the_old_weights_and_after_it_with_the_new():
    rng = np.random.default_rng(0)
    W, b = [rng.normal(size=(3, 2)), rng.normal(size=(2, 1))], [np.zeros(2), np.zeros(1)]
    told = {}
    for after in (0, 1):
        made = Team(W, b, power=2.0, after=after, rates=0.5)
        made.observe(0, 0, np.ones((1, 3)), [np.ones((1, 2)), np.ones((1, 1))])
        made.reward(5, 0, [1.0])
        top = made.nodes[1].view
        told[after] = made.unit_reward[0], [2.0 * w[:, 0] * top.archive_e[0, 0, 0] for w in (W[1], top.weight)][after]
    for found, wanted in told.values():
        assert found[0] == pytest.approx(wanted, abs=1e-14)
    assert np.abs(told[0][0] - told[1][0]).min() > 0.05


def test_feedback_of_another_power_is_the_slope_of_that_norm():
    rng = np.random.default_rng(1)
    W, b = [rng.normal(size=(3, 2)), rng.normal(size=(2, 2))], [np.zeros(2), np.zeros(2)]
    made = Team(W, b, power=3.0)
    made.observe(0, 0, np.ones((1, 3)), [np.ones((1, 2)), np.array([[1.0, 0.0]])])
    made.reward(5, 0, [0.7])
    e = made.nodes[1].view.archive_e[0, 0]
    assert made.unit_reward[0][0] == pytest.approx((3.0 * W[1] ** 2 * np.sign(W[1]) * 0.7 * e).sum(1), abs=1e-14)


def test_hidden_layers_may_have_units_of_different_kinds():
    one = run(multiplexer("weight-max", {"network.units": ("bernoulli", "bernoulli"), "task.decisions": 100}))
    assert one.digest() == run(multiplexer("weight-max", {"task.decisions": 100})).digest(), "one name stands for all"
    scenario = multiplexer("weight-max", {"network.units": ("bernoulli", "sign"), "task.decisions": 100})
    whole = run(scenario)
    shown = [set(np.unique(node.view.y).tolist()) for node in learners(whole)[:2]]
    assert shown == [{0.0, 1.0}, {-1.0, 1.0}]
    contract.is_cut_without_a_trace(scenario)


def test_units_with_a_reach_hear_those_nearest_to_them_and_learn():
    scenario = multiplexer("weight-max", {"network.hidden": (12, 6), "network.split": "unit", "network.reach": 3, "task.decisions": 400})
    loop = Loop(scenario, Virtual())
    named = {node.name: node for node in loop.nodes.values()}
    shows, act = [], named["world"].act
    named["world"].act = lambda *event: (act(*event), shows.append(named["world"].view.observation[0].copy()))[0]
    loop.run()
    sources = {
        name: [loop.plan.nodes[src].name for src in loop.plan.senders(node.index, "inputs")] for name, node in named.items() if name not in ("world", "critic")
    }
    assert sources["actor.2.0"] == ["actor.1.0", "actor.1.1", "actor.1.2"]
    assert sources["actor.2.3"] == ["actor.1.6", "actor.1.7", "actor.1.8"]
    assert sources["actor.2.5"] == ["actor.1.9", "actor.1.10", "actor.1.11"]
    assert sources["actor.3"] == [f"actor.2.{unit}" for unit in range(6)]
    shown = shows[-2]  # the run is over before the last is heard
    for unit, first in ((0, 0), (6, 2), (11, 3)):
        node = named[f"actor.1.{unit}"]
        assert node.view.x.shape == (1, 3)
        assert node.view.x[0].tolist() == shown[first : first + 3].tolist()
        assert node.view.updates[0] > 390
    with pytest.raises(ScenarioError, match="nobody hears actor"):
        scenario.replace({"network.reach": 1})
    with pytest.raises(ScenarioError, match="place of their own"):
        scenario.replace({"network.split": "layer"})
