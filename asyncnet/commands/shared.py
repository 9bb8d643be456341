"""What several verbs have: what is brought from outside, exit codes, a run's end said."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from asyncnet.interrupts import INTERRUPTED
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.text import as_json, printable

if TYPE_CHECKING:
    from asyncnet.runs.result import Result

EXIT = {"pass": 0, "fail": 1, "unknown": 2}
USAGE = 64

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Conditions = Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="CONDITION")]
Settings = Annotated[tyro.conf.UseAppendAction[list[str]], tyro.conf.arg(metavar="KEY=VALUE")]
Loggers = Annotated[tyro.conf.UseAppendAction[list[Literal["csv", "tensorboard", "wandb"]]], tyro.conf.arg(metavar="LOGGER")]
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


def at_least_one(option: str, number: int) -> None:
    """Refuse less."""
    if number < 1:
        raise ScenarioError(option, "", f"at least 1, got {number}")


def go_on(result: Result, options: Sequence[str] = ()) -> str:
    """The command that goes on with a run, with these options; "" if it has finished, or left nothing to go on from."""
    folder = result.run_dir
    if result.record.stopped == "finished" or folder is None or not any((folder / "checkpoints").glob("[!.]*")):
        return ""
    return shlex.join(["asyncnet", "resume", str(folder), *options])


def say_how_to_go_on(results: Sequence[Result], options: Sequence[str] = ()) -> None:
    """Print, on standard error, the command for each run that can be gone on with: alone in its line, to be copied."""
    commands = [command for result in results if (command := go_on(result, options))]
    if commands:
        print("not finished; to go on:", *map(printable, commands), sep="\n", file=sys.stderr, flush=True)


def say(result: Result, in_json: bool, options: Sequence[str] = ()) -> int:
    """Print a run's summary and, of one that has not finished, how to go on (with `options`); return the exit code that its verdict asks for."""
    from asyncnet.console import show_summary

    summary = result.summary()
    if in_json:
        print(as_json(summary))
    else:
        show_summary(summary)
    say_how_to_go_on([result], options)
    return INTERRUPTED if result.record.stopped == "interrupted" else EXIT[summary["verdict"]]
