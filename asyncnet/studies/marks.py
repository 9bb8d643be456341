"""What is ticked, crossed or left open for a rule, and by which figures.

A share of what is learned is kept:    kept = sum (score - floor) / sum (score in step - floor),    floor: the score when every reward is lost

over the seeds that have all three, one that learns nothing in step among them. A mark that rests on a share is a tick where its whole 95% interval is at least
HALF, a cross where all of it is below, and left open between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from asyncnet.studies.experiments import FREE, IN_STEP, NO_REWARD, NONE, RANDOM
from asyncnet.studies.locality import NEIGHBOURS, Heard
from asyncnet.studies.statistics import Interval, interval, ratio

HALF = 0.5
COLUMNS = {
    "local": "local",
    "no symmetric feedback": "needs no symmetric feedback",
    "free clocks": "learns with asynchronous clocks",
    "online": "learns online",
    "one scalar": "with one broadcast scalar",
}
# Local, no symmetric feedback, asynchronous: Table 1 of Chung & Barto, RLDM 2022, for the rules that stand there.
PAPER = {
    "reinforce": ("REINFORCE", True, True, True),
    "map-propagation": ("MAP Propagation", True, False, False),
    "map-propagation-async": ("asynchronous MAP Propagation", True, False, True),
    "weight-max": ("Weight Maximization", True, True, False),
}
DIFFERS = {
    (
        "weight-max",
        "free clocks",
    ): "the paper's rule gives credit in a sweep from layer to layer, and waits for it; here it is stamped with the decision that it is "
    "about, and finds the sample in an archive. With traces in place of stamps the paper ticks it, too.",
}


class Mark(NamedTuple):
    """Whether a property holds (None: left open), by which figure, why, what the paper says (None: nothing), and the experiments that it rests on."""

    column: str
    holds: bool | None
    figure: str
    why: str
    paper: bool | None
    rests_on: tuple[str, ...]


Scores = Mapping[str, Mapping[int, float]]  # of an experiment, by seed


def kept(scores: Scores, of: str, floor: str = NO_REWARD) -> Interval:
    """The share of what is learned in step, above the floor, that is there in another experiment."""
    seeds = sorted(scores.get(of, {}).keys() & scores[IN_STEP].keys() & scores[floor].keys())
    return ratio([scores[of][seed] - scores[floor][seed] for seed in seeds], [scores[IN_STEP][seed] - scores[floor][seed] for seed in seeds])


def gained(scores: Scores) -> Interval:
    """What is learned in step, above the floor."""
    seeds = scores[IN_STEP].keys() & scores[NO_REWARD].keys()
    return interval([scores[IN_STEP][seed] - scores[NO_REWARD][seed] for seed in sorted(seeds)])


def judged(share: Interval) -> bool | None:
    """Whether at least half is kept; None where the interval does not say."""
    low, high = (share.value, share.value) if share.n == 1 else (share.low, share.high)
    return True if low >= HALF else False if high < HALF else None


def marks(rule: str, heard: Heard | None, scores: Scores, refused: Mapping[str, str], where: str) -> list[Mark]:
    """All marks of a rule: `refused` says why an experiment cannot be run, `where` in which the brief run was."""
    said = dict(zip(("local", "no symmetric feedback", "free clocks"), PAPER[rule][1:], strict=True)) if rule in PAPER else {}
    if heard is None:
        return [Mark(column, None, "-", "not run to its end", said.get(column), ()) for column in COLUMNS]
    learns = _low(gained(scores)) > 0.0
    found = {
        "local": (*_local(heard), (where,)),
        "no symmetric feedback": _feedback(heard, scores, where),
        "free clocks": _free(scores, refused, learns),
        "online": (*_online(heard, learns), (where, IN_STEP, NO_REWARD)),
        "one scalar": (*_scalar(heard, learns), (where,)),
    }
    return [Mark(column, holds, figure, why, said.get(column), tuple(dict.fromkeys(rests))) for column, (holds, figure, why, rests) in found.items()]


def _low(found: Interval) -> float:
    return found.low if found.n > 1 else found.value


def _local(heard: Heard) -> tuple[bool, str, str]:
    nodes = "the one node" if heard.nodes == 1 else f"each of {heard.nodes} nodes"
    if heard.apart:
        return False, f"{heard.apart} differs", f"{heard.apart}, given its inbox again with nobody else there, came to other bits: it read something else"
    wide = [port for port in heard.ports if port.relation in NEIGHBOURS and (port.beyond or (port.relation != "above" and port.numbers > port.most))]
    if wide:
        return (
            False,
            f"{wide[0].numbers:g} numbers",
            f"{wide[0].layer} hears {wide[0].numbers:g} numbers of a neighbour, its connections account for {wide[0].most:g}",
        )
    if heard.scalars > 1.0:
        far = next(port for port in heard.ports if port.relation not in NEIGHBOURS and port.numbers > 0)
        return False, f"{heard.scalars:g} global", f"{far.layer} hears {heard.scalars:g} numbers of nodes that are no neighbours ({', '.join(far.senders)})"
    relations = ", ".join(dict.fromkeys(port.relation for port in heard.ports if port.relation in NEIGHBOURS))
    why = f"{nodes}, given its inbox again alone, came to the same bits; heard are neighbours ({relations}), one number a connection, and {_words(heard)}"
    return True, "same bits alone", why


def _words(heard: Heard) -> str:
    return "no global number" if heard.scalars == 0.0 else "one global number" if heard.scalars == 1.0 else f"{heard.scalars:g} global numbers"


def _feedback(heard: Heard, scores: Scores, where: str) -> tuple[bool | None, str, str, tuple[str, ...]]:
    if heard.told == 0:
        return True, "none is sent", "nobody tells its inputs anything", (where,)
    if not heard.reads:
        return True, "reads no weights", f"of {heard.told:,} messages upstream none that was tried changed when the sender's weights did", (where,)
    still = f"{heard.still:.0%} of what a unit is told comes while its outgoing weights stand still"
    share = kept(scores, RANDOM, NONE)
    if share.n == 0:
        open_for = "In step it brings nothing that could be kept" if scores.get(RANDOM) else "It has not been tried with other weights"
        return None, "reads weights", f"what is told upstream changes with the sender's weights; {still}. {open_for}", (where,)
    holds = judged(share)
    why = f"with fixed random weights in the feedback {_share(share)} of what feedback brings is kept; {still}"
    return holds, f"random: {_short(share)}", why, (where, IN_STEP, RANDOM, NONE)


def _free(scores: Scores, refused: Mapping[str, str], learns: bool) -> tuple[bool | None, str, str, tuple[str, ...]]:
    if FREE in refused:
        return False, "refused", f"it cannot be run so: {refused[FREE]}", (IN_STEP,)
    if not learns:
        return None, "-", "it does not learn in step either", (IN_STEP, NO_REWARD)
    share = kept(scores, FREE)
    return judged(share), f"keeps {_short(share)}", f"on Poisson clocks {_share(share)} of what is learned in step is kept", (IN_STEP, FREE, NO_REWARD)


def _online(heard: Heard, learns: bool) -> tuple[bool | None, str, str]:
    least, most = heard.updates
    figure = f"{least:.2f} updates" if round(least, 2) == round(most, 2) else f"{least:.2f}..{most:.2f} updates"
    why = f"one stream; of each decision that it is credited for a node learns {least:.2f} to {most:.2f} times"
    if most > 1.0 or least < HALF:
        return False, figure, f"{why}: {'more than once' if most > 1.0 else 'several at a time'}"
    return (True, figure, why) if learns else (None, figure, f"{why}; but it does not learn in step")


def _scalar(heard: Heard, learns: bool) -> tuple[bool | None, str, str]:
    hear = sorted({port.layer for port in heard.ports if port.relation not in NEIGHBOURS})
    figure = f"{heard.scalars:g} a decision"
    if heard.scalars > 1.0:
        return False, figure, f"{heard.scalars:g} numbers of a decision come from nodes that are no neighbours"
    if not heard.alike:
        return False, figure, "not all hear the same number of a decision"
    who, number = f"{', '.join(hear) or 'nobody'} hear{'s' * (len(hear) < 2)}", f"{heard.scalars:g} number{'s' * (heard.scalars != 1)}"
    why = f"beside what neighbours say {who} {number} of a decision, the same for all"
    return (True, figure, why) if learns else (None, figure, f"{why}; but it does not learn in step")


def _short(share: Interval) -> str:
    return f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]" if share.n > 1 else f"{share.value:.2f} [one seed]" if share.n else "-"


def _share(share: Interval) -> str:
    return f"a share of {_short(share)}"


def explained(rule: str, found: Sequence[Mark]) -> list[str]:
    """Where a mark is not the paper's, and why."""
    out = []
    for mark in found:
        if mark.paper is not None and mark.holds != mark.paper:
            why = DIFFERS.get((rule, mark.column), "the paper argues from the rule's equations, this is what the runs show on this task")
            out.append(f"{mark.column}: the paper {'ticks' if mark.paper else 'crosses'} it; {why}")
    return out


def plain(found: Sequence[Mark]) -> list[dict[str, Any]]:
    """Marks as plain data."""
    return [mark._asdict() | {"rests_on": list(mark.rests_on)} for mark in found]
