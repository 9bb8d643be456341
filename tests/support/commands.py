"""The real command, in a process of its own."""

import json
import os
import subprocess
import sys


def strictly(text: str) -> dict:
    """One JSON object, in which NaN and Infinity are no numbers."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def words_of(arguments: list[str]) -> list[str]:
    """The words that start the real command; Ctrl-C counts even where the tests run in a shell's background, which ignores it."""
    listens = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    return [sys.executable, "-c", f"{listens}; from asyncnet.cli import main; main({arguments!r})"]


def started(folder, *words, **environment):
    """The command in a process and a folder of its own: (exit code, standard output, standard error)."""
    done = subprocess.run(
        [sys.executable, "-m", "asyncnet", *map(str, words)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
