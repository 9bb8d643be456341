"""What nodes have learned, by readable names: "actor.1/weight" (inputs, units), "actor.1/bias" (units,), ...; files of it, for any reader of safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from asyncnet.nodes.node import learned
from asyncnet.runs import durable
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.schema import Scenario
from asyncnet.team import network
from asyncnet.team.build import family_of
from asyncnet.team.draw import plan
from asyncnet.text import in_a_line

FILE = "weights.safetensors"
LARGEST = 4 << 30  # bytes

Places = dict[str, tuple[str, int, int, tuple[int, ...]]]  # name -> (array of a state, first, last, shape)


def places(scenario: Scenario) -> Places:
    """Where in a state of the team that lies which its nodes learn."""
    team, out = plan(scenario), {}
    for node in team.nodes:
        dims = network.dimensions(network.site_of(scenario, team, node))
        inside = family_of(scenario, team, node).places(dims)
        out |= {f"{node.name}/{name}": (f"node/{node.name}", *inside[name]) for name in learned(inside)} if node.index else {}
    return out


def of_state(state: Checkpoint, where: Places) -> dict[str, np.ndarray]:
    """What the nodes had learned in a state."""
    return {name: state.arrays[array][first:last].reshape(shape) for name, (array, first, last, shape) in where.items()}


def packed(named: Mapping[str, np.ndarray], scenario: Scenario) -> bytes:
    """A file of weights, which says of which scenario they are."""
    return safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in named.items()}, {"scenario": scenario.fingerprint()})


def read(file: Path) -> dict[str, np.ndarray]:
    """The weights in a file; raises ScenarioError if it is not there or is none."""
    try:
        return safetensors.numpy.load(durable.read(file, LARGEST))
    except (OSError, ValueError, SafetensorError) as error:
        raise ScenarioError(str(file), "", in_a_line(error)) from None
