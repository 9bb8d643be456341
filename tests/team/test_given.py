"""What the plan gives a node lies beside its settings: all that is declared, in its shape, and nothing else."""

import numpy as np
import pytest

from asyncnet.kernels import layout
from asyncnet.kernels.layout import GIVEN, Field
from asyncnet.nodes.family import Family
from asyncnet.scenario.schema import ScenarioError
from asyncnet.team import network
from asyncnet.team.build import build, family_of
from asyncnet.team.draw import plan
from support.teams import multiplexer


@pytest.fixture(scope="module")
def site():
    scenario = multiplexer("weight-max", {"network.split": "unit"})
    team = plan(scenario)
    return network.site_of(scenario, team, team.nodes[1])


@pytest.fixture
def one(site):
    """A node, its family, and what its config is made of."""
    node, family, dims = build(site.scenario, site.plan, site.node), family_of(site.scenario, site.plan, site.node), network.dimensions(site)
    given = {name: getattr(node.view, name).copy() for name in family.places(dims, GIVEN)}
    values = dict(zip((name for name, _ in family.settings), node.config[len(family.dimensions) :], strict=False))
    return node, family, dims, values, given


def test_nodes_of_one_shape_share_what_is_given(site):
    team = [build(site.scenario, site.plan, node) for node in site.plan.nodes[1:]]
    assert len({id(node.config) for node in team}) < len(team) / 2
    assert all(not family.keys() & node.places.keys() for node in team for family in [node.given])


def test_a_config_holds_what_the_plan_gives(one):
    node, family, dims, values, given = one
    assert given.keys() >= {"source", "sender", "feedback_port"}
    assert family.config(dims, values, given, 7)[: len(family.dimensions)].tolist() == node.config[: len(family.dimensions)].tolist()
    whole = family.config(dims, values, given, 7)
    assert all(whole[at:last].tolist() == given[name].ravel().tolist() for name, (at, last, _) in family.places(dims, GIVEN).items())
    assert len(whole) == layout.end(family.places(dims, GIVEN))
    assert min(at for at, *_ in family.places(dims, layout.SCRATCH, 7).values()) == 7


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda given: given.pop("sender"), "field sender: lies=GIVEN, and the plan gives only feedback_port, source"),
        (lambda given: given.update(sender=np.zeros((2, 7))), r"field sender: has the shape \(\d+, 2\), and the plan gives \(2, 7\)"),
        (lambda given: given.update(mine=np.zeros(3)), "field mine: the plan gives it, so a machine or a rule declares it with lies=GIVEN"),
    ],
)
def test_what_is_missing_of_another_shape_or_declared_otherwise_is_refused_in_a_line(one, change, why):
    _, family, dims, values, given = one
    change(given)
    with pytest.raises(ScenarioError, match=why):
        family.config(dims, values, given, 0)


@pytest.mark.parametrize("lies", [3, -1, 2.0, True, None, "scratch"])
def test_a_field_lies_in_one_of_three_places(one, lies, monkeypatch):
    _, family, *_ = one
    monkeypatch.setattr(family.machine, "FIELDS", (*family.machine.FIELDS, Field("mine", "B", lies=lies)))
    with pytest.raises(ScenarioError, match=rf"sampled: field mine: lies in STATE, GIVEN or SCRATCH; got {lies!r}"):
        Family(family.machine, family.parts)


def test_weights_that_are_out_of_reach_do_not_count_towards_the_most_there_may_be():
    wide = {"network.hidden": [10_001, 10_001], "network.split": "unit"}
    with pytest.raises(ScenarioError, match=r"network\.hidden: 100,090,008 weights"):
        multiplexer("weight-max", wide)
    assert len(plan(multiplexer("weight-max", wide | {"network.reach": 8})).nodes) == 20_004
