"""The verb that writes files to begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import tyro

from asyncnet.commands.shared import Flag
from asyncnet.text import as_json, printable


@dataclass(frozen=True)
class New:
    """Write a file to begin with, which works as it is: a scenario or a study with every key explained, or a rule; no file is ever overwritten."""

    kind: tyro.conf.Positional[Literal["scenario", "study", "rule"]]
    """What to write."""
    name: tyro.conf.Positional[str]
    """What it is to be called, such as my-question; the file is NAME.toml, or NAME.py for a rule."""
    like: str = ""
    """The shipped scenario, or the shipped study, that it begins as; default: multiplexer3-weight-max, and a small study of it."""
    json: Flag = False
    """Print one JSON object."""

    def __call__(self) -> int:
        from asyncnet.templates.new import commands, new

        path = new(self.kind, self.name, self.like)
        following = commands(self.kind, path)
        if self.json:
            print(as_json({"path": str(path), "next": following}))
        else:
            print("\n".join([printable(str(path)), "", "next:", *(f"    {printable(line)}" for line in following)]))
        return 0
