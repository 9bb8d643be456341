"""Whole trainings of the two released drivers (MAP Propagation; Weight Maximization), episode by episode.

golden/released_episodes.npz holds the returns of those programs, run from the first step on Gymnasium's environments with seed 3: each random number
that they asked for was this project's keyed draw for that purpose, unit and decision, and the environment had this project's seed. So nothing is left to
chance, and every return must come out to the last bit.
"""

import numpy as np
import pytest

import asyncnet
from support.places import GOLDEN
from support.teams import runnable

EPISODES = {
    "cartpole-map": 40,
    "acrobot-map": 6,
    "lunarlander-map": 25,
    "cartpole-weight-max": 80,
    "cartpole-weight-max-traces": 60,
    "lunarlander-weight-max": 25,
    "acrobot-weight-max": 8,
}
RELEASED = np.load(GOLDEN / "released_episodes.npz")


def test_every_recorded_training_is_replayed_to_its_end():
    assert {name: len(RELEASED[name]) for name in RELEASED.files} == EPISODES


@pytest.mark.parametrize("name", [scenario for scenario in runnable() if scenario.values[0] in EPISODES])
def test_a_training_has_the_returns_of_the_released_program_to_the_last_bit(name):
    result = asyncnet.run(asyncnet.load(name).replace({"task.episodes": EPISODES[name]}), seed=3, out=None)
    assert result.record.returns == RELEASED[name].tolist()
