"""Files of scenarios and conditions, settings of the command line, and how one is laid over another: all as plain data, checked by nobody yet."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from asyncnet.scenario.measured import looked_up
from asyncnet.scenario.mistakes import ScenarioError, near, short
from asyncnet.scenario.registry import offers
from asyncnet.text import in_a_line

_PACKAGE = Path(__file__).resolve().parent.parent
SHIPPED = _PACKAGE / "scenarios"
if not SHIPPED.is_dir():  # a bare checkout
    SHIPPED = _PACKAGE.parent / "scenarios"
LARGEST_FILE = 1 << 20  # bytes
LENGTHS = {"decisions", "episodes"}


class Layer(NamedTuple):
    """Plain data that is laid over what was said before, and where it was said; hardships replace their like or, if `compose`, join them."""

    where: str
    data: Mapping[str, Any]
    compose: bool = False

    def over(self, base: Any) -> Any:
        """`base` with this laid over it."""
        try:
            return overlay(base, self.data, compose=self.compose)
        except RecursionError:
            raise ScenarioError(self.where, "", "nested too deeply") from None
        except LookupError as error:
            raise ScenarioError(self.where, *error.args) from None


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as plain data; raises ScenarioError with the reason."""
    try:
        if path.is_fifo():  # it might never end, nor begin
            raise ScenarioError(str(path), "", "a pipe, not a file")
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
        if len(text) > LARGEST_FILE:
            raise ScenarioError(str(path), "", f"larger than {LARGEST_FILE} bytes")
        return looked_up(tomllib.loads(text.decode("utf-8")), path.parent, str(path))
    except OSError as error:
        raise ScenarioError(str(path), "", error.strerror or str(error)) from None
    except UnicodeDecodeError as error:
        raise ScenarioError(str(path), "", f"not UTF-8 text: {error.reason} at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(str(path), "", f"not TOML: {error}") from None
    except RecursionError:
        raise ScenarioError(str(path), "", "not TOML: nested too deeply") from None
    except ScenarioError:
        raise
    except ValueError as error:  # such as a number of 5000 digits, or a path that no file can have
        raise ScenarioError(str(path), "", str(error)) from None


def shipped(kind: str = "") -> dict[str, Path]:
    """The scenarios (or, with kind "conditions", the conditions) that come with asyncnet, by name."""
    return {path.stem: path for path in sorted((SHIPPED / kind).glob("*.toml"))}


_registered: dict[str, Path] = {}


def register(path: Path) -> None:
    """Have a condition known by the name of its file; raises ScenarioError if there is another of that name."""
    read_toml(path)
    there = conditions().get(path.stem)
    if there is not None and there.read_bytes() != path.read_bytes():
        raise ScenarioError(str(path), "", f"there is a condition {path.stem} already, with another text ({there})")
    _registered.setdefault(path.stem, path.absolute())


def conditions() -> dict[str, Path]:
    """All conditions by name: those that ship, those of installed packages, those that were registered."""
    found = {entry.name: _offered(entry) for entry in offers("conditions")}
    return {**found, **_registered, **shipped("conditions")}


def _offered(entry: Any) -> Path:
    """The file of a condition that an installed package offers: a path, as text or Path."""
    try:
        return Path(entry.load())
    except Exception as error:  # whatever somebody's package raises
        raise ScenarioError(
            entry.group, "", f"{entry.value}, which an installed package offers as {entry.name}, is no path of a TOML file: {in_a_line(error)}"
        ) from None


def find(name: str, kind: str = "") -> Path:
    """The file of a name, or a path to a TOML file; raises ScenarioError with a near miss."""
    known = shipped(kind)
    if name not in known and kind == "conditions" and not (name.endswith(".toml") or "/" in name):
        known = conditions()
    if name in known:
        return known[name]
    if name.endswith(".toml") or "/" in name:
        return Path(name)
    if name.endswith(".py"):
        raise ScenarioError(name, "", "is a file of Python; a rule of one's own is given as --rule FILE, a task as --task FILE, beside a scenario")
    beside = f"the file of that name is ./{name}" if Path(name).is_file() else near(name, known)
    raise ScenarioError(name, "", f"no shipped {kind.rstrip('s') or 'scenario'} of that name; {beside}")


def several(names: str | Iterable[Any]) -> list[Any]:
    """Names, of which one alone need not stand in a list."""
    return [names] if isinstance(names, str) else list(names)


def condition(name: str) -> Layer:
    """A condition as a layer that also notes its name."""
    path = find(name, "conditions")
    data = read_toml(path)
    data.pop("line", None)
    if "under" in data:
        raise ScenarioError(str(path), "under", "a condition lays nothing over; give both: --under A --under B")
    return Layer(str(path), {**data, "under": [path.stem]}, compose=True)


def setting(text: str) -> Layer:
    """`key=value` of the command line as a layer; the value is TOML, or a bare word."""
    where = f"--set {short(text)}"
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ScenarioError(where, "", "expected key=value")
    for candidate in (value, f'"{value}"'):
        try:
            found = tomllib.loads(f"value = {candidate}")
        except (ValueError, RecursionError):
            continue
        if len(found) == 1:
            return change(where, key, found["value"])
    raise ScenarioError(where, "", "neither the value nor its quoted text is TOML")


def change(where: str, key: str, value: Any) -> Layer:
    """A layer that says one thing; the dotted key is written as in TOML: `task.world.interval`, `clocks."actor.1"`."""
    try:
        at = tomllib.loads(f"{key} = 0")
        parts = []
        while isinstance(at, dict) and len(at) == 1:
            ((part, at),) = at.items()
            parts.append(part)
    except (ValueError, RecursionError):
        at = None
    if at != 0:
        raise ScenarioError(where, "", 'not a dotted key, such as task.world.interval or clocks."actor.1"')
    for part in reversed(parts):
        value = {part: value}
    return Layer(where, value)


def overlay(base: Any, over: Any, path: tuple[str, ...] = (), *, compose: bool = False) -> Any:
    """`over` laid over `base`: tables merge, and one that names its kind, or another optimiser, replaces.

    A number as a key stands for one of a list.
    Conditions of links replace their like or, if `compose`, join them. A run's length in decisions replaces one in episodes, and the other way round.
    """
    if len(path) == 2 and path[0] == "links" and path[1] != "retry":
        entries = _listed(base)
        if not compose and isinstance(over, dict):
            entries = [{key: value for key, value in entry.items() if key not in over} if isinstance(entry, dict) else entry for entry in entries]
        return [entry for entry in entries if entry != {}] + _listed(over) if compose or isinstance(over, dict) else over
    if isinstance(base, (list, tuple)) and isinstance(over, dict) and over and all(key.isdigit() for key in over):  # faults.0.share
        for key in over:
            if int(key) >= len(base):
                raise LookupError(".".join((*path, key)), f"there are {len(base)} of them, from 0 on")
        return [overlay(one, over[str(n)], (*path, str(n)), compose=compose) if str(n) in over else one for n, one in enumerate(base)]
    if path == ("under",) or (path == ("faults",) and compose):
        return [*_listed(base), *_listed(over)]
    if path == ("task",) and isinstance(base, dict) and isinstance(over, dict) and len(LENGTHS & over.keys()) == 1:
        base = {key: value for key, value in base.items() if key not in LENGTHS - over.keys()}  # a run has one length
    if path[1:] == ("optimizer",) and isinstance(base, dict) and isinstance(over, dict) and len({base.get("name"), over.get("name"), None}) == 3:
        return over
    if isinstance(base, dict) and isinstance(over, dict) and "kind" not in over:
        merged = {key: overlay(base[key], value, (*path, key), compose=compose) if key in base else value for key, value in over.items()}
        return {**base, **merged}
    return over


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
