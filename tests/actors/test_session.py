"""A session leaves neither process nor file behind, however its driver ends."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import asyncnet
from asyncnet.actors.reaper import MARK, leftovers, reap
from asyncnet.actors.session import knock
from asyncnet.scenario.schema import ScenarioError

LIMIT = 10.0  # seconds, the promise after a kill
GUARD = 90.0  # seconds; only a hang takes that long

PRELUDE = """
import json, os, sys, time
from asyncnet.actors.session import session

def tell(running, **more):
    print(json.dumps({"mark": running.mark, "directory": str(running.directory), "address": running.address, **more}), flush=True)

def actors():
    import ray

    @ray.remote(num_cpus=0)
    class Actor:
        def look(self):
            names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAY_AUTH_MODE")
            return os.getpid(), [os.environ.get(name) for name in names]

    made = [Actor.remote() for _ in range(2)]
    return made, ray.get([actor.look.remote() for actor in made])
"""

WAITS = """
with session(cpus=1) as running:
    kept, seen = actors()
    tell(running, actors=[pid for pid, _ in seen], threads=seen[0][1])
    time.sleep(600)
"""

ENDS_TWICE = """
try:
    with session(cpus=1) as running:
        kept, seen = actors()
        tell(running, actors=[pid for pid, _ in seen], variable=os.environ.get("SPT_NOENV"))
        sys.stdin.readline()
        raise KeyError("on purpose")
except KeyError:
    print("left", flush=True)
sys.stdin.readline()
with session(cpus=1) as running:
    kept, seen = actors()
    tell(running, actors=[pid for pid, _ in seen])
    sys.stdin.readline()
print("left", flush=True)
"""

JOINS = """
with session(address=sys.argv[1]) as running:
    kept, seen = actors()
    print(json.dumps([running.mark, seen[0][1]]))
"""


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a driver in a process group of its own, and end what a failed test leaves."""
    started: list[subprocess.Popen[str]] = []

    def go(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PRELUDE + code, *arguments]
        driver = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ, **environment})
        started.append(driver)
        return driver

    yield go
    for driver in started:
        driver.kill()
        driver.communicate(timeout=GUARD)


def told(driver: subprocess.Popen[str]) -> dict:
    assert driver.stdout is not None
    return json.loads(driver.stdout.readline())


def go_on(driver: subprocess.Popen[str]) -> None:
    assert driver.stdin is not None
    driver.stdin.write("\n")
    driver.stdin.flush()


def assert_alive(session: dict) -> None:
    """What is asserted to be gone later was there: Ray's processes, the actors and the directory, private."""
    pids = {process.pid for process in leftovers(session["mark"])}
    assert set(session["actors"]) < pids
    assert len(pids) >= 5
    assert stat.S_IMODE(Path(session["directory"]).stat().st_mode) == 0o700


def what_is_left(session: dict) -> list[str]:
    directory = session["directory"]
    left = [f"{process.pid} {process.name()}" for process in leftovers(session["mark"])]
    # The reaper carries no mark, but the directory among its arguments.
    for process in psutil.process_iter(["cmdline"]):
        if directory in (process.info["cmdline"] or ()):
            left.append(f"{process.pid} reaper")
    return [*left, directory] if Path(directory).exists() else left


def assert_gone_within(session: dict, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := what_is_left(session)) and time.monotonic() < end:
        time.sleep(0.1)
    assert left == []


@pytest.mark.ray
def test_the_end_of_the_block_leaves_nothing_and_the_next_session_starts(start: Callable[..., subprocess.Popen[str]]) -> None:
    driver = start(ENDS_TWICE)
    assert driver.stdout is not None
    for _ in range(2):
        session = told(driver)
        assert_alive(session)
        assert session.get("variable") is None
        go_on(driver)
        assert driver.stdout.readline() == "left\n"
        # No waiting here: when the block has been left, all is done.
        assert what_is_left(session) == []
        if driver.poll() is None:
            go_on(driver)
    assert driver.wait(GUARD) == 0


@pytest.mark.ray
def test_a_killed_driver_leaves_nothing(start: Callable[..., subprocess.Popen[str]]) -> None:
    driver = start(WAITS)
    session = told(driver)
    assert_alive(session)
    assert session["threads"] == ["1", "1", "1", "1", "token"]
    for process in leftovers(session["mark"]):
        for connection in process.net_connections():
            assert connection.status != psutil.CONN_LISTEN or connection.laddr.ip.removeprefix("::ffff:").startswith("127.")
    driver.send_signal(signal.SIGKILL)
    assert_gone_within(session, LIMIT)


@pytest.mark.ray
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_leaves_nothing(start: Callable[..., subprocess.Popen[str]], number: signal.Signals) -> None:
    driver = start(WAITS)
    session = told(driver)
    assert_alive(session)
    os.killpg(driver.pid, number)
    driver.wait(GUARD)
    assert_gone_within(session, LIMIT)


@pytest.fixture
def cluster() -> Iterator[dict[str, str]]:
    """A cluster that `ray start` holds up, as the variables and the address its users need."""
    mark = f"test-{os.getpid()}-{time.monotonic_ns()}"
    directory = Path(tempfile.mkdtemp(prefix="asyncnet-", dir="/tmp"))
    (directory / "token").write_text("0" * 64)
    access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(directory / "token")}
    command = f"{Path(sys.executable).parent}/ray start --head --block --port=0 --num-cpus=1 --include-dashboard=false --disable-usage-stats"
    head = subprocess.Popen(
        [*command.split(), f"--temp-dir={directory / 'r'}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **access, MARK: mark, "SPT_NOENV": "1"},
    )
    try:
        noted = directory / "r" / "ray_current_cluster"
        end = time.monotonic() + GUARD
        address = ""
        # Ray makes this file first and writes into it later.
        while not address and head.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
            address = noted.read_text().strip() if noted.exists() else ""
        assert address
        yield {"mark": mark, "address": address, **access}
    finally:
        assert reap(mark, directory)
        head.wait(GUARD)


@pytest.mark.ray
def test_joining_a_cluster_starts_none_and_leaves_it_running(
    start: Callable[..., subprocess.Popen[str]], cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, address = cluster.pop("mark"), cluster.pop("address")
    for variable in cluster:
        monkeypatch.delenv(variable, raising=False)
    for mode in (None, "token"):
        if mode:
            monkeypatch.setenv("RAY_AUTH_MODE", mode)
        with pytest.raises(ScenarioError, match=r"--address: the Ray cluster at .* does not let us in: it wants a token.*RAY_AUTH_TOKEN_PATH"):
            knock(address)
    words = ["run", "multiplexer3-weight-max", "--engine", "ray", "--address", address, "--set", "task.decisions=50", "--json"]
    run = subprocess.run(
        [sys.executable, "-m", "asyncnet", *words, "--out", str(Path(cluster["RAY_AUTH_TOKEN_PATH"]).parent)],
        capture_output=True,
        text=True,
        timeout=GUARD,
        check=False,
        env={**os.environ, **cluster},
    )
    assert json.loads(run.stdout)["stopped"] == "finished", run.stderr
    guest = start(JOINS, address, **cluster)
    output, _ = guest.communicate(timeout=GUARD)
    assert json.loads(output) == [None, ["1", "1", "1", "1", "token"]]
    assert {"raylet", "gcs_server"} <= {process.name() for process in leftovers(mark)}


@pytest.mark.usefixtures("signals_as_they_were")
@pytest.mark.parametrize(
    ("address", "why"), [("127.0.0.1:9", "Connection refused"), ("somewhere", ""), ("127.0.0.1:", ""), ("127.0.0.1:99999", ""), ("auto", "no cluster")]
)
def test_an_address_at_which_nobody_answers_is_refused_in_one_line_before_anything_is_made(
    address: str, why: str, command: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "none"))
    code, said, noted = command("run", "multiplexer3-weight-max", "--engine", "ray", "--address", address, "--out", tmp_path / "runs")
    assert (code, said, noted.count("\n")) == (64, "", 1)
    assert noted.startswith(f"asyncnet: --address: no Ray cluster answers at {address}: ")
    assert why in noted
    assert not (tmp_path / "runs").exists()


@pytest.mark.ray
def test_a_process_with_a_ray_of_its_own_may_run_a_scenario_too(ray_session) -> None:
    import ray

    assert ray.is_initialized()
    result = asyncnet.run(asyncnet.load("multiplexer3-weight-max").replace({"task.decisions": 20}), "ray", out=None, address="local")
    assert result.record.stopped == "finished"
    assert ray.is_initialized()


def test_the_reaper_ends_marked_processes_only_even_stubborn_ones(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(600)"
    mark = f"test-{os.getpid()}-{time.monotonic_ns()}"
    directory = Path(tempfile.mkdtemp(prefix="asyncnet-", dir=tmp_path))
    (directory / "file").write_text("x")
    children = [
        subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE, text=True, env={**os.environ, MARK: value})
        for value in (mark, mark + "-other")
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "on\n"
        assert [process.pid for process in leftovers(mark)] == [children[0].pid]
        assert reap(mark, directory)
        assert leftovers(mark) == []
        assert not directory.exists()
        assert children[0].wait(GUARD) == -signal.SIGKILL
        assert children[1].poll() is None
    finally:
        for child in children:
            child.kill()
            child.communicate()


def test_the_reaper_removes_no_other_directory(tmp_path: Path) -> None:
    script = Path(sys.modules["asyncnet.actors.reaper"].__file__ or "")
    done = subprocess.run([sys.executable, "-P", str(script), "none", str(tmp_path), str(os.getpid())], stdin=subprocess.DEVNULL, timeout=GUARD, check=False)
    assert done.returncode == 2
    assert tmp_path.exists()
