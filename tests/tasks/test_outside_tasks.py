"""Tasks and environments from outside the package: kernels, objects stepped in Python, environments that a user registers, their arguments and wrappers."""

import json
import re

import gymnasium
import numpy as np
import pytest

import asyncnet
from asyncnet.api import Quiet
from asyncnet.loop.loop import Loop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.runs import embedded
from asyncnet.scenario.schema import ScenarioError, check
from asyncnet.tasks import TASKS
from asyncnet.tasks.gym import Gym
from asyncnet.tasks.parts import seeds
from support.commands import started
from support.outside import ROOT, afterwards_as_before
from support.small import small

TASK = re.search(r"## A task of your own.*?```python\n(.*?)```", (ROOT / "docs" / "rules.md").read_text(), re.S).group(1)

COUNTING = '''
"""Say whether the number shown is odd; stepped in Python."""

from typing import Annotated, Literal

from pydantic import Field

from asyncnet.tasks.parts import Spaces
from asyncnet.tasks.settings import Task

NAME, LINE, INDEPENDENT = "counting", "say whether the number shown is odd", False


class Settings(Task):
    name: Literal["counting"]
    bits: Annotated[int, Field(ge=1, le=8)] = Field(3, description="digits shown")


def spaces(task):
    return Spaces(task.bits, 2, False)


class Counting:
    def __init__(self, task, seed):
        self.at, self.bits = seed, task.bits

    def begin(self, v):
        v.observation[:] = [[(self.at >> i & 1) * 2 - 1 for i in range(self.bits)]] * len(v.observation)

    def step(self, v):
        v.reward[:] = 2.0 * (v.action[:, 0] == self.at % 2) - 1.0
        v.ended[:] = float(self.at % 10 == 9)
        self.at += 1
        self.begin(v)

    def saved(self):
        return {"at": self.at}, {}

    def restore(self, v, about, arrays):
        self.at = about["at"]


def make(task, seed):
    return Counting(task, seed)
'''

ENVIRONMENT = '''
"""A walk on a line: right is good."""

import gymnasium
import numpy as np


class Walk(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length=4):
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = self.np_random.integers(-1, 2)
        return np.array([self.at], dtype=np.float32), {}

    def step(self, action):
        self.at += 2 * action - 1
        return np.array([self.at], dtype=np.float32), float(action), bool(abs(self.at) >= self.length), False, {}


gymnasium.register("Walk-v0", entry_point="walks:Walk", max_episode_steps=30)
'''


@pytest.fixture(autouse=True)
def registries():
    environments = set(gymnasium.registry)
    with afterwards_as_before():
        yield
    for name in set(gymnasium.registry) - environments:
        del gymnasium.registry[name]


def written(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def with_task(**task):
    whole = small(rule={"learning_rate": 0.03}, network={"hidden": [6]})
    return check({**whole, "task": {"decisions": 400, "streams": 2, "world": {"waits": True, "interval": 6.0}, **task}}, "test")


class Impatient(Quiet):
    """Interrupts at the second row."""

    def __init__(self):
        self.rows = 0

    def row(self, row):
        self.rows += 1
        if self.rows == 2:
            raise KeyboardInterrupt


def resumed(scenario, folder):
    """The digest of a run that was interrupted and went on, and that of one that was not."""
    begun = asyncnet.run(scenario, out=folder / "runs", loop="readable", reporter=Impatient())
    assert begun.record.stopped == "interrupted"
    ended = asyncnet.resume(begun.run_dir, loop="readable")
    return ended.record.digest, asyncnet.run(scenario, out=None, loop="readable").record.digest


# Kernels


def test_the_tutorials_task_runs_in_kernels_and_can_be_learned(tmp_path):
    asyncnet.register(written(tmp_path, "my_task.py", TASK))
    scenario = with_task(name="same-sign", decisions=3000)
    result = asyncnet.run(scenario, out=None, loop="readable")
    assert result.summary()["last_mean_reward"] > 0.5  # chance is 0
    graded = with_task(name="same-sign", decisions=300, world={"waits": False, "interval": 6.0, "late": "grade-by-stamp"})
    assert asyncnet.run(graded, out=None, loop="readable").summary()["decisions"] == 300


def test_a_task_in_a_file_is_used_by_the_command_and_kept(tmp_path):
    task = written(tmp_path, "my_task.py", TASK)
    (tmp_path / "mine.toml").write_text(with_task_toml())
    code, out, err = started(tmp_path, "run", "mine.toml", "--task", task, "--json")
    assert code == 0, err
    (about,) = json.loads((tmp_path / json.loads(out)["run_dir"] / "run.json").read_text())["outside"]
    assert (about["kind"], about["name"]) == ("task", "same-sign")
    task.unlink()
    code, _, err = started(tmp_path, "verify", "runs/latest")
    assert code == 0, err


def with_task_toml():
    return """
seed = 1
tick = 1000
task = { name = "same-sign", decisions = 200, world = { waits = true, interval = 1.0 } }
network = { hidden = [4], output = "bernoulli" }
rule = { name = "weight-max", learning_rate = 0.03 }
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def step(", "def setp(", "wrong: asyncnet.nodes.world asks for step, and nobody brings it; is setp it?"),
        ("INDEPENDENT =", "INDEPENDENTLY =", "INDEPENDENT: missing; a task file says True or False there; is INDEPENDENTLY it?"),
        ("v.answer[b]", "v.anwser[b]", "v.anwser is no field of this node; did you mean answer?"),
        ("def spaces", "def space", "spaces: missing"),
    ],
)
def test_what_is_wrong_in_a_task_is_said_in_one_line(old, new, said, tmp_path):
    assert old in TASK
    with pytest.raises(ScenarioError) as caught:
        asyncnet.register(written(tmp_path, "wrong.py", TASK.replace(old, new)))
    assert said in str(caught.value)
    assert "same-sign" not in TASKS


# Objects stepped in Python


def test_a_task_stepped_in_python_runs_and_comes_back(tmp_path):
    asyncnet.register(written(tmp_path, "counting.py", COUNTING))
    scenario = with_task(name="counting", decisions=5000)
    again, whole = resumed(scenario, tmp_path)
    assert again == whole
    assert asyncnet.run(scenario, out=None).record.digest == whole, "in the compiled loop too"
    assert asyncnet.run(scenario, out=None, loop="readable").summary()["episodes"] >= 900


def test_what_a_task_in_python_raises_ends_the_run_and_is_its_reason(tmp_path):
    asyncnet.register(written(tmp_path, "counting.py", COUNTING.replace("self.at += 1", "self.at += 1 // (self.at < 40)")))
    result = asyncnet.run(with_task(name="counting"), out=None, loop="readable")
    assert result.record.stopped == "the task failed: counting: step: ZeroDivisionError: integer division or modulo by zero"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("return Spaces(task.bits, 2, False)", "return 3", r"task: spaces\(\) of .*counting.py: must return asyncnet.tasks.parts.Spaces, got 3"),
        ("return Spaces(task.bits, 2, False)", "return task.bit", r"spaces\(\) of .*counting.py: AttributeError"),
        ("def make(", "def mkae(", r"counting.py: reset: missing; a task brings kernels \(reset, step\), or make"),
    ],
)
def test_a_task_that_cannot_be_made_is_refused(old, new, said, tmp_path):
    def made():
        asyncnet.register(written(tmp_path, "counting.py", COUNTING.replace(old, new)))
        with_task(name="counting")

    with pytest.raises(ScenarioError, match=said):
        made()


# Environments


def walk(**more):
    return with_task(**{"name": "gymnasium", "id": "Walk-v0", "streams": 2, "decisions": 3000, **more})


def test_environments_that_a_file_registers_run_and_come_back_from_the_directory_alone(tmp_path):
    file = written(tmp_path, "walks.py", ENVIRONMENT)
    with_walk = with_task_toml().replace('name = "same-sign"', 'name = "gymnasium", id = "Walk-v0", kwargs = { length = 3 }')
    (tmp_path / "walk.toml").write_text(with_walk)
    code, _, err = started(tmp_path, "run", "walk.toml")
    assert code == 64
    assert "Walk" in err
    code, _, err = started(tmp_path, "run", "walk.toml", "--import", file, "--json")
    assert code == 0, err
    file.unlink()
    code, _, err = started(tmp_path, "verify", "runs/latest")
    assert code == 0, err


@pytest.mark.ray
def test_actors_get_the_environments_that_a_file_registers(ray_session, tmp_path):
    from asyncnet.actors.team import run_in

    asyncnet.register(written(tmp_path, "walks.py", ENVIRONMENT), "import")
    (tmp_path / "walks.py").unlink()
    scenario = walk(decisions=200, wrappers=[{"name": "normalize-observation"}])
    assert run_in(ray_session, scenario, Quiet(), time="virtual").digest == embedded.run(scenario, Quiet()).digest


def test_a_file_of_environments_does_not_take_the_place_of_another_module(tmp_path):
    with pytest.raises(ScenarioError, match=r"there is another module statistics here .*; rename the file"):
        asyncnet.register(written(tmp_path, "statistics.py", ENVIRONMENT), "import")


def test_keyword_arguments_reach_the_environment_and_an_unknown_one_is_refused_by_its_key(tmp_path):
    asyncnet.register(written(tmp_path, "walks.py", ENVIRONMENT), "import")
    assert [env.unwrapped.length for env in Gym(walk(kwargs={"length": 7}).task, 1).envs] == [7, 7]
    for kwargs, said in (
        ({"lenght": 3}, "task.kwargs.lenght: Walk-v0 takes no such argument; did you mean length?"),
        ({"max_episode_steps": 3}, "task.kwargs.max_episode_steps: is no argument of an environment; name the wrapper time-limit"),
        ({"length": {"a": 1}}, "task.kwargs.length"),
    ):
        with pytest.raises(ScenarioError) as caught:
            walk(kwargs=kwargs)
        assert said in str(caught.value)


def test_cartpole_with_arguments_is_the_environment_itself():
    scenario = with_task(name="gymnasium", id="CartPole-v1", kwargs={"sutton_barto_reward": True})
    assert isinstance(Loop(scenario, Virtual()).nodes[0].outside, Gym)


def stepped(task, actions):
    """What a task's object shows and pays, action by action, over `actions`."""
    made = Gym(task, 3)
    shapes = {"observation": (1, 2), "reward": (1,), "ended": (1,), "over": (1,), "action": (1, 1)}
    view = type("V", (), {name: np.zeros(shape) for name, shape in shapes.items()})()
    made.begin(view)
    shown = [view.observation[0].copy()]
    for action in actions:
        view.action[:] = action
        made.step(view)
        view.over[:] = view.ended > 0
        view.ended[:] = 0.0
        shown.append(view.observation[0].copy())
    return shown


def test_wrappers_are_those_of_gymnasium_in_their_order():
    kinds = [{"name": "time-limit", "steps": 20}, {"name": "rescale-action", "low": -2.0, "high": 2.0}, {"name": "normalize-observation"}]
    scenario = asyncnet.load("mountaincar-map-async", settings=["task.id=MountainCarContinuous-v0"]).replace(
        {"task.wrappers": kinds, "task.action_scale": 1.0, "task.action_offset": 0.0}
    )
    task = scenario.task
    env = gymnasium.make("MountainCarContinuous-v0", max_episode_steps=20)
    env = gymnasium.wrappers.NormalizeObservation(gymnasium.wrappers.RescaleAction(env, np.float32(-2.0), np.float32(2.0)))
    actions = np.sin(np.arange(70)) * 2
    wanted, over = [env.reset(seed=seeds(3, 1)[0])[0]], False
    for action in actions:
        if over:
            seen, over = env.reset()[0], False
        else:
            seen, _, ended, cut, _ = env.step(np.array([action]))
            over = ended or cut
        wanted.append(seen)
    assert np.array_equal(stepped(task, actions), wanted)


@pytest.mark.parametrize("kinds", [["normalize-observation"], ["rescale-observation", "normalize-observation"], ["stack-observation", "normalize-observation"]])
def test_a_wrapped_environment_comes_back_to_the_same_bits_in_a_later_episode(kinds, tmp_path):
    asyncnet.register(written(tmp_path, "walks.py", ENVIRONMENT), "import")
    wrappers = [{"name": kind, **({"size": 3} if kind.startswith("stack") else {})} for kind in kinds]
    again, whole = resumed(walk(wrappers=wrappers), tmp_path)
    assert again == whole


@pytest.mark.parametrize(
    ("wrapper", "said"),
    [
        ({"name": "normalise-observation"}, "task.wrappers.0: needs name = normalize-observation |"),
        ({"name": "normalize-observation", "eps": 1.0}, "task.wrappers.0.eps: unknown key; did you mean epsilon?"),
        ({"name": "time-limit"}, "task.wrappers.0.steps: missing"),
        ({"name": "rescale-action"}, "task.wrappers.0: rescale-action does not fit this environment"),
    ],
)
def test_an_unknown_wrapper_and_one_that_does_not_fit_are_refused_by_key(wrapper, said):
    with pytest.raises(ScenarioError) as caught:
        with_task(name="gymnasium", id="Acrobot-v1", wrappers=[wrapper])
    assert said in str(caught.value)
