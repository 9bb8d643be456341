"""The machines of learning nodes: when a node samples, when it learns, what it says. A rule names those that its nodes are made of (ports.Kind).

    sampled     acts on each observation once and holds its sample, at ticks or on arrival       REINFORCE, Weight Maximization, LMS, the critic in one node
    settling    goes on moving between two observations, a step at each tick of its own          MAP Propagation on free clocks
    phased      moves in waves of messages between two observations, without a clock             MAP Propagation in synchronous phases

Each is a file made of shared parts: what a node hears (hearing.py), the archive of its samples and the credit it learns from (archive.py). Another machine is
another file: FIELDS, SETTINGS, PARTS and the two entries `begin` and `handle` (family.py).
"""
