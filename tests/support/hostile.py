"""Recordings that a stranger made to harm whoever reads them: `python hostile.py COUNT SEED` replays so many and prints what came of it, and the memory."""

import functools
import json
import random
import shutil
import struct
import sys
import tempfile
import zlib
from pathlib import Path

import msgpack
import numpy as np

TICKS = 5 << 58


def sealed(items):
    """A segment of these items, whose checksum matches."""
    body = msgpack.packb(items)
    head = struct.pack("<3sBI", b"anr", 1, len(body))
    return head + struct.pack("<I", zlib.crc32(head + body)) + body


def column(numbers, width):
    """A column of these numbers."""
    planes = np.ascontiguousarray(numbers).astype(f"<i{width}").view(np.uint8).reshape(-1, width).T
    return struct.pack("<BI", width, len(numbers)) + zlib.compress(planes.tobytes(), 9)


@functools.cache
def nothing(count):
    """So many zeros, compressed."""
    return zlib.compress(bytes(count), 9)


def zeros(count, width=1):
    """A column of zeros."""
    return struct.pack("<BI", width, count) + nothing(count * width)


def segment(loop="0", number=0, first=0, *, rows=0, node=1, transitions=(0, 0), digests=0, last=False, began=1):
    """So many ticks of a node, transitions (rows, width) of zeros and digests of nothing."""
    codes = column(np.array([TICKS | node << 29 | node] if rows else []), 8)
    events = (
        codes,
        column(np.array([1] if rows else []), 1),
        zeros(rows),
        zeros(rows),
        zeros(-(-rows // 8)),
        zeros(rows),
        zeros(transitions[0] * transitions[1], 8),
    )
    notes = (column(np.full(digests, first), 8), column(np.full(digests, node), 4), zeros(digests))
    return sealed([loop, number, first, last, began, *transitions, *events, *notes, b""])


def bombs(nodes, width):
    """Files, each a row of segments, that take little room on a disk and much when they are read."""
    many = range(nodes)
    return {
        "rows": {"0": [segment(rows=1 << 20, digests=1)]},
        "rows as they once could be": {"0": [segment(rows=1 << 22)]},
        "rows in every file": {str(i): [segment(str(i), rows=1 << 20, node=max(1, i), digests=1)] for i in many},
        "some rows in every file": {str(i): [segment(str(i), rows=1 << 18, node=max(1, i), digests=1)] for i in many},
        "transitions": {"0": [segment(transitions=((6 << 20) // width, width))]},
        "transitions as they once could be": {"0": [segment(transitions=((1 << 24) // width, width))]},
        "transitions that no step led to": {"0": [segment(number=n, transitions=((1 << 20) // width, width), last=n == 19) for n in range(20)]},
        "transitions of no numbers": {"0": [segment(number=n, transitions=(6 << 20, 0), last=n == 19) for n in range(20)]},
        "digests": {"0": [segment(digests=1 << 17, rows=1)]},
        "digests in every file": {str(i): [segment(str(i), digests=1 << 17, rows=1)] for i in many},
        "files of other names": {f"x{i}": [segment(f"x{i}", rows=1 << 18)] for i in range(300)},
        "more files than nodes": {str(i): [segment(str(i), rows=1 << 18)] for i in range(nodes + 1)},
        "many segments": {"0": [segment(number=n, last=n == 2999) for n in range(3000)]},
        "ticks and nothing heard": {"0": [segment(rows=4000, last=True)]},
    }


def mutated(data, rng):
    """A recording's bytes with some items of its segments changed and sealed again."""
    out, chance = [], rng.choice([0.1, 0.3, 1.0])
    while data:
        length = struct.unpack_from("<I", data, 4)[0]
        items, data = list(msgpack.unpackb(data[12 : 12 + length])), data[12 + length :]
        if rng.random() < chance:
            at = rng.randrange(len(items))
            items[at] = other(items[at], rng)
        out.append(sealed(items))
        if rng.random() < 0.05:
            out.append(out[rng.randrange(len(out))])
    return b"".join(out)


def other(item, rng):
    """Another value in the place of an item."""
    if isinstance(item, bytes) and len(item) > 5 and rng.random() < 0.9:
        width, count = struct.unpack_from("<BI", item)
        count = min(count, 1 << 20)  # the digests' bytes are no column
        how = rng.randrange(4)
        if how == 0:
            return zeros(rng.choice([0, count, count + 1, 1 << 20, (1 << 20) + 1]), rng.choice([1, 2, 4, 8]))
        if how == 1:
            numbers = np.frombuffer(rng.randbytes(8 * min(count, 4096)), np.int64) >> rng.choice([0, 32, 56])
            return column(numbers, 8)
        if how == 2:
            return struct.pack("<BI", width, count) + nothing(rng.choice([count * min(width, 8), 1 << 26]))
        try:
            raw = bytearray(zlib.decompress(item[5:]))
        except zlib.error:
            return item
        for _ in range(rng.randrange(1, 4)):
            if raw:
                raw[rng.randrange(len(raw))] = rng.randrange(256)
        return item[:5] + zlib.compress(bytes(raw))
    return rng.choice([0, 1, -1, 2**40, 2**63 - 1, 2**64 - 1, True, "0", "../0", "\x1b[31m", b"", rng.randbytes(20), None, 1.5])


def put(folder, recording):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, parts in recording.items():
        (folder / f"{name}.anr").write_bytes(parts if isinstance(parts, bytes) else b"".join(parts))


def memory(name):
    """VmRSS, what the process has, or VmHWM, the most that it has had; MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def main(count, seed):
    import asyncnet
    from asyncnet import api
    from asyncnet.record import recorder
    from asyncnet.scenario.schema import ScenarioError
    from support.teams import FREE, multiplexer

    recorder.EVERY, recorder.LEISURE = 0.02, 0
    rng, found, worst = random.Random(seed), {"identical": 0, "different": 0, "refused": 0}, (0.0, "")
    acrobat = asyncnet.load("acrobot-weight-max").replace({"tick": 300, "task.decisions": 60})
    with tempfile.TemporaryDirectory() as place:
        cases, originals = [], {}
        for scenario, width in ((multiplexer("weight-max", FREE | {"task.decisions": 40}), 3), (acrobat, 8)):
            path = api.run(scenario, time="wall", out=Path(place), checkpoint=0.0).run_dir
            assert api.replay(path)[0]
            originals[path] = (path / "record" / "000" / "0.anr").read_bytes()
            cases += [(path, name, recording) for name, recording in bombs(len(json.loads((path / "digests.json").read_text())["nodes"]), width).items()]
        cases += [(path, "mutated", None) for path in list(originals) * ((count - len(cases)) // 2)]
        base = memory("VmRSS")
        for path, name, recording in cases:
            put(path / "record" / "000", recording or {"0": mutated(originals[path], rng)})
            Path("/proc/self/clear_refs").write_text("5")  # from now on VmHWM
            try:
                _, line = api.replay(path)
            except ScenarioError as error:
                line = f"refused: {error}"
            assert line.isprintable()
            found[line.partition(":")[0]] += 1
            worst = max(worst, (memory("VmHWM") - base, name))
            print(f"{memory('VmHWM') - base:7.1f} MiB {name}: {line}", file=sys.stderr)
    print(json.dumps({"recordings": len(cases), **found, "most": worst[0], "in": worst[1]}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
