"""What goes wrong, where and when, as a scenario says it. Times are in ticks.

A fault of nodes says which (`nodes`, of which `fraction` or `count` says how many are drawn). A fault of links says which by what they carry (`channel`), by
their ends (`from`, `to`), or by nodes they lead out of or into: all that is said must be so, and what is not said may be anything. Nodes are named one by one
(actor.1.3), by layer (actor.1), or by what they are (actor, critic, world, dopamine).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from asyncnet.scenario.links import AnyDelayOfFault
from asyncnet.scenario.model import Count, Model, Positive, Share, Ticks


def _in_a_list(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_in_a_list, json_schema_input_type=str | tuple[str, ...]), Field(min_length=1, max_length=1000)]
Alike = Annotated[float, Field(ge=0.0, le=0.999)]
MOST = 256  # faults of a scenario
OVERLAP = 8  # how many times a fault that comes at random may last as long as it is away on average


class Fault(Model):
    """When a fault is on: always, or what is said of it, all together. And which nodes it is about."""

    start: Ticks = Field(0.0, description="when it begins, in ticks")
    stop: Ticks | None = Field(None, description="when it is over, in ticks; absent: never")
    every: Positive | None = Field(None, description="it comes again so many ticks after it came")
    poisson: Positive | None = Field(None, description="it comes at random, so many ticks apart on average")
    lasting: Positive | None = Field(None, description="for how many ticks it stays each time (every, poisson)")
    decisions: tuple[Annotated[int, Field(ge=0)], Count] | None = Field(
        None, description="from the first of these decisions to before the second: for messages that belong to them; of a node while they are open"
    )
    nodes: Names | None = Field(None, description="nodes that it is about: by name, by layer, or actor, critic, world, dopamine; absent: all learning nodes")
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(None, description="the share of these nodes that are drawn, one at least")
    count: Count | None = Field(None, description="how many of these nodes are drawn")

    def span(self, tick: int, interval: float) -> tuple[float, float | None]:
        """From when until when it may be on, in microseconds (None: without end); `interval`: ticks between decisions."""
        return self.start * tick, None if self.stop is None else self.stop * tick

    def again(self, tick: int) -> tuple[int, int]:
        """After how many microseconds it comes again, and how many it lasts then; 0, 0: it does not."""
        every = self.every or self.poisson
        return (max(1, round(every * tick)), max(1, round((self.lasting or 0.0) * tick))) if every else (0, 0)

    def for_good(self, tick: int) -> bool:
        """Whether it is never over, once some time has passed."""
        every, lasting = self.again(tick)
        return self.stop is None and (not every or (self.poisson is None and lasting >= every))


class OfLinks(Fault):
    """Which links it strikes."""

    channel: Literal["activity", "feedback", "reward", "transition"] | None = Field(None, description="what the links carry; absent: anything")
    senders: Names | None = Field(None, alias="from", description="nodes that send: by name, by layer, or actor, critic, world, dopamine; absent: any")
    hearers: Names | None = Field(None, alias="to", description="nodes that hear, in the same words; absent: any")
    nodes: Names | None = Field(
        None, description="links between one of these nodes and one that is none of them; absent: all learning nodes, if some are drawn"
    )
    way: Literal["in", "out", "both"] = Field("both", description="whether links lead into these nodes, out of them, or both")

    own: ClassVar[bool] = False  # all links have it at the same times

    def touches(self, channel: str) -> bool:
        """Whether messages of that channel may be lost or late by it."""
        return self.channel in (None, channel)

    def ends_all(self, tick: int) -> bool:
        """Whether nothing passes where it strikes, and it is not over when some time has passed."""
        return self.for_good(tick) and (self.kind == "cut" or (self.kind in ("loss", "corrupt") and self.share == 1.0))


class InBursts(OfLinks):
    """What takes messages, one by one or many of a link in a row."""

    burst: Annotated[float, Field(ge=1.0, le=1000.0)] | None = Field(
        None, description="how many messages of a link it strikes in a row, on average; absent: each by itself"
    )


class Loss(InBursts):
    kind: Literal["loss"]
    share: Share = Field(description="of the messages, which are lost")


class Corrupt(InBursts):
    kind: Literal["corrupt"]
    share: Share = Field(description="of the messages, which are damaged: their hearer notices, and takes nothing in")


class Delayed(OfLinks):
    kind: Literal["delay"]
    delay: AnyDelayOfFault = Field(description="ticks that a message takes longer; a number is a constant")
    alike: Alike = Field(0.0, description="correlation from each message of a link to the next")


class Reorder(OfLinks):
    kind: Literal["reorder"]
    share: Share = Field(description="of the messages, which come late")
    by: Positive = Field(2.0, description="ticks by which they are late: those sent in the meantime overtake them")
    alike: Alike = Field(0.0, description="correlation from each message of a link to the next")


class Cut(OfLinks):
    kind: Literal["cut"]


class Hold(OfLinks):
    kind: Literal["hold"]


class Rate(OfLinks):
    kind: Literal["rate"]
    per_tick: Annotated[float, Field(ge=1e-6, le=1e6)] = Field(description="messages that leave each of these links in a tick; the others wait in line")
    room: Annotated[int, Field(ge=0, le=10**6)] = Field(100, description="how many may wait; what finds no room is lost")


class Duplicate(OfLinks):
    kind: Literal["duplicate"]
    share: Share = Field(description="of the messages, which come twice")
    by: Positive = Field(1.0, description="ticks after which a message comes again")


class OfReward(OfLinks):
    """What it does to the reward, or the TD error, that nodes hear."""

    channel: Literal["reward"] = Field("reward", description="only what carries the reward can be changed")


class Noise(OfReward):
    kind: Literal["noise"]
    sigma: Positive = Field(description="spread of a normal number that is added, another for each hearer")


class Quantise(OfReward):
    kind: Literal["quantise"]
    step: Positive = Field(description="the reward is rounded to a multiple of it")


class Flip(OfReward):
    kind: Literal["flip"]
    share: Share = Field(1.0, description="of the rewards, whose sign is changed")


class Misdate(OfReward):
    kind: Literal["misdate"]
    share: Share = Field(1.0, description="of the rewards, which are taken for that of another decision")
    by: Annotated[int, Field(ge=1, le=10**6)] = Field(1, description="how many decisions before it that is")


class OfNodes(Fault):
    """What happens to nodes."""

    channel: ClassVar[None] = None
    together: bool = Field(False, description="whether all of these nodes have it at the same times; else with every or poisson each at its own")

    def touches(self, channel: str) -> bool:
        """Whether messages of that channel may be lost or late by it."""
        return self.kind in ("crash", "pause", "mailbox")

    @property
    def own(self) -> bool:
        """Whether each node has it at times of its own."""
        return not self.together

    def for_good(self, tick: int) -> bool:
        """Whether it is never over, once some time has passed."""
        return self.decisions is None and super().for_good(tick)

    def span(self, tick: int, interval: float) -> tuple[float, float | None]:
        """From when until when it may be on, in microseconds (None: without end); `interval`: ticks between decisions."""
        start, stop = super().span(tick, interval)
        if self.decisions is None:
            return start, stop
        first, last = (decision * interval * tick for decision in self.decisions)
        return max(start, first), last if stop is None else min(stop, last)

    def ends_all(self, tick: int) -> bool:
        """Whether nothing is heard where it strikes, and it is not over when some time has passed."""
        return self.for_good(tick) and self.kind == "crash"


class Crash(OfNodes):
    kind: Literal["crash"]
    snapshot: Positive | None = Field(
        None, description="the node comes back as it was when the time was last a multiple of so many ticks; absent: as it was in the beginning"
    )


class Pause(OfNodes):
    kind: Literal["pause"]


class Slow(OfNodes):
    kind: Literal["slow"]
    by: Annotated[float, Field(ge=1e-3, le=1e6)] = Field(description="ticks of the node are so many times as far apart; below 1: it is fast")


class Skip(OfNodes):
    kind: Literal["skip"]
    share: Share = Field(description="of the node's ticks, which it misses")


class Shift(OfNodes):
    kind: Literal["shift"]
    by: Positive = Field(description="ticks by which its next tick comes later, and so all after it")


class Mailbox(OfNodes):
    kind: Literal["mailbox"]
    policy: Literal["block", "drop-oldest", "drop-newest", "newest-wins"] = Field(
        description="what becomes of messages that find no room when the node reads its mailbox, at its tick: they wait, or are gone"
    )
    room: Annotated[int, Field(ge=1, le=10**6)] | None = Field(None, description="messages that it has room for; newest-wins: one of each link")


AnyFault = Annotated[
    Loss | Corrupt | Delayed | Reorder | Cut | Hold | Rate | Duplicate | Noise | Quantise | Flip | Misdate | Crash | Pause | Slow | Skip | Shift | Mailbox,
    Field(discriminator="kind"),
]
Faults = Annotated[tuple[AnyFault, ...], Field(max_length=MOST)]


def words(fault: AnyFault) -> str:
    """A fault in a few words."""
    said = [fault.kind, f"of {fault.channel}" if fault.channel else ""]
    if fault.kind == "delay":
        said.append(f"{fault.delay.value:g}" if fault.delay.kind == "constant" else fault.delay.kind)
    if fault.kind in ("loss", "corrupt", "reorder", "skip"):
        said.append(f"{fault.share:.3g}")
    if fault.kind == "rate":
        said.append(f"{fault.per_tick:g} a tick")
    if fault.kind in ("slow", "shift"):
        said.append(f"by {fault.by:g}")
    if fault.kind == "mailbox":
        said.append(fault.policy if fault.room is None else f"{fault.policy} {fault.room}")
    if isinstance(fault, OfNodes):
        said.append(f"of {' '.join(fault.nodes or ('all that learn',))}")
    else:
        said += [f"{word} {' '.join(names)}" for word, names in (("from", fault.senders), ("to", fault.hearers), ("at", fault.nodes)) if names]
    drawn = f"{fault.fraction:.3g} of them" if fault.fraction is not None else f"{fault.count} of them" if fault.count is not None else ""
    again = f"every {fault.every:g}" if fault.every else f"every {fault.poisson:g} at random" if fault.poisson else ""
    span = f"from {fault.start:g}" if fault.start else ""
    until = f"to {fault.stop:g}" if fault.stop is not None else ""
    decisions = "for decisions {} to {}".format(*fault.decisions) if fault.decisions else ""
    return " ".join(filter(None, [*said, drawn, again, span, until, decisions]))
