"""Hosts that are lost come back, and a run on real clocks goes on: everybody stands still meanwhile, so nobody misses a tick.

    somebody is gone -> all others stand still -> another host takes its place, in the state that was fetched of it last -> all meet it -> all go on

What the nodes of a lost host heard and said since that state is gone with it: some seconds, and the record says how many. The others
have gone on, so its next life begins with sequence numbers that nobody has heard (message.LIFE), and what an earlier life may still say is refused and
counted. The books are closed over the gap: what was said to it and is not in its state has expired, and what it said since then it says twice.

How often: at most MOST times within WITHIN seconds (as supervisors of Erlang/OTP do); then the run as a whole has to begin again, or ends.
"""

from __future__ import annotations

import os
import time as clock_time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import psutil

from asyncnet.loop import ledger
from asyncnet.loop.message import LIFE, TICK
from asyncnet.runs import snapshot
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.team import network
from asyncnet.team.network import Plan

from .host import machine
from .hosts import SILENT, STARTING, Hosts
from .ray_internals import ACTOR
from .recordings import Recordings
from .results import total

RESTARTS = "intensity", "never"
EVERY = 1.5  # seconds between fetches of all states, at least
LEISURE = 4  # after one that took long there is so many times as long without
MOST, WITHIN = 5, 30.0  # times that lost hosts are brought back within so many seconds
LEAD = 0.1  # seconds between an order to all and its time, so that all have heard
QUIET = 0.05  # seconds in which nothing more comes: nothing is under way between hosts


class Supervisor:
    """Sees to it that hosts which are lost come back; `parts` are the nodes of each, `made` starts one (a name, then arguments of Host)."""

    def __init__(
        self,
        hosts: Hosts,
        plan: Plan,
        parts: dict[str, list[int]],
        made: Callable[..., Any],
        say: Callable[[str], None],
        tell: Callable[..., None],
        recordings: Recordings | None,
    ) -> None:
        self._hosts, self._plan, self._parts, self._made, self._say, self._tell, self._recordings = hosts, plan, parts, made, say, tell, recordings
        self._states: dict[str, Checkpoint] = {}
        self._recorded: dict[str, int] = {}  # how many events each host had written down by then
        self._lives = dict.fromkeys(parts, 0)
        self._unborn: set[str] = set()  # those whose successor was lost before it began
        self._places: dict[str, tuple[int, str]] = {}  # the number of each host's process, and whose number that is
        self._lately: deque[float] = deque()
        self._due = 0.0
        self.restarts: list[dict[str, Any]] = []
        self.lost: dict[str, int] = {}  # microseconds of the run, by node, of which nothing is left
        self.unread = 0  # messages that found no room because nobody read any more

    def begin(self) -> None:
        """Fetch the states from which all will start."""
        if self._recordings is not None:
            self._recordings.watch(list(self._hosts))
        self._note(self._hosts.all("begins", timeout=STARTING))
        self._places = self._hosts.all("place", timeout=STARTING)
        numbers = {name: state.arrays["counts"][:, 3 : 3 + TICK].max() for name, state in self._states.items()}
        self._lives = {name: int(most) // LIFE for name, most in numbers.items()}  # a run that goes on may have had others

    def _note(self, found: dict[str, tuple[dict[str, Any], dict[str, np.ndarray], int]]) -> None:
        for name, (about, arrays, recorded) in found.items():
            self._states[name], self._recorded[name] = Checkpoint(about, arrays), recorded

    def look(self) -> None:
        """Fetch the states of all hosts, if it is time."""
        began = clock_time.monotonic()
        if began >= self._due:
            self._note({name: found for name, found in self._hosts.answers("goes_on_from").items() if found is not None})
            ended = clock_time.monotonic()
            self._due = ended + max(EVERY, LEISURE * (ended - began))

    def states(self) -> list[Checkpoint]:
        """The states that were fetched last, one for each host, of the others' now as far as they answer."""
        self._due = 0.0
        self.look()
        return list(self._states.values())

    def bring_back(self) -> bool:
        """Have other hosts take the places of those that are gone; returns whether all are there and go on."""
        while self._hosts.gone:
            lost = [name for name in self._hosts if name in self._hosts.gone]
            if len(lost) == len(self._hosts) or any("task" in self._states[name].about for name in lost) or not self._may():
                return False  # what a step of a task in Python led to is in no memory that outlives its process
            self._bring_back(lost)
        return True

    def give_up(self) -> None:
        """End the recordings of those that are gone."""
        for name in self._hosts.gone if self._recordings is not None else ():
            if name in self._states and name not in self._unborn:
                self._recordings.lost(name, all_is_there="task" not in self._states[name].about)

    def _may(self) -> bool:
        """Whether one more time is within the limit, for one host or for all of a machine that is gone."""
        now = clock_time.monotonic()
        while self._lately and self._lately[0] < now - WITHIN:
            self._lately.popleft()
        self._lately.append(now)
        return len(self._lately) <= MOST

    def _bring_back(self, lost: list[str]) -> None:
        hosts, began, why = self._hosts, clock_time.monotonic(), {name: self._hosts.gone[name] for name in lost}
        others = [name for name in hosts if name not in lost]
        for name in lost:
            hosts.ray.kill(hosts[name])
            _end(self._places.pop(name, None))
            if self._recordings is not None and name not in self._unborn:
                self._recordings.lost(name, all_is_there=True)
        self._unborn.update(lost)
        since, books = self._stand(others)
        if since is None:
            return
        reached = max(hosts.answers("reached", of=others).values(), default=0)
        whole, owed, unread = self._mended(lost, books)
        for name in lost:
            state, mine = self._states[name], self._parts[name]
            life = self._lives[name] + 1
            begin = snapshot.reborn(snapshot.part(whole, self._plan, mine), mine, now=since, life=life, reached=reached)
            more = {"life": life, "owed": owed[name].tobytes(), "since": self._recorded[name]}
            hosts.back(name, self._made(name, begin._replace(arrays=begin.arrays | self._struck(state)), **more))
        self._meet(lost, others)
        first = {} if self._recordings is None else self._recordings.fetched(lost)
        at = clock_time.time_ns() + int(LEAD * 1e9)
        if not hosts.gone:
            self._unborn.difference_update(lost)  # from here on they may say something
            for name in lost:
                self._lives[name] += 1
            if self._recordings is not None:
                self._recordings.watch(lost)
                self._recordings.keep(first)
            hosts.answers("start", lambda _: (at,), of=lost)
        if hosts.gone:  # somebody else meanwhile: once more, with all of them
            hosts.gone |= {name: why[name] for name in lost if name not in hosts.gone}
            return
        hosts.answers("go_on", lambda _: (since, at), of=others)
        self.unread += unread
        took = clock_time.monotonic() - began
        for name in lost:
            nodes, behind = ", ".join(hosts.names[name]), (since - self._states[name].about["now"]) / 1e6
            for node in hosts.names[name]:
                self.lost[node] = self.lost.get(node, 0) + since - self._states[name].about["now"]
            self.restarts.append({"host": nodes, "why": why[name], "at_s": since / 1e6, "lost_s": behind, "took_s": round(took, 3)})
            self._say(f"{nodes} was lost ({why[name]}) and is back after {took:.1f} s, as it was {behind:.1f} s of the run before")

    def _stand(self, others: list[str]) -> tuple[int | None, np.ndarray]:
        """Have them stand still until nothing more comes; returns the run's time there, None if they do not, and their books."""
        hosts, at = self._hosts, clock_time.time_ns() + int(LEAD * 1e9)
        hosts.answers("stand", lambda _: (at,), of=others)
        until, before = clock_time.monotonic() + LEAD + SILENT, None
        while clock_time.monotonic() < until and not set(others) & set(hosts.gone):
            clock_time.sleep(QUIET)
            stands = [one for one in hosts.answers("stands", of=others).values() if one is not None]
            if len(stands) == len(others):
                now = [books for _, books in stands]
                if now == before:
                    return max(since for since, _ in stands), total(now)
                before = now
        if set(others) & set(hosts.gone):
            return None, np.zeros(0)
        still = [name for name, one in hosts.answers("stands", of=others).items() if one is not None]
        hosts.gone |= {name: "it does not stand still" for name in others if name not in hosts.gone and (name not in still or len(still) == len(others))}
        return None, np.zeros(0)

    def _mended(self, lost: list[str], books: np.ndarray) -> tuple[Checkpoint, dict[str, np.ndarray], int]:
        """The states of all, with the ledger of those who are lost; what each of these owes to it: (expired, duplicated) by link, columns first; and how many
        messages the others had for these that found no room since the states were fetched.
        """
        whole = snapshot.merge(self._states.values())
        links, place = self._plan.links, np.full(len(self._plan.nodes), -1)
        table = np.zeros_like(books)
        for number, name in enumerate(lost):
            place[self._parts[name]] = number
            table += snapshot.owned(self._states[name].arrays["ledger"], self._plan, self._parts[name])
        before = sum(state.arrays["ledger"][ledger.REFUSED] for name, state in self._states.items() if name not in lost)
        refused = books[ledger.REFUSED] - before
        books = books + table
        src, dst = place[links[:, network.SRC]], place[links[:, network.DST]]
        gap = ledger.unexplained(books)
        whose = np.where(src >= 0, src, dst)
        owed = np.stack((np.maximum(gap, 0), np.maximum(-gap, 0)))
        unread = int(refused[dst >= 0].sum())
        return whole._replace(arrays=whole.arrays | {"ledger": table}), {name: owed * (whose == number) for number, name in enumerate(lost)}, unread

    @staticmethod
    def _struck(state: Checkpoint) -> dict[str, np.ndarray]:
        """How often faults have struck on a host, which is its own to tell."""
        return {"struck": state.arrays["struck"]} if "struck" in state.arrays else {}

    def _meet(self, lost: list[str], others: list[str]) -> None:
        """Have all know those who have come back, and these all."""
        hosts = self._hosts
        for name, place in hosts.answers("place", of=lost, timeout=STARTING).items():
            self._places[name] = place
            self._tell("actor", place[0], ", ".join(hosts.names[name]), [])
        addresses = hosts.answers("address")
        everybody = {name: handle for name, handle in hosts.items() if name in addresses}

        def without(name: str, found: dict[str, Any]) -> dict[str, Any]:
            return {other: what for other, what in found.items() if other != name}

        if hosts.gone:
            return
        where = {i: name for name, part in self._parts.items() for i in part}
        memories = hosts.answers("connect", lambda name: (without(name, addresses), where, without(name, everybody)), of=lost)
        memories |= hosts.answers("meet_again", lambda name: (lost, without(name, addresses), without(name, everybody)), of=others)
        hosts.answers("share", lambda name: ({other: memory for other, memory in without(name, memories).items() if other in lost or name in lost},))
        hosts.answers("join_again", lambda _: ({name: self._lives[name] + 1 for name in lost},), of=others)


def _end(place: tuple[int, str] | None) -> None:
    """End an actor's process if it is one of this machine: Ray asks it to end itself, which one that is frozen does not."""
    if place is not None and place[1] == machine() and place[0] != os.getpid():
        with suppress(psutil.Error):
            if "".join(psutil.Process(place[0]).cmdline()[:1]).startswith(ACTOR):
                psutil.Process(place[0]).kill()
