"""Bugs planted one at a time in a copy of the checkout, to see that the check which promises to catch each does.

    python -m asyncnet.benchmarks.planted [--only shared-rng set-order ...]

A bug is a small edit of the source. Its check is a row of endurance.py or a test of the suite; it has to pass in a copy without the edit and to fail in one
with it, and to say why: not because something cannot be imported, nor because it takes too long. Exit code 1 if a bug was not caught.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import tyro

import asyncnet

ROOT = Path(asyncnet.__file__).resolve().parent.parent
COPIED = ("asyncnet", "actors", "scenarios", "benchmarks", "tests", "pyproject.toml")
LONGEST = 600.0  # seconds that a check may take
NO_ANSWER = ("ModuleNotFoundError", "ImportError", "SyntaxError", "NameError", "no tests ran", "error: unrecognized", "INTERNALERROR")  # these catch nothing


class Edit(NamedTuple):
    """A text of a file, which is there once, and what stands in its place."""

    file: str
    old: str
    new: str


class Check(NamedTuple):
    """A row of endurance.py and how many trials of it, or the node of a test; `plain`: as plain Python, where compiling would take longer than running."""

    name: str
    trials: int = 0
    plain: bool = True

    def command(self) -> list[str]:
        """The command that runs it in the copy that is the working folder."""
        if self.trials:
            return [sys.executable, "-m", "asyncnet.benchmarks.endurance", "--rows", self.name, "--trials", str(self.trials), "--out", "endurance.jsonl"]
        return [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "--tb=short", self.name]

    def __str__(self) -> str:
        return f"row {self.name}, {self.trials} trial{'s' * (self.trials > 1)}" if self.trials else self.name


class Bug(NamedTuple):
    """What is wrong, the edits that make it so, the check that has to catch it, and a word of what that says then."""

    what: str
    edits: tuple[Edit, ...]
    check: Check
    says: str


Name = Literal[
    "shared-rng",
    "set-order",
    "stale-reward",
    "skip-dedup",
    "reuse-epoch",
    "drop-ledger-entry",
    "partial-checkpoint",
    "zero-delay-edge",
    "unbounded-mailbox",
    "wrong-seed",
    "ack-before-apply",
    "restart-without-restore",
]
BUGS: dict[Name, Bug] = {
    "shared-rng": Bug(
        "units draw by their place in their node, so all nodes of a layer draw from the streams of the first",
        (Edit("asyncnet/rules/coagent.py", "y[j] = uniform(c.seed, SAMPLE, first + j, b, stamp)", "y[j] = uniform(c.seed, SAMPLE, j, b, stamp)"),),
        Check("tests/team/test_identity.py::test_units_groups_and_layers_as_nodes_end_with_the_same_bits[readable-phase-0-all-reinforce]"),
        "assert cut.score.rewards.latest.tolist() == whole.score.rewards.latest.tolist()",
    ),
    "set-order": Bug(
        "a node's inputs are in the order in which a set of names gives them",
        (
            Edit(
                "asyncnet/team/draw.py",
                "        for source in layer.sources:\n            sources +=",
                "        for source in set(layer.sources):\n            sources +=",
            ),
        ),
        Check("tests/team/test_identity.py::test_the_seed_of_hashes_changes_nothing[SKIPS]", plain=False),
        "assert {digest for digest, _ in found} == {wanted}",
    ),
    "stale-reward": Bug(
        "credit for a decision whose sample is gone is learned from with the newer sample in its place",
        (
            Edit(
                "asyncnet/machines/archive.py",
                "if v.archive_stamp[slot] != stamp:  # a newer sample",
                "if v.archive_stamp[slot] < stamp:  # a newer sample",
            ),
        ),
        Check("tests/rules/test_rules.py::test_credit_for_a_sample_that_was_evicted_or_overtaken_is_counted_and_changes_nothing"),
        'assert counts(node)["evicted"] == 1',
    ),
    "skip-dedup": Bug(
        "a place whose credit was learned from takes the same credit again",
        (
            Edit(
                "asyncnet/machines/hearing.py",
                "    if v.pending_stamp[slot] < stamp:\n",
                "    if v.pending_stamp[slot] < stamp or v.pending_state[slot] == 2.0:\n",
            ),
        ),
        Check("order", 1),
        "nodes learned twice",
    ),
    "reuse-epoch": Bug(
        "a host that comes back goes on with the numbers of its earlier life",
        (Edit("asyncnet/runs/snapshot.py", "3 : 3 + TICK] = life * LIFE", "3 : 3 + TICK] += 0"),),
        Check("tests/actors/test_supervisor.py::test_a_world_that_went_back_goes_on_behind_the_decision_that_others_have_come_to[Loop]"),
        "numbers that nobody has heard",
    ),
    "drop-ledger-entry": Bug(
        "a message that is lost is not booked",
        (Edit("asyncnet/loop/compiled/posting.py", "            t.lost[n] += 1\n", ""),),
        Check("books", 2),
        "books, seed 1: link",
    ),
    "partial-checkpoint": Bug(
        "a state lacks the messages that stale links hold back",
        (
            Edit(
                "asyncnet/runs/snapshot.py",
                "for link in sorted(loop.held) for seq, message in loop.held[link]]",
                "for link in () for seq, message in loop.held[link]]",
            ),
        ),
        Check("resume", 11, plain=False),
        "resume, seed 10: cut at",
    ),
    "zero-delay-edge": Bug(
        "a link between two actors that takes no time is let through in shared simulated time",
        (Edit("actors/windows.py", "if model.least < 1:", "if model.least < 0:"),),
        Check("tests/actors/test_windows.py::test_a_link_without_delay_between_two_loops_is_refused_by_name_and_one_within_a_loop_is_not"),
        "DID NOT RAISE",
    ),
    "unbounded-mailbox": Bug(
        "messages under way have no bound",
        (
            Edit(
                "asyncnet/loop/compiled/compiled_loop.py",
                "if int(self._tables.control[EVENTS]) + waiting > self.most_events and not self._unfinished:",
                "if int(self._tables.control[EVENTS]) + waiting > NEVER and not self._unfinished:",
            ),
        ),
        Check("tests/runs/test_memory.py::test_a_run_with_more_under_way_than_there_is_room_for_ends_and_names_the_link[compiled]", plain=False),
        "out of room",
    ),
    "wrong-seed": Bug(
        "of a seed only the lower 32 bits are the key",
        (Edit("asyncnet/kernels/chance.py", "& _LOW, s & _LOW, s >> _32)", "& _LOW, s & _LOW, np.uint64(0))"),),
        Check("tests/kernels/test_chance.py::test_a_draw_is_the_first_53_bits_at_its_documented_counter"),
        "assert uniform_of(",
    ),
    "ack-before-apply": Bug(
        "a message counts as delivered once it waits at its node, which may never hear it",
        (
            Edit(
                "asyncnet/loop/compiled/posting.py",
                "        book(t, now + delay, code, dst, seq, t.links[n, IN_PORT], slot, delay > 0 or now_already)\n",
                "        book(t, now + delay, code, dst, seq, t.links[n, IN_PORT], slot, delay > 0 or now_already)\n"
                "        if (delay > 0 or now_already) and t.nodes[dst, INBOX] != NEVER_WAITS:\n"
                "            t.came[t.nodes[dst, FIRST_IN + channel] + t.links[n, IN_PORT]] += 1\n",
            ),
            Edit(
                "asyncnet/loop/compiled/go.py",
                "        t.came[row[p.FIRST_IN + kind] + port] += 1\n        if noting:\n",
                "        if noting:\n",
            ),
        ),
        Check("books", 2),
        "books, seed 0: link",
    ),
    "restart-without-restore": Bug(
        "of the states that are fetched of a host the first is kept, so a lost one comes back in that",
        (
            Edit(
                "actors/supervisor.py",
                "            self._states[name], self._recorded[name] = Checkpoint(about, arrays), recorded\n",
                "            self._states.setdefault(name, Checkpoint(about, arrays))\n            self._recorded.setdefault(name, recorded)\n",
            ),
        ),
        Check("tests/actors/test_supervisor.py::test_weights_after_a_loss_are_those_of_the_fetched_state", plain=False),
        "assert not np.array_equal(state[name], first[",
    ),
}


def edited(edit: Edit, text: str) -> str:
    """The text of its file with that edit; ValueError if what it replaces is not there just once."""
    times = text.count(edit.old)
    if times != 1:
        raise ValueError(f"{edit.file}: {edit.old.strip()!r} is there {times} times")
    return text.replace(edit.old, edit.new)


@contextmanager
def copy(edits: tuple[Edit, ...] = ()) -> Iterator[Path]:
    """A copy of the checkout with these edits, as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        for name in COPIED:
            source, target = ROOT / name, Path(folder, name)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            else:
                shutil.copy(source, target)
        for edit in edits:
            path = Path(folder, edit.file)
            path.write_text(edited(edit, path.read_text()))
        yield Path(folder)


def tried(check: Check, folder: Path) -> tuple[int | None, str, float]:
    """How a check in a copy ends (None: not in time), what it says, and after how many seconds.

    Machine code is kept under a digest of all text that it is made of, so one of unchanged kernels is found where the user's is, and none of an edit's is
    ever taken for another.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_") and name != "NUMBA_DISABLE_JIT"}
    here = {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "numba"), "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    try:
        done = subprocess.run(
            check.command(),
            cwd=folder,
            env=kept | here | ({"NUMBA_DISABLE_JIT": "1"} if check.plain else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, "", time.perf_counter() - began
    return done.returncode, done.stdout, time.perf_counter() - began


def sound(check: Check) -> tuple[str, float]:
    """Why a check does not pass where no bug is, nothing if it does, and after how many seconds."""
    with copy() as folder:
        code, said, took = tried(check, folder)
    return "" if code == 0 else f"fails without it: {_last(code, said)}", took


def caught(bug: Bug) -> tuple[str, float]:
    """Why a bug is not caught by its check, nothing if it is, and after how many seconds."""
    with copy(bug.edits) as folder:
        code, said, took = tried(bug.check, folder)
    if code == 0:
        return "passes all the same", took
    if code != 1 or bug.says not in said or any(word in said for word in NO_ANSWER):
        return f"fails for another reason: {_last(code, said)}", took
    return "", took


def _last(code: int | None, said: str) -> str:
    """The end of what was said, in one line."""
    return f"not over after {LONGEST:.0f} s" if code is None else f"exit code {code}, ...{' '.join(said.split())[-300:]}"


def main(only: tuple[Name, ...] = ()) -> None:
    """Plant bugs and see whether they are caught.

    Args:
        only: which; default: all.
    """
    names = only or get_args(Name)
    without = {}
    for check in dict.fromkeys(BUGS[name].check for name in names):
        without[check] = sound(check)
        print(f"without a bug, {check}: {without[check][0] or 'passes'}", file=sys.stderr, flush=True)
    missed = 0
    print("| bug | where | caught by | seconds |\n| --- | --- | --- | --- |")
    for name in names:
        bug = BUGS[name]
        why, took = caught(bug)
        why = without[bug.check][0] or why
        missed += bool(why)
        where = ", ".join(dict.fromkeys(edit.file for edit in bug.edits))
        print(f"| {name}: {bug.what} | {where} | {f'NOT CAUGHT by {bug.check}: {why}' if why else bug.check} | {took:.0f} |", flush=True)
    print(f"\n{len(names) - missed} of {len(names)} caught; the {len(without)} checks pass without them in {sum(took for _, took in without.values()):.0f} s")
    sys.exit(int(missed > 0))


if __name__ == "__main__":
    tyro.cli(main)
