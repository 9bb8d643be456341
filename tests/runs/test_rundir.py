"""A run's directory is tied to its scenario, trusted for nothing, and honest about who still runs."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time

import pytest

import asyncnet
from asyncnet import api
from asyncnet.runs import checkpoint, rundir, stored
from asyncnet.scenario.schema import ScenarioError, check
from support.commands import words_of
from support.interrupted import Stopping, edited, interrupted
from support.small import small
from support.teams import multiplexer

pytestmark = pytest.mark.usefixtures("signals_as_they_were")


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
    assert checkpoint.load(stored.recordings(path, 1) / stored.BEGINNING)[0].about["scenario"] == seal
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


# --- who still runs ---------------------------------------------------------------------------------------------------------------


def test_a_run_is_running_until_its_process_dies_and_then_dead(tmp_path, command):
    (tmp_path / "one.toml").write_text(check(small(task={"decisions": 20_000_000}), "small").toml())
    run = subprocess.Popen(words_of(["run", str(tmp_path / "one.toml"), "--checkpoint", "0.01", "--out", str(tmp_path / "runs")]), stderr=subprocess.DEVNULL)
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
    told = stored.about(path).model_copy(update={"status": "running"})
    assert stored.held(path) is False
    (path / ".lock").unlink()
    assert stored.held(path) is None
    assert stored.standing(told, None) == "running"
    for change in ({"began": told.process.began - 100.0}, {"pid": 2**22 + 1}, {"pid": -1}, {"pid": 2**70}):
        assert stored.standing(told.model_copy(update={"process": told.process.model_copy(update=change)}), None) == "dead: its process is gone"
    elsewhere = told.model_copy(update={"process": told.process.model_copy(update={"host": "elsewhere"})})
    assert stored.standing(elsewhere, False) == "running on elsewhere, unless it died there"


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
