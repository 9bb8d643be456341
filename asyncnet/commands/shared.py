"""What several verbs have: what is brought from outside, exit codes, a run's end said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import tyro

from asyncnet.interrupts import INTERRUPTED
from asyncnet.text import as_json

if TYPE_CHECKING:
    from asyncnet.runs.result import Result

if TYPE_CHECKING:
    pass

EXIT = {"pass": 0, "fail": 1, "unknown": 2}
USAGE = 64

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Conditions = Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="CONDITION")]
Settings = Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="KEY=VALUE")]
Gib = Annotated[float | None, tyro.conf.arg(metavar="GIB")]


@dataclass(frozen=True, kw_only=True)
class Brings:
    """What is brought from outside the package, by every command that reads a scenario."""

    rule: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="FILE")] = field(default_factory=list)
    """A file with a rule of your own (docs/rules.md), or the name of a module; may be given several times."""
    task: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="FILE")] = field(default_factory=list)
    """The same for a task."""
    imports: Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="MODULE", name="import")] = field(default_factory=list)
    """A module, or FILE.py, that registers environments with Gymnasium; may be given several times."""

    def bring(self) -> None:
        """Have it known."""
        if self.rule or self.task or self.imports:
            from asyncnet.scenario.outside import register

            for kind, files in (("import", self.imports), ("rule", self.rule), ("task", self.task)):
                for file in files:
                    register(file, kind)


@dataclass(frozen=True, kw_only=True)
class Trusts(Brings):
    trust: Flag = False
    """Run the code that the directory holds (outside/: rules and the like) though it was never run on this machine."""


def say(result: Result, in_json: bool) -> int:
    """Print a run's summary, and return the exit code that its verdict asks for."""
    from asyncnet.console import show_summary

    summary = result.summary()
    if in_json:
        print(as_json(summary))
    else:
        show_summary(summary)
    return INTERRUPTED if result.record.stopped == "interrupted" else EXIT[summary["verdict"]]
