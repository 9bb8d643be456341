"""The verb that measures what is ticked and crossed of a rule."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from asyncnet.commands.shared import EXIT, Brings, Flag, Gib, Settings, at_least_one
from asyncnet.interrupts import INTERRUPTED
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.reading import setting
from asyncnet.text import as_json, in_a_line, printable


@dataclass(frozen=True)
class Properties(Brings):
    """Measure of each rule: is it local, without symmetric feedback, fit for clocks of its own, online, content with one broadcast scalar; by runs."""

    rules: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names of rules; default: all that ship, or those that --rule brings."""
    seeds: int = 5
    """How many seeds each experiment is run with."""
    scenario: str = ""
    """What to try the rules on, if not what there is for each: a shipped name or a TOML file."""
    set: Settings = field(default_factory=list)
    """Change one setting of all runs; may be given several times."""
    out: Path = Path("properties")
    """The folder in which the runs are kept; what is there is not run again."""
    to: Path | None = None
    """Write the table as Markdown, too."""
    workers: int | None = None
    """Processes; default: one for each core."""
    memory: Gib = None
    """Most memory that the runs may take together; default: four fifths of this machine's."""
    json: Flag = False
    """Print the table as JSON, and nothing else on standard output."""

    def __call__(self) -> int:
        from asyncnet.console import reporter, show_parts
        from asyncnet.runs import durable
        from asyncnet.studies import property_table
        from asyncnet.studies.properties import properties

        for name, value in (("--workers", self.workers), ("--seeds", self.seeds)):
            if value is not None:
                at_least_one(name, value)
        with reporter() as shown:
            found = properties(
                self.rules or self._brought(),
                seeds=self.seeds,
                scenario=self.scenario,
                settings=[*map(setting, self.set)],
                out=self.out,
                workers=self.workers,
                memory=self.memory,
                reporter=shown,
            )
        if self.to is not None:
            try:
                durable.replace(self.to, property_table.markdown(found).encode())
            except OSError as error:
                raise ScenarioError(str(self.to), "", in_a_line(error)) from None
        if self.json:
            print(as_json(found.data()))
        else:
            show_parts(property_table.shown(found))
        print(printable(str(found.folder / "properties.json")), file=sys.stderr)
        if found.interrupted:
            print("interrupted; the same command goes on with what is left", file=sys.stderr)
            return INTERRUPTED
        return EXIT["fail"] if found.failed() else EXIT["pass"]

    def _brought(self) -> tuple[str, ...]:
        """The names of the rules that --rule brings."""
        from asyncnet.scenario.outside import register

        return tuple(register(file, "rule").NAME for file in self.rule)
