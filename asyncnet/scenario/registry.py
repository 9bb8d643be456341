"""Rules and tasks by name: those that ship, those of installed packages, and those that somebody registers from a file (outside.py).

A module says what it is in attributes that all of its kind have, `NEEDS`; what is missing or wrong there is said in one line.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, Literal, get_args, get_origin

from asyncnet.kernels.layout import DIMENSIONS
from asyncnet.kernels.reach import called, text_of
from asyncnet.loop.message import CHANNELS
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.model import Model
from asyncnet.team.ports import ACTIVITIES, CREDIT, DRIVE, RELATIONS, In, Kind, Out
from asyncnet.text import in_a_line

# What an attribute has to be, and how that is said.
KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "text": (lambda value: isinstance(value, str) and bool(value.strip()), "text"),
    "names": (lambda value: isinstance(value, tuple) and all(isinstance(item, str) for item in value), 'names in a tuple, such as ("sign",)'),
    "truth": (lambda value: isinstance(value, bool), "True or False"),
    "function": (callable, "a function"),
    "settings": (inspect.isclass, "a class"),
    "kind": (lambda value: isinstance(value, Kind), "an asyncnet.team.ports.Kind"),
}


class Registry(dict[str, ModuleType]):
    """The modules of one kind by their NAME, in the order in which they came; `version` counts the changes."""

    def __init__(self, kind: Literal["rule", "task"], needs: Mapping[str, str], settings: type[Model], shipped: Iterable[ModuleType]) -> None:
        super().__init__({module.NAME: module for module in shipped})
        self.kind, self.needs, self.settings, self.version = kind, needs, settings, 0
        self.shipped = frozenset(self)

    def claims(self, module: ModuleType) -> bool:
        """Whether a module's settings are those of this kind."""
        made = getattr(module, "Settings", None)
        return inspect.isclass(made) and issubclass(made, self.settings)

    def add(self, module: ModuleType) -> None:
        """Register a module; raises ScenarioError if it lacks something, or if its name stands for another text already."""
        self.prove(module)
        there = self.get(module.NAME)
        if there is None:
            self[module.NAME] = module
            self.version += 1
        elif there is not module and text_of(there.__name__) != text_of(module.__name__):
            why = f"there is a {self.kind} of that name already, with another text ({where(there)})"
            raise ScenarioError(where(module), f'NAME = "{module.NAME}"', why)

    def prove(self, module: ModuleType) -> None:
        """Raise a ScenarioError if a module does not say what all of its kind say."""
        said = [name for name in vars(module) if not name.startswith("_")]
        for name, kind in self.needs.items():
            right, words = KINDS[kind]
            if not hasattr(module, name):
                close = difflib.get_close_matches(name, [each for each in said if each not in self.needs], n=1)
                raise ScenarioError(where(module), name, f"missing; a {self.kind} file says {words} there" + "".join(f"; is {each} it?" for each in close))
            if not right(getattr(module, name)):
                raise ScenarioError(where(module), name, f"must be {words}, got {getattr(module, name)!r}")
        for name in (name for name, kind in self.needs.items() if kind == "kind"):
            if why := mistake_of(getattr(module, name)):
                raise ScenarioError(where(module), name, why)
        if not self.claims(module):
            raise ScenarioError(where(module), "Settings", f"must be a class made from {self.settings.__module__}.{self.settings.__name__} or one of its like")
        _prove_settings(module)

    def find(self, name: Any) -> ModuleType | None:
        """The module of that name, taken from an installed package if one offers it; None if nobody does."""
        if isinstance(name, str) and name not in self:
            for entry in offers(f"{self.kind}s"):
                if entry.name == name:
                    self.add(_loaded(entry))
        return self.get(name) if isinstance(name, str) else None

    def find_all(self) -> None:
        """Take in all that installed packages offer."""
        for entry in offers(f"{self.kind}s"):
            self.find(entry.name)


def mistake_of(kind: Kind) -> str:
    """What cannot be in a kind of node, "" if nothing: the plan and the machines take it for granted."""
    try:
        machine = importlib.import_module(kind.machine)
    except (ImportError, ValueError):
        return ""  # whoever looks for the module has a better word (outside.py)
    except (TypeError, AttributeError) as error:
        return f"no machine {kind.machine!r}: {in_a_line(error)}"
    for name in ("FIELDS", "SETTINGS", "COUNT_NAMES", "begin", "handle", "values"):
        if not hasattr(machine, name):
            return f"{kind.machine} is no machine: it has no {name}"
    for what, ports, made in (("hears", kind.hears, In), ("says", kind.says, Out)):
        wrong = next((port for port in ports if not isinstance(port, made)), None) if isinstance(ports, tuple) else ports
        if wrong is not None:
            return f"{what} takes a tuple of {made.__module__}.{made.__name__}, got {wrong!r}"
    for names, what in (([port.name for port in kind.hears], "hears"), ([out.name for out in kind.says], "says")):
        if len(set(names)) < len(names):
            return f"{what} one thing twice: {', '.join(names)}"
    for port in kind.hears:
        if port.relation not in RELATIONS:
            return f"port {port.name}: no relation {port.relation!r}; there are {', '.join(RELATIONS)}"
        dims = {*DIMENSIONS, *getattr(machine, "DIMENSIONS", ())}
        if port.senders and not {port.senders, port.width} <= dims:
            return f"port {port.name}: {kind.machine} has no dimensions {port.senders} and {port.width}"
    for name in ("inputs", "credit"):
        if kind.hearing(name) is None:
            return f"hears no {name}"
    if kind.saying(ACTIVITIES.name) is None:
        return "says no activity, so nobody could hear it"
    for out in kind.says:
        known = {each.name: each for each in (ACTIVITIES, CREDIT, DRIVE)}.get(out.name, out)
        if out != known or out.channel not in CHANNELS.values() or not set(out.size.replace("+", " ").split()) - {*"BNMU"} <= {*map(str, range(10))}:
            return f"says {out.name} in another form than the machines send it: {known}"
    return ""


def offers(kind: str) -> Iterable[importlib.metadata.EntryPoint]:
    """What installed packages offer of a kind: rules, tasks or conditions."""
    return importlib.metadata.entry_points(group=f"asyncnet.{kind}")


def where(module: ModuleType) -> str:
    """How a module is named to whoever wrote it: its file, if it is one that was registered."""
    return getattr(module, "__registered__", None) or called(module.__name__)


def _loaded(entry: importlib.metadata.EntryPoint) -> ModuleType:
    try:
        module = entry.load()
    except Exception as error:  # whatever somebody's package raises
        raise ScenarioError(
            entry.group, "", f"{entry.value}, which an installed package offers as {entry.name}, cannot be imported: {in_a_line(error)}"
        ) from None
    if not isinstance(module, ModuleType) or getattr(module, "NAME", entry.name) != entry.name:
        raise ScenarioError(entry.group, "", f"{entry.value}, which an installed package offers as {entry.name}, is no module of that NAME")
    return module


def _prove_settings(module: ModuleType) -> None:
    """Every setting is described, and `name` is the module's own."""
    fields = module.Settings.model_fields
    named = fields["name"].annotation if "name" in fields else None
    if get_origin(named) is not Literal or get_args(named) != (module.NAME,):
        raise ScenarioError(where(module), "Settings.name", f'must be declared as name: Literal["{module.NAME}"]')
    for name in module.Settings.__annotations__:
        if name != "name" and name in fields and not fields[name].description:
            raise ScenarioError(where(module), f"Settings.{name}", 'has no description: Field(..., description="...")')
