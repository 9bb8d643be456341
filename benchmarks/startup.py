"""How long a start takes, in processes of their own: importing asyncnet, and from the command to the first line of progress with a warm cache.

python benchmarks/startup.py [--rounds 3] [--json]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

import tyro

from asyncnet.benchmarks import Row, shorter, show


def process(*arguments: str) -> float:
    """Seconds that a Python process takes."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - began


def first_line() -> float:
    """Seconds from the command to the first line of progress of cartpole-free."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [sys.executable, "-m", "asyncnet", "run", "cartpole-free", "--out", folder]
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as run:
            for line in run.stderr:
                if "decisions" in line:
                    took = time.perf_counter() - began
                    run.terminate()
                    return took
    raise RuntimeError("the run ended without progress")


def measure(rounds: int = 3) -> list[Row]:
    """Both, beside the time of a bare Python and of importing NumPy."""
    bare, numpy = (statistics.median(process("-c", text) for _ in range(rounds)) for text in ("pass", "import numpy"))
    imported = statistics.median(process("-c", "import asyncnet") for _ in range(rounds))
    first_line()  # compiles
    return [
        shorter("import asyncnet, in a process of its own", imported, "s", "a bare Python", bare),
        shorter("first line of progress of cartpole-free", statistics.median(first_line() for _ in range(rounds)), "s", "import numpy", numpy),
    ]


def main(rounds: int = 3, json: bool = False) -> None:
    """Time starts.

    Args:
        rounds: how often each is timed.
        json: print one JSON object.
    """
    show(measure(rounds), json)


if __name__ == "__main__":
    tyro.cli(main)
