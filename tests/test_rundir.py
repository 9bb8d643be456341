"""A run's directory: tied to its scenario, trusted for nothing, honest about who still runs; and neither a full disk nor divergence ends a run."""

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import time

import gymnasium
import numpy as np
import pytest
from conftest import small
from teams import multiplexer
from test_cli import started, strictly
from test_durable import watch

import asyncnet
from asyncnet import api
from asyncnet.api import Quiet
from asyncnet.runs import checkpoint, rundir
from asyncnet.runs.replicas import replicate, summarize
from asyncnet.scenario.schema import ScenarioError, check

pytestmark = pytest.mark.usefixtures("signals_as_they_were")


class Stopping(Quiet):
    """Presses Ctrl-C at the first row beyond a share of the run, and keeps what it is told."""

    def __init__(self, share):
        self.share, self.notes = share, []

    def note(self, text):
        self.notes.append(text)

    def row(self, row):
        if row["done"] >= self.share:
            self.share = 2.0
            signal.raise_signal(signal.SIGINT)


def interrupted(scenario, folder, share=0.5, **how):
    """A run that was interrupted, and left a checkpoint."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the command leaves it ignored
    result = api.run(scenario, out=folder, reporter=Stopping(share), **how)
    assert result.record.stopped == "interrupted"
    assert (result.run_dir / "checkpoints").is_dir()
    return result


def edited(path, **changes):
    """Change keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def files(folder):
    """The names of all that is under a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- which scenario ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "old", "new"), [("links.default", "delay", "value = 0.5\n value = 0.75"), ("seed", "seed", "seed = 3\nseed = 4")])
def test_an_edited_config_is_refused_by_the_first_key_that_differs(key, old, new, tmp_path, command):
    scenario = multiplexer("weight-max", {"links": {"default": {"delay": 0.5}}, "task.decisions": 400})
    path = interrupted(scenario, tmp_path).run_dir
    before, after = new.split("\n")
    config = path / "config.toml"
    assert before.strip() in config.read_text()
    config.write_text(config.read_text().replace(before.strip(), after.strip()))
    for verb in ("resume", "verify", "replay"):
        code, out, err = command(verb, path)
        assert (code, out) == (64, "")
        assert f"config.toml: {key}: is not what this run was started with" in err.splitlines()[-1]
    assert json.loads((path / "run.json").read_text())["status"] == "interrupted"


def test_a_checkpoint_of_another_scenario_is_refused_whatever_run_json_says(tmp_path, command):
    scenario = multiplexer("weight-max", {"task.decisions": 400})
    path = interrupted(scenario, tmp_path).run_dir
    other = scenario.replace(seed=4)
    (path / "config.toml").write_text(other.toml())
    edited(path / "run.json", scenario=other.data())
    code, out, err = command("resume", path)
    assert (code, out) == (64, "")
    assert "checkpoints: is of another scenario than config.toml" in err
    assert command("resume", interrupted(scenario, tmp_path / "other").run_dir)[0] == 0


def test_digests_and_a_recordings_beginning_name_their_scenario(tmp_path):
    scenario = multiplexer("weight-max", {"task.decisions": 300})
    path = interrupted(scenario, tmp_path).run_dir
    asyncnet.resume(path, time="wall", checkpoint=0.0)
    seal = scenario.fingerprint()
    assert checkpoint.load(rundir.recordings(path, 1) / rundir.BEGINNING)[0].about["scenario"] == seal
    assert json.loads((path / "digests.json").read_text())["scenario"] == seal
    assert asyncnet.verify(path)[1].endswith("what came after it was not recorded") is False
    edited(path / "digests.json", scenario="0" * 64)
    with pytest.raises(ScenarioError, match=r"digests.json: scenario: is another than that of config.toml"):
        asyncnet.verify(path)


# --- run.json is a stranger's -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A run that was interrupted and one that finished, to be changed and put back: their directories."""
    scenario = check(small(task={"decisions": 60}), "small")
    folder = tmp_path_factory.mktemp("ended")
    return interrupted(scenario, folder / "one").run_dir, api.run(scenario, out=folder / "two").run_dir


@contextlib.contextmanager
def put_back(path):
    """Whatever is done to the files of a directory meanwhile is undone."""
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    try:
        yield
    finally:
        for file in [file for file in path.rglob("*") if file.is_file() and file not in before]:
            file.unlink()
        for file, data in before.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("how", {"how": []}),
        ("how.loop", {"how": {"loop": 7}}),
        ("how.loop", {"how": {"loop": []}}),
        ("how.time", {"how": {"time": True}}),
        ("how.pack", {"how": {"pack": 2}}),
        ("how.scenario", {"how": {"scenario": "x"}}),
        ("how.return", {"how": {"return": None}}),
        ("engine", {"engine": "os"}),
        ("engine", {"engine": None}),
        ("resumed", {"resumed": 1}),
        ("resumed.0", {"resumed": [7]}),
        ("status", {"status": []}),
        ("versions", {"versions": []}),
        ("versions.numpy", {"versions": {"numpy": 1}}),
        ("scenario", {"scenario": []}),
        ("name", {"scenario": {}}),
        ("process.pid", {"process": {"host": "", "pid": "1", "began": 0.0}}),
        ("more", {"more": 1}),
    ],
)
def test_a_run_json_that_is_none_is_refused_by_key(ended, key, change, command):
    path = ended[0]
    with put_back(path):
        edited(path / "run.json", **change)
        code, out, err = command("resume", path)
        assert (code, out) == (64, "")
        assert f": {key}" in err
        assert err.count("\n") == 1


def test_an_address_is_neither_written_nor_taken_from_a_runs_directory(tmp_path, monkeypatch):
    from asyncnet.actors import engine

    scenario, given = multiplexer("weight-max", {"task.decisions": 400}), []
    made = rundir.RunDirectory(tmp_path, scenario, "ray", {"address": "stranger:6379", "pack": 2})
    made.__exit__(None, None)
    assert "stranger" not in (made.path / "run.json").read_text()
    path = interrupted(scenario, tmp_path / "embedded").run_dir
    for change in ({"how": {"address": "stranger:6379"}}, {"joined": True}):
        edited(path / "run.json", engine="ray", status="interrupted", **change)

        def dial(*_, **how):
            given.append(how)
            raise RuntimeError("far enough")

        monkeypatch.setattr(engine, "run", dial)
        reporter = Stopping(2.0)
        with pytest.raises(RuntimeError, match="far enough"):
            asyncnet.resume(path, reporter=reporter)
        assert "address" not in given[-1]
        assert any("without --address" in note for note in reporter.notes)


def test_nothing_that_a_terminal_obeys_reaches_it_from_a_file(ended, command):
    evil = "\x1b]0;mine\x07\x9b31m\u202e\r\n[red]"
    for path, change in ((ended[0], {"status": evil}), (ended[0], {"versions": {evil: evil}}), (ended[1], {"status": evil}), (ended[1], {"how": {evil: 1}})):
        with put_back(path):
            edited(path / "run.json", **change)
            for verb in ("verify", "resume", "replay"):
                _, out, err = command(verb, path)
                assert all(c.isprintable() or c == "\n" for c in out + err)
    with put_back(ended[1]):
        edited(ended[1] / "digests.json", digest=evil)
        code, out, err = command("verify", ended[1])
        assert (code, err.count("\n")) == (64, 1)
        assert err.isprintable() or err[:-1].isprintable()


def test_what_is_noted_and_summed_up_is_shown_as_it_stands(capsys):
    from asyncnet.console import Plain, Terminal, show_summary

    text = "[/b][red]\x1b[31m[link=x]y"
    with Terminal() as terminal:
        terminal.note(text)
    Plain().note(text)
    summary = api.run(check(small(), "small"), out=None).summary()
    show_summary(summary | {"reasons": [text], "run_dir": text})
    out, err = capsys.readouterr()
    assert err.count("[/b][red]\\x1b[31m[link=x]y") == 2
    assert out.count("[/b][red]\\x1b[31m[link=x]y") == 2


def mutated(data, rng):
    """Another value somewhere in JSON data, or a key more or fewer."""
    junk = [None, True, -1, 0, 2**70, 1.5, float("nan"), "", "\x1b[31m", "x" * 300, "os", [], [[]], {}, {"": {}}, "\ud800"]
    if isinstance(data, dict) and data and rng.random() < 0.9:
        key, other = rng.choice(list(data)), dict(data)
        if rng.random() < 0.15:
            del other[key]
        elif rng.random() < 0.1:
            other[rng.choice(["\x1b", "address", "time", "x"])] = rng.choice(junk)
        else:
            other[key] = mutated(data[key], rng)
        return other
    if isinstance(data, list) and data and rng.random() < 0.8:
        place = rng.randrange(len(data))
        return [*data[:place], mutated(data[place], rng), *data[place + 1 :]]
    return rng.choice(junk)


def fuzz(ended, command, count, seed):
    """Mutate the plain files of two runs, and ask everything of them; how many ended in which exit code."""
    rng, codes = random.Random(seed), {}
    for _ in range(count):
        path = rng.choice(ended)
        with put_back(path):
            for name in rng.choice((["run.json"], ["run.json"], ["digests.json"], ["config.toml"])):
                file = path / name
                if name == "config.toml" or rng.random() < 0.1:
                    data = bytearray(file.read_bytes())
                    for _ in range(rng.randrange(1, 4)):
                        data[rng.randrange(len(data))] = rng.randrange(256)
                    file.write_bytes(data)
                else:
                    file.write_text(json.dumps(mutated(json.loads(file.read_text()), rng)))
            before = (path / "run.json").read_bytes()
            for verb in ("verify", "replay", "resume"):
                code, out, err = command(verb, path)
                codes[code] = codes.get(code, 0) + 1
                assert all(c.isprintable() or c == "\n" for c in out + err)
                assert code != 64 or verb == "resume" or (path / "run.json").read_bytes() == before
    return codes


def test_plain_files_with_other_contents_end_in_a_line(ended, command):
    codes = fuzz(ended, command, 40, seed=1)
    assert set(codes) <= {0, 1, 2, 64}
    assert codes[64] > 40


@pytest.mark.study
@pytest.mark.timeout(3000)
def test_two_thousand_plain_files_with_other_contents_end_in_a_line(ended, command):
    codes = fuzz(ended, command, 2000, seed=2)
    print(codes)
    assert set(codes) <= {0, 1, 2, 64}


# --- divergence -------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def diverging():
    return asyncnet.load("mountaincar-map", settings=["rule.learning_rate=1000.0", "task.decisions=2500"])


def test_a_run_that_diverges_fails_with_reasons_and_its_files_are_json(diverging, tmp_path, command):
    (tmp_path / "one.toml").write_text(diverging.toml())
    code, out, _ = command("run", tmp_path / "one.toml", "--checkpoint", "0.1", "--out", tmp_path / "runs", "--json")
    summary = strictly(out)
    assert (code, summary["verdict"], summary["stopped"]) == (1, "fail", "finished")
    assert any("weights are not finite" in reason for reason in summary["reasons"])
    assert any(reason.startswith("the score is not finite: mean_reward") for reason in summary["reasons"])
    assert summary["mean_reward"] is None
    path = tmp_path / "runs" / "latest"
    rows = [strictly(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["rollout/mean_reward"] is None
    assert rows[-1]["done"] == 1.0
    for file in path.rglob("*.json"):
        strictly(file.read_text())
    assert any(None in row.values() for row in checkpoint.load(path / "checkpoints")[0].about["score"]["rows"])


def test_a_run_that_diverged_is_resumed_to_the_bit(diverging, tmp_path):
    whole = api.run(diverging, out=None)
    part = interrupted(diverging, tmp_path, share=0.9)
    again = asyncnet.resume(part.run_dir)
    assert again.summary()["resumed"] == "exactly"
    assert again.record.digest == whole.record.digest
    assert again.record.fields == whole.record.fields


class Brittle(gymnasium.Env):
    """An environment that cannot bear an action that is no number, and in its third episode nothing at all."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
    episodes = 0

    def reset(self, **how):
        super().reset(**how)
        self.steps, self.episodes = 0, self.episodes + 1
        return np.zeros(2, dtype=np.float32), {}

    def step(self, action):
        self.steps += 1
        if not np.isfinite(action).all():
            raise AssertionError(f"{action!r}\x1b[31m is no action")
        if self.episodes == 3:
            raise ValueError("gears\njammed")
        return np.ones(2, dtype=np.float32), 1.0, self.steps == 20, False, {}


@pytest.fixture
def brittle():
    gymnasium.register("Brittle-v0", entry_point=Brittle)
    yield asyncnet.load("mountaincar-map", settings=["task.id=Brittle-v0", "task.decisions=500"])
    del gymnasium.registry["Brittle-v0"]


@pytest.mark.parametrize("loop", ["compiled", "readable"])
def test_an_environment_that_raises_ends_the_run_with_a_reason(brittle, loop, tmp_path, command):
    result = api.run(brittle, out=tmp_path, loop=loop)
    assert result.verdict()[0] == "fail"
    assert result.verdict()[1][0] == "the task failed: Brittle-v0: ValueError: gears jammed"
    assert result.summary()["decisions"] > 40
    assert json.loads((result.run_dir / "run.json").read_text())["status"] == result.record.stopped
    wild = brittle.replace({"rule.learning_rate": (1000.0,)})
    why = api.run(wild, out=None, loop=loop).verdict()[1][0]
    assert why.startswith("the task failed: Brittle-v0, given actions that are not finite: AssertionError: array([nan]")


def test_replicas_that_diverge_have_a_mean_and_no_error(diverging, capsys):
    results = replicate(diverging.replace({"task.decisions": 1500}), (1, 2), out=None)
    summary = summarize(results)
    assert not np.isfinite(summary["mean"]["mean_reward"])
    assert summary["standard_error"]["mean_reward"] is None
    from asyncnet.console import show_replicas, show_summary

    show_replicas(summary)
    show_summary(results[0].summary())
    assert "nan" in capsys.readouterr().out


# --- who still runs ---------------------------------------------------------------------------------------------------------------


def test_a_run_is_running_until_its_process_dies_and_then_dead(tmp_path, command):
    (tmp_path / "one.toml").write_text(check(small(task={"decisions": 20_000_000}), "small").toml())
    run = subprocess.Popen(started(["run", str(tmp_path / "one.toml"), "--checkpoint", "0.01", "--out", str(tmp_path / "runs")]), stderr=subprocess.DEVNULL)
    try:
        path = tmp_path / "runs" / "latest"
        while not list(path.glob("checkpoints/0*")):
            assert run.poll() is None
            time.sleep(0.02)
        for verb in ("verify", "resume"):
            code, out, err = command(verb, path)
            assert (code, out) == (64, "")
            assert "this run is still running" in err
            assert "resume" not in err.replace(str(tmp_path), "")
    finally:
        run.kill()
        run.wait()
    code, out, err = command("verify", path)
    assert (code, out) == (64, "")
    assert "this run has not finished (dead: its process is gone); asyncnet resume goes on with it" in err
    reporter = Stopping(0.0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asyncnet.resume(path, reporter=reporter)
    assert reporter.notes[0] == "this run is dead: its process is gone"
    about = json.loads((path / "run.json").read_text())
    assert about["status"] == "interrupted"
    assert about["process"]["pid"] == os.getpid()


def test_what_the_lock_cannot_tell_the_process_does(tmp_path):
    path = api.run(check(small(), "small"), out=tmp_path).run_dir
    told = rundir.about(path).model_copy(update={"status": "running"})
    assert rundir.held(path) is False
    (path / ".lock").unlink()
    assert rundir.held(path) is None
    assert rundir.standing(told, None) == "running"
    for change in ({"began": told.process.began - 100.0}, {"pid": 2**22 + 1}, {"pid": -1}, {"pid": 2**70}):
        assert rundir.standing(told.model_copy(update={"process": told.process.model_copy(update=change)}), None) == "dead: its process is gone"
    elsewhere = told.model_copy(update={"process": told.process.model_copy(update={"host": "elsewhere"})})
    assert rundir.standing(elsewhere, False) == "running on elsewhere, unless it died there"


def test_an_exception_in_the_engine_is_raised_and_leaves_a_failed_run(tmp_path, monkeypatch):
    from asyncnet.runs import embedded

    def broken(*_, **__):
        raise RuntimeError("a bug\nof two lines")

    monkeypatch.setattr(embedded, "run", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        api.run(check(small(), "small"), out=tmp_path)
    assert json.loads((tmp_path / "latest" / "run.json").read_text())["status"] == "failed: RuntimeError: a bug of two lines"


def test_a_resumed_runs_speed_is_that_of_its_last_part(tmp_path):
    scenario = multiplexer("weight-max", {"task.decisions": 4000})
    path = interrupted(scenario, tmp_path, share=0.9).run_dir
    begun = checkpoint.load(path / "checkpoints")[0].about["decisions"]
    assert 3600 <= begun < 4000
    again = asyncnet.resume(path)
    assert again.summary()["decisions"] == 4000
    assert again.summary()["decisions_per_second"] == (4000 - begun) / again.record.seconds


# --- full disks -------------------------------------------------------------------------------------------------------------------


def test_a_place_where_no_run_can_be_kept_is_a_line_and_nothing_starts(tmp_path, command):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "one.toml").write_text(check(small(), "small").toml())
    for out in (tmp_path / "file", tmp_path / "file" / "runs", "/proc/none/runs"):
        code, printed, err = command("run", tmp_path / "one.toml", "--out", out)
        assert (code, printed) == (64, "")
        assert err.startswith(f"asyncnet: --out: no run can be kept in {out}: ")
        assert err.count("\n") == 1
    assert files(tmp_path) == ["file", "one.toml"]


def whole_files(path):
    """No part of a file is left in a run's directory, and what is JSON is whole."""
    left = files(path)
    assert not [name for name in left if name.endswith(".part")]
    for name in left:
        if name.endswith(".json"):
            strictly((path / name).read_text())
    if "metrics.jsonl" in left:
        text = (path / "metrics.jsonl").read_text()
        assert text == "" or text.endswith("\n")
        for line in text.splitlines():
            strictly(line)
    return left


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.study)])
@pytest.mark.parametrize("time", ["virtual", "wall"])
def test_a_disk_that_is_full_from_any_step_on_costs_files_and_not_the_run(time, every, tmp_path):
    scenario = check(small(task={"decisions": 4}), "small")
    expected = api.run(scenario, out=None)
    refused, costs = set(), set()
    for step in range(0, 10_000, every):
        folder, count = tmp_path / str(step), 0
        folder.mkdir()

        def before(name, call, *args, step=step):
            nonlocal count
            count += 1
            if count > step and name not in ("unlink", "rmdir"):
                if name == "write":
                    call(args[0], args[1][: len(args[1]) // 2])
                raise OSError(28, "No space left on device")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: None)  # it takes milliseconds
            watch(patch.setattr, before)
            try:
                result = api.run(scenario, out=folder, checkpoint=1e-9, time=time)
            except ScenarioError as error:
                refused.add(str(error).replace(str(folder), "there"))
                assert files(folder) == []
                continue
        assert result.record.stopped == "finished"
        if time == "virtual":
            assert result.record.digest == expected.record.digest
        left = whole_files(result.run_dir)
        assert [name for name in os.listdir(folder) if name not in ("latest", result.run_dir.name)] == []
        if count <= step:
            assert not list(result.trouble)
            break
        reasons = list(result.trouble)
        assert result.verdict()[0] == "unknown"
        assert all(reason.endswith(": No space left on device") for reason in reasons)
        assert "run.json could not be written: No space left on device" in reasons
        costs |= {name for name in left if "/" not in name}
    assert refused == {"--out: no run can be kept in there: No space left on device"}
    assert {"config.toml", "run.json", "metrics.jsonl", "progress.csv", "ledger.csv", "digests.json", "summary.json"} <= costs


def test_lines_that_found_no_room_are_there_once_there_is_some(tmp_path, monkeypatch):
    scenario, write, rows = check(small(task={"decisions": 8}), "small"), os.write, []

    def full(descriptor, data):
        if b'"decisions": 3,' in bytes(data) and len(rows) < 5:
            write(descriptor, data[:10])
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    class Counting(Quiet):
        def row(self, row):
            rows.append(row)

    monkeypatch.setattr(os, "write", full)
    result = api.run(scenario, out=tmp_path, reporter=Counting())
    assert result.verdict() == ("pass", [])
    assert [json.loads(line)["decisions"] for line in (result.run_dir / "metrics.jsonl").read_text().splitlines()] == list(range(1, 9))


def spoken(arguments, **how):
    """The real command's exit code, and the one JSON object that it printed."""
    done = subprocess.run(started(arguments), capture_output=True, text=True, timeout=200, check=False, **how)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, strictly(done.stdout)


def test_a_limit_on_files_costs_files_and_the_summary_is_printed(tmp_path):
    arguments = ["run", "multiplexer3-weight-max", "--set", "task.decisions=3000", "--checkpoint", "0.01", "--out", str(tmp_path), "--json"]
    code, summary = spoken(arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)))
    assert (code, summary["verdict"], summary["stopped"], summary["decisions"]) == (2, "unknown", "finished", 3000)
    assert "metrics.jsonl is not complete: File too large" in summary["reasons"]
    assert any(reason.startswith("no checkpoint could be written at") for reason in summary["reasons"])
    assert "summary.json" in whole_files(tmp_path / "latest")
    assert json.loads((tmp_path / "latest" / "run.json").read_text())["status"] == "finished"


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_file_system_of_a_megabyte_is_filled_and_the_run_ends_well(tiny_disk):
    arguments = ["run", "multiplexer3-weight-max", "--set", "task.decisions=20000", "--checkpoint", "0.05", "--out", str(tiny_disk), "--json"]
    (tiny_disk / "other").write_bytes(bytes(980_000))
    code, summary = spoken(arguments)
    assert (code, summary["verdict"], summary["stopped"]) == (2, "unknown", "finished")
    assert any(reason.endswith("No space left on device") for reason in summary["reasons"])
    whole_files(tiny_disk / "latest")


def test_a_folder_in_the_place_of_the_link_to_the_latest_run_is_left_alone(tmp_path):
    (tmp_path / "latest").mkdir()
    result = api.run(check(small(), "small"), out=tmp_path)
    assert result.verdict() == ("unknown", ["latest could not be written: Is a directory"])
    assert sorted(os.listdir(tmp_path)) == sorted(["latest", result.run_dir.name])


def test_resume_refuses_a_disk_that_takes_nothing_and_loses_nothing(tmp_path, monkeypatch):
    path = interrupted(multiplexer("weight-max", {"task.decisions": 400}), tmp_path).run_dir
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(ScenarioError, match="nothing can be written there: No space left on device"):
            asyncnet.resume(path)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert asyncnet.resume(path).record.stopped == "finished"


# --- which commit -----------------------------------------------------------------------------------------------------------------


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_that_of_asyncnets_own_checkout_and_says_if_it_is_dirty(tmp_path, monkeypatch):
    top = tmp_path / "top"
    (top / "asyncnet" / "runs").mkdir(parents=True)
    for name in ("asyncnet/runs/rundir.py", "pyproject.toml"):
        (top / name).write_text("")
    git(tmp_path, "init", "-q", top)
    monkeypatch.setattr(rundir, "__file__", str(top / "asyncnet" / "runs" / "rundir.py"))
    assert rundir._commit() is None
    git(top, "add", ".")
    git(top, "commit", "-qm", "one")
    commit = git(top, "rev-parse", "HEAD")
    assert rundir._commit() == commit
    (top / "untracked").write_text("")
    assert rundir._commit() == commit
    (top / "pyproject.toml").write_text("changed")
    assert rundir._commit() == f"{commit}-dirty"
    inside = top / "env" / "lib" / "asyncnet" / "runs"  # an environment inside somebody's repository
    inside.mkdir(parents=True)
    (inside / "rundir.py").write_text("")
    monkeypatch.setattr(rundir, "__file__", str(inside / "rundir.py"))
    assert rundir._commit() is None
    git(top, "add", ".")
    assert rundir._commit() is None


def test_the_commit_of_an_installed_wheel_is_the_one_it_was_installed_from(tmp_path, monkeypatch):
    import importlib.metadata

    (tmp_path / "asyncnet").mkdir()
    info = tmp_path / "asyncnet-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: asyncnet\nVersion: 0.1.0\n")
    monkeypatch.setattr(rundir, "__file__", str(tmp_path / "asyncnet" / "runs" / "rundir.py"))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: importlib.metadata.PathDistribution(info))
    assert rundir._commit() is None
    (info / "direct_url.json").write_text('{"url": "x", "vcs_info": {"vcs": "git", "commit_id": "abc"}}')
    assert rundir._commit() == "abc"
    for odd in ("[]", "{", '{"vcs_info": 7}'):
        (info / "direct_url.json").write_text(odd)
        assert rundir._commit() is None
