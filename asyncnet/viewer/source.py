"""What is shown of a run's directory, read again as it grows. The directory is trusted for nothing: what does not fit its model is left out, and counted."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

from pydantic import Field, ValidationError

from asyncnet.runs import durable, stored
from asyncnet.runs.rundir import METRICS
from asyncnet.runs.traffic import MOST_BYTES, TRAFFIC, Row, Team
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.model import Model
from asyncnet.text import as_json, in_a_line, printable

AT_ONCE = 2 * MOST_BYTES  # bytes of a file that are read at a time, and lines longer than that are not read
SHOWN = ("digest", "verdict", "decisions_per_second", "last_mean_reward", "last_mean_return", "last_mean_squared_error", "on_time")


Figure = Annotated[float, Field(ge=-1e300, le=1e300)] | None


class Progress(Model, extra="ignore", populate_by_name=True):
    """A line of metrics.jsonl, as far as it is shown."""

    decisions: Annotated[int, Field(ge=0, le=2**53)]
    seconds: Figure = Field(None, alias="time/simulated_s")
    mean_reward: Figure = Field(None, alias="rollout/mean_reward")
    mean_return: Figure = Field(None, alias="rollout/ep_rew_mean")
    mean_squared_error: Figure = Field(None, alias="rollout/mean_squared_error")
    episodes: Figure = Field(None, alias="rollout/episodes")
    on_time: Figure = Field(None, alias="world/on_time")
    done: Figure = None


class Tail:
    """The whole lines of a file that grows; `anew` says whether the last look found another file than before, or the same cut short."""

    def __init__(self, path: Path) -> None:
        self._path, self._at, self._file, self._rest = path, 0, (0, 0), b""
        self.anew = False

    def lines(self) -> list[bytes]:
        """Those that have come since the last time; none if the file is not there, or no regular one."""
        self.anew = False
        try:
            with durable.plain(self._path) as file:
                found = os.fstat(file.fileno())
                which = (found.st_dev, found.st_ino)
                if which != self._file or found.st_size < self._at:
                    self.anew, self._file, self._at, self._rest = self._at > 0, which, 0, b""
                file.seek(self._at)
                came = file.read(AT_ONCE)
        except OSError:
            return []
        self._at += len(came)
        *whole, self._rest = (self._rest + came).split(b"\n")
        if len(self._rest) > AT_ONCE:
            self._rest = b""
        return whole


class Source:
    """A run, or the newest one where its path is a link; `look` brings up to date what `answer` tells."""

    def __init__(self, run: Path) -> None:
        self._run, self._lock = run, Lock()
        self._path: Path | None = None
        self._part: Any = None
        self._begin(None)

    def _begin(self, path: Path | None) -> None:
        self._path, self.generation = path, secrets.token_hex(8)
        self._traffic, self._metrics = (Tail(path / name) for name in (TRAFFIC, METRICS)) if path else (None, None)
        self._team: Team | None = None
        self._rows: list[str] = []
        self._progress: list[str] = []
        self._unread = 0
        self._summary: tuple[str, dict[str, Any]] = ("", {})  # what was said of a run that stood so
        self._about: dict[str, Any] = {"standing": "nothing yet", "path": printable(str(self._run))}

    def answer(self, generation: str, rows: int, progress: int) -> bytes:
        """What is shown, as JSON: all, or to whoever has this generation what came after so many rows of traffic and of progress."""
        with self._lock:
            self._look()
            if generation != self.generation:
                rows = progress = 0
            parts = {
                "generation": as_json(self.generation),
                "about": as_json(self._about),
                "team": self._team.model_dump_json() if self._team and not rows else "null",
                "rows": f"[{','.join(self._rows[rows:])}]",
                "progress": f"[{','.join(self._progress[progress:])}]",
            }
        return "{{{}}}".format(",".join(f'"{name}":{text}' for name, text in parts.items())).encode()

    def _look(self) -> None:
        try:
            path = self._run.resolve() if (self._run / "run.json").is_file() else None
        except OSError as error:  # one that may not be looked into
            self._about |= {"standing": "cannot be read", "trouble": printable(in_a_line(error))}
            return
        if path != self._path:
            self._begin(path)
        if path is None:
            return
        try:
            about = stored.about(path)
        except ScenarioError as error:
            self._about |= {"standing": "cannot be read", "trouble": printable(str(error))}
            return
        part = (about.started, len(about.resumed))
        traffic, metrics = self._traffic.lines(), self._metrics.lines()
        if (self._part is not None and part != self._part) or self._traffic.anew or self._metrics.anew:
            self._begin(path)
            traffic, metrics = self._traffic.lines(), self._metrics.lines()
        self._part = part
        for line in traffic:
            self._take(line)
        for line in metrics:
            try:
                self._progress.append(Progress.model_validate_json(line).model_dump_json(by_alias=False))
            except ValidationError:
                self._unread += 1
        self._about = self._told(path, about)

    def _take(self, line: bytes) -> None:
        try:
            if self._team is None:
                team = Team.model_validate_json(line)
                self._team = team if team.sound else None
                self._unread += not team.sound
                return
            row = Row.model_validate_json(line)
        except ValidationError:
            self._unread += 1
            return
        if row.fits(self._team):
            self._rows.append(row.model_dump_json(exclude_defaults=True))
        else:
            self._unread += 1

    def _told(self, path: Path, about: stored.About) -> dict[str, Any]:
        """The run in words and figures."""
        standing = stored.standing(about, None)
        if standing.startswith("dead"):
            standing = stored.standing(about, stored.held(path))  # whom the process' number does not show
        scenario = about.scenario or {}
        under = scenario.get("under")
        told = {
            "standing": printable(standing)[:300],
            "path": printable(str(path)),
            "engine": about.engine,
            "time": str(about.how.get("time", "virtual" if about.engine == "embedded" else "wall"))[:20],
            **{name: printable(str(scenario.get(name, "")))[:200] for name in ("name", "question", "seed")},
            "under": [printable(str(each))[:100] for each in (under if isinstance(under, list) else [])[:20]],
        }
        if self._unread:
            told["trouble"] = f"lines of {TRAFFIC} and {METRICS} that could not be read: {self._unread}"
        if about.status != "running" and self._summary[0] != about.status:  # that of a run that goes on is from before
            self._summary = about.status, self._summed(path)
        return told | ({} if about.status == "running" else self._summary[1])

    def _summed(self, path: Path) -> dict[str, Any]:
        """The end of a run that has one."""
        try:
            summary = stored.summary(path)
        except ScenarioError as error:
            return {"trouble": printable(str(error))}
        return {"summary": {name: summary[name] for name in SHOWN} | {"reasons": [printable(reason)[:300] for reason in summary["reasons"][:20]]}}
