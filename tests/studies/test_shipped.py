"""What a shipped study compares differs in what it says, and in nothing else."""

import pytest

from asyncnet.loop import clock
from asyncnet.studies.study import asked, cells
from asyncnet.team.build import clock_of
from asyncnet.team.draw import plan


def by(name, *columns):
    """A study's runs of its first seed, in groups that agree in those columns."""
    groups = {}
    for cell in cells(*asked(name, seeds="1")):
        groups.setdefault(tuple(cell.labels[column] for column in columns), []).append(cell)
    return groups


def rule_of(cell):
    return cell.labels["variant"].partition(",")[0]


def test_the_units_study_changes_who_is_an_agent_and_no_connection():
    for groups in by("units", "hardship").values():
        for rule in {rule_of(cell) for cell in groups}:
            scenarios = [cell.scenario for cell in groups if rule_of(cell) == rule]
            assert [scenario.network.split for scenario in scenarios] == ["layer", 2, "unit"]
            assert len({scenario.replace(network=scenario.network.model_copy(update={"split": "layer"})).fingerprint() for scenario in scenarios}) == 1
            plans = [plan(scenario) for scenario in scenarios]
            assert [len(made.nodes) for made in plans] == [5, 8, 14]
            assert len({tuple((layer.name, layer.columns, layer.sources) for layer in made.layers) for made in plans}) == 1


def test_the_clocks_study_has_clocks_of_one_mean_period_and_changes_nothing_else():
    for groups in by("clocks", "variant").values():
        bare = {cell.scenario.replace(clocks={"default": {"kind": "periodic"}}).fingerprint() for cell in groups}
        assert len(bare) == 1
        rows = [[clock_of(cell.scenario, node) for node in plan(cell.scenario).nodes[1:]] for cell in groups]
        assert {clock.mean_period(row) for nodes in rows for row in nodes} == {groups[0].scenario.tick}
        assert len({tuple(nodes[0]) for nodes in rows}) == len(rows) == 5


def test_the_credit_study_changes_credit_and_its_decay_and_nothing_else():
    for groups in by("credit", "hardship").values():
        for rule in {rule_of(cell) for cell in groups}:
            scenarios = [cell.scenario for cell in groups if rule_of(cell) == rule]
            assert [(scenario.rule.credit, scenario.rule.lambda_) for scenario in scenarios] == [
                ("stamped", 0.0),
                ("trace", 0.0),
                ("trace", 0.5),
                ("trace", 0.9),
            ]
            same = {"credit": "stamped", "lambda_": 0.0}
            assert len({scenario.replace(rule=scenario.rule.model_copy(update=same)).fingerprint() for scenario in scenarios}) == 1


@pytest.mark.parametrize("name", ["pace", "pace-cartpole"])
def test_a_study_of_pace_is_of_worlds_that_do_not_wait(name):
    for (interval,), groups in by(name, "task.world.interval").items():
        assert {(cell.scenario.task.world.waits, cell.scenario.task.world.interval) for cell in groups} == {(False, interval)}
