"""What is taken from inside Ray: names without a promise, all in this file (tests/actors/test_ray_internals.py says which is gone or changed).

    ray._raylet.GcsClient                             `knock`: asks a cluster's control store, in a process of its own, whether it lets us in
    ray._raylet.AuthenticationTokenLoader             `forget_token`: the token of the first session of a process is kept for good; `mine`: the token of a
                                                      Ray that this process is in, for another process that is to join it
    ray.util.client.ray.is_connected                  `mine`: whether it is in one by Ray's client, from afar
    ray._private.ray_constants.ENABLE_RAY_CLUSTER     `loopback`: the switch that keeps a local Ray on 127.0.0.1, on Linux too
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER                 `loopback`: the same for the processes it starts
    RAY_enable_worker_prestart, ...                   QUIET, CONTROL_TIMEOUT: settings of Ray's own processes (ray_config_def.h), and SPT_NOENV of setproctitle
    ray_current_cluster                               `found`: the file that says what `auto` means
    ray.init(_temp_dir=...)                           session.py: where a session keeps its files
    raylet, gcs_server, ray::                         ESSENTIAL, ACTOR: names of processes, by which a conductor says what has ended

Without the first two a wrong address or token is told late and at length; without the loopback switch a session listens to the network and says so.
RAY_AUTH_MODE, RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, RAY_ADDRESS, RAY_TMPDIR and RAY_USAGE_STATS_ENABLED are documented.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Processes nobody uses cost a second of start on a small machine: every actor gets a fresh one anyway.
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    # Ray's processes rename themselves; without this they do so over their environment, and the mark is gone.
    "SPT_NOENV": "1",
}

CONTROL_TIMEOUT = {"RAY_gcs_rpc_server_reconnect_timeout_s": "20"}
"""How long a guest of a cluster lives on without its control store; Ray's own 60 s are more than anybody should wait for the news."""

ESSENTIAL = {"raylet": "the raylet", "gcs_server": "the control store (gcs_server)"}
"""Processes without which a Ray is none, and what they are called here."""

LOCAL = "local"
"""The address that means a Ray of its own, as for ray.init."""

ACTOR = "ray::"
"""How the name of an actor's process begins."""

_KNOCK = """
import sys
from ray._raylet import GcsClient
GcsClient(address=sys.argv[1]).internal_kv_get(b"asyncnet", timeout=3)
"""


def knocked(address: str, timeout: float) -> str:
    """What the control store at an address has against us, or "" for nothing; subprocess.TimeoutExpired if it does not answer."""
    done = subprocess.run([sys.executable, "-c", _KNOCK, address], capture_output=True, text=True, timeout=timeout, check=False)  # without a token Ray aborts
    return done.stderr if done.returncode else ""


def found(address: str) -> str:
    """The address that `auto` means, found as Ray does it."""
    if address != "auto":
        return address
    if named := os.environ.get("RAY_ADDRESS"):
        return named
    with suppress(OSError):
        # Ray makes this file first and writes into it later.
        if written := Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster").read_text().strip():
            return written
    raise ValueError("no cluster was started on this machine")


def mine() -> tuple[str, dict[str, str]] | None:
    """The address of the Ray that this process has started or joined, and the variables with which another one gets in; None if it is in none.

    A Ray on the other side of Ray's client is none: no other process of this machine reaches its control store.
    """
    if sys.modules.get("ray") is None:
        return None
    import ray

    if not ray.is_initialized() or ray.util.client.ray.is_connected():
        return None
    from ray._raylet import AuthenticationTokenLoader

    header = AuthenticationTokenLoader.instance().get_token_for_http_header()
    token = next((said.removeprefix("Bearer ") for said in header.values()), "")
    return str(ray.get_runtime_context().gcs_address), {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {}


def forget_token() -> None:
    """Make Ray read the token anew: it keeps that of the first session of a process for good."""
    with suppress(ImportError, AttributeError):
        from ray._raylet import AuthenticationTokenLoader

        AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def loopback() -> Iterator[None]:
    """Keep a local Ray on the loopback interface; otherwise it listens on all of them, whatever address it is given.

    Ray does this by default on macOS and Windows. The variable tells the processes it starts, the constant this one, where Ray may
    have been imported already and may later have to join a real cluster.
    """
    from ray._private import ray_constants

    with environment({"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}):
        before = getattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
        ray_constants.ENABLE_RAY_CLUSTER = False
        try:
            yield
        finally:
            ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for what is started in the block, and put the old ones back for what the user starts later."""
    old = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in old.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
