"""What one decision led to."""

from typing import NamedTuple

import numpy as np


class Outcome(NamedTuple):
    """For each of B streams: the reward; boot = 0 after a terminal state, else 1; live = 0 if the decision taught nothing; returns of episodes that ended."""

    reward: np.ndarray
    boot: np.ndarray
    live: np.ndarray
    returns: list[float]
