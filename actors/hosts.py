"""The actors of a run, asked together: who has no answer is gone, and is named.

Whoever is asked answers at once, since the loop runs beside in compiled code that holds no lock; so one that is silent is frozen, or cut off.
"""

from __future__ import annotations

import time as clock_time
from collections.abc import Callable, Iterable
from typing import Any

SILENT = 10.0  # seconds without an answer
STARTING = 300.0  # seconds for an actor to start: its machine may have to compile first
SLOW = 3.0  # seconds for an answer; the verdict hears of slower ones
SLICE = 0.5  # seconds of waiting at a time


class Gone(Exception):
    """A host is lost or does not answer; Hosts.gone says which."""


def _what_happened(error: str) -> str:
    """What Ray says of the end of an actor, in a few words."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return lines[-1][:300] if "creation task" in error and len(lines) > 1 else "its process has ended"


class Hosts(dict[str, Any]):
    """Handles of actors by name; `names` says which nodes each hosts, `heard` is told after every look that all is well."""

    def __init__(self, ray: Any, names: dict[str, list[str]], heard: Callable[[], None]) -> None:
        super().__init__()
        self.ray, self.names, self._heard = ray, names, heard
        self.gone: dict[str, str] = {}  # those that are lost or do not answer, and what happened; they are asked no more
        self.slow: dict[str, float] = {}  # the longest time that a host took to answer

    def answers(
        self,
        method: str,
        arguments: Callable[[str], tuple] = lambda _: (),
        timeout: float | None = None,
        of: Iterable[str] | None = None,
        heard: Callable[[str, Any], None] = lambda *_: None,
    ) -> dict[str, Any]:
        """Call a method of the hosts (those that are there, or of these) and return their answers by name; who has none is `gone`.

        `heard` is told each answer as it comes.
        """
        asked = {getattr(self[name], method).remote(*arguments(name)): name for name in of or self if name not in self.gone}
        answers, began, longest = {}, clock_time.monotonic(), timeout or SILENT
        while asked:
            done, _ = self.ray.wait(list(asked), num_returns=len(asked), timeout=SLICE)
            took = clock_time.monotonic() - began
            for answer in done:
                name = asked.pop(answer)
                try:
                    answers[name] = self.ray.get(answer, timeout=SILENT)
                    heard(name, answers[name])
                except self.ray.exceptions.RayTaskError:  # a bug of ours in a host that lives
                    raise
                except self.ray.exceptions.RayError as error:  # its process, its node, or what it has answered is gone
                    self.gone[name] = _what_happened(str(error))
                if took > max(SLOW, self.slow.get(name, 0.0)) and timeout is None:
                    self.slow[name] = took
            self._heard()
            if took > longest:
                self.gone |= dict.fromkeys(asked.values(), f"no answer for {longest:.0f} s")
                break
        return {name: answers[name] for name in self if name in answers}

    def back(self, name: str, handle: Any) -> None:
        """Have another take the place of one that is gone."""
        self[name] = handle
        del self.gone[name]

    def all(self, method: str, *arguments: Any, **how: Any) -> dict[str, Any]:
        """The same, of hosts that must all be there; raises Gone."""
        answers = self.answers(method, *arguments, **how)
        if self.gone:
            raise Gone
        return answers

    def who(self) -> str:
        """Who is gone, and what happened, in one line."""
        why: dict[str, list[str]] = {}
        for name in self:
            if name in self.gone:
                why.setdefault(self.gone[name], []).extend(self.names[name])
        return "an actor was lost: " + "; ".join(f"{', '.join(names)} ({what})" for what, names in why.items())
