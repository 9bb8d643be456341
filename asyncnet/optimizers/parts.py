"""What every optimiser, and every rule that has one, shares: where the slots of some weights lie, and learning rates that fall."""

from asyncnet.kernels.kernel import inlined, kernel, view


@inlined
def slot(slots, count, k, at, n):
    """Slot k, of `count`, of n weights from the `at`-th of their array on: (n,)."""
    return view(slots, k * (slots.size // count) + at, (n,))


@kernel
def annealed(start, end, over, t):
    """The learning rate at update t: linear from start to end over `over` updates, then constant."""
    if over <= 0.0:
        return start
    return start + (end - start) * min(1.0, t / over)
