"""What is promised, tried again and again: rows of trials, each of one seed, with how many failed and the 95% upper bound of the share that do.

    python -m asyncnet.benchmarks.endurance [--nightly] [--rows same-seed resume ...] [--out endurance.jsonl]

A trial draws a scenario of its seed: what ships or a small team, under conditions and faults that are drawn too. A line in --out is one trial, so a long run
may be stopped and started again: what is there is not tried twice. Rows that cannot be tried here say so. Exit code 1 if any trial failed.

    same-seed      twice the same run: the same digest
    loops          the loop to read and the compiled one: the same digest, books and firings
    shared-time    one process and Ray actors that share simulated time: the same digest
    replay         a run on real clocks: its recording is replayed identically
    books          messages: every one is in the books of its link
    order          messages: without a condition that reorders them a link's come in order, and what comes twice is learned from once
    calibration    100,000 draws of a fault: it strikes as often, or takes as long, as asked
    heal           half of the team is cut off and healed: everybody learns again
    resume         a run cut at five points and gone on with: the same digest
    kills          actors of a run on Ray are killed: all are back, the books balance, the recording replays
    left           the driver of a run on Ray is killed: nothing of it is left ten seconds later
    mistakes       scenarios with a mistake: refused by key, no other exception, nothing started
    frames         bytes on the wire: taken or refused as a frame, no other exception, none longer than a tenth of a second
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import json  # noqa: E402  (the threads are set before NumPy is loaded)
import math  # noqa: E402
import platform  # noqa: E402
import random  # noqa: E402
import re  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from contextlib import suppress  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, Literal, NamedTuple, get_args  # noqa: E402

import numpy as np  # noqa: E402
import psutil  # noqa: E402
import tyro  # noqa: E402

import asyncnet  # noqa: E402
from asyncnet.actors import frames  # noqa: E402
from asyncnet.kernels.plain import as_python  # noqa: E402
from asyncnet.loop.compiled.agenda import of_who  # noqa: E402
from asyncnet.loop.compiled.compiled_loop import CompiledLoop  # noqa: E402
from asyncnet.loop.ledger import account, unexplained  # noqa: E402
from asyncnet.loop.link import LOST, outcome  # noqa: E402
from asyncnet.loop.loop import Loop  # noqa: E402
from asyncnet.loop.message import TICK  # noqa: E402
from asyncnet.loop.timekeeper import Virtual  # noqa: E402
from asyncnet.runs import snapshot  # noqa: E402
from asyncnet.scenario.reading import condition  # noqa: E402
from asyncnet.scenario.schema import Scenario, ScenarioError, check  # noqa: E402
from asyncnet.team.conditions import model  # noqa: E402

SHIPPED = ("multiplexer-weight-max", "multiplexer3-weight-max", "multiplexer2-units", "multiplexer3-map-async", "cartpole-free", "tracking-idbd")
UNDER = ("calm", "slow-links", "jittery-clocks", "lossy", "straggler", "stale-reward", "lan", "wan", "bursty", "split-brain", "flaky-nodes", "chaos")
LONG = 0.1  # seconds that a frame may take
MOST_REFUSED = 1000  # scenarios in a row: about half are
GONE = 10.0  # seconds after which nothing is left
KILLS = 5  # in a run
BEHIND = 10.0  # seconds of learning that a host may lose

Tried = tuple[int, int, str]  # how many were tried in a trial, how many failed, and how the first did


class Row(NamedTuple):
    """A promise: how many trials at each commit and once in a night, and what one is."""

    commit: int
    nightly: int
    trial: Callable[[random.Random], Tried]


def drawn(chance: random.Random, decisions: int = 150, *, delayed: bool = False) -> Scenario:
    """A scenario: one that ships or a small team, under conditions and with faults."""
    for left in reversed(range(MOST_REFUSED)):
        try:
            made = asyncnet.load(chance.choice(SHIPPED)) if chance.random() < 0.4 else check(_small(chance), "drawn")
            length: dict[str, Any] = {"task.episodes": 4} if made.task.episodes is not None else {"task.decisions": decisions}
            if made.task.world.waits:
                length["task.world.timeout"] = 20.0  # as shipped some wait for minutes before they ask again
            faults = [_fault(chance) for _ in range(chance.choice((0, 1, 2, 4)))]
            made = made.replace({"seed": chance.randrange(2**40), **length, **({"links.default.delay": 0.5} if delayed else {})})
            made = made.under_layers(map(condition, chance.sample(UNDER, chance.choice((0, 1, 1, 2)))))
            return made.replace({"faults": [*made.data().get("faults", []), *faults]})
        except ScenarioError:  # what does not go together is refused
            if not left:
                raise
    raise AssertionError


def _small(chance: random.Random) -> dict[str, Any]:
    clock = chance.choice(({"kind": "periodic", "jitter": 0.2}, {"kind": "poisson"}, {"kind": "periodic", "period": 2.0}, {"kind": "on-arrival"}))
    waits = chance.random() < 0.4
    return {
        "name": "drawn",
        "seed": 1,
        "tick": chance.choice((10, 1000)),
        "task": {"name": "multiplexer", "k": chance.choice((1, 2)), "decisions": 100, "streams": chance.choice((1, 3)), "world": _world(chance, waits)},
        "network": {"hidden": chance.choice(([3], [4, 2], [3, 3, 2])), "output": "bernoulli", "split": chance.choice(("layer", "unit", 2))},
        "rule": {"name": chance.choice(("reinforce", "weight-max")), "learning_rate": 0.02, "credit": chance.choice(("stamped", "trace"))},
        "clocks": {"default": clock},
        "links": {"default": {"delay": chance.choice((0.0, 0.5, {"kind": "exponential", "mean": 1.0}))}},
    }


def _world(chance: random.Random, waits: bool) -> dict[str, Any]:
    return {"waits": waits, "interval": chance.choice((1.0, 6.0)), "timeout": 20.0, **({} if waits else {"late": chance.choice(("use", "withhold"))})}


def _fault(chance: random.Random) -> dict[str, Any]:
    what = chance.choice(
        (
            {"kind": "loss", "share": 0.2, "burst": 3.0},
            {"kind": "corrupt", "share": 0.1},
            {"kind": "delay", "delay": {"kind": "exponential", "mean": 1.0}, "alike": 0.5},
            {"kind": "delay", "delay": {"kind": "measured", "quantiles": [[0.0, 0.3], [0.9, 1.0], [1.0, 9.0]]}},
            {"kind": "reorder", "share": 0.2, "by": 2.0},
            {"kind": "cut", "nodes": "actor.1"},
            {"kind": "hold", "channel": "reward"},
            {"kind": "rate", "per_tick": 0.4, "room": 5},
            {"kind": "duplicate", "share": 0.3},
            {"kind": "noise", "sigma": 0.2},
            {"kind": "misdate", "share": 0.2},
            {"kind": "crash", "snapshot": 30.0},
            {"kind": "crash", "count": 1},
            {"kind": "pause"},
            {"kind": "slow", "by": 2.5},
            {"kind": "skip", "share": 0.2},
            {"kind": "shift", "by": 0.7},
            {"kind": "mailbox", "policy": "newest-wins"},
            {"kind": "mailbox", "policy": chance.choice(("block", "drop-oldest", "drop-newest")), "room": 2},
        )
    )
    when = chance.choice(({"poisson": 60.0, "lasting": 8.0}, {"every": 70.0, "lasting": 10.0}, {"start": 50.0, "stop": 150.0}))
    return what | when


def _ran(made: Scenario, kind: type[Loop] = CompiledLoop, until: int | None = None) -> Loop:
    loop = kind(made, Virtual())
    loop.prepare()
    loop.run(**({} if until is None else {"until": until}))
    loop.nodes[0].close()
    return loop


def _one(wrong: str) -> Tried:
    return 1, int(bool(wrong)), wrong


def _same_seed(chance: random.Random) -> Tried:
    made = drawn(chance)
    one, other = (_ran(made).digest() for _ in range(2))
    return _one("" if one == other else f"{one[:16]} and {other[:16]}")


def _loops(chance: random.Random) -> Tried:
    made = drawn(chance, 60)
    read, compiled = _ran(made, Loop), _ran(made)
    same = read.digest() == compiled.digest() and (account(read) == account(compiled)).all() and (read.struck == compiled.struck).all()
    return _one("" if same else "they differ")


def _shared_time(chance: random.Random) -> Tried:
    found = None
    while found is None:
        made = drawn(chance, delayed=True)
        with suppress(ScenarioError):  # a condition may leave no delay between two actors
            found = asyncnet.run(made, "ray", time="virtual", out=None, pack=chance.choice((1, 2, 3, 1000)))
    alone = _ran(made).digest()
    return _one("" if found.record.digest == alone else f"{found.record.stopped}: {found.record.digest[:16]}, alone {alone[:16]}")


def _replay(chance: random.Random) -> Tried:
    made = drawn(chance).replace({"tick": 1000})
    engine: dict[str, Any] = chance.choice(({"engine": "embedded", "time": "wall"}, {"engine": "ray"}))
    with tempfile.TemporaryDirectory() as folder:
        found = asyncnet.run(made, out=folder, **engine)
        same, line = asyncnet.replay(found.run_dir)
    return _one("" if same else line)


def _books(chance: random.Random) -> Tried:
    loop = _ran(drawn(chance, 400))
    table = account(loop)
    wrong = np.flatnonzero(unexplained(table))
    return int(table[0].sum()), len(wrong), "" if not len(wrong) else f"link {wrong[0]}: {table[:, wrong[0]].tolist()}"


def _order(chance: random.Random) -> Tried:
    seed = chance.randrange(2**40)
    made = asyncnet.load("multiplexer3-weight-max").replace(
        {"seed": seed, "task.decisions": 300, "faults": [{"kind": "loss", "share": 0.2, "channel": "activity"}]}
    )
    heard: list[np.ndarray] = []
    loop = CompiledLoop(made, Virtual(), tape=heard.append)
    loop.prepare()
    loop.run()
    rows = np.concatenate(heard)
    rows = rows[(rows[:, 2] > 0) & (as_python(of_who)(rows[:, 1])[0] != TICK)]
    last: dict[int, int] = {}
    inversions = 0
    for _, code, seq in rows.tolist():
        inversions += seq <= last.get(code, 0)
        last[code] = seq
    twice = [{"kind": "duplicate", "share": 0.5, "channel": channel} for channel in ("reward", "feedback")]
    plain, doubled = (_ran(made.replace({"faults": faults})) for faults in ([], twice))
    applied = sum(int((plain.nodes[i].view.weight != doubled.nodes[i].view.weight).any()) for i in (1, 2, 3))
    duplicates = int(account(doubled)[1].sum())
    return len(rows) + duplicates, inversions + applied, f"{inversions} inversions, {applied} nodes learned twice" if inversions + applied else ""


def _calibration(chance: random.Random) -> Tried:
    """Draws of one fault, at a share or with a delay; it fails if they are outside the 99.99% interval, which one in 10,000 is by chance."""
    n, seed = 100_000, chance.randrange(2**40)
    kind = chance.choice(("loss", "corrupt", "duplicate", "reorder", "exponential", "uniform"))
    p = chance.choice((0.001, 0.01, 0.1, 0.5))
    delays = {
        "exponential": ({"kind": "exponential", "mean": 2.0}, 2.0, 2.0),
        "uniform": ({"kind": "uniform", "low": 1.0, "high": 4.0}, 2.5, 3.0 / math.sqrt(12.0)),
    }
    fault = {"kind": "delay", "delay": delays[kind][0]} if kind in delays else {"kind": kind, "share": p}
    made = asyncnet.load("multiplexer3-weight-max").replace({"faults": [fault], "links": {"default": []}})
    conditions, struck = model(made, "activity", [0]).conditions, np.zeros(1, dtype=np.int64)
    calm = model(made, "activity", []).conditions
    times = np.array([outcome(conditions, seed, 1 << 20, 2 << 20, 1, k, k, 0, 0, -1.0, 0, struck) for k in range(1, n + 1)])
    still = [outcome(calm, seed, 1 << 20, 2 << 20, 1, k, k, 0, 0, -1.0, 0, struck) for k in range(1, 101)]
    if any(one != (0, -1) for one in still):
        return _one("calm does something")
    if kind in delays:
        _, mean, spread = delays[kind]
        off = abs(times[:, 0].mean() / made.tick - mean) / (spread / math.sqrt(n))
    else:
        share = {"loss": times[:, 0] == LOST, "corrupt": times[:, 0] == LOST, "duplicate": times[:, 1] > 0, "reorder": times[:, 0] > 0}[kind].mean()
        off = abs(share - p) / math.sqrt(p * (1.0 - p) / n)
    return _one("" if off <= 3.891 else f"{kind} {p}: {off:.2f} standard errors off")


def _heal(chance: random.Random) -> Tried:
    made = asyncnet.load(chance.choice(("multiplexer3-weight-max", "multiplexer3-map-async"))).replace(
        {"seed": chance.randrange(2**40), "task.decisions": 300, "faults": [{"kind": "cut", "fraction": 0.5, "start": 1000.0, "stop": 2000.0}]}
    )
    cut, whole = _ran(made, until=2000 * made.tick), _ran(made)
    still = [node.name for i, node in whole.nodes.items() if i and node.counts().get("learned", 1) <= cut.nodes[i].counts().get("learned", 0)]
    return _one("" if not still and whole.stopped == "finished" else f"{', '.join(still)} learned nothing afterwards; {whole.stopped}")


def _resume(chance: random.Random) -> Tried:
    made = drawn(chance)
    whole = _ran(made)
    failed = []
    for _ in range(5):
        at = chance.randrange(1, max(2, whole.now))
        first, second = _ran(made, until=at), CompiledLoop(made, Virtual())
        if first.stopped is not None:
            continue
        snapshot.put(second, snapshot.take(first), at_once=True)
        second.prepare()
        second.run()
        second.nodes[0].close()
        failed += [at] if second.digest() != whole.digest() else []
    return 5, len(failed), f"cut at {failed}" if failed else ""


def killed(folder: Path, chance: random.Random, kills: int, decisions: int) -> tuple[list[str], dict[str, Any]]:
    """A run on Ray of so many decisions of which actors are killed: their names, in their order, and the run's summary. Five in 30 s may be too many."""
    command = [sys.executable, "-m", "asyncnet", "run", "multiplexer3-weight-max", "--engine", "ray", "--json", "--out", str(folder)]
    driver = subprocess.Popen([*command, "--set", f"task.decisions={decisions}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    names: list[str] = []
    try:
        while driver.poll() is None and len(names) < kills:
            time.sleep(chance.uniform(6.0, 9.0))
            actors = {name: process for process in psutil.Process(driver.pid).children(recursive=True) if (name := _host(process))}
            if actors and any(folder.glob("*/traffic.jsonl")):
                names.append(chance.choice(sorted(actors)))
                actors[names[-1]].kill()
        return names, json.loads(driver.communicate()[0])
    finally:
        driver.kill()  # if we are ended before it; its helper then ends its Ray


def not_as_promised(names: list[str], summary: dict[str, Any]) -> list[str]:
    """What is wrong with a run whose actors were killed."""
    restarts = summary.get("measured", {}).get("restarts", [])
    back, behind = [row["host"] for row in restarts], max((row["lost_s"] for row in restarts), default=0.0)
    table = np.array([list(row.values()) for row in summary["ledger"].values()]).T
    same, line = asyncnet.replay(summary["run_dir"])
    found = {
        f"killed were {', '.join(names)}, back are {', '.join(back)}": names != back,
        summary["stopped"]: summary["stopped"] != "finished",
        f"one went back by {behind:.1f} s": behind > BEHIND,
        "the books do not balance": not table.size or unexplained(table).any(),
        line: not same,
    }
    return [what for what, wrong in found.items() if wrong]


def _kills(chance: random.Random) -> Tried:
    with tempfile.TemporaryDirectory() as folder:
        names, summary = killed(Path(folder), chance, KILLS, 4500)
        wrong = not_as_promised(names, summary)
    return len(names), len(names) if wrong else 0, "; ".join(wrong)


def _host(process: psutil.Process) -> str:
    """Which host an actor's process is; "" if it is none. Ray adds what it is being asked."""
    try:
        found = re.match(r"ray::(world|actor\.[0-9]+)", " ".join(process.cmdline()))
    except psutil.Error:
        return ""
    return found[1] if found else ""


def _left(chance: random.Random) -> Tried:
    mark = f"endurance-{chance.randrange(2**40)}"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "asyncnet", "run", "multiplexer3-weight-max", "--engine", "ray", "--out", folder]
        driver = subprocess.Popen(command, env=os.environ | {"ENDURANCE": mark}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.5, 12.0))
        driver.kill()
        driver.wait()
        until, alive = time.monotonic() + GONE, [0]
        while alive and time.monotonic() < until:
            time.sleep(0.2)
            alive = [process.pid for process in psutil.process_iter() if _environ(process).get("ENDURANCE") == mark]
    return _one(f"{len(alive)} processes" if alive else "")


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def _mistakes(chance: random.Random) -> Tried:
    data = asyncnet.load(chance.choice(SHIPPED)).replace({"faults": [_fault(chance)]}).data()
    table = data
    while True:
        key = chance.choice([*table])
        if isinstance(table[key], dict) and table[key] and chance.random() < 0.8:
            table = table[key]
            continue
        break
    table[chance.choice((key, "no-such-key"))] = chance.choice(
        (None, "x", -1, 1e300, float("nan"), [], {}, {"kind": "?"}, [[]], True, 10**30, "\x00", -0.0, ["a"] * 2000)
    )
    try:
        check(data, "mistaken")
    except ScenarioError as error:
        return _one("" if len(str(error)) < 2000 and "\n" not in str(error) else f"a message of {len(str(error))} characters")
    except Exception as error:
        return _one(f"{type(error).__name__}: {error}"[:200])
    return _one("")  # it was none


def _frames(chance: random.Random) -> Tried:
    rows = np.array([[k, 1 << 58, k, 0, 3] for k in range(chance.randrange(1, 6))], dtype=np.int64)
    whole = bytearray(frames.pack(rows, np.arange(3.0 * len(rows)), 5))
    failed, wrong = 0, ""
    for _ in range(1000):
        frame = bytearray(whole)
        for _ in range(chance.randrange(4)):
            frame[chance.randrange(len(frame))] = chance.randrange(256)
        cut = chance.randrange(len(frame) + 1) if chance.random() < 0.2 else len(frame)
        frame = bytes(frame[:cut]) if chance.random() < 0.9 else chance.randbytes(chance.randrange(200))
        began = time.perf_counter()
        try:
            frames.unpack(frame)
        except frames.BadFrame:
            pass
        except Exception as error:
            failed, wrong = failed + 1, f"{type(error).__name__}: {error}"[:200]
        if time.perf_counter() - began > LONG:
            failed, wrong = failed + 1, f"{time.perf_counter() - began:.2f} s"
    return 1000, failed, wrong


Name = Literal["same-seed", "loops", "shared-time", "replay", "books", "order", "calibration", "heal", "resume", "kills", "left", "mistakes", "frames"]
ROWS: dict[str, Row] = {
    "same-seed": Row(50, 1000, _same_seed),
    "loops": Row(50, 1000, _loops),
    "shared-time": Row(3, 40, _shared_time),
    "replay": Row(4, 50, _replay),
    "books": Row(20, 500, _books),
    "order": Row(3, 50, _order),
    "calibration": Row(10, 200, _calibration),
    "heal": Row(3, 100, _heal),
    "resume": Row(20, 300, _resume),
    "kills": Row(1, 10, _kills),
    "left": Row(3, 100, _left),
    "mistakes": Row(300, 10_000, _mistakes),
    "frames": Row(20, 5000, _frames),
}
NOT_RUN = {
    "cluster": "several machines: none were there",
}


def bound(failed: int, tried: int) -> float:
    """The largest share of failures that is not refuted at 95%: so few would be seen with a chance of 5% (Clopper and Pearson 1934)."""
    low, high = failed / tried, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        seen = (
            sum(math.exp(_log_choose(tried, k) + k * math.log(middle) + (tried - k) * math.log1p(-middle)) for k in range(failed + 1)) if middle < 1.0 else 0.0
        )
        low, high = (middle, high) if seen > 0.05 else (low, middle)
    return high


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def main(nightly: bool = False, rows: tuple[Name, ...] = (), out: Path = Path("endurance.jsonl"), trials: int | None = None) -> None:
    """Try what is promised.

    Args:
        nightly: the large numbers of trials, hours of them; without it those of a commit, some minutes.
        rows: which promises; default: all.
        out: where each trial leaves a line; those that are there are not tried again.
        trials: so many of each row instead.
    """
    done: dict[tuple[str, int], dict[str, Any]] = {}
    if out.exists():
        done = {(line["row"], line["seed"]): line for line in map(json.loads, out.read_text().splitlines())}
    with out.open("a") as file:
        for name in rows or get_args(Name):
            row = ROWS[name]
            for seed in range(trials or (row.nightly if nightly else row.commit)):
                if (name, seed) in done:
                    continue
                began = time.perf_counter()
                tried, failed, wrong = row.trial(random.Random(f"{name} {seed}"))
                line = {"row": name, "seed": seed, "tried": tried, "failed": failed, "wrong": wrong, "seconds": round(time.perf_counter() - began, 3)}
                done[name, seed] = line
                file.write(json.dumps(line) + "\n")
                file.flush()
                if failed:
                    print(f"{name}, seed {seed}: {wrong}", file=sys.stderr, flush=True)
            print(f"{name}: done", file=sys.stderr, flush=True)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("| | trials | tried | failed | 95% upper bound | seconds |\n| --- | --- | --- | --- | --- | --- |")
    for name in get_args(Name):
        lines = [line for (row, _), line in done.items() if row == name]
        if not lines:
            print(f"| {name} | not run | | | | |")
            continue
        tried, failed = (sum(line[key] for line in lines) for key in ("tried", "failed"))
        print(f"| {name} | {len(lines):,} | {tried:,} | {failed} | {bound(failed, tried):.2g} | {sum(line['seconds'] for line in lines):,.0f} |")
    for name, why in NOT_RUN.items():
        print(f"| {name} | not run: {why} | | | | |")
    sys.exit(int(any(line["failed"] for line in done.values())))


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on with what is left", file=sys.stderr)
        sys.exit(130)
