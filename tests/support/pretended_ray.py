"""Ray as far as a team needs it, in one process: actors are plain objects with a thread each, and may die."""

from __future__ import annotations

import threading
from concurrent import futures
from types import SimpleNamespace


class RayError(Exception):
    """What Ray says."""


class RayTaskError(RayError):
    """A method has raised."""


class RayActorError(RayError):
    pass


class GetTimeoutError(RayError):
    pass


BUILDING = threading.Lock()  # Python 3.11 counts how deep its parser is for all threads together, and a host that is built may compile


class Hand:
    """A handle of an actor; once it has died, whoever calls it is told so."""

    def __init__(self, kind, arguments, options):
        self._pool, self._dead = futures.ThreadPoolExecutor(1), False
        self._actor = self._pool.submit(self._made, kind, arguments, options)

    @staticmethod
    def _made(kind, arguments, options):
        with BUILDING:
            return kind(*arguments, **options)

    @property
    def actor(self):
        return self._actor.result()

    def __getattr__(self, name):
        return SimpleNamespace(remote=lambda *arguments: self._call(name, arguments))

    def _call(self, name, arguments):
        if self._dead:
            gone = futures.Future()
            gone.set_exception(RayActorError("its process has ended"))
            return gone
        return self._pool.submit(lambda: getattr(self.actor, name)(*arguments))

    def die(self, *, really=True):
        """End the actor; not `really`: it goes on and nobody can reach it, as one behind a network that is cut."""
        self._dead = True
        if really:
            self.actor.loop.stop("killed")
            self.actor.lines.wake()
            self.actor.await_end(10.0)


class PretendedRay:
    """Stands in for the module; `killed` are the handles that were to be ended, in their order; the next `stillborn` actors die as they start."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError, RayActorError=RayActorError, GetTimeoutError=GetTimeoutError)

    def __init__(self):
        self.killed, self.started, self.stillborn = [], [], 0

    def nodes(self):
        return ["this machine"]

    def remote(self, kind):
        def made(*arguments, **options):
            self.started.append(Hand(kind, arguments, options))
            if self.stillborn:
                self.stillborn -= 1
                self.started[-1]._dead = True
            return self.started[-1]

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=made))

    def wait(self, answers, num_returns, timeout):
        done, left = futures.wait(answers, timeout)
        return list(done), list(left)

    def get(self, answer, timeout=None):
        return answer.result(timeout)

    def kill(self, hand):
        self.killed.append(hand)

    def close(self):
        for hand in self.started:
            hand._dead = True
            hand.actor.stop("closed")
            hand.actor.await_end(10.0)
            hand.actor.close()
