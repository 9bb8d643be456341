"""traffic.jsonl: how a run's nodes tick and what its links carry, row by row as it goes, for whoever watches (asyncnet/viewer).

The first line says what there is: layers, nodes, links, and what the links of a channel do to messages (Team). Each further line is a Row of totals since the
run's beginning, so rows may be left out: a file that would grow beyond MOST_BYTES loses older ones, evenly. Of large teams nodes, or only links, are added up
by layers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from asyncnet.loop.message import CHANNEL_NAMES
from asyncnet.runs import durable
from asyncnet.scenario.model import Model, Share

TRAFFIC = "traffic.jsonl"
MOST_NODES = 1_000  # that are written one by one
MOST_LINKS = 5_000
MOST_BYTES = 8 << 20

Name = Annotated[str, Field(max_length=200)]
Total = Annotated[int, Field(ge=0, le=2**53)]
Totals = Annotated[list[Total], Field(max_length=2 * MOST_LINKS)]  # from layer to layer there may be somewhat more
Seconds = Annotated[float, Field(ge=0.0, le=1e12)]


class ShownLayer(Model):
    name: Name
    team: Literal["world", "actor", "critic", "dopamine"]


class ShownNode(Model):
    name: Name
    layer: Total
    nodes: Total  # that it stands for
    units: Total
    period: Annotated[float, Field(gt=0.0, le=1e18)] | None  # microseconds between two ticks; None: it acts when it hears


class ShownChannel(Model):
    name: Name
    delay: Annotated[float, Field(ge=0.0, le=1e18)]  # microseconds on average, as the scenario says
    loss: Share


class ShownLinks(Model):
    """A column each, all equally long: places among the channels, and for both ends among the nodes, or among the layers."""

    channel: Totals
    src: Totals
    dst: Totals


class Team(Model):
    """The first line. The ends of links are nodes, or layers if `by_layer`."""

    format: Literal[1] = 1
    layers: Annotated[list[ShownLayer], Field(min_length=1, max_length=MOST_NODES)]
    nodes: Annotated[list[ShownNode], Field(min_length=1, max_length=MOST_NODES)]
    channels: Annotated[list[ShownChannel], Field(max_length=len(CHANNEL_NAMES))]
    by_layer: bool
    links: ShownLinks

    @property
    def sound(self) -> bool:
        """Whether every place is one."""
        channel, *ends = columns = self.links.channel, self.links.src, self.links.dst
        known = len(self.layers if self.by_layer else self.nodes)
        sound = len({len(column) for column in columns}) == 1 and max(node.layer for node in self.nodes) < len(self.layers)
        return sound and max(channel, default=-1) < len(self.channels) and all(max(column, default=-1) < known for column in ends)


class Row(Model):
    """Totals at a moment: by node `ticks` and samples `learned`, by link the columns of the ledger (the last four are there where they are not all zero)."""

    seconds: Seconds  # real ones since the first row, those in which the run went on
    now: Total  # microseconds of the run, simulated or real
    decisions: Total
    episodes: Total
    ticks: Totals
    learned: Totals
    sent: Totals
    delivered: Totals
    lost: Totals
    duplicated: Totals | None = None
    refused: Totals | None = None
    expired: Totals | None = None
    in_flight: Totals | None = None  # at the end, when it is known for certain
    wire: dict[Name, Annotated[float, Field(ge=0.0, le=1e18)]] = {}  # what messages of a channel really took on average, microseconds

    def fits(self, team: Team) -> bool:
        """Whether it is of that team."""
        by_link = (self.sent, self.delivered, self.lost, self.duplicated, self.refused, self.expired, self.in_flight)
        nodes, links = len(team.nodes), len(team.links.channel)
        return len(self.ticks) == len(self.learned) == nodes and all(column is None or len(column) == links for column in by_link)


def line(value: Model) -> str:
    """A line of the file."""
    return f"{value.model_dump_json(exclude_defaults=isinstance(value, Row))}\n"


def before(path: Path, at: int, team: Team) -> list[Row]:
    """The rows of a team's run up to the time `at`, when it goes on from there; none if its file cannot be read, or is of another team."""
    try:
        first, *lines = durable.read(path, 2 * MOST_BYTES).splitlines()
        if Team.model_validate_json(first) != team:
            return []
        rows = [Row.model_validate_json(each) for each in lines]
    except (OSError, ValueError):
        return []
    return [row for row in rows if row.now <= at and row.fits(team) and row.in_flight is None]
