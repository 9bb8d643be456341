"""What travels: kinds of events and messages, and the order of simultaneous ones.

An event is a tuple `(at, kind, dst, src, seq, stamp, payload, port)` that sorts by content: time in microseconds, then kind, then receiver,
sender and the sender's sequence number for that kind. So ties never depend on the order of insertion. Among messages of one instant credit
goes before activity: what a decision earned is learned before the next decision is made, as in the synchronous algorithms.

    kind        from -> to                  payload (float64, flat)
    TURN        a turn a node asked for     -                                      its number: the decision that the world goes on behind (0: its own)
    REWARD      world | dopamine -> nodes   (B,) reward or TD error per stream
    TRANSITION  world -> dopamine           (1 + 3 B,) stamp of the action used, reward, bootstrap mask, valid mask
    FEEDBACK    node -> its inputs          (B, inputs, partial sums) what the rule tells each input unit
    ACTIVITY    node -> its readers         (B + B width,) episode number and values
    TICK        a node's own clock          -
"""

from typing import NamedTuple

import numpy as np

TURN, REWARD, TRANSITION, FEEDBACK, ACTIVITY, TICK = range(6)
CHANNELS = {"reward": REWARD, "transition": TRANSITION, "feedback": FEEDBACK, "activity": ACTIVITY}
LIFE = 2**40  # the sequence numbers of a node whose process was lost go on from so many times the number of its life
DROP = 8  # added to the kind of a message on the tape: its node had no room for it (mailbox.py)
CHANNEL_NAMES = {code: name for name, code in CHANNELS.items()}


class Message(NamedTuple):
    """What a node wants to send: one payload to every link of a channel, or (link >= 0) to one of them; on TURN: a turn of its own at time `stamp`."""

    channel: int
    stamp: int
    payload: np.ndarray
    link: int = -1
