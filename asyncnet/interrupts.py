"""Ctrl-C and SIGTERM, heard at whatever moment they come.

An exception that a handler raises lands anywhere: in the middle of an event, in a compiler that takes it for its own, in a destructor that drops it. So the
command's handler raises none. Whoever can end in order is told (`instead`, `raised`); where nobody can, there is nothing to lose, and the process leaves at
once. This module imports nothing heavy: the command listens before it does.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

INTERRUPTED = 130  # exit code
ONCE = 2.0  # seconds in which an interrupt sent again is the same one: `timeout` sends to a process and to its group

leaving: list[Callable[[], None]] = []  # what is done before leaving at once: short, and safe in the middle of anything
_elsewhere: list[Callable[[], None]] = []  # whom `tell_threads` tells
_last = float("-inf")  # when an interrupt was told or raised


def _again() -> bool:
    """Whether this one was heard already; else it is now."""
    global _last  # noqa: PLW0603
    now = time.monotonic()
    again = now - _last <= ONCE
    if not again:
        _last = now
    return again


def leave(number: int, frame: object) -> None:
    """Exit from wherever the process is."""
    if not _again():
        for do in leaving:
            do()
        os._exit(INTERRUPTED)


def listen() -> None:
    """Have Ctrl-C and SIGTERM end this process with INTERRUPTED from now on."""
    signal.signal(signal.SIGTERM, leave)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background job ignores it
        signal.signal(signal.SIGINT, leave)


def ignore() -> None:
    """Nothing is left to interrupt but Python's own end, which would make it another exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def instead(do: Callable[[], None]) -> Iterator[None]:
    """Within the block the first interrupt calls `do`; a later one does what it does outside.

    Interrupts are those of the command, and signals whose handler raises KeyboardInterrupt. In another thread than the main one `tell_threads` calls `do`.
    """
    if threading.current_thread() is not threading.main_thread():
        _elsewhere.append(do)
        try:
            yield
        finally:
            _elsewhere.remove(do)
        return
    heard = False

    def gently(number: int, frame: object) -> None:
        nonlocal heard
        if heard or before[number] is not leave:
            try:
                before[number](number, frame)
                return
            except KeyboardInterrupt:
                if heard:
                    raise
        elif _again():
            return
        heard = True
        do()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with _handlers({number: gently for number, handler in before.items() if callable(handler)}):
        yield


def tell_threads() -> None:
    """Have whoever is within `instead` in another thread do what it said."""
    for do in list(_elsewhere):
        do()


@contextmanager
def raised() -> Iterator[None]:
    """Within the block the command's interrupts raise KeyboardInterrupt in the main thread, for code that ends in order by that."""

    def interrupt(number: int, frame: object) -> None:
        if not _again():
            raise KeyboardInterrupt

    with _handlers({number: interrupt for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is leave}):
        yield


@contextmanager
def _handlers(handlers: dict[int, Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        handlers = {}
    before: dict[int, Any] = {}
    try:
        for number, handler in handlers.items():
            before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
