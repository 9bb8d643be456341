"""What no single key of a scenario shows: whether its parts fit each other."""

from __future__ import annotations

import difflib
import importlib
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING, Any

from asyncnet.kernels.reach import called
from asyncnet.rules import CRITICS, RULES
from asyncnet.scenario.faults import OVERLAP, OfNodes
from asyncnet.scenario.mistakes import ScenarioError, short
from asyncnet.tasks import TASKS

if TYPE_CHECKING:
    from asyncnet.scenario.schema import Scenario


def check_whole(scenario: Scenario, where: str) -> None:
    """What no single key shows: the network's shape, names of nodes, lengths of lists, the environment's spaces."""
    from asyncnet.team.draw import plan  # imports the task's libraries; a file with a plain mistake never gets here

    task, network, rule = scenario.task, scenario.network, RULES[scenario.rule.name]
    independent = TASKS[task.name].INDEPENDENT
    if (task.decisions is None) == (task.episodes is None):
        raise ScenarioError(where, "task", "give either decisions or episodes")
    if independent and task.decisions is None:
        raise ScenarioError(where, "task.episodes", f"the {task.name} task has no episodes; give decisions")
    if task.world.late == "grade-by-stamp" and not independent:
        raise ScenarioError(where, "task.world.late", "grade-by-stamp needs a task of independent questions (multiplexer, regression)")
    if scenario.critic and task.world.late == "grade-by-stamp":
        raise ScenarioError(where, "task.world.late", "grade-by-stamp rewards answers directly; a critic needs use or withhold")
    if task.world.waits and task.world.late != "use":
        raise ScenarioError(where, "task.world.late", "a world that waits never sees a late action")
    if bool(rule.UNITS) != bool(network.hidden):
        why = f"must have at least 1 values; {rule.NAME} is made for hidden layers" if rule.UNITS else f"{rule.NAME} knows no hidden units; give []"
        raise ScenarioError(where, "network.hidden", why)
    if len(network.kinds()) != len(network.hidden):
        raise ScenarioError(where, "network.units", f"{len(network.kinds())} values for {len(network.hidden)} hidden layers")
    for units in network.kinds():
        if units not in rule.UNITS:
            raise ScenarioError(where, "network.units", f"{rule.NAME} is made for {' or '.join(rule.UNITS)} units, got {units}")
    if network.output not in rule.OUTPUTS:
        others = ", ".join(name for name, other in RULES.items() if network.output in other.OUTPUTS)
        raise ScenarioError(where, "network.output", f"{rule.NAME} is made for {' or '.join(rule.OUTPUTS)} output; for {network.output} there are {others}")
    if mistake := task.check(scenario):
        raise ScenarioError(where, *mistake)
    for table, learner in (("rule", scenario.rule), ("critic", scenario.critic)):
        if learner is not None:
            _check_learner(scenario, table, learner, where)
    layers = len(scenario.network.hidden) + 1
    for owner, count in ((scenario.rule, layers), (scenario.critic, len(scenario.critic.hidden) + 1 if scenario.critic else 0)):
        for key in ("learning_rate", "learning_rate_end", "temperature"):
            values = getattr(owner, key, None) if owner else None
            if values is not None and len(values) not in (1, count):
                table = "rule" if owner is scenario.rule else "critic"
                raise ScenarioError(where, f"{table}.{key}", f"{len(values)} values for {count} layers")
    for value in scenario.rule.temperature:
        if value <= 0.0:
            raise ScenarioError(where, "rule.temperature", f"must be positive, got {value}")
    for channel in ("default", "activity", "feedback", "reward", "transition"):
        for i, link in enumerate(getattr(scenario.links, channel)):
            if link.delay and link.delay.kind == "uniform" and link.delay.high < link.delay.low:
                raise ScenarioError(where, f"links.{channel}.{i}.delay.high", f"{link.delay.high} is below low = {link.delay.low}")
    _check_faults(scenario, where)
    worst = max((condition.loss or 0.0 for condition in scenario.links.of("activity")), default=0.0)
    if worst == 1.0:
        raise ScenarioError(where, "links.activity.loss", "if all activity is lost no action ever comes")
    try:
        plan(scenario)
    except ScenarioError as error:
        raise ScenarioError(where, error.key, error.why) from None


_UNTIL = {"hold": "what is held is let go", "pause": "a node goes on"}


def _check_faults(scenario: Scenario, where: str) -> None:
    """Whether what is said of when each fault is on goes together."""
    for i, fault in enumerate(scenario.faults):
        key, again = f"faults.{i}", fault.every or fault.poisson
        if fault.stop is not None and fault.stop <= fault.start:
            raise ScenarioError(where, f"{key}.stop", f"{fault.stop:g} is not after start = {fault.start:g}")
        if fault.every and fault.poisson:
            raise ScenarioError(where, f"{key}.poisson", "give either every or poisson")
        if bool(again) != bool(fault.lasting):
            missing, said = ("lasting", "every or poisson") if again else ("every", "lasting")
            raise ScenarioError(where, f"{key}.{missing}", f"missing: {said} is there without it")
        if fault.poisson and fault.lasting > OVERLAP * fault.poisson:
            raise ScenarioError(where, f"{key}.lasting", f"at most {OVERLAP} times poisson")
        if fault.decisions and fault.decisions[1] <= fault.decisions[0]:
            raise ScenarioError(where, f"{key}.decisions", "the second is to be greater than the first")
        if fault.fraction is not None and fault.count is not None:
            raise ScenarioError(where, f"{key}.count", "give either fraction or count")
        if fault.kind == "hold" and fault.decisions:
            raise ScenarioError(where, f"{key}.decisions", "nobody knows when that is over, so nothing can be held until then; give start and stop")
        if isinstance(fault, OfNodes) and fault.decisions and scenario.task.world.waits:
            why = "the world waits for its team, so nobody knows beforehand when a decision is open; give start and stop"
            raise ScenarioError(where, f"{key}.decisions", why)
        if fault.kind in ("hold", "pause") and fault.stop is None and not fault.lasting and not fault.decisions:
            raise ScenarioError(where, f"{key}.stop", f"missing: {_UNTIL[fault.kind]} when the fault is over")
        if fault.kind in ("hold", "pause") and fault.for_good(scenario.tick):
            raise ScenarioError(where, f"{key}.lasting", "is not less than every, so the fault is never over")
        if fault.kind == "shift" and not (fault.start or again or (fault.decisions and fault.decisions[0])):
            raise ScenarioError(where, f"{key}.start", "missing: a shift happens when it comes; give start or decisions, or every or poisson with lasting")
        if fault.kind == "mailbox" and (fault.room is None) != (fault.policy == "newest-wins"):
            why = "missing: how many messages it has room for" if fault.room is None else "newest-wins has room for one of each link"
            raise ScenarioError(where, f"{key}.room", why)
        if fault.kind == "skip" and fault.share == 1.0 and fault.for_good(scenario.tick):
            raise ScenarioError(where, f"{key}.share", "who misses every tick for good does nothing at all: that is a crash")
        if fault.kind in ("loss", "corrupt") and fault.burst is not None and fault.share < 1.0 and fault.burst * (1.0 - fault.share) < 1.0 - 1e-9:
            alone = 1.0 / (1.0 - fault.share)
            raise ScenarioError(where, f"{key}.burst", f"of a share of {fault.share:g} {alone:.3g} are lost in a row by chance alone; at least that")
        if fault.kind == "delay" and fault.delay.kind == "uniform" and fault.delay.high < fault.delay.low:
            raise ScenarioError(where, f"{key}.delay.high", f"{fault.delay.high} is below low = {fault.delay.low}")
        if fault.kind == "delay" and fault.delay.kind == "measured":
            shares, delays = zip(*fault.delay.quantiles, strict=True)
            if (shares[0], shares[-1]) != (0.0, 1.0) or any(one >= other for one, other in pairwise(shares)):
                raise ScenarioError(where, f"{key}.delay.quantiles", "shares are to rise from 0 to 1")
            if any(one > other for one, other in pairwise(delays)):
                raise ScenarioError(where, f"{key}.delay.quantiles", "ticks are not to fall from one share to the next")


def _check_learner(scenario: Scenario, table: str, learner: Any, where: str) -> None:
    """What its settings, and the machines of its nodes, ask of the rest of the scenario."""
    rule = (RULES | CRITICS)[learner.name]
    asked = [getattr(importlib.import_module(kind.machine), "check", None) for kind in {getattr(rule, "HIDDEN", rule.OUTPUT), rule.OUTPUT}]
    for ask in (*asked, getattr(learner, "check", None)):
        if ask is not None and (mistake := ask(scenario, table)):
            if not (isinstance(mistake, tuple) and [*map(type, mistake)] == [str, str]):
                raise ScenarioError("", f"{called(ask.__module__)}.check", f"returns (key, reason) of what does not fit, or None; got {short(repr(mistake))}")
            raise ScenarioError(where, *mistake)
    _check_values(rule, learner)


def _check_values(rule: ModuleType, learner: Any) -> None:
    """A setting of its kernels that a rule's `values` misspells would be found out late, after compiling."""
    given, kernels = rule.values(learner, 0), importlib.import_module((getattr(rule, "HIDDEN", None) or rule.OUTPUT).kernels or rule.__name__)
    declared = {name for name, _ in getattr(kernels, "SETTINGS", ())}
    for name in sorted(given.keys() - declared):
        if close := difflib.get_close_matches(name, declared - given.keys(), n=1):
            raise ScenarioError("", f"{called(rule.__name__)}.values", f"gives {name}, which is no setting of its kernels; did you mean {close[0]}?")
