"""Every key of a scenario, table by table, from the model that checks it."""

from __future__ import annotations

from collections.abc import Iterator

from asyncnet.scenario.reference import Key
from asyncnet.scenario.reference import keys as all_keys
from extension.markdown import code, directive, plain


def text() -> str:
    """A section for each table, an entry for each of its keys."""
    return "\n".join(_sections())


def _sections() -> Iterator[str]:
    known, seen = list(all_keys()), set[str]()
    tables = {key.key: key for key in known if "." not in key.key and any(other.key.startswith(f"{key.key}.") for other in known)}
    yield "## The whole\n"
    yield from (_entry(key, seen) for key in known if "." not in key.key)
    for name, table in tables.items():
        yield f"## {name}\n\n{plain(table.description)}.\n"
        yield from (_entry(key, seen) for key in known if key.key.startswith(f"{name}."))


def _entry(key: Key, seen: set[str]) -> str:
    again = {"no-index": ""} if key.key in seen else {}  # another kind of table has a key of that name
    seen.add(key.key)
    facts = [plain(key.what), f"default {code(key.default)}" if key.default else "", f"of {', '.join(map(code, key.of.split(', ')))}" if key.of else ""]
    about = plain(key.description[:1].upper() + key.description[1:])
    return directive("confval", key.key, f"{about}. *{'; '.join(filter(None, facts))}*", **again)
