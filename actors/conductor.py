"""The Ray work of a run in a process of its own, the conductor, so that a run's record, its directory and its caller outlive whatever becomes of Ray.

Ray is threads of C++ in the process that uses it: a call may hang for good when Ray's manager on the machine (raylet) or its control store (gcs_server) is
gone, and in the end they end the process. So the conductor does what Ray is needed for and tells over a pipe how it goes. Whoever started it watches what it
tells and, on this machine, the state of its processes, for which no part of Ray need be asked.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe
from typing import Any

import psutil

from asyncnet import interrupts
from asyncnet.loop.counts import Counts
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.runs.record import Keeper, Record, Reporter
from asyncnet.scenario import outside
from asyncnet.scenario.schema import Scenario, ScenarioError, check
from asyncnet.team.draw import plan

from .ray_internals import ACTOR, CONTROL_TIMEOUT, ESSENTIAL
from .session import Ground, Session, ground, joined, started, unanswered

POLL = 0.25  # seconds between looks at processes
FROZEN = 5.0  # seconds that a process may be stopped
ACTOR_FROZEN = 20.0  # the same for an actor: before that it is named by the team, for it does not answer (hosts.SILENT), with all that the others know
TIMEOUT = {"ray": 120.0, "kernels": 600.0, "team": 20.0}  # seconds without a word from the conductor at each stage; with a team it speaks all the time
JOINING = 30.0  # seconds for joining a cluster that has answered
WIND_UP = 60.0  # seconds for the end of a run that was interrupted
ONCE_MORE = 5.0  # seconds after which another interrupt ends that too
LEAVING = 10.0  # seconds for leaving a cluster
CAUSE = 2.0  # seconds to find out why the conductor has ended
WAITING = 8  # words of the conductor that wait to be heard; then it waits
STARTING = "an actor that was starting"
MOST_NAMED = 12  # nodes
NEVER = float("inf")
STARTS = 3  # of a Ray of its own: on a busy machine it ends by itself when its helpers take longer than the 15 s that it gives them
STANDING = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)

_CHILD = "import sys; sys.path[:] = {path!r}; from asyncnet.actors.conductor import main; main({descriptor})"


class Lost(Exception):
    """A part that nothing goes on without is gone; the text says which, and what happened."""


def conduct(
    scenario: Scenario,
    reporter: Reporter,
    *,
    address: str | None = None,
    token: Mapping[str, str] | None = None,
    kept: Keeper | None = None,
    begin: Checkpoint | None = None,
    **how: Any,
) -> Record:
    """Run a scenario on Ray by a conductor; whatever happens to Ray there is a record, of what is known then.

    A Ray of its own that ends before it has begun is started anew, STARTS times in all, unless `restart` is "never".
    `token` are the variables with which it gets into the Ray at `address` if that is the one of this process. Raises ScenarioError if a cluster cannot be
    joined, and RuntimeError, with the traceback, for a bug.
    """
    order = (
        outside.packed(scenario),
        scenario.data(),
        (address, token is not None),
        None if kept is None else (kept.every, kept.recording, kept.name),
        None if begin is None else tuple(begin),
        how,
    )
    ending = threading.Event()
    with interrupts.instead(ending.set):
        for more in range(1 if how.get("restart") == "never" else STARTS, 0, -1):
            with _process(address, token or {}) as (process, link):
                link.send(order)
                watch = _Watch(scenario, reporter, kept, process, link, address, ending)
                try:
                    record = watch.run()
                finally:
                    watch.leave()
            if not record.lost or watch.started or address is not None or more == 1:
                break
            reporter.note(f"{record.stopped}; once more")
    return record if watch.started else replace(record, lost=False)


@contextmanager
def _process(address: str | None, token: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], Connection]]:
    """The conductor and the pipe to it; at the end nothing is left of it, nor of a Ray of its own."""
    here, there = Pipe()
    with ExitStack() as stack:
        stack.callback(here.close)
        base = stack.enter_context(ground()) if address is None else None  # a cluster that is joined has its own processes and files
        with there, tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [sys.executable, "-c", _CHILD.format(path=sys.path, descriptor=there.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=said,  # Ray's own lines are no part of a run's summary
                stderr=said,
                pass_fds=[there.fileno()],
                start_new_session=True,  # Ctrl-C is for whoever watches
                env={**os.environ, **(CONTROL_TIMEOUT | token if base is None else base.environment)},
            )
        stack.callback(_end, process)
        here.send(base)
        yield process, here


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


class _Watch:
    """What is known of a run from outside: what its conductor has told, and the state of processes."""

    def __init__(
        self,
        scenario: Scenario,
        reporter: Reporter,
        kept: Keeper | None,
        process: subprocess.Popen[bytes],
        link: Connection,
        address: str | None,
        ending: threading.Event,
    ) -> None:
        self._scenario, self._reporter, self._kept, self._process, self._link, self._address = scenario, reporter, kept, process, link, address
        self._eyes = Eyes(process.pid)
        self._stage, self._told, self._began = "ray", {}, None
        self._ending, self._interrupted = ending, NEVER
        self._left = False
        self._words: queue.Queue[tuple[Any, ...]] = queue.Queue(WAITING)
        self._ear = threading.Thread(target=self._listen, name="conductor", daemon=True)  # so that no interrupt falls into the midst of a word
        self._ear.start()

    def _listen(self) -> None:
        word: tuple[Any, ...] = ()
        while word[:1] != ("ended",):
            try:
                word = self._link.recv()
            except (EOFError, OSError):
                word = ("ended",)
            while not self._left:
                with suppress(queue.Full):
                    self._words.put(word, timeout=POLL)
                    break

    def run(self) -> Record:
        """Hear the conductor, and look at the processes, until there is a record."""
        heard = time.monotonic()
        while True:
            try:
                if self._ending.is_set() and self._interrupted == NEVER:
                    self._interrupted = time.monotonic()
                    if self._stage != "team":
                        raise Lost
                    with suppress(OSError):
                        self._link.send("stop")
                with suppress(queue.Empty):
                    word = self._words.get(timeout=POLL)
                    heard = time.monotonic()
                    if word[0] == "record":
                        return self._checked(word[1])
                    self._take(*word)
                if found := self._eyes.look():
                    raise Lost(self._with_whom(found))
                self._hold_to(time.monotonic() - heard)
            except KeyboardInterrupt:  # a reporter may raise one at every row
                if time.monotonic() - self._interrupted > ONCE_MORE:
                    return self._remains("interrupted")
                self._ending.set()
            except Lost as lost:
                return self._remains("interrupted") if self._ending.is_set() else replace(self._remains(str(lost)), lost=True)

    @property
    def started(self) -> bool:
        """Whether Ray was there, of its own or joined."""
        return self._stage != "ray"

    def leave(self) -> None:
        """Let the conductor leave a cluster that it has joined."""
        self._left = True
        if self._address is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(LEAVING)

    def _take(self, kind: str, *what: Any) -> None:
        if kind in ("note", "row"):
            getattr(self._reporter, kind)(*what)
        elif kind == "told":
            self._told |= what[0]
        elif kind == "stage":
            self._stage = what[0]
        elif kind == "actor":
            self._began = time.perf_counter()
            if self._address is None:
                self._eyes.know(*what)
        elif kind == "checkpoint":
            self._kept.checkpoint(Checkpoint(*what))
        elif kind == "segment":
            self._kept.segment(*what)
        elif kind == "traffic":
            self._kept.traffic(Counts(*what))
        elif kind == "warning":
            warnings.warn(what[0], RuntimeWarning, stacklevel=5)
        elif kind == "refused":
            raise ScenarioError(*what)
        elif kind in ("broke", "ended"):
            self._explain(*what)

    def _explain(self, line: str = "", report: str = "") -> None:
        """The conductor has ended: for a reason that can be seen, or was told, or by a bug."""
        if cause := self._cause():
            raise Lost(cause)
        if not self.started and line:
            if self._address is not None:
                raise ScenarioError("--address", "", f"no Ray cluster could be joined at {self._address}: {line}")
            raise Lost(self._with_whom(line))
        if report:
            raise RuntimeError(report)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(CAUSE)
        code = self._process.returncode
        if self._address is not None and (why := unanswered(self._address)):
            raise Lost(self._with_whom(f"the cluster's control store is gone ({why})"))
        raise Lost(self._with_whom(f"the process that speaks to Ray has ended ({signal.Signals(-code).name if code and code < 0 else f'exit code {code}'})"))

    def _cause(self) -> str:
        """What can be seen of why it has ended; "" if nothing can."""
        until = time.monotonic() + CAUSE
        while time.monotonic() < until:
            if found := self._eyes.look():
                return self._with_whom(found)
            time.sleep(POLL / 5)
        return ""

    def _checked(self, record: Record) -> Record:
        """The record; if actors were lost because Ray itself was, with that as the reason."""
        if record.stopped not in ("finished", "interrupted"):
            return replace(record, stopped=self._cause() or record.stopped)
        for name in self._eyes.standing():
            self._reporter.note(f"{name} stood still as the run ended; the run is whole")
        return record

    def _hold_to(self, silence: float) -> None:
        """Whoever says nothing for too long is gone."""
        joining = not self.started and self._address is not None
        limit = JOINING if joining else TIMEOUT[self._stage]
        if time.monotonic() - self._interrupted > WIND_UP:
            raise Lost
        if silence > limit and joining:
            raise ScenarioError("--address", "", f"no Ray cluster could be joined at {self._address} within {limit:.0f} s")
        if silence > limit:
            raise Lost(self._with_whom(f"Ray has not answered for {limit:.0f} s"))

    def _with_whom(self, what: str) -> str:
        if not self.started and self._address is None:
            return f"Ray did not start: {what}"
        names = [node.name for node in plan(self._scenario).nodes]
        return f"{what}; lost with it: {', '.join(names[:MOST_NAMED])}{f' and {len(names) - MOST_NAMED} more' if len(names) > MOST_NAMED else ''}"

    def _remains(self, why: str) -> Record:
        from .results import remains

        return remains(why, self._told, 0.0 if self._began is None else time.perf_counter() - self._began)


class Eyes:
    """The conductor's processes as the system sees them: who has ended, who stands still."""

    def __init__(self, root: int) -> None:
        self._root = psutil.Process(root)
        self._seen = {root: self._root}
        self._names = {root: "the process that speaks to Ray"}
        self._stopped: dict[int, float] = {}
        self._actors: set[int] = set()
        self._awaited: Collection[str] = ()  # what the actors host that have not said yet who they are
        self._known, self._looked = False, time.monotonic()

    def know(self, pid: int, hosts: str, awaited: Collection[str]) -> None:
        """That process hosts these nodes, and others are awaited; once none are, there are no more processes to come."""
        self._scan()
        self._names[pid] = hosts
        self._actors.add(pid)
        self._awaited, self._known = awaited, not awaited

    def standing(self) -> Iterator[str]:
        """Who stands still at this moment."""
        for pid, process in self._seen.items():
            with suppress(psutil.Error):
                if process.status() in STANDING:
                    yield self._names[pid]

    def look(self) -> str:
        """What has happened to a part that nothing goes on without, or that has stood still for too long; "" if nothing has."""
        if not self._known:
            self._scan()
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, 4 * POLL), now  # whoever looks may have been stopped together with the others
        for pid, process in list(self._seen.items()):
            try:
                status = process.status()
            except psutil.Error:
                status = psutil.STATUS_DEAD
            if status in (psutil.STATUS_DEAD, psutil.STATUS_ZOMBIE):
                del self._seen[pid]
                if self._names[pid] in ESSENTIAL.values():
                    return f"{self._names[pid]} has ended"
            elif status in STANDING:
                self._stopped[pid] = self._stopped.get(pid, 0.0) + passed
                if self._stopped[pid] > (ACTOR_FROZEN if pid in self._actors else FROZEN):
                    return f"{self._names[pid]}{self._whoever(pid)} stands still: its process has been stopped for {self._stopped[pid]:.0f} s"
            else:
                self._stopped.pop(pid, None)
        return ""

    def _scan(self) -> None:
        with suppress(psutil.Error):
            for process in self._root.children(recursive=True):
                with suppress(psutil.Error):
                    name = process.name()  # a process just forked has another until it becomes what it is
                    self._seen[process.pid] = process
                    if process.pid not in self._actors:
                        self._names[process.pid] = ESSENTIAL.get(name) or (STARTING if name.startswith(ACTOR) else f"Ray's process {name}")

    def _whoever(self, pid: int) -> str:
        """Which nodes an actor must host that has not said so."""
        return f" ({' or '.join(self._awaited)})" if self._awaited and self._names[pid] == STARTING else ""


class _Teller:
    """In the conductor: the run's Reporter and Keeper, which tell whoever watches."""

    def __init__(self, link: Connection, keeping: tuple[float, bool, str]) -> None:
        self._link = link
        self.every, self.recording, self.name = keeping

    def tell(self, *word: Any) -> None:
        self._link.send(word)

    def note(self, text: str) -> None:
        self.tell("note", text)

    def row(self, row: dict[str, Any]) -> None:
        self.tell("row", row)

    def checkpoint(self, state: Checkpoint) -> None:
        self.tell("checkpoint", *state)

    def segment(self, loop: str, data: bytes) -> None:
        self.tell("segment", loop, data)

    def traffic(self, counts: Counts) -> None:
        self.tell("traffic", *counts)


def main(descriptor: int) -> None:
    """The conductor."""
    link = Connection(descriptor)
    base: Ground | None = link.recv()
    given, data, (address, ours), keeping, begin, how = link.recv()
    teller, stop = _Teller(link, keeping or (0.0, False, "")), threading.Event()
    threading.Thread(target=_obey, args=(link, stop), name="orders", daemon=True).start()
    warnings.showwarning = lambda message, *_, **__: teller.tell("warning", str(message))
    try:
        outside.receive(given)
        with joined(address, ours=ours) if base is None else _here(base) as held:
            _work(held, check(data, "scenario"), teller, stop, kept=teller if keeping else None, begin=None if begin is None else Checkpoint(*begin), **how)
    except ScenarioError as error:
        teller.tell("refused", error.where, error.key, error.why)
    except Exception as error:
        if theirs := outside.raised_in(error):
            teller.tell("refused", theirs.where, theirs.key, theirs.why)
        else:
            teller.tell("broke", " ".join(str(error).split())[:300], traceback.format_exc())
        if base is not None:
            threading.Event().wait(CAUSE + LEAVING)  # what ends with this process would be taken for the cause


def _work(held: Session, scenario: Scenario, teller: _Teller, stop: threading.Event, **how: Any) -> None:
    from .team import prepared

    teller.tell("stage", "kernels")
    team = prepared(held, scenario, teller, tell=teller.tell, interrupted=stop, **how)
    try:
        teller.tell("record", team.run())
    finally:
        team.end()


@contextmanager
def _here(base: Ground) -> Iterator[Session]:
    """A Ray on this ground; whoever keeps the ground ends it, and this process with it."""
    yield started(base)
    threading.Event().wait()


def _obey(link: Connection, stop: threading.Event) -> None:
    """Note the order to stop; when nobody watches any more, end."""
    with suppress(EOFError, OSError):
        while link.recv() == "stop":
            stop.set()
    os._exit(1)
