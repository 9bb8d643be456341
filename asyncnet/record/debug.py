"""Stopping a replay at an event, to look at the node that is about to hear it."""

from __future__ import annotations

import code
import re
import sys

from asyncnet.nodes.node import Node
from asyncnet.record.playback import Event
from asyncnet.scenario.schema import ScenarioError

_WHERE = re.compile(r"(?:(?P<node>.+):)?(?P<number>[1-9][0-9]{0,17})", re.ASCII)


class Stop:
    """What `replay` is to call before each event, to stop at one; `reached` says whether it has come."""

    def __init__(self, node: str | None, number: int, debug: bool) -> None:
        self.reached = False
        self._node, self._number, self._debug = node, number, debug
        self._count = 0

    def __call__(self, event: Event, node: Node) -> bool:
        self._count += 1
        if (self._count if self._node is None else event.number) != self._number or self._node not in (None, event.node):
            return False
        self.reached = True
        print(f"before {event}", file=sys.stderr)
        if self._debug:
            breakpoint()  # `node` is about to hear `event`: node.view holds its arrays, "u" shows who gives it the event
            return False
        show(node)
        code.interact(banner="node, event; node.view.weight and the like are its arrays; Ctrl-D ends", local={"node": node, "event": event}, exitmsg="")
        return True


def stop_before(where: str, *, debug: bool = False) -> Stop:
    """Stop at "NODE:N", the N-th event of a node, or at "N", the N-th of all; raises ScenarioError.

    There it opens a Python prompt that knows `node` and `event`, or with `debug` the debugger.
    """
    found = _WHERE.fullmatch(where)
    if not found:
        raise ScenarioError("--until", "", f"NODE:N or N, a node and the number of an event from 1; got {where!r}")
    return Stop(found["node"], int(found["number"]), debug)


def show(node: Node) -> None:
    """A node's arrays, one line each, on standard error."""
    for field in node.bound.fields:
        array = getattr(node.view, field.name)
        told = f"{array.ravel()[0]:g}" if array.size == 1 else f"{array.min():g} .. {array.max():g}" if array.size else "-"
        print(f"  {field.name:14} {tuple(array.shape)!s:20} {told}", file=sys.stderr)
