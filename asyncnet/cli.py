"""The command line. Exit codes: 0 pass, 1 fail, 2 unknown, 64 bad usage or scenario, 130 interrupted."""

from __future__ import annotations

import bdb
import functools
import operator
import sys

import tyro

from asyncnet import __version__, interrupts
from asyncnet.commands.beginning import New
from asyncnet.commands.bench import Bench
from asyncnet.commands.doctor import Doctor
from asyncnet.commands.properties import Properties
from asyncnet.commands.running import Resume, Run
from asyncnet.commands.runs import Evaluate, Plot, Replay, Show, Timeline, Verify
from asyncnet.commands.scenarios import CheckRule, Keys, List, Validate
from asyncnet.commands.shared import USAGE, Brings
from asyncnet.commands.studying import Explain, Report, Sweep
from asyncnet.commands.watching import Watch
from asyncnet.interrupts import INTERRUPTED
from asyncnet.kernels.plain import PLAIN
from asyncnet.scenario import outside
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.text import in_a_line, steady

VERBS = (  # as --help lists them
    List,
    Keys,
    New,
    Run,
    Sweep,
    Report,
    Plot,
    Evaluate,
    Timeline,
    Explain,
    Show,
    Watch,
    Resume,
    Replay,
    Verify,
    Validate,
    CheckRule,
    Properties,
    Bench,
    Doctor,
)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the `asyncnet` command."""
    interrupts.listen()
    with steady() as out:
        try:
            _main(arguments)
        finally:
            out.flush()
            if out.trouble is not None and not isinstance(out.trouble, BrokenPipeError):  # whoever reads a pipe may have seen enough
                print(f"asyncnet: standard output: {in_a_line(out.trouble)}", file=sys.stderr)


def _main(arguments: list[str] | None) -> None:
    if (sys.argv[1:] if arguments is None else arguments) == ["--version"]:
        print(f"asyncnet {__version__}")
        sys.exit(0)
    try:
        command = tyro.cli(functools.reduce(operator.or_, VERBS), args=arguments, prog="asyncnet", description="A wind tunnel for asynchronous learning.")
    except SystemExit as stop:  # tyro has said what is wrong with the usage
        sys.exit(USAGE if stop.code == 2 else stop.code)
    try:
        if isinstance(command, Brings):
            command.bring()
        sys.exit(command())
    except ScenarioError as error:
        print(f"asyncnet: {error}", file=sys.stderr)
        sys.exit(USAGE)
    except (KeyboardInterrupt, bdb.BdbQuit):  # "q" in the debugger
        sys.exit(INTERRUPTED)
    except Exception as error:
        theirs = None if PLAIN else outside.raised_in(error)  # whoever runs kernels as plain Python looks for a bug
        if theirs is None:
            raise
        print(f"asyncnet: {theirs}", file=sys.stderr)
        sys.exit(USAGE)
    finally:
        interrupts.ignore()
