"""What `asyncnet properties` runs of a rule: on a task that it is for, in step, on free clocks, without reward, and with other feedback weights.

    in step          all answer and learn at once, or tick together; the world waits: what the others are held against
    free clocks      every layer (of coordinated exploration every unit) on a Poisson clock of its own, exponential delays, a world that does not wait
    no reward        in step, every reward lost: what nobody learns from; the floor
    random feedback  in step, what inputs are told goes through fixed random weights        no feedback   ... through none: what is learned without it

The rules with other feedback are in variants/. A rule from outside is tried on what a shipped one of its like is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from asyncnet.rules import RULES
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.outside import register
from asyncnet.scenario.reading import Layer, change, find
from asyncnet.scenario.schema import Scenario, read
from asyncnet.studies.study import leaves

IN_STEP, FREE, NO_REWARD, RANDOM, NONE = "in step", "free clocks", "no reward", "random feedback", "no feedback"

AT_ONCE = {"clocks.default": {"kind": "on-arrival"}, "links.default": [], "task.world": {"waits": True, "interval": 1.0}}
TOGETHER = {"clocks.default": {"kind": "periodic", "period": 1.0, "phase": 0.0}, "links.default": [], "task.world": {"waits": True, "interval": 16.0}}
UNTIED = {
    "clocks.default": {"kind": "poisson", "period": 1.0},
    "links.default": {"delay": {"kind": "exponential", "mean": 0.5}},
    "task.world": {"waits": False, "interval": 16.0},
}
LOST = {"links.reward": {"loss": 1.0, "reliable": False}}


class Trial(NamedTuple):
    """What a rule is tried on: a scenario and settings, those that differ in step and on free clocks, and the module of its variant with other feedback."""

    scenario: str
    set: dict[str, Any] = {}
    free: dict[str, Any] = {}
    other: str = ""


MULTIPLEXER, MAP, COORDINATED, TRACKING = "multiplexer3-weight-max", "multiplexer3-map-async", "multiplexer3-coordinated", "tracking-idbd"
VARIANTS = "asyncnet.studies.variants"
SHORT = {"task.k": 2, "task.decisions": 20_000}
TRIALS = {
    "weight-max": Trial(MULTIPLEXER, SHORT, other=f"{VARIANTS}.weight_max_other_feedback"),
    "reinforce": Trial(MULTIPLEXER, SHORT | {"rule.name": "reinforce", "rule.learning_rate": 0.01, "network.hidden": [32]}),
    "map-propagation": Trial(MAP, SHORT | {"rule.name": "map-propagation", "rule.step": 0.5}, other=f"{VARIANTS}.map_propagation_other_feedback"),
    "map-propagation-async": Trial(MAP, SHORT, other=f"{VARIANTS}.map_async_other_feedback"),
    "coordinated-exploration": Trial(
        COORDINATED,
        SHORT | {"network.hidden": [16], "rule.sweeps": 8},
        {"network.split": "unit", 'clocks."actor.2"': {"kind": "poisson", "period": 0.5}},
    ),
    "lms": Trial(TRACKING, {"task.decisions": 20_000, "rule.optimizer": {"name": "sgd"}, "rule.learning_rate": 0.04}),
}


class Experiment(NamedTuple):
    """One thing that is tried: the scenario that it starts from, and the settings laid over it."""

    scenario: str
    set: dict[str, Any]


def experiments(rule: str, scenario: str = "", settings: Iterable[Layer] = ()) -> dict[str, Experiment]:
    """What is run of a rule, by name; raises ScenarioError if it cannot run in step. `scenario` and `settings`: what else it is tried on."""
    module = RULES[rule]
    trial = TRIALS[rule] if rule in TRIALS and not scenario else Trial(scenario) if scenario else usual(module)
    more = dict(leaf for layer in settings for leaf in leaves(layer.data))
    base = trial.set | more
    in_step = _in_step(trial.scenario, base)
    found = {
        IN_STEP: Experiment(trial.scenario, base | in_step),
        FREE: Experiment(trial.scenario, base | UNTIED | trial.free),
        NO_REWARD: Experiment(trial.scenario, base | in_step | LOST),
    }
    if trial.other:
        name = register(trial.other, "rule").NAME
        for label, kind in ((RANDOM, "random"), (NONE, "none")):
            found[label] = Experiment(trial.scenario, base | in_step | {"rule.name": name, "rule.feedback": kind})
    return {label: each._replace(set=each.set | {"name": f"{rule}.{label.replace(' ', '-')}"}) for label, each in found.items()}


def usual(module: ModuleType) -> Trial:
    """What a rule that nobody knows is tried on: the multiplexer, or for one that answers with real numbers alone a target that drifts."""
    units = {"network.units": module.UNITS[0]} if module.UNITS else {}
    step = {"rule.name": module.NAME, "rule.learning_rate": 0.01}
    if module.OUTPUTS == ("linear",):
        return Trial(TRACKING, step | {"task.decisions": 20_000, "rule.optimizer": {"name": "sgd"}, "network.hidden": [16] if module.UNITS else []} | units)
    output = "bernoulli" if "bernoulli" in module.OUTPUTS else module.OUTPUTS[0]
    return Trial(MULTIPLEXER, SHORT | step | {"network.output": output, "network.hidden": [32] if module.UNITS else []} | units)


def _in_step(scenario: str, base: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which all go in step: at once if the rule can, else at common ticks."""
    refusal = None
    for settings in (AT_ONCE, TOGETHER):
        try:
            made(Experiment(scenario, {**base, **settings, **_clocks(scenario, settings)}))
        except ScenarioError as error:
            refusal = refusal or error
            continue
        return settings | _clocks(scenario, settings)
    raise refusal


def _clocks(scenario: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Every clock that a scenario names is in step as well."""
    named = read(find(scenario)).clocks
    return {f'clocks."{name}"': settings["clocks.default"] for name in named if name != "default"}


def made(experiment: Experiment) -> Scenario:
    """The scenario of an experiment; raises ScenarioError if its settings do not fit together."""
    return read(find(experiment.scenario), (), [change(f"set {key}", key, value) for key, value in experiment.set.items()])
