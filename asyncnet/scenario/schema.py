"""The complete experiment as one frozen value, checked strictly.

A scenario says everything that decides a run: task, network, rule, critic, clocks, links, length and seed. New ones are made from old ones with
`replace` or by laying conditions over them (reading.py). Whatever is wrong is said in one line: file or option, key, reason (mistakes.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import BeforeValidator, Field, ValidationError

from asyncnet.rules import CRITICS, RULES
from asyncnet.rules import value as value_network
from asyncnet.rules.settings import LearnerSettings
from asyncnet.scenario.checks import check_whole
from asyncnet.scenario.clocks import Clock, OnArrival
from asyncnet.scenario.faults import Faults
from asyncnet.scenario.invariants import Checks
from asyncnet.scenario.links import Links
from asyncnet.scenario.measured import looked_up
from asyncnet.scenario.mistakes import ScenarioError, first
from asyncnet.scenario.model import Model, as_lists, as_tuples
from asyncnet.scenario.network import Network
from asyncnet.scenario.reading import Layer, change, condition, read_toml, several, shipped
from asyncnet.tasks import TASKS
from asyncnet.tasks.settings import Task


def _named(value: object) -> object:
    return {"name": value_network.NAME, **value} if isinstance(value, dict) else value


class Scenario(Model):
    """The complete experiment as one value; equal values give equal runs.

    Task, rule and critic are of the settings that their names stand for, as far as rules and tasks are registered (`follow`).
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")] = Field(description="what it is called; absent in a file: as the file is")
    question: str = Field("", description="what is asked")
    seed: Annotated[int, Field(ge=0, lt=2**53)] = Field(description="of every draw: weights, samples, delays, losses, clocks, task")
    tick: Annotated[int, Field(ge=1, le=10**6)] = Field(description="microseconds of one tick")
    task: Task = Field(description="what is learned, for how long, and whether the world waits")
    network: Network = Field(description="units and layers, and what is a node of its own")
    rule: LearnerSettings = Field(description="how they learn")
    critic: LearnerSettings | None = Field(None, description="who predicts the return, where reward comes late; absent: the reward itself is the credit")
    clocks: dict[str, Clock] = Field({"default": OnArrival(kind="on-arrival")}, description='when nodes act: of all ("default"), or of one by its name')
    links: Links = Field(Links(), description="what messages go through, channel by channel")
    faults: Faults = Field((), description="what goes wrong, where and when")
    checks: Checks = Field(Checks(), description="what the figures of a run must come to for a pass")
    under: tuple[str, ...] = Field((), description="the conditions laid over it, for the record")

    def replace(self, changes: Mapping[str, Any] | None = None, /, **more: Any) -> Scenario:
        """A variant: keys are dotted, as in `replace({"task.world.interval": 4}, seed=2)`; raises ScenarioError."""
        return self.under_layers([change(f"replace {key}", key, value) for key, value in {**(changes or {}), **more}.items()])

    def under_layers(self, layers: Iterable[Layer]) -> Scenario:
        """A variant: with layers of plain data laid over it; raises ScenarioError."""
        over = list(layers)
        return laid(Layer("", self._given_up(over)), over)

    def _given_up(self, layers: Iterable[Layer]) -> dict[str, Any]:
        """Its data without the defaults of a task, rule or critic in whose place the layers put another, which has its own."""
        data = self.data()
        for table in ("task", "rule", "critic"):
            named = [layer.data[table].get("name") for layer in layers if isinstance(layer.data.get(table), dict)]
            if table in data and {*named, None, data[table]["name"]} != {None, data[table]["name"]}:
                kept = getattr(self, table).model_dump(exclude_none=True, exclude_defaults=True)
                data[table] = as_lists({**kept, "name": data[table]["name"]})
        return data

    def __repr__(self) -> str:
        return f"<Scenario {self.name}: {', '.join(f'{name} {value}' for name, value in self._told() if value and name != 'question')}>"

    def _repr_html_(self) -> str:
        """What it asks and what was changed, as a table for notebooks."""
        from asyncnet.console.html import table

        return table([(name, value) for name, value in self._told() if value], self.name)

    def _told(self) -> list[tuple[str, str]]:
        """What tells it from others, as names and values: what it is about, and what it says otherwise than the one that ships under its name."""
        task, critic = self.task, f", critic {self.critic.name}" if self.critic else ""
        length = f"{task.decisions:,} decisions" if task.decisions else f"{task.episodes:,} episodes" if task.episodes else ""
        told = [
            ("question", self.question),
            ("task", ", ".join(filter(None, [getattr(task, "id", "") or task.name, length]))),
            ("rule", f"{self.rule.name}{critic}"),
            ("under", ", ".join(self.under)),
            ("seed", str(self.seed)),
        ]
        changed = changes(self)
        if changed is None:
            return [*told, ("changed", "not known: no scenario of that name ships")]
        return [*told, *((key, f"{here} (ships with {there})") for key, (there, here) in changed.items() if key != "under")]

    def data(self) -> dict[str, Any]:
        """The scenario as plain data: what a file would say, with every default written out."""
        data = as_lists(self.model_dump(exclude_none=True))
        for key in ("faults", "checks"):  # a scenario without them has the fingerprint that it had before there were any
            if getattr(self, key) == type(self).model_fields[key].default:
                del data[key]
        return data

    def toml(self) -> str:
        return tomli_w.dumps(self.data())

    def repeats(self) -> bool:
        """Whether it can matter that activity is said again."""
        return self.links.repeats() or any(fault.touches("activity") for fault in self.faults)

    def fingerprint(self) -> str:
        """SHA-256 of its data, for whatever belongs to this scenario and to no other."""
        return hashlib.sha256(json.dumps(self.data(), sort_keys=True).encode()).hexdigest()


CONDITIONS = {"faults", "links", "clocks", "line", "checks"}  # tables that a scenario may be without


def read(path: str | Path, under: Iterable[str] = (), settings: Iterable[Layer] = (), *, ours: bool = False) -> Scenario:
    """The scenario in a TOML file, under the named conditions, with `settings` put in; `ours`: a run has written it. Raises ScenarioError."""
    path = Path(path)
    said = read_toml(path)
    if said and not said.keys() - CONDITIONS:
        raise ScenarioError(str(path), "", "these are conditions, to be laid over a scenario: --under FILE, beside its name")
    data = {"name": path.stem, **said}
    if not ours and (missing := _unlaid(said)):
        raise ScenarioError(str(path), "under", f"notes what was laid over a run, and lays nothing over: --under {missing}, or a study's under, does")
    return laid(Layer(str(path), data), [*map(condition, several(under)), *settings])


def _unlaid(said: Mapping[str, Any]) -> str:
    """The first of the conditions that a file notes of which it says nothing itself; those that cannot be found are the business of whoever wrote them."""
    faults = said.get("faults") or ()
    for name in several(said.get("under") or ()):
        try:
            layer = condition(name).data if isinstance(name, str) else {}
        except ScenarioError:
            continue
        asked = [(table, key) for table in ("links", "clocks") for key in layer.get(table, ())]
        there = all(_keys(layer[table][key]) <= _keys((said.get(table) or {}).get(key)) for table, key in asked)
        if not there or len(layer.get("faults", ())) > len(faults):
            return name
    return ""


def _keys(value: Any) -> set[str]:
    """What a table says, or one of a list of them; of a plain value that it is there."""
    tables = value if isinstance(value, (list, tuple)) else [value]
    return {key for table in tables for key in (table if isinstance(table, dict) else {"": table} if table is not None else ())}


def laid(base: Layer, over: Iterable[Layer]) -> Scenario:
    """The scenario that layers make; a mistake is blamed on the layer that brought it: the first with which it is there, and stays."""
    layers, stages, hard = [base, *over], [base.data], ""
    for layer in layers[1:]:
        listed = isinstance(layer.data.get("faults"), (list, tuple))
        if listed and hard and not layer.compose:  # a run that says what it was under and was not
            raise ScenarioError(layer.where, "faults", f"would take the place of those of {hard}; to add some, give them as a condition, too (--under FILE)")
        hard = layer.where if listed and layer.compose else hard
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


def changes(made: Scenario) -> dict[str, tuple[Any, Any]] | None:
    """What a scenario says otherwise than the one that ships under its name, by dotted key: (there, here); None if none does. The seed is no change."""
    if made.name not in shipped():
        return None
    ships = Scenario.model_validate(as_tuples({"name": made.name, **read_toml(shipped()[made.name])}))  # it is sound: a test reads it
    there, here = (dict(_leaves(one.data())) for one in (ships, made))
    named = [key for key in dict.fromkeys([*there, *here]) if there.get(key) != here.get(key) and key != "seed"]
    return {key: (there.get(key), here.get(key)) for key in named}


def _leaves(data: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every setting with its dotted key."""
    for key, value in data.items():
        here = (*path, f'"{key}"' if "." in key else key)
        if isinstance(value, dict) and value:
            yield from _leaves(value, here)
        else:
            yield ".".join(here), value


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
    critics = [module.Critic for module in (*CRITICS.values(), *RULES.values()) if hasattr(module, "Critic")]  # inside one node, or a team of its own
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
        if not (isinstance(name, str) and name in CRITICS):  # which are no rules
            registry.find(name)
    follow()


def check(data: Mapping[str, Any], where: str) -> Scenario:
    """The scenario in plain data; raises ScenarioError naming the first key that is wrong."""
    _look_up(data)
    try:
        frozen = as_tuples(looked_up(data, Path(), where))
        scenario = Scenario.model_validate(frozen)
    except ValidationError as error:
        raise ScenarioError(where, *first(Scenario, error, frozen)) from None
    except RecursionError:
        raise ScenarioError(where, "", "nested too deeply") from None
    check_whole(scenario, where)
    return scenario
