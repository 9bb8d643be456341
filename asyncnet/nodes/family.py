"""A machine bound to its parts: a learning node to a rule, the world to a task.

A machine (machines/, world.py, dopamine.py) is the text of a turn. What it leaves open it asks of its parts by name, `c.rule.learn(v, c, ...)`, and which
kernel that is follows from the type of `c`: the one of that name in the part's file, else in the files that the machine names for what a part does not bring
(PARTS). So a machine is compiled once for each family, from its own text, and what one family is made of is compiled again when that changes and only then.
"""

from __future__ import annotations

import ast
import difflib
import functools
import hashlib
import importlib
import inspect
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from asyncnet.kernels.cut import cutter
from asyncnet.kernels.kernel import entry_kept
from asyncnet.kernels.layout import DIMENSIONS, GIVEN, SCRATCH, STATE, Field, places
from asyncnet.kernels.plain import as_python, is_kernel
from asyncnet.kernels.reach import called, reached, text_of
from asyncnet.nodes import entries
from asyncnet.scenario.mistakes import ScenarioError, near


class Family:
    """A machine and its parts: fields, settings and entries."""

    def __init__(self, machine: ModuleType, parts: Mapping[str, ModuleType]) -> None:
        self.machine, self.parts = machine, parts
        self.declared: tuple[Field, ...] = (*machine.FIELDS, *(field for part in parts.values() for field in part.FIELDS))
        self.fields, self.given, self.scratch = (tuple(field for field in self.declared if field.lies == lies) for lies in (STATE, GIVEN, SCRATCH))
        self.settings: list[tuple[str, type]] = [*machine.SETTINGS, *(setting for part in parts.values() for setting in part.SETTINGS)]
        self.dimensions: tuple[str, ...] = (*DIMENSIONS, *(dim for module in (machine, *parts.values()) for dim in getattr(module, "DIMENSIONS", ())))
        self.name = " ".join(module.__name__.rpartition(".")[2] for module in (machine, *parts.values())).replace("_", " ")
        _check(self)
        self.digest = _digest(self)
        kernels = {name: functools.partial(self.kernel, name) for name in parts}
        settings = [(name, kind is int) for name, kind in self.settings]
        self._cut = cutter(f"{self.name} {self.digest}", self.dimensions, settings, self.declared, kernels)

    def kernel(self, part: str, name: str) -> Any:
        """The kernel of that name which a part brings, or has from the machine's defaults; None if there is none."""
        return next((getattr(module, name) for module in self._sources(part) if hasattr(module, name)), None)

    def _sources(self, part: str) -> Iterator[ModuleType]:
        yield self.parts[part]
        yield from map(importlib.import_module, getattr(self.machine, "PARTS", {}).get(part, ()))

    @functools.cached_property
    def texts(self) -> dict[str, bytes]:
        """The text of all that its code is made of, by module."""
        texts = reached(self.machine.__name__) | reached(cutter.__module__, cutter.__name__) | reached(entries.__name__, "begin", "handle")
        for part in self.parts:
            for module in self._sources(part):
                texts |= reached(module.__name__)
        return texts

    @functools.cached_property
    def begin(self) -> Any:
        """Fills a fresh state: begin(state, config, numbers)."""
        return self._entry(entries.begin, self.machine.begin)

    @functools.cached_property
    def handle(self) -> Any:
        """Takes in one event: handle(state, config, now, kind, port, seq, stamp, payload, out, numbers)."""
        return self._entry(entries.handle, self.machine.handle)

    def _entry(self, function: Any, machine: Any) -> Any:
        """The function with this family's `cut` and its machine's own; its name is its own too, for code kept on disk is known by names."""
        made = FunctionType(function.__code__, function.__globals__ | {"cut": self._cut, "machine": machine}, machine.__name__)
        made.__module__, made.__doc__ = machine.__module__, machine.__doc__
        made.__qualname__ = f"{machine.__name__}_{self.digest}"
        return entry_kept(made, self.digest, self.name)

    def places(self, dims: Mapping[str, int], lies: int = STATE, numbers: int = 0) -> dict[str, tuple[int, int, tuple[int, ...]]]:
        """Where the fields that lie there have their places: (first, last, shape). Scratch lies behind the `numbers` of the outbox."""
        at = (0, len(self.dimensions) + len(self.settings) + len(self.declared), numbers)[lies]
        return places((self.fields, self.given, self.scratch)[lies], tuple(dims.items()), at)

    def config(self, dims: Mapping[str, int], values: Mapping[str, float], given: Mapping[str, np.ndarray], numbers: int) -> np.ndarray:
        """The array that the kernels read: dimensions, settings (every declared one must be given), where each field starts, and the given fields."""
        for name, _ in self.settings:
            if name not in values:
                raise ScenarioError(self.name, f"setting {name}", "nobody gives it a value; values() of the file that declares it has to")
        inside = self.places(dims, GIVEN)
        for name in given.keys() - inside.keys():
            raise ScenarioError(self.name, f"field {name}", "the plan gives it, so a machine or a rule declares it with lies=GIVEN")
        for name, (_, _, shape) in inside.items():
            if name not in given:
                raise ScenarioError(self.name, f"field {name}", f"lies=GIVEN, and the plan gives only {', '.join(sorted(given)) or 'none'}")
            if given[name].shape != shape:
                raise ScenarioError(self.name, f"field {name}", f"has the shape {shape}, and the plan gives {given[name].shape}")
        places = self.places(dims) | inside | self.places(dims, SCRATCH, numbers)
        first = [*(dims.get(d, 0) for d in self.dimensions), *(values[name] for name, _ in self.settings), *(places[field.name][0] for field in self.declared)]
        return np.concatenate((np.array(first, dtype=np.float64), *(given[name].ravel() for name in inside)))


_families: dict[tuple[str, ...], Family] = {}


def bind(machine: ModuleType, **parts: ModuleType) -> Family:
    """The family of a machine and its parts; raises ScenarioError if a part's file names what nobody knows, or lacks what is asked for."""
    key = (machine.__name__, *(f"{name}={part.__name__}" for name, part in parts.items()))
    if key not in _families:
        _families[key] = Family(machine, parts)
    return _families[key]


def _digest(family: Family) -> str:
    whole = hashlib.sha256(repr([family.machine.__name__, *((name, part.__name__) for name, part in family.parts.items())]).encode())
    for name, text in sorted(family.texts.items()):
        whole.update(f"\n{name} {len(text)}\n".encode() + text)
    return whole.hexdigest()[:20]


@functools.cache
def _parsed(text: bytes) -> ast.Module:
    return ast.parse(text)


@functools.cache
def _is_machine(text: bytes) -> bool:
    return any(isinstance(statement, ast.FunctionDef) and "bound" in map(ast.unparse, statement.decorator_list) for statement in _parsed(text).body)


@functools.cache
def _asks(text: bytes) -> dict[str, dict[str, int]]:
    """Which kernels a text asks of each part, and with how many arguments: c.PART.NAME(...)."""
    asks: dict[str, dict[str, int]] = {}
    for node in ast.walk(_parsed(text)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Attribute(value=ast.Name(id="c"), attr=part), attr=name)):
                asks.setdefault(part, {})[name] = len(node.args)
    return asks


def _asked(family: Family, part: str) -> dict[str, int]:
    """Which kernels the machine and the other parts ask of a part, and with how many arguments; what other machines ask is not asked here."""
    mine, asked = family.texts[family.machine.__name__], {}
    for text in family.texts.values():
        if text == mine or not _is_machine(text):
            asked |= _asks(text).get(part, {})
    return asked


def _check(family: Family) -> None:
    """Refuse what the compiler would find out late and say at length, or never."""
    for names in ([field.name for field in family.declared], [name for name, _ in family.settings]):
        for name in names:
            if names.count(name) > 1:
                raise ScenarioError(family.name, f"field or setting {name}", "declared twice")
    for field in family.declared:
        if not isinstance(field.shape, str) or not field.shape.split():
            raise ScenarioError(
                family.name, f"field {field.name}", f"its shape is a string of dimension letters and numbers, such as 'B O'; got {field.shape!r}"
            )
        if type(field.lies) is not int or field.lies not in (STATE, GIVEN, SCRATCH):
            raise ScenarioError(called(_declares(family, field).__name__), f"field {field.name}", f"lies in STATE, GIVEN or SCRATCH; got {field.lies!r}")
        for letter in field.shape.split():
            if not letter.isdigit() and letter not in family.dimensions:
                why = f"has the shape {field.shape!r}, and {letter} is no dimension; there are {', '.join(family.dimensions)}"
                raise ScenarioError(called(_declares(family, field).__name__), f"field {field.name}", why)
    known = {
        "v": {field.name for field in family.declared},
        "c": {*family.dimensions, *(name for name, _ in family.settings), *family.parts},
    }
    _check_fields(family.machine, known)
    for part, module in family.parts.items():
        asked = _asked(family, part)
        for name in sorted(asked):
            if not is_kernel(family.kernel(part, name)):
                if hasattr(module, name):
                    raise ScenarioError(f"{called(module.__name__)}.{name}", "", "is no kernel: @kernel is missing")
                close = difflib.get_close_matches(name, [each for each in vars(module) if each not in asked and is_kernel(vars(module)[each])], n=1)
                why = f"{family.machine.__name__} asks for {name}, and nobody brings it" + "".join(f"; is {each} it?" for each in close)
                raise ScenarioError(called(module.__name__), "", why)
            takes, given = len(inspect.signature(as_python(family.kernel(part, name))).parameters), asked[name]
            if takes != given and hasattr(module, name):
                raise ScenarioError(f"{called(module.__name__)}.{name}", "", f"takes {takes} arguments; {family.machine.__name__} gives it {given}")
        _check_fields(module, known)
        _check_kernels(family.machine, module, asked)


def _declares(family: Family, field: Field) -> ModuleType:
    """The file that declares a field."""
    return next(module for module in (*family.parts.values(), family.machine) if field in module.FIELDS)


def _check_kernels(machine: ModuleType, module: ModuleType, asked: Mapping[str, int]) -> None:
    """A kernel of a part that nobody would call is a misspelt one."""
    text = _parsed(text_of(module.__name__))
    used = {node.id for node in ast.walk(text) if isinstance(node, ast.Name)}
    for statement in text.body:
        if isinstance(statement, ast.FunctionDef) and statement.decorator_list and statement.name not in asked.keys() | used and statement.name[0] != "_":
            hint = near(statement.name, sorted(asked), "it asks for")
            why = f"{machine.__name__} asks for no kernel of that name, and nothing there uses it; {hint}"
            raise ScenarioError(f"{called(module.__name__)}.{statement.name}", "", why)


def _check_fields(module: ModuleType, known: Mapping[str, set[str]]) -> None:
    """In a kernel of (v, c, ...), every v.NAME is a field, every c.NAME a dimension, a setting or a part."""
    for kernel in _parsed(text_of(module.__name__)).body:
        if not isinstance(kernel, ast.FunctionDef) or [argument.arg for argument in kernel.args.args[:2]] != ["v", "c"]:
            continue
        for node in ast.walk(kernel):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr not in known.get(node.value.id, (node.attr,)):
                what, label = ("field", "fields") if node.value.id == "v" else ("setting", "settings")
                hint = near(node.attr, sorted(known[node.value.id]), f"its {label} are")
                why = f"{node.value.id}.{node.attr} is no {what} of this node; {hint}"
                raise ScenarioError(f"{called(module.__name__)}.{kernel.name}, line {node.lineno}", "", why)
