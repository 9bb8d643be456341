"""Two machines, as far as one can play two: network namespaces with addresses of their own and a cable between them, each with its own view of processes."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

import asyncnet

pytestmark = [pytest.mark.ray, pytest.mark.study]

ONE, OTHER = "10.201.16.1", "10.201.16.2"
GUARD = 180  # seconds
SIDES = ("one", "other", "one", "other", "one")
RUN = {"tick": 1000, "links.default": {"delay": 0.5}, "task.episodes": 5}
INSIDE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]  # a machine sees its own processes only

DRIVER = """
import json
import sys

import psutil
import ray

import asyncnet
from asyncnet.api import Quiet
from asyncnet.actors import team as ray_team
from asyncnet.actors.session import session


def of_host(host):
    ports = {int(part) for word in host.address() for part in word.replace("/", ":").split(":") if part.isdigit()}
    listening = [found.laddr for found in psutil.Process().net_connections("tcp") if found.status == "LISTEN"]
    return {
        "machine": ray.util.get_node_ip_address(),
        "through memory": sorted(host.lines.opened),
        "by gateway": sorted({*host.lines.names} - {*host.lines.opened}),
        "ours": sorted({found.ip for found in listening if found.port in ports}),
        "all": sorted({found.ip for found in listening}),
    }


sides, changes = json.loads(sys.argv[2]), json.loads(sys.argv[3])
scenario = asyncnet.load("cartpole-weight-max").replace(changes)
with session(sys.argv[1]) as held:
    twists = [{"options": {"resources": {side: 0.01}}} for side in sides]
    team = ray_team.Team(scenario, Quiet(), private=False, time="virtual", twists=twists)
    record = team.run()
    hosts = {name: ray.get(host.__ray_call__.remote(of_host)) for name, host in team.hosts.items()}
    team.end()
print(json.dumps({"hosts": hosts, "digest": record.digest, "stopped": record.stopped, "malformed": record.measured["malformed"]}))
"""


def can_play_two() -> bool:
    """Whether this process may make namespaces, and a cable between them."""
    if not all(map(shutil.which, ("ip", "unshare"))) or os.geteuid():
        return False
    made = subprocess.run(["unshare", "--net", "ip", "link", "add", "an0", "type", "veth", "peer", "name", "an1"], capture_output=True, check=False)
    return made.returncode == 0


@pytest.fixture
def machines():
    """The names of two network namespaces that reach each other as ONE and OTHER, and nobody else."""
    mark = secrets.token_hex(2)
    names = f"an-one-{mark}", f"an-other-{mark}"
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
        cable = ["ip", "link", "add", f"an{mark}a", "netns", names[0], "type", "veth", "peer", "name", f"an{mark}b", "netns", names[1]]
        subprocess.run(cable, check=True)
        for name, end, address, other in zip(names, "ab", (ONE, OTHER), (OTHER, ONE), strict=True):
            up = [["addr", "add", f"{address}/24", "dev", f"an{mark}{end}"], ["link", "set", f"an{mark}{end}", "up"], ["link", "set", "lo", "up"]]
            for words in (*up, ["route", "add", "default", "via", other]):  # a machine finds its own address by where it would reach others from
                subprocess.run(["ip", "-n", name, *words], check=True)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.mark.skipif(not can_play_two(), reason="needs the right to make network namespaces")
def test_neighbours_talk_through_memory_and_others_by_curve_with_the_same_bits(machines):
    ray_start = [str(Path(sys.executable).with_name("ray")), "start", "--num-cpus=1", "--object-store-memory=80000000", "--block", "--disable-usage-stats"]
    head = [*ray_start, "--head", f"--node-ip-address={ONE}", "--port=6379", "--resources", '{"one": 1}', "--include-dashboard=false"]
    follower = [*ray_start, f"--address={ONE}:6379", f"--node-ip-address={OTHER}", "--resources", '{"other": 1}']
    drive = [sys.executable, "-c", DRIVER, f"{ONE}:6379", json.dumps(SIDES), json.dumps(RUN)]
    wait = f"until (exec 3<>/dev/tcp/{ONE}/6379) 2>/dev/null; do sleep 0.2; done;"
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:  # a short path: Ray puts sockets there
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        spaces, started = [], []
        for side in ("one", "other"):
            place = Path(folder, side)
            place.mkdir()
            spaces.append({**os.environ, **token, "RAY_TMPDIR": str(place), "TMPDIR": str(place)})
        quoted = " ".join(f"'{word}'" for word in head)
        script = f'{quoted} > {folder}/head.txt 2>&1 & {wait} sleep 8; exec "$@"'
        try:
            first = ["ip", "netns", "exec", machines[0], *INSIDE, "bash", "-c", script, "driver", *drive]
            started.append(subprocess.Popen(first, env=spaces[0], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
            second = ["ip", "netns", "exec", machines[1], *INSIDE, "bash", "-c", f'{wait} exec "$@"', "ray", *follower]
            with Path(folder, "follower.txt").open("w") as file:
                started.append(subprocess.Popen(second, env=spaces[1], stdout=file, stderr=file))
            out, err = started[0].communicate(timeout=GUARD)
        finally:
            for process in started:
                process.kill()
                process.wait()
        assert started[0].returncode == 0, textwrap.shorten(err[-3000:] + Path(folder, "head.txt").read_text()[-1000:], 5000)
    told = json.loads(out.splitlines()[-1])
    print(json.dumps(told, indent=1))
    on = {name: host["machine"] for name, host in told["hosts"].items()}
    assert sorted(on.values()) == [ONE] * 3 + [OTHER] * 2
    for name, host in told["hosts"].items():
        neighbours = sorted(other for other in on if other != name and on[other] == on[name])
        assert host["through memory"] == neighbours, name
        assert host["by gateway"] == sorted(on.keys() - {name, *neighbours})
        assert host["ours"] == [on[name]], "what this package listens on"
    assert told["stopped"] == "finished"
    assert told["malformed"] == 0
    assert told["digest"] == asyncnet.run(asyncnet.load("cartpole-weight-max").replace(RUN), out=None).summary()["digest"]
