"""The complete experiment as one frozen value, checked strictly.

A scenario says everything that decides a run: task, network, rule, critic, clocks, links, length and seed. New ones are made from old ones with
`replace` or by laying conditions over them (reading.py). Whatever is wrong is said in one line: file or option, key, reason (mistakes.py).
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BeforeValidator, Field, ValidationError

from asyncnet.rules import CRITICS, RULES
from asyncnet.rules.settings import LearnerSettings, Size
from asyncnet.scenario.mistakes import ScenarioError, first
from asyncnet.scenario.model import Model, Positive, Share, Ticks
from asyncnet.scenario.reading import Layer, change, condition, read_toml, several
from asyncnet.tasks import TASKS
from asyncnet.tasks.settings import Task


# Clocks (clock.py). Periods, phases and times are in ticks.
class OnArrival(Model):
    kind: Literal["on-arrival"]


class Periodic(Model):
    kind: Literal["periodic"]
    period: Positive = 1.0
    jitter: Share = 0.0
    drift: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    phase: Share | None = Field(None, description="first tick, in periods; absent: random")


class Poisson(Model):
    kind: Literal["poisson"]
    period: Positive = 1.0


class Straggler(Model):
    kind: Literal["straggler"]
    period: Positive = 1.0
    jitter: Share = 0.0
    phase: Share | None = None
    slow: Annotated[float, Field(ge=1.0, le=1e3)] = 5.0
    start: Ticks = 0.0
    stop: Ticks = 1e9


Clock = Annotated[OnArrival | Periodic | Poisson | Straggler, Field(discriminator="kind")]


# Conditions of links (link.py). Delays are in ticks.
class Constant(Model):
    kind: Literal["constant"]
    value: Ticks


class Uniform(Model):
    kind: Literal["uniform"]
    low: Ticks
    high: Ticks


class Exponential(Model):
    kind: Literal["exponential"]
    mean: Positive


class Lognormal(Model):
    kind: Literal["lognormal"]
    mean: Positive
    sigma: Annotated[float, Field(ge=0.0, le=10.0)]


def _plain_delay(value: object) -> object:
    return {"kind": "constant", "value": value} if isinstance(value, (int, float)) and not isinstance(value, bool) else value


class Condition(Model):
    """One hardship of a link; several of them compose."""

    delay: Annotated[Constant | Uniform | Exponential | Lognormal, Field(discriminator="kind"), BeforeValidator(_plain_delay)] | None = None
    loss: Share | None = None
    reliable: bool | None = Field(None, description="a lost message is sent again after links.retry ticks")
    stale: Annotated[int, Field(ge=0, le=4000)] | None = Field(None, description="held back until so many later ones were sent")


Conditions = Annotated[tuple[Condition, ...], BeforeValidator(lambda value: (value,) if isinstance(value, dict) else value), Field(max_length=32)]


class Links(Model):
    """What messages go through. `default` applies to every channel, before the channel's own conditions."""

    default: Conditions = ()
    activity: Conditions = ()
    feedback: Conditions = ()
    reward: Conditions = ()
    transition: Conditions = ()
    retry: Positive = Field(2.0, description="ticks after which a lost message is sent again on a reliable link")

    def of(self, channel: str) -> tuple[Condition, ...]:
        """All conditions of a channel, in the order in which they are applied."""
        return (*self.default, *getattr(self, channel))

    def reliable(self, channel: str) -> bool:
        """Whether lost messages of a channel are sent again; unless said otherwise all but activity, which repeats itself anyway."""
        said = [condition.reliable for condition in self.of(channel) if condition.reliable is not None]
        return said[-1] if said else channel != "activity"

    def repeats(self) -> bool:
        """Whether it can matter that activity is said again: if it may be lost or held back, or if a repetition may arrive before the original."""
        return any(c.loss or c.stale or (c.delay and c.delay.kind != "constant") for c in self.of("activity"))

    def stale(self, channel: str) -> int:
        """How many messages of a channel are held back."""
        return sum(condition.stale or 0 for condition in self.of(channel))


Units = Literal["bernoulli", "sign", "softplus", "relu", "linear"]


class Network(Model):
    hidden: Annotated[tuple[Size, ...], Field(max_length=64)] = Field(description="units of each hidden layer, first to last; lms has none: []")
    split: Literal["layer", "unit"] | Size = Field("layer", description="what is a node: a layer, a unit, or a group of so many units")
    units: Units | Annotated[tuple[Units, ...], Field(min_length=1, max_length=64)] = Field(
        "bernoulli", description="hidden units, of all layers or of each: {0,1}, {-1,+1}, or Gaussian about a softplus, ReLU or linear mean"
    )
    output: Literal["softmax", "bernoulli", "sign", "linear"] = Field(
        "softmax", description="a softmax group over the actions, one unit for two actions, or Gaussian about a linear mean for real-valued actions"
    )
    inputs: dict[str, tuple[str, ...]] = Field({}, description='what a layer hears, if not the one before: "actor.2" = ["observation", "actor.1"]')
    reach: Size | None = Field(None, description="single hidden units hear so many units of each source, those nearest to their own place; absent: all")
    ready: Literal["auto", "revise", "all"] = Field("auto", description="when a node acts on a stamp; auto: all on on-arrival clocks, else revise")
    timeout: Annotated[int, Field(ge=1, le=10**6)] = Field(4, description="own ticks a node waits for missing inputs")
    lag: Annotated[int, Field(ge=0, le=10**6)] = Field(2, description="stamps an input may be behind and still be waited for")

    def kinds(self) -> tuple[str, ...]:
        """The units of each hidden layer."""
        return (self.units,) * len(self.hidden) if isinstance(self.units, str) else self.units


class Backprop(LearnerSettings):
    """A value network inside one node (rules/value.py)."""

    name: Literal["backprop"] = "backprop"
    hidden: Annotated[tuple[Size, ...], Field(min_length=1, max_length=16)] = (64, 32)
    units: Literal["softplus", "relu"] = Field("softplus", description="hidden units of the value network")


def _named(value: object) -> object:
    return {"name": "backprop", **value} if isinstance(value, dict) else value


class Scenario(Model):
    """The complete experiment as one value; equal values give equal runs.

    Task, rule and critic are of the settings that their names stand for, as far as rules and tasks are registered (`follow`).
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    question: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**53)]
    tick: Annotated[int, Field(ge=1, le=10**6)] = Field(description="microseconds of one tick")
    task: Task
    network: Network
    rule: LearnerSettings
    critic: LearnerSettings | None = None
    clocks: dict[str, Clock] = {"default": OnArrival(kind="on-arrival")}
    links: Links = Links()
    under: tuple[str, ...] = Field((), description="the conditions laid over it, for the record")

    def replace(self, changes: Mapping[str, Any] | None = None, /, **more: Any) -> Scenario:
        """A variant: keys are dotted, as in `replace({"task.world.interval": 4}, seed=2)`; raises ScenarioError."""
        return self.under_layers([change(f"replace {key}", key, value) for key, value in {**(changes or {}), **more}.items()])

    def under_layers(self, layers: Iterable[Layer]) -> Scenario:
        """A variant: with layers of plain data laid over it; raises ScenarioError."""
        return laid(Layer("", self.data()), layers)

    def data(self) -> dict[str, Any]:
        """The scenario as plain data: what a file would say, with every default written out."""
        return _plain(self.model_dump(exclude_none=True))

    def toml(self) -> str:
        return tomli_w.dumps(self.data())

    def fingerprint(self) -> str:
        """SHA-256 of its data, for whatever belongs to this scenario and to no other."""
        return hashlib.sha256(json.dumps(self.data(), sort_keys=True).encode()).hexdigest()


def read(path: str | Path, under: Iterable[str] = (), settings: Iterable[Layer] = ()) -> Scenario:
    """The scenario in a TOML file, under the named conditions, with `settings` put in; raises ScenarioError."""
    path = Path(path)
    data = {"name": path.stem, **read_toml(path)}
    return laid(Layer(str(path), data), [*map(condition, several(under)), *settings])


def laid(base: Layer, over: Iterable[Layer]) -> Scenario:
    """The scenario that layers make; a mistake is blamed on the layer that brought it: the first with which it is there, and stays."""
    layers, stages = [base, *over], [base.data]
    for layer in layers[1:]:
        stages.append(layer.over(stages[-1]))
    try:
        return check(stages.pop(), "")
    except ScenarioError as error:
        found = error
    for stage in reversed(stages):
        if _mistake(stage) != (found.key, found.why):
            break
        layers.pop()
    raise ScenarioError(layers[-1].where, found.key, found.why)


def _mistake(data: Any) -> tuple[str, str]:
    try:
        check(data, "")
    except ScenarioError as error:
        return error.key, error.why
    return "", ""


def differing(one: Any, other: Any) -> str:
    """The first key, dotted, at which two scenarios as plain data are not the same; "" if they are."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            if key not in one or key not in other or one[key] != other[key]:
                within = differing(one.get(key), other.get(key))
                return ".".join(filter(None, (f'"{key}"' if "." in key else key, within)))
    return ""


def follow() -> None:
    """Have the model know all rules and tasks that are registered now."""
    global _followed  # noqa: PLW0603
    if _followed == (RULES.version, TASKS.version):
        return
    _followed = (RULES.version, TASKS.version)
    critics = [Backprop, *(module.Critic for module in RULES.values() if hasattr(module, "Critic"))]  # inside one node, or a team of its own
    kinds = {"task": [module.Settings for module in TASKS.values()], "rule": [module.Settings for module in RULES.values()], "critic": critics}
    for key, known in kinds.items():
        kind = Annotated[reduce(or_, known), Field(discriminator="name")]
        Scenario.model_fields[key].annotation = Annotated[kind, BeforeValidator(_named)] | None if key == "critic" else kind
    Scenario.model_rebuild(force=True)


_followed: tuple[int, ...] = ()
follow()


def _look_up(data: Any) -> None:
    """Take in the rules and the task that plain data names, if an installed package offers them."""
    for registry, table in ((RULES, "rule"), (RULES, "critic"), (TASKS, "task")):
        said = data.get(table) if isinstance(data, Mapping) else None
        name = said.get("name") if isinstance(said, Mapping) else None
        if name != Backprop.model_fields["name"].default:  # that critic is no rule
            registry.find(name)
    follow()


def check(data: Mapping[str, Any], where: str) -> Scenario:
    """The scenario in plain data; raises ScenarioError naming the first key that is wrong."""
    _look_up(data)
    try:
        frozen = _frozen(data)
        scenario = Scenario.model_validate(frozen)
    except ValidationError as error:
        raise ScenarioError(where, *first(Scenario, error, frozen)) from None
    except RecursionError:
        raise ScenarioError(where, "", "nested too deeply") from None
    _check_whole(scenario, where)
    return scenario


def _check_whole(scenario: Scenario, where: str) -> None:
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
    worst = max((condition.loss or 0.0 for condition in scenario.links.of("activity")), default=0.0)
    if worst == 1.0:
        raise ScenarioError(where, "links.activity.loss", "if all activity is lost no action ever comes")
    try:
        plan(scenario)
    except ScenarioError as error:
        raise ScenarioError(where, error.key, error.why) from None


def _check_learner(scenario: Scenario, table: str, learner: Any, where: str) -> None:
    """What its settings, and the machines of its nodes, ask of the rest of the scenario."""
    rule = (RULES | CRITICS)[learner.name]
    asked = [getattr(importlib.import_module(kind.machine), "check", None) for kind in {getattr(rule, "HIDDEN", rule.OUTPUT), rule.OUTPUT}]
    for ask in (*asked, getattr(learner, "check", None)):
        if ask is not None and (mistake := ask(scenario, table)):
            raise ScenarioError(where, *mistake)


def _frozen(value: Any) -> Any:
    """Lists as tuples all the way down: the strict model takes no list for a tuple."""
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return tuple(_frozen(item) for item in value) if isinstance(value, (list, tuple)) else value


def _plain(value: Any) -> Any:
    """Tuples as lists all the way down, as TOML and JSON have them."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
