"""What is wrong with a scenario, in one line: where it was said, the key, the reason.

The strict model (pydantic) finds the mistake; its place and its reason are put here into the words of a scenario, with a near miss where there is one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ValidationError

from asyncnet.text import printable

SHOWN = 60  # characters of a value or an option that are repeated


class ScenarioError(ValueError):
    """A mistake in a scenario: `where` is the file or option, `key` the dotted key, `why` the reason."""

    def __init__(self, where: str, key: str, why: str) -> None:
        text = f"{where}: {key}: {why}" if key else f"{where}: {why}"
        super().__init__(printable(text[:1000]))
        self.where, self.key, self.why = where, key, why


def short(text: str) -> str:
    """So much of a text as is repeated in a message."""
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def near(name: str, known: Iterable[str], there_are: str = "there are") -> str:
    """What to say after "no such name": the one that was probably meant, else which there are, the first dozen."""
    known = list(known)
    close = [each for each in known if name and each.startswith(name)] or difflib.get_close_matches(name, known, n=1)
    if len(close) == 1:
        return f"did you mean {close[0]}?"
    return f"{there_are} {', '.join(known[:12])}" + (f" and {len(known) - 12} more" if len(known) > 12 else "")


def first(model: type[BaseModel], error: ValidationError, data: Any) -> tuple[str, str]:
    """(dotted key, reason) of the first mistake that a model found in plain data."""
    errors = error.errors(include_url=False)
    if errors[0]["type"] == "missing":  # a key that is there and misspelt says more than the one that is not
        beside = [other for other in errors if other["type"] == "extra_forbidden" and other["loc"][:-1] == errors[0]["loc"][:-1]]
        errors = [*beside, *errors]
    # Of an alternative such as "layer | unit or a whole number", the number that is out of bounds says more than that it is no word.
    bounds = [other for other in errors if other["type"] in _BOUNDS and other["loc"][:-1] == errors[0]["loc"][:-1]]
    found = bounds[0] if bounds and errors[0]["type"] == "literal_error" else errors[0]
    key, inside, kinds = _place(model, found["loc"], data)
    if found["loc"][-1] == "[key]" and found["type"] == "literal_error":
        known = re.findall("'(.*?)'", found["ctx"]["expected"])
        return ".".join(key), f"there is none of that name; {near(str(found['input']), known)}"
    why = _reason(found, inside, kinds)
    if found["type"] in ("missing", "extra_forbidden"):
        key.append(_quoted(found["loc"][-1]))
    return ".".join(key), why


def _kinds(annotation: Any) -> list[Any]:
    """What may stand at a place: each alternative of an annotation. Where one item does for a whole list (settings.py), the item is one of them."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kinds = _kinds(inside[0])
        one_does = any(isinstance(more, BeforeValidator) for more in inside[1:])
        return [*(item for kind in kinds if one_does and get_origin(kind) is tuple for item in _kinds(get_args(kind)[0])), *kinds]
    if origin in (Union, UnionType):
        return [kind for each in inside for kind in _kinds(each)]
    return [] if annotation is NoneType else [annotation]


def _tag(kind: Any) -> tuple[str, str] | None:
    """(key, value) by which a table says that it is of this kind: ("kind", "periodic")."""
    for key in ("kind", "name") if _is_model(kind) else ():
        if key in kind.model_fields and get_origin(kind.model_fields[key].annotation) is Literal:
            return key, get_args(kind.model_fields[key].annotation)[0]
    return None


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _fields(kind: type[BaseModel]) -> dict[str, Any]:
    """What a table of this kind may say, by key."""
    return {field.alias or name: Annotated[field.annotation, None, *field.metadata] for name, field in kind.model_fields.items()}


def _step(kind: Any, part: Any) -> list[Any]:
    """What may stand in one of these at that key or place."""
    if _is_model(kind):
        fields = _fields(kind)
        return _kinds(fields[part]) if part in fields else []
    if get_origin(kind) is tuple and isinstance(part, int):
        return _kinds(get_args(kind)[0])
    return _kinds(get_args(kind)[1]) if get_origin(kind) is dict else []


def _place(model: type[BaseModel], loc: tuple[Any, ...], data: Any) -> tuple[list[str], Any, list[Any]]:
    """Along the location of an error, in which pydantic puts the tags of unions between: (keys as written, what stands there, what may stand there)."""
    kinds, at, key = [model], data, []
    for part in loc:
        tagged = [kind for kind in kinds if (tag := _tag(kind)) and tag[1] == part]
        if tagged and len(kinds) > 1:
            kinds = tagged
            continue
        inside = [kind for each in kinds for kind in _step(each, part)]
        if not inside:  # an unknown key, or the label of an alternative
            break
        alone = isinstance(at, tuple) and len(at) == 1 and any(_is_model(kind) for kind in kinds)
        if isinstance(at, dict) and part in at:
            key.append(_quoted(part))
            at = at[part]
        elif isinstance(at, tuple) and isinstance(part, int) and part < len(at):
            key += [] if alone else [str(part)]
            at = at[part]
        kinds = inside
    return key, at, kinds


def _quoted(part: Any) -> str:
    return f'"{part}"' if "." in str(part) else str(part)


_PLURAL = {int: "whole numbers", float: "numbers", str: "names"}
_ONE = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
_BOUNDS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
_WORDS = {"gt": "greater than", "ge": "greater than or equal to", "lt": "less than", "le": "less than or equal to"}


def _wanted(kinds: list[Any]) -> str:
    """What may stand at a place, in words."""
    words, tags = [], [tag for kind in kinds if (tag := _tag(kind))]
    for kind in kinds:
        origin, inside = get_origin(kind), get_args(kind)
        if origin is Literal:
            words.append(" | ".join(map(str, inside)))
        elif origin is tuple:
            items = _kinds(inside[0])
            listed = {Literal: "names", tuple: "pairs"}.get(get_origin(items[0])) or _PLURAL.get(items[0], "tables")
            words.append(f"a list of {listed}")
        elif kind in _ONE:
            words.append(_ONE[kind])
        elif not _tag(kind):
            words.append("a table")
    if any(value == "constant" for _, value in tags):
        words.append("a number of ticks")  # a plain delay is a constant one
    if tags:
        words.append(f"a table with {_one_of(tags)}")
    return " or ".join(dict.fromkeys(words))


def _one_of(tags: list[tuple[str, str]]) -> str:
    return f"{tags[0][0]} = {' | '.join(value for _, value in tags)}"


def _number(value: Any) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _got(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 200:  # Python refuses to print the largest
        return ""
    return f", got {value!r}" if isinstance(value, (int, float, str)) and len(repr(value)) <= SHOWN else ""


def _reason(error: Mapping[str, Any], at: Any, kinds: list[Any]) -> str:
    """Why the value is refused, in the words of a scenario."""
    what, value, more = error["type"], error.get("input"), error.get("ctx", {})
    tags = [tag for kind in kinds if (tag := _tag(kind))]
    if what == "missing":
        return "missing"
    if what == "extra_forbidden":
        known = [
            name for kind in kinds if _is_model(kind) for name in sorted(_fields(kind), key=lambda name: name not in kind.__annotations__)
        ]  # its own first
        return f"unknown key; {near(str(error['loc'][-1]), known)}"
    if what == "union_tag_not_found":
        number = next((part for part in at if str(part).isdigit()), "") if isinstance(at, dict) else ""
        return f"needs {_one_of(tags)}" + (f'; a name with a dot stands in quotes: clocks."{error["loc"][-1]}.{number}"' if number else "")
    if what == "union_tag_invalid":
        tag = short(str(more["tag"]))
        close = difflib.get_close_matches(tag, [value for _, value in tags], n=1)
        return f"needs {_one_of(tags)}, got {tag!r}" + (f"; did you mean {close[0]}?" if close else "")
    if what in _BOUNDS:
        return f"must be {_WORDS[_BOUNDS[what]]} {_number(more[_BOUNDS[what]])}{_got(value)}"
    if what == "finite_number":
        return f"must be a finite number{_got(value)}"
    if what == "string_pattern_mismatch":
        return f"must match the pattern {more['pattern']}{_got(value)}"
    for size, unit in (("string_too_", "characters"), ("too_", "values")):
        if what.startswith(size):
            least = what.endswith("short")
            return f"must have at {'least' if least else 'most'} {more['min_length' if least else 'max_length']} {unit}"
    wanted = f"must be {_wanted(kinds)}{_got(value)}"
    literals = [str(name) for kind in kinds if get_origin(kind) is Literal for name in get_args(kind)]
    close = difflib.get_close_matches(value, literals, n=1) if isinstance(value, str) else []
    if isinstance(value, dict) and value and wanted == "must be a list of tables" and all(map(str.isdigit, value)):
        return f"there is none of number {next(iter(value))}: the scenario has no {error['loc'][-1]}"
    if isinstance(value, dict) and wanted == "must be a list of tables":
        return f"{wanted}, each of which begins with [[{error['loc'][-1]}]]"
    return wanted + (f"; did you mean {close[0]}?" if close else "")
