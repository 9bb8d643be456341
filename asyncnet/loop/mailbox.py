"""A small mailbox: what becomes of the messages that wait for a node's tick and find no room. This is the one to read; compiled/mailbox.py does the same.

    block         the first `room` are heard, the others wait on, in their order, until there is room
    drop-oldest   the last `room` are heard, those before are gone
    drop-newest   the first `room` are heard, those after are gone
    newest-wins   of each link the message of the greatest number is heard, the others are gone

A node with a mailbox reads it at its tick, and its messages are in the order of events (message.py). Several mailboxes that are on at once sort one after
another. What waited when its node crashed went with it. A message is heard as of the time at which it came, or of the node's last tick, if it waited on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asyncnet.loop import when
from asyncnet.loop.mishaps import BLOCK, CRASH, DROP_OLDEST, FAULT, KIND, NEWEST_WINS, OWN, VALUE, WHEN

HEARD, DROPPED, WAITS = range(3)
Waiting = tuple[int, int, int, int]  # when it came, its channel, its port, and its number


def sorted_out(rows: np.ndarray, seed: int, who: int, now: int, messages: Sequence[Waiting], struck: np.ndarray) -> list[int]:
    """What becomes of each of the messages, oldest first, at a tick of node `who`: HEARD, DROPPED or WAITS.

    `struck` counts, fault by fault, messages that are dropped and ticks at which some have to wait.
    """
    crashes = rows[rows[:, KIND] == CRASH]
    boxes = [row for row in rows[rows[:, KIND] >= BLOCK] if when.on(row[WHEN:], seed, int(row[FAULT]), who if row[OWN] else 0, now, 0)]
    most = int(boxes[0][VALUE]) if boxes and boxes[0][KIND] == BLOCK else len(messages)
    found: list[int] = []
    count = 0
    for at, *_ in messages:
        if count == most:  # nobody looks any farther
            found += [WAITS] * (len(messages) - len(found))
            struck[int(boxes[0][FAULT])] += 1
            break
        begins = (when.begins(row[WHEN:], seed, int(row[FAULT]), who if row[OWN] else 0, at, now) for row in crashes)
        found.append(DROPPED if any(begin <= now for begin in begins) else HEARD)
        count += found[-1] == HEARD
    for row in boxes:
        kind, room, fault = int(row[KIND]), int(row[VALUE]), int(row[FAULT])
        left = [n for n, verdict in enumerate(found) if verdict == HEARD]
        if kind == NEWEST_WINS:
            newest: dict[tuple[int, int], int] = {}
            for n in left:
                _, channel, port, seq = messages[n]
                best = newest.setdefault((channel, port), n)
                if seq > messages[best][3]:
                    newest[channel, port] = n
            kept = set(newest.values())
        else:
            kept = set(left[-room:] if kind == DROP_OLDEST else left[:room])
        for n in left:
            if n not in kept:
                found[n] = WAITS if kind == BLOCK else DROPPED
        over = len(left) - len(kept)
        struck[fault] += min(over, 1) if kind == BLOCK else over
    return found
