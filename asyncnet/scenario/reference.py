"""Every key of a scenario, made from the model that checks it: what it may be, what it is if nothing is said, and what for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from asyncnet.scenario.schema import Scenario

ALTERNATIVES = ("kind", "name")  # keys by which a table says which of several it is


class Key(NamedTuple):
    """A key: where a table is one of several, `of` says which; `default` is "" where something must be said."""

    key: str
    of: str
    what: str
    default: str
    description: str


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a scenario's file, for editors: it takes what a file may leave out or write shortly; rules and tasks as far as they are registered."""
    whole = Scenario.model_json_schema(by_alias=True)
    whole["required"].remove("name")  # it is the file's
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}


def keys(model: type[BaseModel] = Scenario) -> Iterator[Key]:
    """All keys, in the order of the model; one that several kinds of a table share stands once, with all their names, or with none if all share it."""
    whole = model.model_json_schema(by_alias=True, mode="serialization")  # of what may be written in several ways, the one that all become
    found: dict[Key, list[str]] = {}
    for key in _table(whole, whole, "", ""):
        found.setdefault(key._replace(of=""), []).append(key.of)
    kinds = {key.key: key.what.removeprefix("list of ").split(" | ") for key in found}
    for key, names in found.items():
        every = next((kinds[parent] for parent in _parents(key.key) if len(kinds.get(parent, ())) > 1), [])
        yield key._replace(of="" if {*names} == {*every} else ", ".join(dict.fromkeys(names)))


def _parents(key: str) -> Iterator[str]:
    while "." in key:
        key = key.rpartition(".")[0]
        yield key


def _table(whole: Mapping[str, Any], table: Mapping[str, Any], path: str, of: str) -> Iterator[Key]:
    for name, what in table.get("properties", {}).items():
        if of and name in ALTERNATIVES and "const" in what:
            continue
        key = f"{path}.{name}" if path else name
        found = _followed(whole, what)
        default = "" if name in table.get("required", ()) else _shown(what.get("default", found.get("default")))
        yield Key(key, of, _kind(whole, found), default, what.get("description", ""))
        yield from _inside(whole, found, key, of)


def _inside(whole: Mapping[str, Any], found: Mapping[str, Any], key: str, of: str) -> Iterator[Key]:
    """The keys within: of a table, of each of several, of the items of a list, of whatever a name stands for."""
    several = found.get("oneOf") or found.get("anyOf") or ()
    if found.get("properties"):
        yield from _table(whole, found, key, of)
    elif several:
        for each in several:
            inside = _followed(whole, each)
            if inside.get("properties"):
                yield from _table(whole, inside, key, _name(inside) or of)
            elif inside.get("oneOf") or inside.get("anyOf"):
                yield from _inside(whole, inside, key, of)
    elif found.get("type") == "array" and isinstance(found.get("items"), dict):
        yield from _inside(whole, _followed(whole, found["items"]), key, of)
    elif isinstance(found.get("additionalProperties"), dict):
        yield from _inside(whole, _followed(whole, found["additionalProperties"]), f'{key}."NODE"', of)


def _followed(whole: Mapping[str, Any], what: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference leads to; an alternative to nothing at all is the other one."""
    while "$ref" in what:
        what = whole["$defs"][what["$ref"].rpartition("/")[2]]
    real = [each for each in what.get("anyOf", ()) if each.get("type") != "null"]
    return _followed(whole, real[0]) if len(real) == 1 else what


def _name(table: Mapping[str, Any]) -> str:
    return next((str(table["properties"][key]["const"]) for key in ALTERNATIVES if "const" in table["properties"].get(key, {})), "")


def _kind(whole: Mapping[str, Any], what: Mapping[str, Any]) -> str:
    """What may stand there, in a few words."""
    what = _followed(whole, what)
    if "const" in what:
        return str(what["const"])
    if "enum" in what:
        return " | ".join(map(str, what["enum"]))
    if several := what.get("oneOf") or what.get("anyOf"):
        names = [_name(_followed(whole, each)) if _followed(whole, each).get("properties") else _kind(whole, each) for each in several]
        return " | ".join(dict.fromkeys(name for name in names if name))
    kind = what.get("type", "")
    if kind == "array":
        return f"list of {_kind(whole, what['items'])}" if isinstance(what.get("items"), dict) else "list"
    if kind == "object":
        return "table"
    bounds = [
        f"{sign} {what[name]:g}" for name, sign in (("exclusiveMinimum", ">"), ("minimum", ">="), ("exclusiveMaximum", "<"), ("maximum", "<=")) if name in what
    ]
    return " ".join([{"integer": "whole number", "number": "number", "boolean": "true | false", "string": "text"}.get(kind, kind), *bounds])


def _shown(default: Any) -> str:
    if isinstance(default, Mapping):
        return "" if not default else "{" + ", ".join(f"{key} = {_shown(value)}" for key, value in default.items() if value is not None) + "}"
    if isinstance(default, (list, tuple)):
        return "[" + ", ".join(map(_shown, default)) + "]"
    return "absent" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
