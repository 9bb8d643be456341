"""Stopping a replay at an event, to look at the node that is about to hear it."""

from __future__ import annotations

import code
import sys
from collections.abc import Callable

from asyncnet.node import Node
from asyncnet.replay import Event
from asyncnet.scenario import ScenarioError


def stop_before(where: str, *, debug: bool = False) -> Callable[[Event, Node], bool]:
    """What `replay` is to call before each event, to stop at "NODE:N", the N-th event of a node, or at "N", the N-th of all; raises ScenarioError.

    There it opens a Python prompt that knows `node` and `event`, or with `debug` the debugger.
    """
    name, colon, number = where.rpartition(":")
    if not number.isdigit() or int(number) < 1 or (colon and not name):
        raise ScenarioError("--until", "", f"NODE:N or N, a node and the number of an event from 1; got {where!r}")
    wanted, count = int(number), 0

    def before(event: Event, node: Node) -> bool:
        nonlocal count
        count += 1
        if (event.node, event.number) != (name, wanted) if name else count != wanted:
            return False
        print(f"before {event}", file=sys.stderr)
        if debug:
            breakpoint()  # `node` is about to hear `event`: node.view holds its arrays, "u" shows who gives it the event
            return False
        show(node)
        code.interact(banner="node, event; node.view.weight and the like are its arrays; Ctrl-D ends", local={"node": node, "event": event}, exitmsg="")
        return True

    return before


def show(node: Node) -> None:
    """A node's arrays, one line each, on standard error."""
    for field in node.bound.fields:
        array = getattr(node.view, field.name)
        told = f"{array.ravel()[0]:g}" if array.size == 1 else f"{array.min():g} .. {array.max():g}" if array.size else "-"
        print(f"  {field.name:14} {tuple(array.shape)!s:20} {told}", file=sys.stderr)
