"""Plain data as a TOML file in which every key says what it is for, in the words of the model that checks it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tomli_w

from asyncnet.scenario.reference import ALTERNATIVES, Key

_ARRAY = re.compile(r"\[\n\s+([^\[\]]{,100}?),\n\s*\]")  # as tomli_w writes one, an item a line; one that is short and holds no other
_HEADER = re.compile(r"\[\[?(.+?)\]\]?$")
_PAIR = re.compile(r'("[^"]*"|[\w-]+) = ')


def annotated(data: Mapping[str, Any], keys: Iterable[Key], more: str = "") -> str:
    """`data` as TOML, each key with a comment; `more` is the command that tells about a table's other keys, which are named at its end."""
    known = list(keys)
    text = _ARRAY.sub(lambda found: f"[{' '.join(found[1].split())}]", tomli_w.dumps(data))
    lines: list[str] = []
    path: list[str] = []
    for block in text.strip().split("\n\n"):
        first, *rest = block.splitlines()
        if header := _HEADER.match(first):
            path = [part.strip('"') for part in re.findall(r'"[^"]*"|[\w-]+', header[1])]
            lines += ["", *(_about(_find(known, data, path) or _find(known, data, path[:-1]), "# ") if first not in lines else ()), first]
        else:
            rest = [first, *rest]
        lines += [_explained(line, known, data, path) for line in rest]
        if more and path:
            lines += _others(known, data, path, more)
    return "\n".join(lines) + "\n"


def _explained(line: str, known: Sequence[Key], data: Mapping[str, Any], path: Sequence[str]) -> str:
    pair = _PAIR.match(line)
    return line + "".join(_about(_find(known, data, [*path, pair[1].strip('"')]), "  # ")) if pair else line


def _about(key: Key | None, begin: str) -> list[str]:
    return [f"{begin}{key.description}"] if key is not None and key.description else []


def _others(known: Sequence[Key], data: Mapping[str, Any], path: Sequence[str], more: str) -> list[str]:
    """One line that names the keys of a table that are not said."""
    table = _spelled(path)
    there, of = _within(data, path)
    depth = table.count(".") + 1
    names = [key.key.rpartition(".")[2] for key in known if key.key.rpartition(".")[0] == table and key.key.count(".") == depth and _fits(key, of)]
    left = [name for name in dict.fromkeys(names) if name not in there]
    return [f"# also: {', '.join(left)} ({more} {path[0]})"] if left else []


def _find(known: Sequence[Key], data: Mapping[str, Any], path: Sequence[str]) -> Key | None:
    """What is known of the key at that path, in the kind of table that it stands in."""
    if not path:
        return None
    spelled, of = _spelled(path), _within(data, path[:-1])[1]
    if path[-1] in ALTERNATIVES and len(path) > 1:
        table = next((key for key in known if key.key == _spelled(path[:-1])), None)
        return table._replace(description=table.what) if table and " | " in table.what else None  # it says which of these the table is
    return next((key for key in known if key.key == spelled and _fits(key, of)), None)


def _fits(key: Key, of: str) -> bool:
    return not key.of or not of or of in key.of.split(", ")


def _spelled(path: Sequence[str]) -> str:
    """A path as the reference has it: a table whose keys are names of nodes has one entry for all of them."""
    return ".".join('"NODE"' if index == 1 and path[0] == "clocks" else part for index, part in enumerate(path))


def _within(data: Mapping[str, Any], path: Sequence[str]) -> tuple[Mapping[str, Any], str]:
    """(the table at that path, the kind that it says it is, or the one around it)."""
    table: Any = data
    first: Any = data
    of = ""
    for part in path:
        several = table if isinstance(table, list) else [table]
        table = next((each[part] for each in several if part in each), {})
        first = table[0] if isinstance(table, list) else table
        of = next((str(first[key]) for key in ALTERNATIVES if key in first), of)
    return first, of
