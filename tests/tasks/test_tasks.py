"""The tasks pose what they should, grade it rightly, and step environments as Gymnasium itself does."""

import math

import gymnasium
import numpy as np
import pytest

from asyncnet import tasks
from asyncnet.loop.message import ACTIVITY, REWARD, TRANSITION
from asyncnet.scenario.schema import ScenarioError, check
from asyncnet.tasks import parts
from asyncnet.tasks.gym import Gym, spaces
from asyncnet.team.build import build
from asyncnet.team.draw import plan
from support.small import GONE, small
from support.teams import Probe

STREAMS = 3


def multiplexer(k, **more):
    return Probe(name="multiplexer", k=k, **more)


def answer(question: np.ndarray, k: int) -> int:
    """The data bit that the address bits point at, worked out anew."""
    address = int("".join("1" if bit > 0 else "0" for bit in question[:k]), base=2)
    return int(question[k:][address] > 0)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6])
def test_the_multiplexer_grades_every_address_rightly(k):
    task = multiplexer(k)
    seen = set()
    for _ in range(60 * 2**k // STREAMS):
        questions = task.observation.copy()
        assert questions.shape == (STREAMS, k + 2**k)
        assert set(np.unique(questions)) <= {-1.0, 1.0}
        right = np.array([answer(question, k) for question in questions])
        seen |= {(tuple(question[:k]), int(bit)) for question, bit in zip(questions, right, strict=True)}
        said = np.array([right[0], 1 - right[1], right[2]])
        assert task.step(said)[0].tolist() == [1.0, -1.0, 1.0]
    assert len(seen) == 2 * 2**k


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_perfect_policy_earns_one_and_a_constant_one_nothing(k):
    n = 4000
    for policy, low, high in (("perfect", 1.0, 1.0), ("zero", -2.576, 2.576), ("one", -2.576, 2.576)):
        task = multiplexer(k, seed=3)
        earned = []
        for _ in range(n):
            right = np.array([answer(question, k) for question in task.observation])
            earned.append(task.step({"perfect": right, "zero": np.zeros(STREAMS), "one": np.ones(STREAMS)}[policy])[0])
        mean = float(np.mean(earned))
        scale = 1.0 if policy == "perfect" else math.sqrt(n * STREAMS)
        assert low <= mean * scale <= high


def questions(k: int, n: int, seed: int = 1, streams: int = STREAMS) -> np.ndarray:
    task = multiplexer(k, seed=seed, streams=streams)
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
    task = multiplexer(3)
    for n in range(20):
        task.step(np.full(STREAMS, n % 2))  # whatever is answered
    assert np.array_equal(task.observation, asked[20])


def test_a_late_answer_is_graded_against_its_own_question():
    task = multiplexer(2, late="grade-by-stamp")
    right = []
    for _ in range(5000):
        right.append([answer(question, 2) for question in task.observation])
        task.act()
    for n in (0, 1, 4000, 4998):
        said = np.array(right[n])
        said[1] = 1 - said[1]
        task.answer(n, said)
    told = [(message.stamp, message.payload.tolist()) for message in task.act() if message.channel == REWARD]
    assert told == [(n, [1.0, -1.0, 1.0]) for n in (0, 1, 4000, 4998)]
    assert len({tuple(answers) for answers in right}) == 8


def test_the_multiplexer_is_one_endless_episode():
    task = multiplexer(2)
    transitions = [task.step(np.zeros(STREAMS)) for _ in range(100)]
    assert not task.episode.any()
    assert all(np.all(bootstrap == 1.0) and np.all(valid == 1.0) and returns == [] for _, bootstrap, valid, returns in transitions)


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
    task = Probe(STREAMS, 5, name="gymnasium", id=name, truncation=truncation)
    seeds = np.random.SeedSequence(5).generate_state(STREAMS, np.uint64)
    plain = [Plain(name, int(seed % 2**31)) for seed in seeds]
    rng = np.random.default_rng(0)
    counts = {"invalid": 0, "terminal": 0, "returns": 0}
    for _ in range(650):
        assert np.array_equal(task.observation, [one.seen for one in plain])
        assert np.array_equal(task.episode, [one.episode for one in plain])
        actions = rng.integers(0, plain[0].env.action_space.n, STREAMS)
        transition = task.step(actions)
        rewards, bootstrap, valid, returns = zip(*(one.step(int(action), truncation) for one, action in zip(plain, actions, strict=True)), strict=True)
        assert [part.tolist() for part in transition[:3]] == [list(rewards), list(bootstrap), list(valid)]
        assert transition[3] == [value for some in returns for value in some]
        counts["invalid"] += valid.count(0.0)
        counts["terminal"] += bootstrap.count(0.0)
        counts["returns"] += len(transition[3])
    resets = sum(one.episode for one in plain)
    assert resets >= 9
    assert counts["returns"] - resets <= STREAMS  # an end, then a reset
    if ends == "terminated":
        assert counts == {"invalid": resets, "terminal": counts["returns"], "returns": counts["returns"]}
    else:
        assert counts == {"invalid": resets + (counts["returns"] if truncation == "zero" else 0), "terminal": 0, "returns": counts["returns"]}
    task.node.close()


def test_cartpole_in_compiled_code_is_gymnasiums_to_the_last_bit():
    streams, steps = 4, 10_000
    task = Probe(streams, 7, name="gymnasium", id="CartPole-v1")
    assert task.node.outside is None
    plain = [Plain("CartPole-v1", seed) for seed in parts.seeds(7, streams)]
    rng = np.random.default_rng(1)
    ends = set()
    for n in range(steps):
        # Some streams are balanced by hand, so that poles also stand until the time limit.
        balanced = [int(one.seen[2] + 0.5 * one.seen[3] + 0.05 * one.seen[0] + 0.1 * one.seen[1] > 0.0) for one in plain]
        actions = np.where(np.arange(streams) < 2, balanced, rng.integers(0, 2, streams))
        transition = task.step(actions)
        rewards, bootstrap, valid, returns = zip(*(one.step(int(action), "zero") for one, action in zip(plain, actions, strict=True)), strict=True)
        assert task.observation.tobytes() == np.array([one.seen for one in plain], dtype=np.float64).tobytes(), n
        inside = np.array([one.env.unwrapped.state for one in plain])
        assert task.node.view.physics.tobytes() == inside.tobytes(), n
        assert [part.tolist() for part in transition[:3]] == [list(rewards), list(bootstrap), list(valid)]
        assert transition[3] == [value for some in returns for value in some]
        ends |= set(transition[3])
    assert 500.0 in ends
    assert min(ends) < 20.0


def test_the_action_of_a_resetting_decision_is_ignored():
    one, other = (Probe(1, 5, name="gymnasium", id="CartPole-v1") for _ in range(2))
    while not one.step([1])[3]:
        other.step([1])
    other.step([1])
    one.step([0])
    other.step([1])
    assert one.episode[0] == 1.0
    assert np.array_equal(one.observation, other.observation)


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1"])
def test_environments_start_from_the_seed_and_each_stream_from_its_own(name):
    starts = [Probe(STREAMS, seed, name="gymnasium", id=name).observation for seed in (5, 5, 6)]
    assert np.array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0], starts[2])
    assert len({tuple(row) for row in starts[0]}) == STREAMS


def test_a_task_is_built_as_the_scenario_says():
    made = Probe(4, name="multiplexer", k=3)
    assert made.node.outside is None
    scenario = check(small(task={"k": 3, "streams": 4}), "small")
    assert made.observation.shape == (4, tasks.spaces(scenario.task)[0]) == (4, 11)
    scenario = check(small(task={"name": "gymnasium", "id": "Acrobot-v1", "k": GONE, "streams": 2}, network={"output": "softmax"}), "small")
    made = Probe(2, name="gymnasium", id="Acrobot-v1")
    assert isinstance(made.node.outside, Gym)
    assert made.observation.shape == (2, tasks.spaces(scenario.task)[0]) == (2, 6)
    assert made.actions == tasks.spaces(scenario.task)[1] == 3


@pytest.mark.parametrize("name", sorted(gymnasium.registry))
def test_every_registered_environment_can_serve_or_is_refused_in_one_line(name):
    try:
        inputs, actions, real = spaces(name)
    except ScenarioError as error:
        refused = error
    else:
        assert inputs >= 1
        assert actions >= (1 if real else 2)
        return
    assert refused.key == "task.id"
    assert str(refused).isprintable()
    assert refused.why


def real_valued(**task):
    data = {
        "name": "real",
        "seed": 4,
        "tick": 1,
        "task": {"name": "gymnasium", "id": "MountainCarContinuous-v0", "episodes": 10, "world": {"waits": True, "interval": 1.0}, **task},
        "network": {"hidden": [3], "units": "softplus", "output": "linear"},
        "rule": {"name": "map-propagation", "learning_rate": 0.01},
        "critic": {"hidden": [1], "learning_rate": 0.01},
    }
    scenario = check(data, "real")
    return build(scenario, plan(scenario), plan(scenario).nodes[0])


def answered(node, stamp, value):
    """What the world says of a real-valued answer: (reward heard, observation)."""
    node.hear(stamp + 1, ACTIVITY, 0, stamp + 1, stamp, np.array([0.0, value]))
    earned = next(message for message in node.act(stamp + 2) if message.channel == TRANSITION)
    return earned.payload[1], node.view.observation[0].copy()


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (2.0, 1.0)])
def test_a_real_valued_action_reaches_the_environment_scaled_and_cut_to_its_bounds(scale, offset):
    node, env = real_valued(action_scale=scale, action_offset=offset), gymnasium.make("MountainCarContinuous-v0")
    env.reset(seed=parts.seeds(4, 1)[0])
    node.act(0)
    for stamp, value in enumerate((0.3, -0.2, 5.0, -7.0, 0.05)):
        force = np.clip(np.array([scale * value + offset]), -1.0, 1.0)
        seen, reward, *_ = env.step(force)
        heard, shown = answered(node, stamp, value)
        assert heard == float(reward)
        assert np.array_equal(shown, np.float64(seen))


def test_a_clipped_reward_is_what_the_team_hears_and_not_what_counts():
    node = real_valued(reward_clip=0.01)
    node.act(0)
    heard, _ = answered(node, 0, 1.0)
    assert heard == -0.01
    assert node.view.reward[0] == -0.1
    assert node.view.total[0] == -0.1


@pytest.mark.parametrize("reward", ["square", "error"])
def test_the_regression_task_asks_an_unknown_relu_network(reward):
    data = {
        "name": "regression",
        "seed": 9,
        "tick": 1,
        "task": {"name": "regression", "streams": 50, "decisions": 10, "reward": reward, "world": {"waits": True, "interval": 1.0}},
        "network": {"hidden": [3], "units": "softplus", "output": "linear"},
        "rule": {"name": "map-propagation", "learning_rate": 0.01},
    }
    scenario = check(data, "test")
    node = build(scenario, plan(scenario), plan(scenario).nodes[0])
    node.act(0)
    x, first, second = node.view.observation.copy(), node.view.first, node.view.second
    y = np.maximum(np.maximum(x @ first, 0.0) @ second, 0.0)
    assert (y > 0.0).any()
    assert 0.7 < x.std() < 1.3
    answers = np.linspace(-1.0, 3.0, 50)
    node.hear(1, ACTIVITY, 0, 1, 0, np.concatenate((np.zeros(50), answers)))
    (told,) = (message for message in node.act(2) if message.channel == REWARD)
    off = y - answers
    assert np.allclose(told.payload, off if reward == "error" else -(off**2), rtol=1e-9, atol=1e-12)
    node.look(2)
    assert np.isclose(node.score.rewards.latest[0], -np.mean(off**2))
    assert not np.array_equal(node.view.observation, x)
