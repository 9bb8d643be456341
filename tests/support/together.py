"""The hosts of a Ray run as plain objects in one process, a thread each: what Ray itself has no part in can be tested a hundred times as fast."""

import time
from types import SimpleNamespace

import numpy as np

from asyncnet.actors.host import Host
from asyncnet.actors.team import groups
from asyncnet.loop.ledger import COLUMNS
from asyncnet.loop.loop import digest
from asyncnet.team.draw import plan

TIMEOUT = 60.0


class Together:
    """Hosts of a scenario in simulated or real time, `pack` nodes in each; their frames go from hand to hand."""

    def __init__(self, scenario, pack=1, *, wire="memory", reverse=False, begin=None, virtual=True):
        self.team, self.virtual = plan(scenario), virtual
        parts = groups(self.team, pack)
        if reverse:
            parts = parts[::-1]
        self.hosts = {str(n): Host(scenario.data(), part, wire, "127.0.0.1", virtual=virtual, reverse=reverse, begin=begin) for n, part in enumerate(parts)}
        where = {i: str(n) for n, part in enumerate(parts) for i in part}
        self.world = self.hosts[where[0]]
        hands = {name: SimpleNamespace(deliver=SimpleNamespace(remote=host.deliver)) for name, host in self.hosts.items()}
        addresses = {name: host.address() for name, host in self.hosts.items()}
        memories = {}
        try:
            for name, host in self.hosts.items():
                memories[name] = host.connect(
                    *({k: v for k, v in found.items() if k != name} if found is not where else where for found in (addresses, where, hands))
                )
            for name, host in self.hosts.items():
                host.share({k: v for k, v in memories.items() if k != name})
        except BaseException:
            self.close()
            raise

    def start(self):
        at = time.time_ns() + 20_000_000
        for host in self.hosts.values():
            host.start(at)
        return self

    def end(self):
        """Wait for the end of all, in real time of the world, with which the others are ended; returns what they have done."""
        if not self.virtual and self.world.await_end(TIMEOUT):
            for host in self.hosts.values():
                host.stop(self.world.loop.stopped)
        for host in self.hosts.values():
            assert host.await_end(TIMEOUT), {name: host.status() for name, host in self.hosts.items()}
            assert host.failure is None, host.failure
        self.stopped = [host.loop.stopped for host in self.hosts.values()]
        for host in self.hosts.values():
            host.stop("ended by the test")
        self.results = [host.result() for host in self.hosts.values()]
        self.close()
        self.digest = digest({i: np.frombuffer(state) for result in self.results for i, state in result["states"].items()})
        self.ledger = sum(np.frombuffer(result["ledger"], dtype=np.int64).reshape(len(COLUMNS), -1) for result in self.results)
        return self

    def close(self):
        for host in self.hosts.values():
            host.close()
