"""What trackers are given is what progress.csv holds, with the names they know; a run that went on reads as one that was never interrupted."""

import csv
import errno
import importlib.util
import json
import os
import struct
import subprocess
import sys
import time

import pytest

import asyncnet
from asyncnet.loggers import csv_lines, tensorboard
from asyncnet.scenario.schema import ScenarioError, check
from support.interrupted import Stopping, interrupted
from support.places import ROOT
from support.small import small

pytestmark = pytest.mark.usefixtures("signals_as_they_were")
OURS = {"rollout/mean_reward", "world/on_time", "time/simulated_s"}
WALL = {"time/fps", "time/time_elapsed"}


def scenario(**changes):
    return check(small(task={"decisions": 200, **changes}), "small")


def shifted(crc, times=8):
    """Castagnoli's polynomial, bit by bit."""
    for _ in range(times):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


BYTES = [shifted(byte) for byte in range(256)]


def crc32c(data):
    """The checksum of TFRecord files."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ BYTES[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path):
    """The records of a TFRecord file, each held to its checksums."""
    data, at = path.read_bytes(), 0
    while at < len(data):
        (size,), (checksum,) = struct.unpack_from("<Q", data, at), struct.unpack_from("<I", data, at + 8)
        record = data[at + 12 : at + 12 + size]
        assert checksum == crc32c(data[at : at + 8])
        assert struct.unpack_from("<I", data, at + 12 + size)[0] == crc32c(record)
        yield record
        at += size + 16


def events(folder):
    """What TensorBoard shows of a run: tag -> {step: value}, and its texts; a START tells it to forget later steps of earlier files."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    shown, texts = {}, {}
    for path in sorted((folder / "tb").iterdir(), key=lambda path: path.stat().st_mtime_ns):
        made = [Event.FromString(record) for record in records(path)]
        assert made[0].file_version == "brain.Event:2"
        for event in made:
            if event.session_log.status == SessionLog.START:
                shown = {tag: {step: value for step, value in values.items() if step < event.step} for tag, values in shown.items()}
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "text":
                    texts[value.tag] = value.tensor.string_val[0].decode()
                else:
                    shown.setdefault(value.tag, {})[event.step] = value.simple_value
    return shown, texts


def rows_of(path):
    with path.open(newline="") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


def test_tensorboard_is_given_what_progress_holds_under_the_names_that_are_known(tmp_path):
    result = asyncnet.run(scenario(), out=tmp_path, loggers="tensorboard")
    shown, texts = events(result.run_dir)
    rows = rows_of(result.run_dir / "progress.csv")
    assert len(rows) == 200
    assert set(shown) == OURS | WALL | {"time/total_timesteps"}
    for tag in OURS:
        assert shown[tag] == {int(row["decisions"]): struct.unpack("f", struct.pack("f", float(row[tag])))[0] for row in rows}
    assert len(set(shown["rollout/mean_reward"].values())) > 20
    assert all(step == value for step, value in shown["time/total_timesteps"].items())
    elapsed = list(shown["time/time_elapsed"].values())
    assert elapsed == sorted(elapsed)
    assert min(shown["time/fps"].values()) > 0.0
    assert "".join(line[4:] for line in texts["scenario/text_summary"].splitlines(True)) == result.scenario.toml()


def test_returns_are_under_the_name_that_stable_baselines_gives_them(tmp_path):
    made = asyncnet.load("cartpole-weight-max", settings=["task.episodes=12", "task.decisions=400"]).replace({"task.episodes": 12})
    result = asyncnet.run(made, out=tmp_path, loggers=["tensorboard", "csv"])
    shown, _ = events(result.run_dir)
    assert shown["rollout/ep_rew_mean"][max(shown["rollout/ep_rew_mean"])] == pytest.approx(sum(result.record.returns) / len(result.record.returns))
    (last,) = rows_of(result.run_dir / "log.csv")[-1:]
    assert float(last["rollout/ep_rew_mean"]) == pytest.approx(sum(result.record.returns) / len(result.record.returns))
    assert int(last["time/total_timesteps"]) == result.summary()["decisions"]


def test_what_was_logged_beyond_the_checkpoint_is_logged_again_and_once(tmp_path):
    whole = asyncnet.run(scenario(decisions=3000), out=tmp_path / "whole", loggers=["tensorboard", "csv"])
    first = interrupted(scenario(decisions=3000), tmp_path / "parts", loggers=["tensorboard", "csv"])
    reached = len(rows_of(first.run_dir / "log.csv"))
    assert 0 < reached < 200
    # what a crash leaves: rows that came after the last checkpoint, and half a line
    (first.run_dir / "log.csv").write_text(
        (first.run_dir / "log.csv").read_text() + "2900,1.0,1.0,9.9,,,,0.5,,1.0\n" + "9" * 5000 + ",1.0,1.0,9.9,,,,0.5,,1.0\n2950,1."
    )
    again = asyncnet.resume(first.run_dir, loggers=["tensorboard", "csv"])
    assert again.record.digest == whole.record.digest
    assert len(list((first.run_dir / "tb").iterdir())) == 2
    for one, other in zip(events(whole.run_dir)[0].items(), events(first.run_dir)[0].items(), strict=True):
        assert one[0] == other[0]
        assert one[0] in WALL or one[1] == other[1]
    for one, other in zip(rows_of(whole.run_dir / "log.csv"), rows_of(first.run_dir / "log.csv"), strict=True):
        assert {name: value for name, value in one.items() if name not in WALL} == {name: value for name, value in other.items() if name not in WALL}


def test_replicas_have_a_log_each(tmp_path):
    results = asyncnet.replicate(scenario(), (1, 2, 3), workers=2, out=tmp_path, loggers=["csv"])
    for result in results:
        logged = [float(row["rollout/mean_reward"]) for row in rows_of(result.run_dir / "log.csv")]
        assert logged == [float(row["rollout/mean_reward"]) for row in rows_of(result.run_dir / "progress.csv")]


def test_a_logger_of_ones_own_hears_replicas_one_after_another():
    logger = Kept()
    asyncnet.replicate(scenario(), (1, 2), out=None, loggers=(each for each in (logger,)))
    assert [call[0] for call in logger.calls if call[0] != "row"] == ["begin", "end", "close"] * 2


class Kept:
    """A logger of one's own."""

    def __init__(self, fails_at=10**9):
        self.calls, self.fails_at = [], fails_at

    def begin(self, scenario, folder, begun):
        self.calls.append(("begin", scenario.name, folder, begun))

    def row(self, step, row):
        if step >= self.fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.calls.append(("row", step))

    def end(self, summary):
        self.calls.append(("end", summary["decisions"]))

    def close(self):
        self.calls.append(("close",))


def test_an_object_logs_a_run_that_is_kept_nowhere_and_is_closed_however_it_ends():
    logger = Kept()
    asyncnet.run(scenario(), out=None, loggers=logger)
    assert logger.calls == [("begin", "small", None, 0), *(("row", n) for n in range(1, 201)), ("end", 200), ("close",)]

    class Bug(Stopping):
        def row(self, row):
            raise ZeroDivisionError

    logger = Kept()
    with pytest.raises(ZeroDivisionError):
        asyncnet.run(scenario(), out=None, loggers=[logger], reporter=Bug(2.0))
    assert logger.calls[-1] == ("close",)


@pytest.mark.parametrize("kept", [True, False])
def test_a_full_disk_ends_the_log_and_not_the_run_and_is_a_reason(kept, tmp_path):
    logger, other = Kept(fails_at=50), Kept()
    result = asyncnet.run(scenario(), out=tmp_path if kept else None, loggers=[logger, other])
    assert result.record.stopped == "finished"
    assert logger.calls[-2:] == [("row", 49), ("close",)]
    assert other.calls[-3:] == [("row", 200), ("end", 200), ("close",)]
    assert result.verdict() == ("unknown", ["the test_loggers log ends early: No space left on device"])
    if kept:
        assert json.loads((result.run_dir / "summary.json").read_text())["reasons"] == result.verdict()[1]


@pytest.mark.parametrize(
    ("loggers", "out", "said"),
    [
        (["tensorbord"], "runs", "--log tensorbord: no logger of that name; did you mean tensorboard?"),
        ("csv", None, "--log csv: writes into the run's directory, and this run has none (out=None)"),
    ],
)
def test_a_logger_that_cannot_be_is_a_line_and_nothing_starts(loggers, out, said, tmp_path):
    with pytest.raises(ScenarioError) as caught:
        asyncnet.run(scenario(), out=out and tmp_path / out, loggers=loggers)
    assert str(caught.value) == said
    assert not (tmp_path / "runs").exists()


def test_a_library_that_is_missing_is_named_with_what_to_install(tmp_path, command, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert (csv_lines.missing(), tensorboard.missing()) == ("", "tensorboardX")
    (tmp_path / "small.toml").write_text(scenario().toml())
    code, out, err = command("run", tmp_path / "small.toml", "--out", tmp_path / "runs", "--log", "tensorboard")
    assert (code, out, err) == (64, "", "asyncnet: --log tensorboard: tensorboardX is not installed; pip install 'asyncnet[trackers]'\n")
    assert not (tmp_path / "runs").exists()


def test_a_run_without_loggers_imports_none_of_their_libraries(tmp_path):
    (tmp_path / "x.toml").write_text(scenario().toml())
    ours = "[name for name in ('tensorboardX', 'wandb', 'rich') if name in sys.modules]"
    code = f"import asyncnet, sys; asyncnet.run('x.toml', out=None, loop='readable'); print({ours})"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "[]\n", done.stderr


def framed(path, block=1 << 15):
    """The records of a file framed as LevelDB's logs are."""
    data, at, record = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        size, kind = struct.unpack_from("<HB", data, at + 4)
        record += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or its last part
            yield record
            record = b""


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is an extra")
def test_wandb_keeps_an_offline_run_without_account_or_network(tmp_path, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    from wandb.proto import wandb_internal_pb2

    result = asyncnet.run(scenario(), out=tmp_path, loggers=["wandb"])
    assert result.verdict()[0] == "pass", result.verdict()
    progress = rows_of(result.run_dir / "progress.csv")
    (path,) = (result.run_dir / "wandb").glob("offline-run-*/*.wandb")
    rows, found, until = [], {}, time.monotonic() + 60
    while len(rows) < len(progress) and time.monotonic() < until:  # a process of its own writes it
        time.sleep(0.05)
        records = [wandb_internal_pb2.Record.FromString(data) for data in framed(path)]
        history = [record.history.item for record in records if record.WhichOneof("record_type") == "history"]
        rows = [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items} for items in history]
        updates = [record.run.config.update for record in records if record.WhichOneof("record_type") == "run"]
        found = {item.key or item.nested_key[0]: json.loads(item.value_json) for items in updates for item in items}
    assert [row["_step"] for row in rows] == [int(row["decisions"]) for row in progress]
    assert [row["rollout/mean_reward"] for row in rows] == [float(row["rollout/mean_reward"]) for row in progress]
    assert found["rule"]["name"] == "weight-max"


def test_a_logger_that_is_named_twice_writes_once(tmp_path):
    once, twice = (asyncnet.run(scenario(), out=tmp_path / name, loggers=names).run_dir for name, names in (("once", ["csv"]), ("twice", ["csv", "csv"])))
    steps = [[row["time/total_timesteps"] for row in csv.DictReader((run / "log.csv").read_text().splitlines())] for run in (once, twice)]
    assert steps[0]
    assert steps[0] == steps[1]
