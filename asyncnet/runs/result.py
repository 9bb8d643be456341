"""A finished run as its caller gets it: summary, verdict, and where a second execution ended in other bits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from asyncnet.loop import ledger
from asyncnet.runs.record import Record
from asyncnet.runs.verdict import assess
from asyncnet.scenario.faults import words
from asyncnet.scenario.reading import several
from asyncnet.scenario.schema import Scenario, changes
from asyncnet.team.draw import plan
from asyncnet.text import in_a_line

Check = Callable[["Result"], str | Iterable[str] | None]  # what is wrong with a result, a sentence each


class Result:
    """One finished run: the scenario, the engine's record, and where it was written (None if nowhere)."""

    def __init__(
        self,
        scenario: Scenario,
        engine: str,
        record: Record,
        run_dir: Path | None = None,
        *,
        again: Record | None = None,
        resumed: str = "",
        begun: int = 0,
        trouble: Collection[str] = (),
        probes: Sequence[dict[str, float]] = (),
        checks: Iterable[Check] = (),
    ) -> None:
        """`again` is the record of a second execution, held to the first; `trouble` says what was not kept, at any time.

        Of a resumed run `resumed` says how it went on, `begun` after how many decisions; `seconds` and `decisions_per_second` are those of its last part.
        """
        self.scenario, self.engine, self.record, self.run_dir = scenario, engine, record, run_dir
        self.again, self.resumed, self.begun, self.trouble, self.probe_rows = again, resumed, begun, trouble, probes
        self._said: list[tuple[str, bool]] = []  # a check may ask for the summary
        self._said = [found for check in checks for found in _sentences(check, self)]

    def __repr__(self) -> str:
        score = self.record.score
        figures = [f"{name.replace('_', ' ')} {score[name]:.4g}" for name in ("last_mean_return", "last_mean_reward") if score[name] is not None]
        shown = ", ".join([f"{score['decisions']:,} decisions", *figures[:1], self.verdict()[0], f"digest {self.record.digest[:16]}"])
        return f"<Result {self.scenario.name}: {shown}>"

    def _repr_html_(self) -> str:
        """A small table and a curve, for notebooks."""
        from asyncnet.console.html import of_summary

        record = self.record
        return of_summary(self.summary(), record.returns or [reward for _, reward in record.rewards])

    def verdict(self) -> tuple[str, list[str]]:
        """("pass" | "unknown" | "fail", reasons), as verdict.assess says it; never a pass if something was not kept."""
        fails, unknown = assess(self.scenario, self.record)
        if self.again is not None and (why := difference(self.scenario, self.record.digest, self.record.fields, self.again)):
            fails.append(f"not deterministic: {why}")
        fails += [sentence for sentence, failed in self._said if not failed]
        unknown += [*self.trouble, *(sentence for sentence, failed in self._said if failed)]
        return ("fail" if fails else "unknown" if unknown else "pass"), fails + unknown

    @property
    def probes(self) -> Any:
        """What was probed, a row each time, as a pandas frame by decision."""
        import pandas

        return pandas.DataFrame(list(self.probe_rows), columns=None if self.probe_rows else ["decisions"]).set_index("decisions")

    def summary(self) -> dict[str, Any]:
        """The dict that --json prints and summary.json holds."""
        record = self.record
        verdict, reasons = self.verdict()
        return {
            "scenario": self.scenario.name,
            "under": list(self.scenario.under),
            "engine": self.engine,
            "seed": self.scenario.seed,
            **record.score,
            "decisions_per_second": (record.score["decisions"] - self.begun) / record.seconds if record.seconds else None,
            "seconds": record.seconds,
            "digest": record.digest,
            "verdict": verdict,
            "reasons": reasons,
            "stopped": record.stopped,
            "run_dir": str(self.run_dir) if self.run_dir else None,
            "changes": changes(self.scenario),
            "links": record.links,
            "ledger": ledger.shown(plan(self.scenario), record.ledger),
            **({"faults": _faults(self.scenario, record.struck)} if self.scenario.faults else {}),
            "nodes": record.nodes,
            **({"deterministic": self.again.digest == record.digest} if self.again is not None else {}),
            **({"resumed": self.resumed} if self.resumed else {}),
            **({"measured": record.measured} if record.measured else {}),
        }


def _sentences(check: Check, result: Result) -> Iterator[tuple[str, bool]]:
    """What somebody's check says of a result, and whether that is only that it failed itself."""
    name = getattr(check, "__name__", type(check).__name__)
    try:
        found = check(result)
        if isinstance(found, (bool, np.bool_)):  # whichever of the two it means by "it holds"
            raise TypeError(f"returned {found}; a check returns what is wrong, a sentence or several, or nothing")
        for sentence in several(found or ()):
            if not isinstance(sentence, str):
                raise TypeError(f"returned {type(sentence).__name__} where sentences are expected, or nothing")
            yield f"{name}: {' '.join(sentence.split())[:200]}", False
    except Exception as error:  # whatever somebody's function raises: the run is done, and is not to be lost
        yield f"{name} could not check this: {type(error).__name__}: {in_a_line(error)}", True


def _faults(scenario: Scenario, struck: Sequence[int]) -> list[dict[str, Any]]:
    """Each fault of a scenario in words, and how many messages it has done something to (None: it is not known)."""
    return [{"fault": words(fault), "struck": count} for fault, count in zip_longest(scenario.faults, struck)]


def difference(scenario: Scenario, digest: str, fields: dict[str, str], again: Record) -> str:
    """Where a second execution ended in other bits than those of the first: the first node and array that differ, or "" if none does."""
    if digest == again.digest:
        return ""
    from asyncnet.record.recorder import differing
    from asyncnet.team.build import build

    team = plan(scenario)
    for node in team.nodes:
        then, now = (bytes.fromhex(found.get(node.name, "")) for found in (fields, again.fields))
        if then != now:
            return f"different: at the end, the {differing(build(scenario, team, node), then, now)} of {node.name}"
    return f"different: digest {again.digest[:16]}, it was {digest[:16]}"
