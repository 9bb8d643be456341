"""A linear unit on Sutton's tracking task: its every step beside plain NumPy, and the known optima of LMS and IDBD."""

import numpy as np
import pytest

import asyncnet
from asyncnet import console
from asyncnet.api import Quiet
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.loop import Loop
from asyncnet.loop.message import ACTIVITY, REWARD
from asyncnet.loop.timekeeper import Virtual
from asyncnet.scenario.schema import ScenarioError, check
from support.teams import tracking

SEEDS = (1, 2, 3)


class Shown(Loop):
    """A loop that writes down every example, x (B, I) and y* (B,), and every error that is told."""

    def __init__(self, scenario):
        super().__init__(scenario, Virtual())
        self.x, self.wanted, self.told = [], [], []

    def _send(self, src, message, now):
        world = self.nodes[0].view
        if src == 0 and message.channel == ACTIVITY:
            self.x.append(world.observation.copy())
            self.wanted.append(world.answer.copy())
        elif message.channel == REWARD:
            self.told.append(message.payload.copy())
        super()._send(src, message, now)


def shown(scenario):
    loop = Shown(scenario)
    loop.run()
    assert loop.stopped == "finished"
    assert loop.score.on_time == loop.score.decisions
    return loop


def idbd(examples, wanted, alpha, theta):
    """IDBD as published (Sutton 1992, figure 2), for the mean error of several examples at once: (errors, w, step sizes, h)."""
    w, h, b = np.zeros(examples.shape[2]), np.zeros(examples.shape[2]), np.full(examples.shape[2], np.log(alpha))
    errors = []
    for x, y in zip(examples, wanted, strict=True):
        errors.append(y - x @ w)
        if len(errors) == len(examples):  # the run is over when its last error is told
            return np.array(errors), w, np.exp(b), h
        slope = (errors[-1][:, None] * x).mean(axis=0)
        b += theta * slope * h
        a = np.exp(b)
        w += a * slope
        h = h * np.maximum(0.0, 1.0 - a * (x**2).mean(axis=0)) + a * slope
    raise AssertionError


@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("bias", [False, True])
def test_every_error_and_step_size_is_that_of_plain_numpy(bias, streams):
    optimizer = {"name": "idbd", "theta": 0.01}
    loop = shown(tracking({"task.streams": streams, "rule.bias": bias, "rule.learning_rate": 0.05, "rule.optimizer": optimizer}))
    examples = np.array(loop.x[:2000])
    if bias:  # an input that is always 1
        examples = np.concatenate((examples, np.ones((2000, streams, 1))), axis=2)
    errors, w, alpha, h = idbd(examples, np.array(loop.wanted[:2000]), 0.05, 0.01)
    view = loop.nodes[1].view
    assert np.abs(np.array(loop.told) - errors).max() < 1e-12
    found = np.concatenate((view.weight[:, 0], view.bias)), np.concatenate((view.slots_weight[..., 0], view.slots_bias), axis=1)
    inputs = examples.shape[2]
    assert np.abs(found[0][:inputs] - w).max() < 1e-12
    assert np.abs(0.05 * np.exp(found[1][0, :inputs]) - alpha).max() < 1e-12
    assert np.abs(found[1][1, :inputs] - h).max() < 1e-12
    assert alpha.max() > 0.1, "step sizes were learned"
    assert alpha.min() < 0.046
    assert bias or view.bias[0] == 0.0


def test_a_linear_unit_by_stochastic_gradient_takes_the_steps_of_the_delta_rule():
    loop = shown(tracking({"task.streams": 2}))
    w, b = np.zeros(20), 0.0
    for x, y, told in zip(loop.x, loop.wanted, loop.told, strict=False):
        error = y - (x @ w + b)
        assert np.abs(error - told).max() < 1e-12
        w, b = w + 0.04 * (error @ x) / 2, b + 0.04 * error.mean()
    assert len(loop.told) == 2000


def test_with_a_meta_step_size_of_zero_every_step_is_that_of_lms():
    """Not only nearly: the same bits, for e^0 is 1."""
    one, other = (tracking({"task.decisions": 500, "rule.optimizer": optimizer}) for optimizer in ({"name": "sgd"}, {"name": "idbd", "theta": 0.0}))
    assert shown(one).nodes[1].view.weight.tobytes() == shown(other).nodes[1].view.weight.tobytes()


def test_the_target_is_a_sum_of_the_relevant_inputs_and_one_sign_changes_at_a_time():
    loop = shown(tracking({"task.decisions": 4000}))
    x, y = (np.array(part[:4000])[:, 0].reshape(200, 20, -1) for part in (loop.x, [[answer] for answer in loop.wanted]))
    signs = np.linalg.solve(x, y)[..., 0]  # twenty examples with the same signs
    assert np.abs(signs[:, 5:]).max() < 1e-6
    assert np.abs(np.abs(signs[:, :5]) - 1.0).max() < 1e-6
    changed = np.abs(np.diff(signs[:, :5], axis=0)) > 1.0
    assert (changed.sum(axis=1) == 1).all()
    assert changed.sum(axis=0).min() > 20, "each of the five in its turn"
    assert abs(x.mean()) < 4.0 / np.sqrt(x.size)
    assert abs(x.var() - 1.0) < 4.0 * np.sqrt(2.0 / x.size)


def test_all_streams_track_one_target_with_inputs_of_their_own():
    loop = shown(tracking({"task.decisions": 40, "task.streams": 30, "task.relevant": 3, "task.inputs": 6, "task.flip_every": 40}))
    x, y = np.array(loop.x[:40]).reshape(-1, 6), np.array(loop.wanted[:40]).ravel()
    signs = np.linalg.lstsq(x, y)[0]
    assert np.abs(np.abs(signs) - [1, 1, 1, 0, 0, 0]).max() < 1e-9
    assert np.abs(np.corrcoef(x.T) - np.eye(6)).max() < 5.0 / np.sqrt(len(x))


def finished(scenario, seed):
    loop = CompiledLoop(scenario.replace(seed=seed), Virtual())
    loop.run()
    assert loop.stopped == "finished"
    return loop


def squared_error(changes):
    """Mean squared error of examples 20,001 to 30,000, a value for each seed."""
    scenario = asyncnet.load("tracking-idbd").replace({"task.decisions": 30_000, **changes})
    return [-finished(scenario, seed).score.rewards.mean(10_000) for seed in SEEDS]


def error_of_lms(alpha, inputs=20, relevant=5, every=20):
    """What LMS comes to on this task: the mean of 1..`every` examples after a change of E|w* - w|^2, exact for normal inputs.

    |w* - w|^2 shrinks by 1 - 2 alpha + alpha^2 (inputs + 2) at each example; a change adds 4 - 4 m to it, where m = E[s_i (s_i - w_i)] of the one changed.
    """
    shrinks, kept = (1.0 - 2.0 * alpha + alpha**2 * (inputs + 2)) ** every, (1.0 - alpha) ** every
    m = kept * 2.0 / relevant / (1.0 - kept * (1.0 - 2.0 / relevant))
    after = (4.0 - 4.0 * m) / (1.0 - shrinks)
    return after * (1.0 - shrinks) / (every * (1.0 - shrinks ** (1.0 / every)))


def test_lms_comes_to_the_error_that_theory_has_for_its_step_size():
    for alpha in (0.01, 0.02, 0.035, 0.04, 0.05):
        found = squared_error({"rule.optimizer": {"name": "sgd"}, "rule.learning_rate": alpha})
        assert np.mean(found) == pytest.approx(error_of_lms(alpha), rel=0.04)
    rates = np.arange(0.005, 0.08, 0.001)
    best = min(rates, key=error_of_lms)
    assert 0.03 <= best <= 0.04
    assert 3.2 < error_of_lms(best) < 3.5


def test_idbd_halves_the_best_error_of_lms():
    found = squared_error({"rule.optimizer.theta": 0.01})
    assert max(found) < 1.7
    assert min(found) > 1.35


def test_step_sizes_grow_where_inputs_matter_and_vanish_where_they_do_not():
    scenario = asyncnet.load("tracking-idbd")
    assert (scenario.task.decisions, scenario.rule.optimizer.theta, scenario.rule.learning_rate) == (250_000, 0.001, (0.05,))
    for seed in SEEDS:
        alpha = 0.05 * np.exp(finished(scenario, seed).nodes[1].view.slots_weight[0, :, 0])
        assert alpha[:5].mean() == pytest.approx(0.13, abs=0.01)
        assert np.abs(alpha[:5] - 0.13).max() < 0.03
        assert alpha[5:].max() < 0.0085


def test_the_error_is_what_is_said_of_a_supervised_run(capsys):
    rows = []

    class Rows(Quiet):
        row = staticmethod(rows.append)

    summary = asyncnet.run(tracking(), out=None, reporter=Rows()).summary()
    assert summary["mean_squared_error"] == -summary["mean_reward"] > 0.0
    assert summary["last_mean_squared_error"] == -summary["last_mean_reward"]
    assert len(rows) > 100
    assert all(row["rollout/mean_squared_error"] == -row["rollout/mean_reward"] for row in rows)
    assert "mean squared error lately" in console.line(rows[-1])
    console.show_summary(summary)
    shown = capsys.readouterr().out
    assert "mean squared error, last 10 %" in shown
    assert "reward" not in shown


def test_a_linear_unit_fits_what_is_linear_in_another_task():
    """Of the regression task's ReLU network: so much of its variance as a straight line explains."""
    changes = {"name": "regression", "reward": "error", "streams": 16, "decisions": 4000, "world": {"waits": True, "interval": 1.0}}
    scenario = check(tracking().data() | {"task": changes, "rule": {"name": "lms", "learning_rate": 0.02}}, "test")
    loop = shown(scenario)
    x, y = np.array(loop.x[2000:4000]).reshape(-1, 8), np.array(loop.wanted[2000:4000]).ravel()
    line = np.column_stack((x, np.ones(len(x))))
    best = np.mean((y - line @ np.linalg.lstsq(line, y)[0]) ** 2)
    assert best < 0.8 * y.var()
    assert -loop.score.rewards.mean(len(loop.score.rewards) - 2000) == pytest.approx(best, rel=0.1)


@pytest.mark.parametrize(
    ("key", "changes", "why"),
    [
        ("network.hidden", {"network.hidden": (3,)}, "no hidden units"),
        ("network.output", {"network.output": "softmax"}, "lms is made for linear output; for softmax there are"),
        ("task.reward", {"task.reward": "square"}, "learns from the signed error"),
        ("task.relevant", {"task.relevant": 21}, "21 of 20 inputs"),
        ("rule.optimizer.theta", {"rule.optimizer": {"name": "idbd", "theta": -1.0}}, "greater than or equal to 0"),
        ("task.world.late", {"task.world": {"waits": False, "interval": 1.0, "late": "grade-by-stamp"}}, "independent questions"),
        ("critic", {"critic": {"learning_rate": 0.1}}, "a critic has no place"),
    ],
)
def test_what_a_linear_unit_cannot_be_given_is_refused_by_its_key(key, changes, why):
    with pytest.raises(ScenarioError, match=why) as caught:
        tracking(changes)
    assert caught.value.key == key
