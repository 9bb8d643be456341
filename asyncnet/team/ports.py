"""Ports: what a node hears and what it says, declared by its kind. The links of a team follow from them (draw.py).

A link leads from a node that says `out` to one that hears an Out of that name along a relation:

    below       the sources of its layer (network.inputs): other layers, or the world's observation
    above       the nodes that hear it from below
    layer       the other nodes of its own layer
    broadcast   the one that all hear: the dopamine node where there is a critic, else the world
    world       the world

How messages travel (their conditions, their place among simultaneous ones) is the channel's business (message.py). A node hears the links of a channel
numbered in the order of its ports; what a port may hear is sized by its senders.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from asyncnet.loop.message import ACTIVITY, FEEDBACK, REWARD, TRANSITION

RELATIONS = ("below", "above", "layer", "broadcast", "world")


class Out(NamedTuple):
    """What a node says under a name; `size` counts the numbers of a message.

    It is a sum of products of numbers and dimensions: B streams, N values that the sender has for each, M partial sums that it has for each unit of its
    inputs, U units of the hearer. `apart`: each hearer gets a message of its own.
    """

    name: str
    channel: int
    size: str
    apart: bool = False

    def numbers(self, dims: Mapping[str, int]) -> int:
        """How many numbers a message has."""
        total = 0
        for term in self.size.split("+"):
            product = 1
            for factor in term.split():
                product *= int(factor) if factor.isdigit() else dims[factor]
            total += product
        return total


class In(NamedTuple):
    """What a node hears of others: `out` is the name of what they say, `relation` who they are.

    `senders` and `width` are dimensions of the node's layout (layout.py): how many nodes it hears here, and how many numbers these bring together for each
    stream (from below), for each unit of its own (partial sums from above). `table` is the field that says which of these each sender brings: first, how many.
    `waits`: for all of them, up to `network.timeout` ticks, else it takes the newest. `age` 1: what it hears is of the step before, as it must be where nodes
    hear each other in a circle.
    """

    name: str
    out: str
    relation: str
    senders: str = ""
    width: str = ""
    table: str = ""
    waits: bool = False
    age: int = 0


class Kind(NamedTuple):
    """What kind of node this is: the file that says when it acts, the file of its kernels, what it hears, what it says."""

    machine: str
    kernels: str = ""
    hears: tuple[In, ...] = ()
    says: tuple[Out, ...] = ()

    def hearing(self, name: str) -> In | None:
        """The port of that name, if there is one."""
        return next((port for port in self.hears if port.name == name), None)

    def saying(self, name: str) -> Out | None:
        """What it says under that name, if anything."""
        return next((out for out in self.says if out.name == name), None)

    def replace(self, port: str, by: In) -> Kind:
        """The same kind with another port of that name."""
        return self._replace(hears=tuple(by if each.name == port else each for each in self.hears))


ACTIVITIES = Out("activity", ACTIVITY, "B + B N")  # episode of each stream, then its values
REWARDS = Out("reward", REWARD, "B")  # reward or TD error of the action named by the stamp
ERRORS = Out("error", REWARD, "B", apart=True)  # TD error of the decision named by the stamp: for the critic
TRANSITIONS = Out("transition", TRANSITION, "1 + 3 B")  # stamp of the action used; reward, bootstrap mask, valid mask of each stream
CREDIT = Out("feedback", FEEDBACK, "B U M", apart=True)  # credit for each unit of the hearer
DRIVE = Out("drive", FEEDBACK, "B U M + B", apart=True)  # what drives each unit of the hearer, and a gate for each stream

INPUTS = In("inputs", "activity", "below", "S", "I", "source", waits=True)
REWARD_AS_CREDIT = In("credit", "reward", "broadcast", "D", "J", "sender")
ERROR_AS_CREDIT = In("credit", "error", "broadcast", "D", "J", "sender")
FEEDBACK_AS_CREDIT = In("credit", "feedback", "above", "D", "J", "sender", waits=True)
FEEDBACK_AS_DRIVE = In("drive", "drive", "above", "E", "Q", "drive_from")


def as_critic(kind: Kind) -> Kind:
    """The same kind in a critic, which learns from the TD error of every decision, whichever action was used."""
    return kind.replace(REWARD_AS_CREDIT.name, ERROR_AS_CREDIT)
