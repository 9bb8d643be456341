"""The verbs of the command line and their options, from the classes that they are."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import typing
from dataclasses import MISSING, Field, fields
from typing import Any

import tyro

from asyncnet.cli import VERBS
from asyncnet.commands.shared import Brings
from extension.markdown import code, directive, plain

POSITIONAL = typing.get_args(tyro.conf.Positional[int])[1]


def text() -> str:
    """A section for each verb, and one for the options of all that read a scenario."""
    said, hints = _said(Brings), typing.get_type_hints(Brings, include_extras=True)
    shared = "\n".join(_option(field, hints[field.name], said[field.name]) for field in fields(Brings))
    brought = f"## What is brought from outside\n\nEvery verb that reads a scenario, or a run, takes these:\n\n```{{program}} asyncnet\n```\n\n{shared}"
    return "\n".join([*(_section(verb) for verb in VERBS), brought])


def _section(verb: type) -> str:
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", verb.__name__).lower()  # as it is typed
    hints = typing.get_type_hints(verb, include_extras=True)
    said = _said(verb)
    arguments = [field for field in fields(verb) if POSITIONAL in getattr(hints[field.name], "__metadata__", ())]
    shared = {field.name for field in fields(Brings)} if issubclass(verb, Brings) else set()
    options = [field for field in fields(verb) if field not in arguments and field.name not in shared]
    spelled = " ".join([_metavar(field, hints[field.name]) if field.default is MISSING else f"[{_metavar(field, hints[field.name])}]" for field in arguments])
    usage = f"asyncnet {name}{' ' + spelled if spelled else ''}{' [OPTIONS]' if options or shared else ''}"
    entries = [directive("option", _metavar(field, hints[field.name]), plain(said.get(field.name, ""))) for field in arguments]
    entries += [_option(field, hints[field.name], said.get(field.name, "")) for field in options]
    entries += ["And `--rule`, `--task`, `--import`: [what is brought from outside](#what-is-brought-from-outside).\n"] if shared else []
    return f"## {name}\n\n{plain(inspect.getdoc(verb) or '')}\n\n```bash\n{usage}\n```\n\n```{{program}} asyncnet {name}\n```\n\n" + "\n".join(entries)


def _said(verb: type) -> dict[str, str]:
    """What stands below each field of a class, and of those that it is made of."""
    found: dict[str, str] = {}
    for each in reversed(verb.__mro__[:-1]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        assert isinstance(tree, ast.ClassDef)
        for field, below in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[field.target.id] = str(below.value.value)  # type: ignore[union-attr]
    return found


def _option(field: Field[Any], hint: Any, said: str) -> str:
    marks = [mark for mark in getattr(hint, "__metadata__", ()) if getattr(mark, "name", None)]
    name = f"--{marks[0].name if marks else field.name.replace('_', '-')}"
    kind = _bare(hint)
    if kind is bool:
        spelled = name if field.default is False else f"{name}, --no-{name[2:]}"
        return directive("option", spelled, plain(said))
    default = field.default if field.default is not MISSING else None
    shown = "" if default in (None, "") or re.search(r"\bdefault\b", said) else f" Default: {code(str(default))}."
    return directive("option", f"{name} {_metavar(field, hint)}", plain(said) + shown)


def _bare(hint: Any) -> Any:
    """A type without what is said about it, and without None."""
    while hasattr(hint, "__metadata__"):
        hint = hint.__origin__
    left = [each for each in typing.get_args(hint) if each is not type(None)]
    return _bare(left[0]) if type(None) in typing.get_args(hint) and len(left) == 1 else hint


def _metavar(field: Field[Any], hint: Any) -> str:
    said = _metavars(hint)
    kind = _bare(hint)
    if said:
        return said[0]
    if typing.get_origin(kind) is typing.Literal:
        return "|".join(map(str, typing.get_args(kind)))
    return {int: "N", float: "NUMBER"}.get(kind, field.name.upper())


def _metavars(hint: Any) -> list[str]:
    """What a type says that stands for a value, at any depth."""
    own = [mark.metavar for mark in getattr(hint, "__metadata__", ()) if getattr(mark, "metavar", None)]
    inner = [each for part in typing.get_args(hint) if part is not type(None) and not isinstance(part, str) for each in _metavars(part)]
    return [*own, *inner]
