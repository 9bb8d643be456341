"""The `asyncnet` command, also as `python -m asyncnet`: what has to be so before it imports what takes a second to import."""

import os

from asyncnet.interrupts import listen


def one_thread() -> None:
    """One thread for each library, which looks at its import: these layers are small, and sums must not depend on how they were split."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def main() -> None:
    """Entry point of the command."""
    listen()
    one_thread()
    from asyncnet.cli import main as command

    command()


if __name__ == "__main__":
    main()
