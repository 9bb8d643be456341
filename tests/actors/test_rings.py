"""Memory that hosts share: messages keep their bits and their order, nobody reads what is not whole, and nothing has a name or outlives who holds it."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import psutil
import pytest
from hypothesis import given, settings

from asyncnet.actors.gateway import collect, pass_on
from asyncnet.actors.host import Host
from asyncnet.actors.memory import Memory
from asyncnet.kernels.plain import as_python
from asyncnet.kernels.shared_words import system
from asyncnet.loop.compiled import posting as p
from asyncnet.loop.compiled import ring
from asyncnet.loop.compiled.agenda import who
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.compiled.go import PAUSED
from asyncnet.loop.ledger import account, unexplained
from asyncnet.loop.message import ACTIVITY, CHANNELS, TICK, TURN
from asyncnet.loop.underway import NOTHING
from support.recorded import ACROBAT
from support.teams import FREE, learners, multiplexer, run
from support.together import Together

SYSTEM = system()


def ends(memory):
    """Rows of `peers` for a ring of a memory: of its writer and of its reader."""
    writes, reads = np.zeros((1, ring.PEER_COLUMNS), dtype=np.int64), np.zeros((1, ring.PEER_COLUMNS), dtype=np.int64)
    writes[0, [ring.OUT, ring.OUT_WORDS, ring.BELL_AT]] = memory.ring(0), memory.words, memory.bell
    reads[0, [ring.IN, ring.IN_WORDS]] = memory.ring(0), memory.words
    return writes, reads


def written(writes, rows, numbers):
    """How many of the messages found room."""
    return pass_on(SYSTEM.ctypes.data, writes, 0, rows, numbers, 0, 0, 5)[0]


def read(reads, most=1000):
    """What has come: rows and numbers."""
    rows, numbers = np.zeros((most, 5), dtype=np.int64), np.zeros(4096)
    count, used = collect(reads, 0, rows, numbers)
    return rows[:count], numbers[:used]


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 40), max_size=12), min_size=1, max_size=30), st.randoms())
def test_messages_come_whole_in_order_and_in_their_bits_however_often_the_ring_goes_round(batches, random):
    memory = Memory(1, 256)
    writes, reads = ends(memory)
    sent, came, seq = [], [], 0
    for sizes in batches:
        rows = np.array([(random.getrandbits(60), random.getrandbits(60), seq + n, n, size) for n, size in enumerate(sizes)], dtype=np.int64).reshape(-1, 5)
        numbers = np.frombuffer(random.randbytes(8 * sum(sizes)), dtype=np.float64)
        fits = written(writes, rows, numbers)
        seq += len(sizes)
        sent += [(*row[:4], numbers[sum(sizes[:n]) : sum(sizes[: n + 1])].tobytes()) for n, row in enumerate(rows[:fits].tolist())]
        if random.random() < 0.7:
            came.append(read(reads))
    came.append(read(reads))
    got = [(*row[:4], numbers[sum(rows[:n, 4]) : sum(rows[: n + 1, 4])].tobytes()) for rows, numbers in came for n, row in enumerate(rows.tolist())]
    assert got == sent


def test_a_full_ring_takes_no_more_and_what_it_holds_is_whole():
    memory = Memory(1, 256)
    writes, reads = ends(memory)
    rows = np.array([[0, 1, n, 0, 10] for n in range(100)], dtype=np.int64)
    numbers = np.arange(1000.0)
    assert written(writes, rows, numbers) == 256 // 16
    assert written(writes, rows, numbers) == 0
    got, values = read(reads)
    assert got[:, 2].tolist() == [*range(16)]
    assert values.tolist() == numbers[:160].tolist()
    assert written(writes, rows, numbers) == 16


OWNER = """
import sys
from asyncnet.actors.memory import Memory
held = Memory(2, 64)
print(*held.address, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def owner():
    """Another process that holds a memory: (process, address)."""
    process = subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process, process.stdout.readline().split()
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_peer_opens_it_through_its_owner_and_sees_the_same_words(owner):
    _, address = owner
    found, again = Memory.of(address), Memory.of(address)
    assert (found.rings, found.words, found.key.hex()) == (2, 64, address[2])
    found.all[ring.BELL] = 77
    assert again.all[ring.BELL] == 77
    mine = Memory(1, 64)
    assert not again.is_read_by(1, mine)
    found.read_by(1, mine)
    assert again.is_read_by(1, mine)
    assert not again.is_read_by(0, mine)


def test_it_has_no_name_and_is_gone_with_whoever_held_it(owner):
    process, address = owner
    assert os.stat(f"/proc/{address[0]}/fd/{address[1]}").st_nlink == 0
    found = Memory.of(address)
    process.kill()
    process.wait()
    assert Memory.of(address) is None
    found.all[ring.BELL] = 5  # who has it keeps it: a death takes nothing from the others
    assert found.all[ring.BELL] == 5


def held_open():
    """How many descriptors of such memories this process has."""
    places = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return sum(os.readlink(place).startswith("/memfd:asyncnet ") for place in places if os.path.islink(place))


def test_its_memory_is_given_back_with_the_last_array_over_it():
    def mapped():
        with open("/proc/self/maps") as maps:
            return sum("/memfd:asyncnet " in line for line in maps)

    before = mapped()
    made = Memory(1, 64)
    words = made.all[:2]
    made.hide()
    assert mapped() == before + 1
    del made
    assert mapped() == before + 1
    assert words[0] == ring.MAGIC
    del words
    assert mapped() == before


def test_whatever_is_not_the_memory_of_that_key_is_not_opened(owner, tmp_path):
    _, (pid, descriptor, key) = owner
    assert Memory.of([pid, descriptor, key]) is not None
    for wrong in (
        [pid, descriptor, "00" * 32],
        [pid, "0", key],
        [pid, "9999", key],
        ["0", descriptor, key],
        ["x", descriptor, key],
        [pid],
        ["9" * 30, "1", key],
    ):
        assert Memory.of(wrong) is None
    assert Memory.of([pid, descriptor, key]).all.size > 0, "what the line above has opened is gone, and leaves no descriptor behind"
    before = held_open()
    hidden = Memory(1, 64)
    assert held_open() == before + 1
    hidden.hide()
    assert Memory.of(hidden.address) is None
    assert held_open() == before
    hidden.all[ring.BELL] = 3
    assert hidden.all[ring.BELL] == 3
    for name in ("asyncnet", "other"):
        bare = os.memfd_create(name, os.MFD_ALLOW_SEALING)
        os.ftruncate(bare, 8 * (ring.FIRST_RING + ring.WORDS + 64))
        os.pwrite(bare, np.array([ring.MAGIC, ring.LAYOUT, 1, 64], dtype=np.int64).tobytes(), 0)
        assert Memory.of([str(os.getpid()), str(bare), "00" * 32]) is None, "another may cut it short while it is read"
        os.close(bare)


def test_its_size_cannot_be_changed_by_anybody(owner):
    _, (pid, descriptor, _) = owner
    file = os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDWR)
    size = os.fstat(file).st_size
    for wanted in (0, 2 * size):
        with pytest.raises(PermissionError):
            os.ftruncate(file, wanted)
    assert os.fstat(file).st_size == size
    os.close(file)


# --- whatever stands in a ring --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair():
    """Two hosts that share memory, connected and not started: (victim's loop, its row of the peer, words of the ring that it reads)."""
    scenario = multiplexer("weight-max", FREE | {"task.decisions": 100, "links": {"default": {"delay": 0.5}}})
    made = Together(scenario, pack=1000, virtual=False)
    for host in made.hosts.values():
        assert host.lines.join() == []
    loop = made.hosts["1"].loop
    loop._lay_out()
    writer = made.hosts["0"].lines.memory
    yield loop, loop._tables.peers[0], writer
    made.close()


def real_messages(loop):
    """The codes and sizes of what the victim expects."""
    return loop._tables.arrive[:, [0, 2]].tolist()


def corrupted(random, words, expected, width):
    """One record, of which something may be wrong; as words."""
    code, size = expected[random.integers(len(expected))]
    record = [random.integers(1, 10**9), random.integers(0, 10**6), code, random.integers(0, 10**6), random.integers(0, 100), size]
    kind = random.integers(8)
    if kind < 6:
        record[kind] = [-1, 0, 2**50, 2**62, -(2**63), 2**63 - 1, width + 1, int(random.integers(-(2**63), 2**63 - 1))][random.integers(8)]
    elif kind == 6:
        record[2] = int(as_python(who)(int(random.integers(0, 32)), int(random.integers(0, 50)), int(random.integers(0, 50))))
    return [int(value) for value in record], max(0, min(int(record[5]), width + 3))


RECORDS = int(os.environ.get("ASYNCNET_RECORDS", "20000"))


def test_no_record_whatever_stands_in_it_does_more_than_be_counted(pair):
    loop, peer, writer = pair
    random = np.random.default_rng(11)
    place, words, mask = writer._place(0), writer.words, writer.words - 1
    expected, width = real_messages(loop), loop.largest
    data = writer.all[place + ring.WORDS : place + ring.WORDS + words]
    arrived, done = 0, 0
    while done < RECORDS:
        tail = int(writer.all[place + ring.TAIL])
        for _ in range(random.integers(1, 6)):
            record, size = corrupted(random, words, expected, width)
            for value in [*record, *random.integers(-(2**63), 2**63 - 1, size).tolist()]:
                data[tail & mask] = value
                tail += 1
            done += 1
        said = random.integers(20)
        writer.all[place + ring.TAIL] = tail if said else int(random.integers(-(2**63), 2**63 - 1))
        before = int(loop._tables.control[p.EVENTS]) + len(loop._tables.queue) - int(loop._tables.control[p.FREE_ITEMS])
        loop.take_in()
        after = int(loop._tables.control[p.EVENTS]) + len(loop._tables.queue) - int(loop._tables.control[p.FREE_ITEMS])
        arrived += after - before
        writer.all[place + ring.TAIL] = tail
        loop.take_in()
        assert int(peer[ring.READ]) == tail == int(writer.all[place + ring.HEAD])
        if after > 2000 or done >= RECORDS:
            rows = loop.under_way().rows
            assert {*rows[:, 1].tolist()} <= {*CHANNELS.values(), TICK, TURN}
            assert rows[:, 0].min() >= 0
            assert rows[:, 0].max() < 2**50, "else the time until then would be none that a loop can wait for"
            loop.expect(NOTHING)
            loop._lay_out()  # forget them
    assert loop.malformed > RECORDS // 4
    assert arrived > RECORDS // 10, "and those with which nothing is wrong come through"


def test_a_message_in_the_name_of_somebody_elses_node_is_refused():
    scenario = multiplexer("weight-max", FREE | {"task.decisions": 100, "links": {"default": {"delay": 0.5}}})
    made = Together(scenario, virtual=False)
    try:
        for host in made.hosts.values():
            host.lines.join()
        loop = made.hosts["2"].loop
        loop._lay_out()
        number = loop.wire.names.index("0")
        writer = made.hosts["0"].lines.memory
        row, size = next((code, size) for code, _, size in loop._tables.arrive.tolist() if code >> 58 == ACTIVITY)
        writes = np.zeros((1, ring.PEER_COLUMNS), dtype=np.int64)
        mine = writer.ring(made.hosts["0"].lines.names.index("2"))
        writes[0, [ring.OUT, ring.OUT_WORDS, ring.BELL_AT]] = mine, writer.words, loop.wire.bell
        assert int(loop._tables.nodes[row & (2**29 - 1), p.PEER]) != number, "it is the first layer that says that"
        assert written(writes, np.array([[10**6, row, 1, 1, size]], dtype=np.int64), np.zeros(size)) == 1
        loop.take_in()
        assert loop.malformed == 1
        assert (loop.under_way().rows[:, 1] == ACTIVITY).sum() == 0
    finally:
        made.close()


# --- manners --------------------------------------------------------------------------------------------------------------------------


def test_loops_with_nothing_to_do_sleep():
    scenario = multiplexer(
        "weight-max", FREE | {"task.decisions": 10**6, "clocks": {"default": {"kind": "on-arrival"}}, "task.world": {"waits": True, "interval": 2e5}}
    )
    made = Together(scenario, virtual=False).start()
    time.sleep(1.0)
    before, began = psutil.Process().cpu_times(), time.monotonic()
    time.sleep(2.0)
    after = psutil.Process().cpu_times()
    spent = after.user + after.system - before.user - before.system
    for host in made.hosts.values():
        host.stop("enough")
        assert host.await_end(10.0)
    made.close()
    assert spent / (time.monotonic() - began) < 0.01 * len(made.hosts) + 0.02


def test_a_loop_that_a_message_wakes_hears_it_without_coming_back_to_python():
    made, visits = Together(multiplexer("weight-max", {"task.decisions": 300}), virtual=False), Counter()

    def counted(name, go):
        def counting(batch, until):
            why, at = go(batch, until)
            visits[name] += why == PAUSED
            return why, at

        return counting

    for name, host in made.hosts.items():
        host.loop._go = counted(name, host.loop._go)
    made.start().end()
    assert made.stopped[0] == "finished"
    assert all(row["learned"] == 300 for result in made.results for name, row in result["nodes"].items() if name != "world")
    assert max(visits.values()) < 100


def test_signals_to_loops_that_sleep_change_nothing():
    """A signal interrupts the wait at the bell; the loop goes back to sleep, misses no message and ends as it would have."""
    scenario = multiplexer("weight-max", FREE | {"tick": 20_000, "task.decisions": 12, "links": {"default": {"delay": 0.5}}})
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
    try:
        made = Together(scenario, virtual=False).start()
        sent, world = 0, made.world
        while not world.await_end(0.0):
            for host in made.hosts.values():
                if not host.await_end(0.0):
                    signal.pthread_kill(host._thread.ident, signal.SIGUSR1)
                    sent += 1
            time.sleep(0.002)
        made.end()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert sent > 200
    assert heard
    assert made.stopped[0] == "finished"
    assert not unexplained(made.ledger).any()
    assert all(row["ticks"] > 50 for result in made.results for name, row in result["nodes"].items() if name != "world")


def test_a_task_that_lives_in_python_ends_in_the_same_bits_over_rings():
    scenario = ACROBAT.replace({"task.episodes": None, "task.decisions": 120, "links.default": {"delay": 0.5}})
    one = run(scenario, CompiledLoop)
    assert all(node.counts()["learned"] > 0 for node in learners(one))
    for pack in (1, 1000):
        many = Together(scenario, pack).start().end()
        assert many.digest == one.digest()
        assert many.ledger.tolist() == account(one).tolist()


def test_a_host_that_shares_no_memory_is_reached_by_its_gateway_with_the_same_bits():
    scenario = multiplexer("weight-max", FREE | {"task.decisions": 60, "links": {"default": {"delay": 0.5}}})
    ends = {wire: Together(scenario, wire=wire).start().end() for wire in ("memory", "zmq", "ray")}
    assert len({end.digest for end in ends.values()}) == 1
    assert not ends["memory"].hosts["0"]._gateway.opened
    assert ends["zmq"].hosts["0"]._gateway.moved > 10


def test_some_neighbours_and_some_afar_end_in_the_same_bits(monkeypatch):
    scenario = multiplexer("weight-max", FREE | {"task.decisions": 60, "links": {"default": {"delay": 0.5}}})
    near = Together(scenario).start().end()
    share = Host.share
    monkeypatch.setattr(Host, "share", lambda host, memories: share(host, {name: one for name, one in memories.items() if {name, host.lines.me} != {"0", "2"}}))
    mixed = Together(scenario).start().end()
    assert {name: host._gateway.opened for name, host in mixed.hosts.items()} == {"0": True, "1": False, "2": True, "3": False}
    assert mixed.digest == near.digest
