"""Rings: how messages go from one loop to another through memory that both see. One writer, one reader; nothing is packed, nothing waits for a lock.

A host's memory is 64-bit words. First its head, then a ring for each host that it writes to:

    head    magic, layout, rings, words of a ring, four words by which the host is known;  bell and what belongs to it, a line of their own
    ring    tail, written by its writer    head, written by its reader    who reads it    the words, as many as a power of two

Tail and head count all words ever written and read; a word lies at its number modulo the ring's length. A message is six words (when it was sent, in
nanoseconds of the machine's monotonic clock; at, who, seq, stamp, size) and its numbers.

Order of memory. The writer writes a message, then the tail; a reader that sees the tail sees the message. The reader takes a message, then writes the head; a
writer that sees the head may write over it. Then the bell: the writer counts it up and looks whether its owner sleeps; the owner says that it sleeps and
looks at the bell. Both are sequentially consistent, so at least one of them sees the other, and nobody sleeps while something has come.

Whatever is read is checked, whoever wrote it: tail, lengths, then (arrivals.py) kind, receiver, sender, size. What does not fit is counted, and what
cannot be told apart any more is skipped up to the tail.
"""

from asyncnet.kernels.kernel import inlined, kernel, row_at
from asyncnet.kernels.pointer import numbers_at, wholes_at
from asyncnet.kernels.shared_words import add, load, store, wake

MAGIC, LAYOUT = 0x676E69722D6E61, 1  # "an-ring"
LINE = 16  # words: two lines of a cache, which are fetched together
# Words of a memory's head.
HEAD_MAGIC, HEAD_LAYOUT, HEAD_RINGS, HEAD_WORDS, HEAD_KEY = range(5)
KEY_WORDS = 4
BELL = LINE
SLEEPS, ASKED = range(1, 3)  # words after a bell: whether its owner sleeps; whether it is asked for in Python
AWAKE, WAKE_ME, UNTIL_ITS_TICK = range(3)  # what stands in SLEEPS: messages wake an owner only if it says so
GATE_BELL = 2 * LINE  # the bell of the gateway (actors/gateway.py)
FIRST_RING = 3 * LINE
# Words of a ring.
TAIL, HEAD, READER, WORDS = 0, LINE, 2 * LINE, 3 * LINE
# Words of a message; its numbers follow.
SENT_AT, AT, WHO, SEQ, STAMP, SIZE, PREFIX = range(7)

# Columns of a loop's `peers`, a row for each other loop. Of the ring to it: its address, its length, the next word to write, up to where the reader knows of
# it, and how far that has read as far as known; the reader's bell. Of the ring from it: its address, its length, the next word to read, the last tail that made
# no sense. In simulated time that loops share: the least time of what was written in this window, the last window that it has promised, its number. In real
# time the least sequence number of its present life: what has a smaller one comes from a process that was given up.
OUT, OUT_WORDS, WRITTEN, SAID, FREED, BELL_AT, IN, IN_WORDS, READ, WRONG, DUE, PROMISED, PLACE, LEAST_SEQ = range(14)
PEER_COLUMNS = 16


@inlined
def room(peer):
    """How many words may be written to a peer."""
    return peer[OUT_WORDS] - (peer[WRITTEN] - peer[FREED])


@kernel
def look_again(peer):
    """See how far a peer has read; returns how many words may be written."""
    head = load(peer[OUT] + 8 * HEAD)
    if peer[FREED] <= head <= peer[SAID]:  # else it was not its reader who wrote that
        peer[FREED] = head
    return room(peer)


@kernel
def has_room(peer, words):
    """Whether so many words may be written."""
    return room(peer) >= words or look_again(peer) >= words


@inlined
def put_word(words, at, value):
    words[at & (words.shape[0] - 1)] = value


@kernel
def begin_message(peer, sent, at, code, seq, stamp, size):
    """Write the first words of a message for which there is room; returns where its numbers go."""
    words = wholes_at(peer[OUT] + 8 * WORDS, (peer[OUT_WORDS],))
    first = peer[WRITTEN]
    put_word(words, first + SENT_AT, sent)
    put_word(words, first + AT, at)
    put_word(words, first + WHO, code)
    put_word(words, first + SEQ, seq)
    put_word(words, first + STAMP, stamp)
    put_word(words, first + SIZE, size)
    peer[WRITTEN] = first + PREFIX + size
    return first + PREFIX


@kernel
def write(peer, sent, at, code, seq, stamp, payload):
    """Write a message for which there is room."""
    first = begin_message(peer, sent, at, code, seq, stamp, payload.shape[0])
    numbers = numbers_at(peer[OUT] + 8 * WORDS, (peer[OUT_WORDS],))
    for i in range(payload.shape[0]):
        put_word(numbers, first + i, payload[i])


@kernel
def ring_bell(system, bell):
    """Have the owner of a bell know that something has come."""
    add(bell, 1)
    if load(bell + 8 * SLEEPS) == WAKE_ME:
        wake(system, bell)


@kernel
def hand_over(system, peers):
    """Have all peers know of what was written to them."""
    for n in range(peers.shape[0]):
        peer = row_at(peers, n)
        if peer[WRITTEN] != peer[SAID]:
            store(peer[OUT] + 8 * TAIL, peer[WRITTEN])
            peer[SAID] = peer[WRITTEN]
            ring_bell(system, peer[BELL_AT])


@inlined
def waiting(peer):
    """How many words from a peer have not been read; -1 if its tail makes no sense and did not before, which is counted once."""
    tail = load(peer[IN] + 8 * TAIL)
    some = tail - peer[READ]
    if 0 <= some <= peer[IN_WORDS]:
        return some
    if tail == peer[WRONG]:
        return 0
    peer[WRONG] = tail
    return -1


@inlined
def word(words, at):
    return words[at & (words.shape[0] - 1)]


@kernel
def let_go(peer):
    """Have the writer know how far was read."""
    store(peer[IN] + 8 * HEAD, peer[READ])
