"""Small scenarios, and a loop whose nodes' inboxes are written down."""

from asyncnet.loop import Loop
from asyncnet.scenario import check
from asyncnet.timekeeper import Virtual

RATES = {"reinforce": [0.01, 0.01, 0.01], "weight-max": [0.03, 0.003, 0.003]}


def multiplexer(rule="weight-max", changes=None, /, **more):
    """The 2-bit multiplexer for a team of 8, 4 and one output node; in lock-step unless `changes` (dotted keys) say otherwise."""
    base = {
        "name": "small",
        "seed": 3,
        "tick": 1000,
        "task": {"name": "multiplexer", "k": 2, "decisions": 2000, "world": {"waits": True, "interval": 1.0}},
        "network": {"hidden": [8, 4], "output": "bernoulli"},
        "rule": {"name": rule, "learning_rate": RATES.get(rule, [0.01])},
    }
    return check(base, "test").replace(changes or {}, **more)


def run(scenario, loop=Loop, **how):
    """A finished run."""
    made = loop(scenario, Virtual(), **how)
    made.run()
    assert made.stopped == "finished"
    return made


def learners(loop):
    """The nodes of units and the critic, in the order of their numbers."""
    return [loop.nodes[i] for i in sorted(loop.nodes) if i and loop.nodes[i].role in ("agent", "critic")]


class Taped(Loop):
    """A loop that writes down what every node heard, in order: ("hear", *arguments) or ("act", now)."""

    def __init__(self, scenario, keeper=None):
        super().__init__(scenario, keeper or Virtual())
        self.tape = {i: [] for i in self.nodes if i}
        for i, tape in self.tape.items():
            self._record(self.nodes[i], tape)

    @staticmethod
    def _record(node, tape):
        hear, act = node.hear, node.act

        def heard(*event):
            tape.append(("hear", *event))
            return hear(*event)

        def acted(now):
            tape.append(("act", now))
            return act(now)

        node.hear, node.act = heard, acted


def play(node, tape):
    """Give a node a taped inbox; returns every letter it sends, as plain data."""
    letters = []
    for verb, *event in tape:
        letters += [(letter.channel, letter.stamp, letter.payload.tolist(), letter.link) for letter in getattr(node, verb)(*event)]
    return letters
