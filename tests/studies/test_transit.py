"""What is drawn again after a run is what its messages met: delays, losses and resends, held to a loop that writes down every message as it carries it."""

import numpy as np
import pytest

import asyncnet
from asyncnet.loop import ledger
from asyncnet.loop.loop import Loop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.studies.transit import asked_loss, transits

HARD = {"links.default": {"loss": 0.1, "delay": {"kind": "exponential", "mean": 0.7}}, "links.feedback": {"delay": 2}, "links.reward": {"stale": 3}}
TEAMS = {
    "layers": ("multiplexer3-weight-max", {"task.decisions": 150}),
    "units, whose feedback is for each its own": ("multiplexer2-units", {"task.decisions": 60}),
}


class Noting(Loop):
    """A loop that notes what happened to each message when it was put on its way."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.seen = {}

    def _carry(self, model, link, src, dst, port, seq, message, now):
        lost, waiting = self.books.lost[link], len(self.agenda)
        super()._carry(model, link, src, dst, port, seq, message, now)
        due = None if self.books.lost[link] > lost else next(event[0] for event in self.agenda if event[1:5] == (message.channel, dst, src, seq)) - now
        assert len(self.agenda) - waiting == (due is not None)
        self.seen.setdefault(link, []).append(due)


@pytest.mark.parametrize(("name", "length"), TEAMS.values(), ids=TEAMS)
def test_delays_and_losses_are_those_of_the_run(name, length):
    scenario = asyncnet.load(name).replace({**length, **HARD})
    loop = Noting(scenario, Virtual())
    loop.prepare()
    loop.run()
    table = ledger.account(loop)
    found = transits(scenario, ledger.by_link(loop.plan, table))
    names = list(ledger.names(loop.plan))
    seen = {}
    for link, delays in loop.seen.items():
        channel, _, _, dst = names[link].split(" ")
        layer = dst if dst in ("world", "dopamine") else ".".join(dst.split(".")[:2])
        seen.setdefault((channel, layer), []).extend(delays)
    assert found.keys() == seen.keys()
    assert len(found) >= 4
    for key, transit in found.items():
        wanted = [delay / scenario.tick for delay in seen[key] if delay is not None]
        assert np.array_equal(np.sort(transit.delays), np.sort(wanted)), key
        assert transit.drawn == transit.carried == len(seen[key])
        assert transit.lost == len(seen[key]) - len(wanted)


def test_messages_that_are_sent_again_are_counted_as_struck():
    scenario = asyncnet.load("multiplexer3-weight-max").replace({"task.decisions": 2000, "links.feedback": {"loss": 0.2}})
    result = asyncnet.run(scenario, out=None)
    found = transits(scenario, result.summary()["ledger"])
    struck, carried = (sum(getattr(found[key], name) for key in found if key[0] == "feedback") for name in ("struck", "carried"))
    assert asked_loss(scenario, "feedback") == pytest.approx(0.2)
    assert abs(struck / carried - 0.2) < 4 * np.sqrt(0.16 / carried), "a binomial share"
    assert all(found[key].lost == 0 for key in found if key[0] == "feedback"), "each came in the end"
    again = {key: found[key].delays > 0.5 for key in found if key[0] == "feedback"}  # later than the delay of all
    assert sum(int(late.sum()) for late in again.values()) == struck


def test_nothing_is_said_of_links_whose_losses_the_ledger_counted_otherwise():
    scenario = asyncnet.load("multiplexer3-weight-max").replace({"task.decisions": 500, "links.activity": {"loss": 0.1}})
    books = asyncnet.run(scenario, out=None).summary()["ledger"]
    link = next(name for name in books if name.startswith("activity world"))
    whole = transits(scenario, books)
    other = transits(scenario, books | {link: books[link] | {"lost": books[link]["lost"] + 1}})
    assert whole.keys() - other.keys() == {("activity", link.rpartition(" ")[2])}
    assert transits(scenario, {}) == {}
