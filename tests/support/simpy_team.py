"""A small team as a simulation in SimPy: who says what to whom and when, written from what the documents say and from nothing of the engine.

It is given a scenario as plain data and foretells the whole sequence of events, rows (now, kind, receiver, sender, number); a number below 0 is a message that
was lost as it was sent. Each node and the world is a SimPy process that takes events from an inbox, each clock one that puts ticks there, each message on its
way one that waits for as long as its link takes.

What messages carry is not known here. So a scenario must be one in which nothing depends on it (`drawn` in test_simpy_oracle.py sees to that): a node says the
same about an observation whenever it says it, unless only the world hears; and no clock, link or fault draws anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from typing import Any, NamedTuple

import simpy

KINDS = ("turn", "reward", "transition", "feedback", "activity", "tick")  # simultaneous events come in this order
NOTHING, NEVER = -1, 10**18
ROOM = 1 << 40  # numbers, more than any of the things that are counted

Row = tuple[int, str, int, int, int]
Process = Generator[simpy.Event, Any, None]


class Message(NamedTuple):
    """All that counts of a message: its number, the decision that it is about, and (of a transition) that whose action was used."""

    number: int
    stamp: int = NOTHING
    used: int = NOTHING


class Assumptions(NamedTuple):
    """What the model takes for granted, so that a test can take something else for granted: the oracle must notice."""

    order: tuple[str, ...] = KINDS
    first_number: int = 1  # of a sender's messages on a channel
    longer: int = 0  # microseconds that each message takes longer than its link says
    feedback_first: bool = True  # a node learns, and says so, before it acts
    newest_wins: bool = True  # a message about an older observation than one heard before is passed over
    late_credit: bool = True  # credit finds the sample that it belongs to, however late


class Event(simpy.Event):
    """Something that happens `delay` from now and has a place of its own among what happens then; SimPy's own events go before."""

    def __init__(self, env: simpy.Environment, delay: int, place: int) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        env.schedule(self, 2 + place, delay)  # 0 and 1 are SimPy's: what one event leads to at once is done before the next


class When:
    """The times, in microseconds, and the decisions of a fault."""

    def __init__(self, fault: dict[str, Any], tick: int) -> None:
        self.start = round(fault["start"] * tick)
        self.stop = round(fault["stop"] * tick) if "stop" in fault else NEVER
        self.every = max(1, round(fault["every"] * tick)) if "every" in fault else NEVER
        self.lasting = max(1, round(fault["lasting"] * tick)) if "every" in fault else NEVER
        self.decisions = range(*fault["decisions"]) if "decisions" in fault else None

    def on(self, now: int, stamp: int | None = None) -> bool:
        """Whether it is on for what belongs to that decision, if anything does."""
        about = self.decisions is None or stamp is None or stamp in self.decisions
        return about and self.start <= now < self.stop and (now - self.start) % self.every < self.lasting

    def over(self, now: int) -> int:
        """When it is off again, if it is on."""
        return min(self.stop, now - (now - self.start) % self.every + self.lasting)

    def comes(self, since: int, until: int) -> int:
        """How often it begins after `since` and not after `until`."""
        until = min(until, self.stop - 1)
        begun = ((at - self.start) // self.every + 1 if at >= self.start else 0 for at in (until, since))
        return max(0, next(begun) - next(begun))


class Seat(NamedTuple):
    """A node's place in the team: what it is called, whom it hears, and who gives it credit."""

    name: str
    words: frozenset[str]  # what a fault may call it
    layer: str
    below: tuple[int, ...]
    credit: tuple[int, ...]


def seats(data: dict[str, Any]) -> list[Seat]:
    """All seats in the order of their numbers: the world, then the units of each layer, cut into nodes."""
    network = data["network"]
    sizes = [*network["hidden"], 1]
    names = [f"actor.{n + 1}" for n in range(len(sizes))]
    nodes: dict[str, list[int]] = {"observation": [0]}
    labels, count = [("world", "world")], 1
    for name, size in zip(names, sizes, strict=True):
        group = {"layer": size, "unit": 1}.get(network["split"], network["split"])
        firsts = range(0, size, group)
        labels += [(name if len(firsts) == 1 else f"{name}.{first}", name) for first in firsts]
        nodes[name] = list(range(count, count + len(firsts)))
        count += len(firsts)
    hears = {name: network["inputs"].get(name, [("observation", *names)[n]]) for n, name in enumerate(names)}
    told = data["rule"]["name"] == "weight-max"  # hidden units hear from those above what they earned; else all hear the reward
    critic, teller = count, count + 1 if "critic" in data else 0  # where there is a critic, dopamine tells how much better than it thought things went
    made = [Seat("world", frozenset({"world"}), "world", tuple(nodes[names[-1]]), ())]
    for label, layer in labels[1:]:
        above = [node for name in names if layer in hears[name] for node in nodes[name]]
        credit = above if told and layer != names[-1] else [teller]
        made.append(Seat(label, frozenset({label, layer, "actor"}), layer, tuple(node for name in hears[layer] for node in nodes[name]), tuple(credit)))
    if "critic" in data:
        made.append(Seat("critic", frozenset({"critic"}), "critic", (0,), (teller,)))
        made.append(Seat("dopamine", frozenset({"dopamine"}), "dopamine", (critic,), ()))
    return made


class Team:
    """All processes of a scenario, and the rows of what has happened."""

    def __init__(self, data: dict[str, Any], assumptions: Assumptions = Assumptions()) -> None:  # noqa: B008  (it cannot be changed)
        self.data, self.assumes, self.tick = data, assumptions, data["tick"]
        self.env = simpy.Environment()
        self.rows: list[Row] = []
        self.faults = [(fault, When(fault, self.tick)) for fault in data.get("faults", [])]
        struck = any(fault["kind"] not in OF_CLOCKS and fault.get("channel", "activity") == "activity" for fault, _ in self.faults)
        stale = any(each.get("stale") for each in conditions(data, "activity"))
        self.says_again = struck or stale  # else no value can be lost or late, and to say it once is enough
        self.finished = self.env.event()
        self.seats = seats(data)
        kinds = {"world": World, "dopamine": Dopamine}
        self.nodes: list[Any] = [kinds.get(seat.name, Learner)(self, number) for number, seat in enumerate(self.seats)]
        for node in self.nodes:
            node.join()

    def play(self) -> list[Row]:
        """What happens until the world has closed its last decision."""
        self.env.run(until=self.finished)
        return self.rows

    def event(self, delay: int, kind: str, dst: int, src: int, number: int) -> Event:
        """Something that happens later: among simultaneous ones by kind, receiver, sender and number."""
        place = self.assumes.order.index(kind)
        for part in (dst, src, number):
            place = place * ROOM + part
        return Event(self.env, delay, place)

    def named(self, names: Iterable[str] | None) -> set[int]:
        """Which seats have one of these names."""
        return {n for n, seat in enumerate(self.seats) if names is None or seat.words & set(names)}

    def befalls(self, number: int, *kinds: str) -> list[tuple[dict[str, Any], When]]:
        """The faults of these kinds that strike a node."""
        named = ((fault, when) for fault, when in self.faults if fault["kind"] in kinds)
        return [(fault, when) for fault, when in named if number in self.named(fault.get("nodes", ["actor", "critic"]))]


OF_CLOCKS = ("slow", "skip", "shift")
OF_NODES = (*OF_CLOCKS, "pause", "mailbox")


def conditions(data: dict[str, Any], channel: str) -> list[dict[str, Any]]:
    """What the links of a channel always do: those of all channels first."""
    return [*data["links"]["default"], *data["links"][channel]]


class Link:
    """The way of a channel's messages from one node to another."""

    def __init__(self, team: Team, channel: str, src: int, dst: int) -> None:
        self.team, self.channel, self.src, self.dst = team, channel, src, dst
        always = conditions(team.data, channel)
        reliable = [each["reliable"] for each in always if "reliable" in each]
        self.reliable = reliable[-1] if reliable else channel != "activity"
        self.takes = sum(each["delay"]["value"] * team.tick for each in always if "delay" in each)
        self.holds_back = sum(each.get("stale", 0) for each in always)
        self.held: deque[Message] = deque()
        self.clear = 0.0  # when the last of those in line has left
        self.faults = [(fault, when) for fault, when in team.faults if self._struck_by(fault)]
        self.pauses = [when for _, when in team.befalls(dst, "pause")]

    def _struck_by(self, fault: dict[str, Any]) -> bool:
        if fault["kind"] in OF_NODES or fault.get("channel", self.channel) != self.channel:
            return False
        among = self.team.named(fault.get("nodes"))
        crosses = {"in": self.src not in among and self.dst in among, "out": self.src in among and self.dst not in among}
        border = "nodes" not in fault or any(crosses.values() if fault["way"] == "both" else [crosses[fault["way"]]])
        return border and self.src in self.team.named(fault.get("from")) and self.dst in self.team.named(fault.get("to"))

    def send(self, message: Message) -> None:
        """Take a message, and let go the oldest if enough later ones have been sent."""
        self.held.append(message)
        if len(self.held) > self.holds_back:
            self._let_go(self.held.popleft())

    def _let_go(self, message: Message) -> None:
        now, stamp, tick, lost, again = self.team.env.now, message.stamp, self.team.tick, False, None
        takes = self.takes + self._tried_again(now, stamp)
        rates = [fault for fault, when in self.faults if fault["kind"] == "rate" and when.on(now, stamp)]
        if rates:
            every, waits = max(tick / fault["per_tick"] for fault in rates), max(0, self.clear - now)
            if waits > every * min(fault["room"] for fault in rates):
                self.team.rows.append((now, self.channel, self.dst, self.src, -message.number))
                return
            self.clear = now + waits + every
            takes += round(waits)
        for fault, when in self.faults:
            if not when.on(now, stamp):
                continue
            match fault["kind"]:
                case "delay":
                    takes += fault["delay"]["value"] * tick
                case "reorder":
                    takes += fault["by"] * tick
                case "hold":
                    takes = max(takes, when.over(now) - now)
                case "duplicate":
                    again = max(1, round(fault["by"] * tick))
                case "cut":
                    lost = True
                case "loss":
                    lost = lost or not self.reliable
        if lost:
            self.team.rows.append((now, self.channel, self.dst, self.src, -message.number))
            return
        came = self._received(round(takes) + self.team.assumes.longer)
        self.team.env.process(self._carry(came, message))
        if again is not None:
            self.team.env.process(self._carry(max(came + 1, self._received(round(takes) + again)), message))

    def _tried_again(self, now: int, stamp: int) -> float:
        """How long a reliable link sends a message again and again, until it is not lost as it is sent."""
        losses = [when for fault, when in self.faults if fault["kind"] == "loss" and self.reliable]
        late = 0.0
        while any(when.on(now + round(late), stamp) for when in losses):
            late += self.team.data["links"]["retry"] * self.team.tick
        return late

    def _received(self, takes: int) -> int:
        """What comes to a node that pauses waits until it goes on."""
        now = self.team.env.now
        while on := [when for when in self.pauses if when.on(now + takes)]:
            takes = on[0].over(now + takes) - now
        return takes

    def _carry(self, takes: int, message: Message) -> Process:
        yield self.team.event(takes, self.channel, self.dst, self.src, message.number)
        self.team.nodes[self.dst].inbox.put((self.channel, self.src, message))


class Node:
    """What the world and the others share: an inbox, and links by which they say something under numbers that go on."""

    def __init__(self, team: Team, number: int) -> None:
        self.team, self.number, self.seat = team, number, team.seats[number]
        self.inbox = simpy.Store(team.env)
        self.numbers: dict[str, int] = {}
        self.links: dict[str, list[Link]] = {}

    def join(self) -> None:
        """Have links to all who hear this node, and begin."""
        seats = self.team.seats
        hearers = {"activity": [number for number, seat in enumerate(seats) if self.number in seat.below]}
        credited = [number for number, seat in enumerate(seats) if self.number in seat.credit]
        if isinstance(self, Learner):  # what it tells those below is in the order of its inputs
            hearers["feedback"] = [number for number in self.seat.below if number in credited]
        else:
            hearers["reward"] = sorted(credited, key=lambda number: seats[number].name != "critic")  # the critic first
        hearers["transition"] = [number for number, seat in enumerate(seats) if self.number == 0 and seat.name == "dopamine"]
        self.links = {channel: [Link(self.team, channel, self.number, dst) for dst in found] for channel, found in hearers.items()}
        self.team.env.process(self.live())

    def live(self) -> Process:
        """Take one event after the other."""
        while True:
            kind, src, message = yield self.inbox.get()
            self.team.rows.append((self.team.env.now, kind, self.number, src, message.number))
            self.take(kind, src, message)

    def take(self, kind: str, src: int, message: Message) -> None:
        """Do what an event asks for."""
        raise NotImplementedError

    def say(self, channel: str, stamp: int, links: list[Link] | None = None, used: int = NOTHING) -> None:
        """Say one thing, under one number, to all who hear the channel or to some."""
        number = self.numbers[channel] = self.numbers.get(channel, self.team.assumes.first_number - 1) + 1
        for link in self.links[channel] if links is None else links:
            link.send(Message(number, stamp, used))


class World(Node):
    """It shows observations and closes decisions at turns for which it sets itself alarms."""

    def __init__(self, team: Team, number: int) -> None:
        super().__init__(team, number)
        world, tick = team.data["task"]["world"], team.tick
        self.waits, self.late = world["waits"], world["late"]
        self.interval, self.timeout = (max(1, round(world[key] * tick)) for key in ("interval", "timeout"))
        self.left = team.data["task"]["decisions"]
        self.open, self.closes, self.shown = NOTHING, NEVER, 0
        self.action = (NOTHING, NOTHING)  # the decision and the number of the newest
        self.answers: list[int] = []  # decisions answered since the last one closed
        self.watched = False
        team.env.process(self._alarm(0))

    def _alarm(self, at: int) -> Process:
        yield self.team.event(at - self.team.env.now, "turn", 0, 0, 0)
        self.inbox.put(("turn", 0, Message(0)))

    def wake(self, at: int) -> None:
        """Have a turn then."""
        self.team.env.process(self._alarm(at))

    def take(self, kind: str, src: int, message: Message) -> None:
        now, (number, stamp, _) = self.team.env.now, message
        if kind == "turn":
            if self.open == NOTHING:
                self.show_next()
            elif now >= self.closes:
                self.close()
            else:
                self.show_again()
        elif (stamp, number) > self.action or not self.team.assumes.newest_wins:
            if stamp > self.action[0]:
                self.answers.append(stamp)
            self.action = (stamp, number)
            if self.waits and stamp == self.open and self.closes == NEVER:
                self.closes = now + self.interval
                self.wake(self.closes)

    def close(self) -> None:
        """Say what was earned, then show what comes next."""
        used = self.action[0] if self.late == "use" or self.action[0] == self.open else NOTHING
        if self.links["transition"]:
            self.say("transition", self.open, used=used)
        elif self.late == "grade-by-stamp":
            for stamp in self.answers:
                self.say("reward", stamp)
        elif used != NOTHING:
            self.say("reward", used)
        self.answers.clear()
        self.left -= 1
        self.show_next()
        if self.left == 0:
            self.team.finished.succeed()

    def show_next(self) -> None:
        self.open += 1
        self.show()
        if not self.waits:
            self.closes = self.team.env.now + self.interval
            self.wake(self.next_turn())
            return
        self.closes = NEVER
        if not self.watched:  # one alarm watches for silence, over and over
            self.watched = True
            self.wake(self.team.env.now + self.timeout)

    def show_again(self) -> None:
        """Nothing is to be closed: what is open may have been lost."""
        now = self.team.env.now
        if not self.waits:
            self.show()
            self.wake(self.next_turn())
        elif now < self.shown + self.timeout:
            self.wake(self.shown + self.timeout)
        else:
            self.show()
            self.wake(now + self.timeout)

    def show(self) -> None:
        self.shown = self.team.env.now
        self.say("activity", self.open)

    def next_turn(self) -> int:
        """A world that does not wait shows its observation on every tick where that can matter."""
        return min(self.closes, self.team.env.now + self.team.tick) if self.team.says_again else self.closes


class Agent(Node):
    """A node that takes a turn at each tick of its clock, or, if it has none, after each message."""

    def __init__(self, team: Team, number: int) -> None:
        super().__init__(team, number)
        clocks = team.data["clocks"]
        clock = next((clocks[key] for key in (self.seat.name, self.seat.layer, "default") if key in clocks), {"kind": "on-arrival"})
        self.clock = None if clock["kind"] == "on-arrival" else clock
        self.mailbox = team.befalls(number, "mailbox") if self.clock is not None else []
        self.letters: list[tuple[int, int, int, Message]] = []  # when they came, and what they are
        self.acted = NOTHING  # when it last did
        if self.clock is not None:
            team.env.process(self.ticks())

    def live(self) -> Process:
        if not self.mailbox:
            yield from super().live()
        while True:
            kind, src, message = yield self.inbox.get()
            if kind != "tick":
                self.letters.append((self.team.env.now, KINDS.index(kind), src, message))
                continue
            self.read()
            self.acted = self.team.env.now
            self.team.rows.append((self.acted, kind, self.number, src, message.number))
            self.take(kind, src, message)

    def read(self) -> None:
        """Hear what has come since the last tick, as far as the mailbox had room."""
        self.letters.sort()
        left, lost = list(self.letters), []
        kept = []
        for fault, when in self.mailbox:
            if not when.on(self.team.env.now):
                continue
            if fault["policy"] == "newest-wins":
                newest = {letter[1:3]: letter for letter in sorted(left, key=lambda letter: (letter[3].number, -letter[0]))}
                stays = [letter for letter in left if letter in newest.values()]
            else:
                stays = left[-fault["room"] :] if fault["policy"] == "drop-oldest" else left[: fault["room"]]
            (kept if fault["policy"] == "block" else lost).extend(letter for letter in left if letter not in stays)
            left = stays
        for letter in self.letters:
            came, kind, src, message = letter
            if letter in left:
                self.team.rows.append((max(came, self.acted), KINDS[kind], self.number, src, message.number))
                self.take(KINDS[kind], src, message)
            elif letter in lost:
                self.team.rows.append((max(came, self.acted), f"dropped {KINDS[kind]}", self.number, src, message.number))
        self.letters = kept

    def take(self, kind: str, src: int, message: Message) -> None:
        if kind != "tick":
            self.hear(kind, src, message)
        if kind == "tick" or self.clock is None:
            self.turn(kind == "tick")

    def hear(self, kind: str, src: int, message: Message) -> None:
        """Take a message in."""
        raise NotImplementedError

    def turn(self, ticked: bool) -> None:
        """Do what there is to do."""
        raise NotImplementedError

    def ticks(self) -> Process:
        """The node's clock; a tick that is missed is numbered too."""
        clock, tick, env = self.clock, self.team.tick, self.team.env
        missing, slow = self.team.befalls(self.number, "skip", "pause"), self.team.befalls(self.number, "slow")
        later = [(max(1, round(fault["by"] * tick)), when) for fault, when in self.team.befalls(self.number, "shift")]
        period, number, due = clock["period"] * tick, 0, round(clock["phase"] * clock["period"] * tick)
        due += sum(by * when.comes(NOTHING, due) for by, when in later)
        while True:
            yield self.team.event(due - env.now, "tick", self.number, self.number, number)
            if not any(when.on(due) for _, when in missing):
                self.inbox.put(("tick", self.number, Message(number)))
            straggles = clock["kind"] == "straggler" and round(clock["start"] * tick) <= due < round(clock["stop"] * tick)
            step = max(1, round(period * (clock["slow"] if straggles else 1.0)))
            for fault, when in slow:
                if when.on(due):
                    step = max(1, round(step * fault["by"]))
            due += step + sum(by * when.comes(due, due + step) for by, when in later)
            number += 1


class Dopamine(Agent):
    """It says by how much a decision went better than the critic thought, once the critic has valued that observation and the next."""

    def __init__(self, team: Team, number: int) -> None:
        super().__init__(team, number)
        self.valued: set[int] = set()
        self.closed: dict[int, Message] = {}
        self.said: set[int] = set()

    def hear(self, kind: str, src: int, message: Message) -> None:
        if kind == "activity":
            self.valued.add(message.stamp)
        elif message.stamp not in self.said:
            self.closed.setdefault(message.stamp, message)

    def turn(self, ticked: bool) -> None:
        for stamp in sorted(stamp for stamp in self.closed if {stamp, stamp + 1} <= self.valued):
            used = self.closed.pop(stamp).used
            self.said.add(stamp)
            if used == stamp:
                self.say("reward", stamp)
                continue
            for link in self.links["reward"]:  # the critic learns from every decision, the others from that whose action was used, if any was
                if self.team.seats[link.dst].name == "critic":
                    self.say("reward", stamp, [link])
                elif used != NOTHING:
                    self.say("reward", used, [link])


class Credit:
    """What has come of the credit for one decision, and for how many ticks the rest has been waited for."""

    def __init__(self, stamp: int) -> None:
        self.stamp, self.came, self.age, self.used = stamp, set[int](), 0, False


class Learner(Agent):
    """A node that learns from credit, acts once on each observation, and holds what it did."""

    def __init__(self, team: Team, number: int) -> None:
        super().__init__(team, number)
        network, rule = team.data["network"], team.data["critic" if self.seat.name == "critic" else "rule"]
        self.revises = network["ready"] == "revise" or (network["ready"] == "auto" and self.clock is not None)
        self.timeout, self.lag = network["timeout"], network["lag"]
        self.stamped, self.keeps = rule["credit"] == "stamped", rule["archive"]
        self.heard = dict.fromkeys(self.seat.below, (NOTHING, NOTHING))
        self.newest = self.held = NOTHING  # of which observation it has heard, and on which it has acted
        self.waited: int | None = None  # own ticks since it heard of something newer
        self.more, self.repeated = False, 0  # whether more has come about what it holds; how many messages only said something again
        self.samples: dict[int, int] = {}  # the newest `keeps`, each in its place
        self.credits: dict[int, Credit] = {}

    def hear(self, kind: str, src: int, message: Message) -> None:
        if kind == "activity":
            self.learn_of(src, message.number, message.stamp)
        else:
            self.receive(src, message.stamp)

    def learn_of(self, src: int, number: int, stamp: int) -> None:
        """The newest value of each source counts."""
        before = self.heard[src]
        if (stamp, number) <= before and self.team.assumes.newest_wins:
            return
        self.heard[src] = (stamp, number)
        self.newest = max(self.newest, stamp)
        if stamp > self.held and self.waited is None:
            self.waited = 0
        if stamp == before[0]:
            self.repeated += 1
        elif stamp == self.held:
            self.more = True

    def receive(self, src: int, stamp: int) -> None:
        """Credit of each sender counts once; where it would be kept there may be that of a later decision, or an earlier one, which gives way."""
        place = stamp % self.keeps
        if place not in self.credits or self.credits[place].stamp < stamp:
            self.credits[place] = Credit(stamp)
        if self.credits[place].stamp == stamp:
            self.credits[place].came.add(src)

    def turn(self, ticked: bool) -> None:
        """Learn from all credit that is complete, then act or act again, then say what it holds."""
        if ticked:
            self.waited = None if self.waited is None else self.waited + 1
            for credit in self.credits.values():
                credit.age += 1
        if self.team.assumes.feedback_first:
            self.learn()
        speaks = ticked and self.team.says_again and self.held != NOTHING
        if self.newest > self.held and self.ready():
            self.held, self.more, self.waited, speaks = self.newest, False, None, True
            self.samples[self.held % self.keeps if self.stamped else 0] = self.held
        elif self.revises and self.more:
            self.more, self.waited, speaks = False, None, True
        elif self.clock is None and self.repeated >= len(self.heard) and self.held != NOTHING:
            speaks = True
        if speaks:
            self.repeated = 0
            self.say("activity", self.held)
        if not self.team.assumes.feedback_first:
            self.learn()

    def learn(self) -> None:
        """The oldest first; those below are told about each, if what it is about is still known."""
        for credit in sorted(self.credits.values(), key=lambda each: each.stamp):
            overdue = self.clock is not None and credit.age >= self.timeout
            if credit.used or not (overdue or len(credit.came) == len(self.seat.credit)):
                continue
            credit.used = True
            known = self.samples.get(credit.stamp % self.keeps) == credit.stamp if self.stamped else self.held != NOTHING
            if known and (self.team.assumes.late_credit or credit.stamp == self.held):
                for link in self.links["feedback"]:
                    self.say("feedback", credit.stamp, [link])

    def ready(self) -> bool:
        """Whether to act on the newest observation: once every source has come to it, or is not worth waiting for."""
        if self.revises or (self.clock is not None and self.waited is not None and self.waited >= self.timeout):
            return True
        return not any(0 < self.newest - stamp <= self.lag for stamp, _ in self.heard.values())
