"""What the tasks share: what a task shows and takes, how it fails, the seeds of its copies."""

from typing import NamedTuple

import numpy as np


class Spaces(NamedTuple):
    """Numbers in an observation; how many actions there are to choose from, or numbers in an action (real)."""

    inputs: int
    actions: int
    real: bool


class TaskFailed(Exception):
    """What a task in Python did instead of a step; the run ends, and this is why."""


def seeds(seed: int, streams: int) -> list[int]:
    """The seed of each copy of an environment, from the run's."""
    return [int(s % 2**31) for s in np.random.SeedSequence(seed).generate_state(streams, np.uint64)]
