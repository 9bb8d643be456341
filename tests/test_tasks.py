"""The tasks pose what they should, grade it rightly, and step environments as Gymnasium itself does."""

import math

import gymnasium
import numpy as np
import pytest
from conftest import GONE, small

from asyncnet import tasks
from asyncnet.scenario import ScenarioError, check
from asyncnet.tasks.gym import Gym, spaces
from asyncnet.tasks.multiplexer import REMEMBERED, Multiplexer

STREAMS = 3


def answer(question: np.ndarray, k: int) -> int:
    """The data bit that the address bits point at, worked out anew."""
    address = int("".join("1" if bit > 0 else "0" for bit in question[:k]), base=2)
    return int(question[k:][address] > 0)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6])
def test_the_multiplexer_grades_every_address_rightly(k):
    task = Multiplexer(k, STREAMS, seed=1)
    seen = set()
    for _ in range(60 * 2**k // STREAMS):
        questions = task.observation.copy()
        assert questions.shape == (STREAMS, k + 2**k)
        assert set(np.unique(questions)) <= {-1.0, 1.0}
        right = np.array([answer(question, k) for question in questions])
        seen |= {(tuple(question[:k]), int(bit)) for question, bit in zip(questions, right, strict=True)}
        assert np.array_equal(task.grade(task.asked, right), np.ones(STREAMS))
        assert np.array_equal(task.grade(task.asked, 1 - right), -np.ones(STREAMS))
        said = np.array([right[0], 1 - right[1], right[2]])
        assert task.step(said).reward.tolist() == [1.0, -1.0, 1.0]
    assert len(seen) == 2 * 2**k


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_perfect_policy_earns_one_and_a_constant_one_nothing(k):
    n = 4000
    for policy, low, high in (("perfect", 1.0, 1.0), ("zero", -2.576, 2.576), ("one", -2.576, 2.576)):
        task = Multiplexer(k, STREAMS, seed=3)
        earned = []
        for _ in range(n):
            right = np.array([answer(question, k) for question in task.observation])
            earned.append(task.step({"perfect": right, "zero": np.zeros(STREAMS), "one": np.ones(STREAMS)}[policy]).reward)
        mean = float(np.mean(earned))
        scale = 1.0 if policy == "perfect" else math.sqrt(n * STREAMS)
        assert low <= mean * scale <= high


def questions(k: int, n: int, seed: int = 1, streams: int = STREAMS) -> np.ndarray:
    task = Multiplexer(k, streams, seed)
    asked = [task.observation.copy()]
    for _ in range(n - 1):
        task.step(np.zeros(streams))
        asked.append(task.observation.copy())
    return np.array(asked)


@pytest.mark.parametrize("k", [1, 4, 6])
def test_the_bits_of_the_multiplexer_are_balanced_and_unrelated(k):
    n = 4000
    asked = questions(k, n).reshape(n, -1)
    bits = asked.shape[1]
    assert np.max(np.abs(asked.mean(axis=0))) < 4.5 / math.sqrt(n)
    assert np.max(np.abs(np.corrcoef(asked.T) - np.eye(bits))) < 5.0 / math.sqrt(n)
    assert np.max(np.abs((asked[1:] * asked[:-1]).mean(axis=0))) < 4.5 / math.sqrt(n)


def test_a_question_depends_on_seed_stream_and_number_alone():
    asked = questions(3, 50)
    assert np.array_equal(asked, questions(3, 50))
    assert np.array_equal(asked[:, :1], questions(3, 50, streams=1))
    assert not np.array_equal(asked, questions(3, 50, seed=2))
    assert not np.array_equal(asked[:, 0], asked[:, 1])
    task = Multiplexer(3, STREAMS, 1)
    for n in range(20):
        task.step(np.full(STREAMS, n % 2))  # whatever is answered
    assert np.array_equal(task.observation, asked[20])


def test_a_late_answer_is_graded_against_its_own_question():
    task = Multiplexer(2, STREAMS, 1)
    right = []
    for _ in range(REMEMBERED):
        right.append([answer(question, 2) for question in task.observation])
        task.step(np.zeros(STREAMS))
    assert all(np.all(task.grade(n, np.array(right[n])) == 1.0) for n in range(1, REMEMBERED))


def test_the_multiplexer_is_one_endless_episode():
    task = Multiplexer(2, STREAMS, 1)
    outcomes = [task.step(np.zeros(STREAMS)) for _ in range(100)]
    assert not task.episode.any()
    assert all(np.all(outcome.boot == 1.0) and np.all(outcome.live == 1.0) and outcome.returns == [] for outcome in outcomes)


class Plain:
    """One environment, stepped by hand as documented: after an episode's end one decision resets it."""

    def __init__(self, name: str, seed: int) -> None:
        self.env = gymnasium.make(name)
        self.seen, _ = self.env.reset(seed=seed)
        self.over, self.episode, self.total = False, 0, 0.0

    def step(self, action: int, truncation: str) -> tuple[float, float, float, list[float]]:
        if self.over:
            self.seen, _ = self.env.reset()
            self.over, self.episode, self.total = False, self.episode + 1, 0.0
            return 0.0, 1.0, 0.0, []
        self.seen, reward, terminated, truncated, _ = self.env.step(action)
        self.total += reward
        self.over = terminated or truncated
        limit = truncated and not terminated
        return float(reward), 0.0 if terminated else 1.0, 0.0 if limit and truncation == "zero" else 1.0, [self.total] if self.over else []


@pytest.mark.parametrize("truncation", ["zero", "bootstrap"])
@pytest.mark.parametrize(("name", "ends"), [("CartPole-v1", "terminated"), ("MountainCar-v0", "truncated")])
def test_environments_are_stepped_as_gymnasium_steps_them(name, ends, truncation):
    task = Gym(name, STREAMS, 5, truncation)
    seeds = np.random.SeedSequence(5).generate_state(STREAMS, np.uint64)
    plain = [Plain(name, int(seed % 2**31)) for seed in seeds]
    rng = np.random.default_rng(0)
    counts = {"live": 0, "boot": 0, "returns": 0}
    for _ in range(650):
        assert np.array_equal(task.observation, [one.seen for one in plain])
        assert np.array_equal(task.episode, [one.episode for one in plain])
        actions = rng.integers(0, plain[0].env.action_space.n, STREAMS)
        outcome = task.step(actions)
        rewards, boot, live, returns = zip(*(one.step(int(action), truncation) for one, action in zip(plain, actions, strict=True)), strict=True)
        assert (outcome.reward.tolist(), outcome.boot.tolist(), outcome.live.tolist()) == (list(rewards), list(boot), list(live))
        assert outcome.returns == [value for some in returns for value in some]
        counts["live"] += live.count(0.0)
        counts["boot"] += boot.count(0.0)
        counts["returns"] += len(outcome.returns)
    resets = sum(one.episode for one in plain)
    assert resets >= 9
    assert counts["returns"] - resets <= STREAMS  # an end, then a reset
    if ends == "terminated":
        assert counts == {"live": resets, "boot": counts["returns"], "returns": counts["returns"]}
    else:
        assert counts == {"live": resets + (counts["returns"] if truncation == "zero" else 0), "boot": 0, "returns": counts["returns"]}
    task.close()


def test_the_action_of_a_resetting_decision_is_ignored():
    one, other = (Gym("CartPole-v1", 1, 5, "zero") for _ in range(2))
    while not one.step(np.array([1])).returns:
        other.step(np.array([1]))
    other.step(np.array([1]))
    one.step(np.array([0]))
    other.step(np.array([1]))
    assert one.episode[0] == 1.0
    assert np.array_equal(one.state(), other.state())


def test_environments_start_from_the_seed_and_each_stream_from_its_own():
    starts = [Gym("CartPole-v1", STREAMS, seed, "zero").observation for seed in (5, 5, 6)]
    assert np.array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0], starts[2])
    assert len({tuple(row) for row in starts[0]}) == STREAMS


def test_a_task_is_built_as_the_scenario_says():
    scenario = check(small(task={"k": 3, "streams": 4}), "small")
    made = tasks.build(scenario.task, scenario.seed)
    assert isinstance(made, Multiplexer)
    assert made.observation.shape == (4, tasks.spaces(scenario.task)[0]) == (4, 11)
    scenario = check(small(task={"name": "gymnasium", "id": "Acrobot-v1", "k": GONE, "streams": 2}, network={"output": "softmax"}), "small")
    made = tasks.build(scenario.task, scenario.seed)
    assert isinstance(made, Gym)
    assert made.observation.shape == (2, tasks.spaces(scenario.task)[0]) == (2, 6)
    assert tasks.spaces(scenario.task)[1] == 3


@pytest.mark.parametrize("name", sorted(gymnasium.registry))
def test_every_registered_environment_can_serve_or_is_refused_in_one_line(name):
    try:
        inputs, actions = spaces(name)
    except ScenarioError as error:
        refused = error
    else:
        assert inputs >= 1
        assert actions >= 2
        return
    assert refused.key == "task.id"
    assert str(refused).isprintable()
    assert refused.why
