"""The command line and the run directory: what is printed, what is written, and with which exit code it ends."""

import _thread
import csv
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tomli_w

import asyncnet
from asyncnet import api
from asyncnet.api import Quiet
from asyncnet.benchmarks import startup
from asyncnet.cli import main
from asyncnet.commands.running import Resume, Run, again
from asyncnet.rules import RULES
from asyncnet.scenario.schema import ScenarioError, check
from asyncnet.tasks import TASKS
from asyncnet.team.conditions import model
from support.commands import strictly, words_of
from support.places import SCENARIOS as SHIPPED
from support.small import small
from support.teams import runnable

pytestmark = pytest.mark.usefixtures("signals_as_they_were")

SCENARIOS = sorted(path.stem for path in SHIPPED.glob("*.toml"))
CONDITIONS = sorted(path.stem for path in (SHIPPED / "conditions").glob("*.toml"))
STUDIES = sorted(path.stem for path in (SHIPPED / "studies").glob("*.toml"))
PROMISED = {
    *("decisions", "mean_reward", "last_mean_reward", "episodes", "mean_return", "last_mean_return"),
    *("decisions_per_second", "on_time", "action_delay", "digest", "seed", "run_dir", "verdict"),
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(tomli_w.dumps(small()))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run by the real command, with --json: (folder, completed process)."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.toml").write_text(tomli_w.dumps(small()))
    arguments = ["run", "small.toml", "--under", "slow-links", "--seed", "7", "--loop", "readable", "--json"]
    return folder, subprocess.run(words_of(arguments), cwd=folder, capture_output=True, text=True, timeout=200, check=False)


def test_list_json_names_every_shipped_scenario_condition_rule_and_task(command):
    code, out, err = command("list", "--json")
    lists = strictly(out)
    assert (code, err) == (0, "")
    assert {kind: sorted(names) for kind, names in lists.items()} == {
        "scenarios": SCENARIOS,
        "conditions": CONDITIONS,
        "rules": sorted(RULES),
        "tasks": sorted(TASKS),
        "studies": STUDIES,
    }
    assert all(line.strip() and "\n" not in line for names in lists.values() for line in names.values())


def test_the_version_is_that_of_the_package(command):
    assert command("--version") == (0, f"asyncnet {asyncnet.__version__}\n", "")


def test_list_shows_every_name_with_its_whole_line(command):
    code, out, err = command("list")
    assert (code, err) == (0, "")
    for names in (api.list_scenarios(), api.list_conditions(), *({name: module.LINE for name, module in known.items()} for known in (RULES, TASKS))):
        for name, line in names.items():
            assert re.search(rf"^ *{re.escape(name)} +{re.escape(line)} *$", out, re.M), name


def test_validate_says_ok_or_prints_the_whole_scenario(command, file):
    assert command("validate", file) == (0, f"{file}: ok\n", "")
    code, out, err = command("validate", file, "--json")
    assert (code, err) == (0, "")
    assert check(strictly(out), "json") == asyncnet.load(file)


@pytest.mark.parametrize("name", runnable())
def test_every_shipped_scenario_is_sound_and_asks_a_question(name, command):
    assert command("validate", name)[0] == 0
    assert asyncnet.load(name).question.strip()
    assert asyncnet.load(name).name == name


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("name", runnable())
def test_every_condition_can_be_laid_over_every_scenario_that_can_bear_it(name, condition):
    whole = asyncnet.load(name)
    if whole.rule.name == "map-propagation" and condition not in ("calm", "slow-links", *(() if whole.critic else ("stale-reward",))):
        with pytest.raises(ScenarioError, match="synchronous phases"):
            asyncnet.load(name, [condition])
        return
    under = asyncnet.load(name, [condition])
    assert under.under == (condition,)
    changed = {key: value for key, value in under.data().items() if key != "under"} != {
        key: value for key, value in asyncnet.load(name).data().items() if key != "under"
    }
    assert changed == (condition != "calm")


def delay(scenario: asyncnet.Scenario, channel: str) -> float:
    """Ticks that every message of a channel takes, as its loop computes."""
    return model(scenario, channel, []).fixed / scenario.tick


def test_conditions_add_up_while_set_replaces(file):
    assert delay(asyncnet.load(file), "reward") == 0.5
    assert delay(asyncnet.load(file, ["slow-links"]), "reward") == 0.5 + 1.5
    assert delay(asyncnet.load(file, ["slow-links", "slow-links"]), "reward") == 0.5 + 1.5 + 1.5
    assert delay(asyncnet.load(file, ["slow-links"], ["links.default.delay=3.0"]), "reward") == 3.0
    assert delay(asyncnet.load(file, ["slow-links"], ["links.reward.delay=3.0"]), "reward") == 0.5 + 1.5 + 3.0
    assert delay(asyncnet.load(file, ["slow-links"], ["links.reward.delay=3.0"]), "activity") == 0.5 + 1.5


def test_the_later_condition_decides_whether_a_link_is_reliable(file):
    assert asyncnet.load(file).links.reliable("reward")
    assert not asyncnet.load(file).links.reliable("activity")
    assert not asyncnet.load(file, ["lossy"]).links.reliable("reward")
    assert asyncnet.load(file, ["lossy"], ["links.reward.reliable=true"]).links.reliable("reward")


def test_conditions_laid_over_a_value_are_those_laid_over_its_file(file):
    in_steps = asyncnet.run(asyncnet.load(file, ["lossy"]), under=["slow-links"], out=None, loop="readable")
    assert in_steps.scenario == asyncnet.load(file, ["lossy", "slow-links"])


def test_seed_on_the_command_line_beats_set_and_the_file(command, file, tmp_path):
    code, out, _ = command("run", file, "--seed", 5, "--set", "seed=4", "--loop", "readable", "--out", tmp_path / "runs", "--json")
    assert (code, strictly(out)["seed"]) == (0, 5)
    assert asyncnet.load(Path(strictly(out)["run_dir"]) / "config.toml").seed == 5
    assert asyncnet.run(file, seed=6, out=None, loop="readable").summary()["seed"] == 6


def test_run_json_prints_one_object_with_the_promised_keys_and_nothing_else(finished):
    _, done = finished
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    summary = strictly(done.stdout)
    assert set(summary) >= PROMISED
    assert (summary["decisions"], summary["seed"], summary["under"]) == (30, 7, ["slow-links"])
    assert (summary["verdict"], summary["stopped"]) == ("pass", "finished")
    assert re.fullmatch("[0-9a-f]{64}", summary["digest"])
    assert "Traceback" not in done.stderr


def test_the_directory_of_a_run_is_complete(finished):
    folder, done = finished
    summary = strictly(done.stdout)
    run = folder / summary["run_dir"]
    assert json.loads((run / "summary.json").read_text()) == summary
    assert asyncnet.load(run / "config.toml") == asyncnet.load(folder / "small.toml", ["slow-links"], ["seed=7"])
    rows = [strictly(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["decisions"] for row in rows] == list(range(1, 31))
    with (run / "progress.csv").open(newline="") as text:
        assert [row["decisions"] for row in csv.DictReader(text)] == [str(row["decisions"]) for row in rows]
    about = json.loads((run / "run.json").read_text())
    assert about["status"] == "finished"
    assert about["engine"] == "embedded"
    assert {"python", "asyncnet", "numpy", "numba"} <= {name for name, version in about["versions"].items() if version}
    assert (folder / "runs" / "latest").resolve() == run.resolve()
    assert sorted(path.name for path in (folder / "runs").iterdir()) == sorted([run.name, "latest"])


def test_its_config_alone_gives_the_same_run_again(finished):
    folder, done = finished
    summary = strictly(done.stdout)
    again = asyncnet.run(asyncnet.load(folder / summary["run_dir"] / "config.toml"), out=None, loop="readable")
    other = asyncnet.run(again.scenario, seed=8, out=None, loop="readable")
    assert again.summary()["digest"] == summary["digest"] != other.summary()["digest"]
    assert again.summary()["under"] == summary["under"]


def test_two_runs_never_share_a_directory_and_latest_is_the_newest(file, tmp_path):
    first, second = (asyncnet.run(file, out=tmp_path / "runs", loop="readable") for _ in range(2))
    assert first.run_dir != second.run_dir
    assert first.summary()["digest"] == second.summary()["digest"]
    assert all((result.run_dir / "summary.json").is_file() for result in (first, second))
    assert (tmp_path / "runs" / "latest").resolve() == second.run_dir.resolve()


def test_a_run_with_out_none_writes_nothing(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = asyncnet.run(file, out=None, loop="readable")
    assert result.summary()["run_dir"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


def test_without_json_the_summary_is_a_table_and_progress_goes_to_standard_error(command, file, tmp_path):
    code, out, err = command("run", file, "--loop", "readable", "--out", tmp_path / "runs")
    assert code == 0
    assert all(word in out for word in ("decisions", "mean reward", "digest", "verdict", "pass"))
    assert "decisions" in err
    assert "digest" not in err


@pytest.mark.parametrize("sent", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT] * 3], ids=["ctrl-c", "sigterm", "ctrl-c three times at once"])
def test_an_interrupted_run_keeps_what_it_did_and_exits_with_130(sent, file, tmp_path):
    arguments = ["run", str(file), "--set", "task.decisions=2000000", "--loop", "readable", "--out", str(tmp_path / "runs"), "--json"]
    run = subprocess.Popen(words_of(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert any("decisions" in line for line in run.stderr)  # the first progress
        for number in sent:
            run.send_signal(number)
            time.sleep(0.01)
        out, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 130, err
    assert "Traceback" not in err
    summary = strictly(out)
    assert (summary["stopped"], summary["verdict"]) == ("interrupted", "unknown")
    assert 0 < summary["decisions"] < 2_000_000
    folder = Path(summary["run_dir"])
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    assert all(strictly(line)["decisions"] for line in (folder / "metrics.jsonl").read_text().splitlines())
    assert asyncnet.load(folder / "config.toml").task.decisions == 2_000_000


THREADS = """
import os, sys
seen = []
sys.addaudithook(lambda event, about: seen.append(os.environ.get("OMP_NUM_THREADS")) if (event, about[0]) == ("import", "numpy") else None)
sys.argv = ["asyncnet", "validate", "multiplexer3-weight-max"]
from asyncnet.__main__ import main
try:
    main()
finally:
    print(seen[:1], "numba" in sys.modules)
"""


def test_the_command_keeps_libraries_to_one_thread_before_it_imports_any():
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", THREADS], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines()[-1] == "['1'] True", done.stderr


def test_every_verb_has_help(command):
    code, out, _ = command("--help")
    verbs = re.findall(r"• ([\w-]+)", out)
    assert code == 0
    assert {"list", "run", "validate", "bench"} <= set(verbs)
    for verb in verbs:
        code, out, err = command(verb, "--help")
        assert (code, err) == (0, "")
        assert f"usage: asyncnet {verb}" in out
        assert len(out.split()) > 20


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "fly",
        "run",
        "validate",
        "list everything",
        "run multiplexer2-units --engine cloud",
        "run multiplexer2-units --seed 1e3",
        "run multiplexer2-units --seed=-1",
        "run multiplexer2-units --speed 3",
        "run multiplexer2-units --under",
        "run multiplexer2-units --time later",
        "run multiplexer2-units --engine ray --loop readable",
        "run multiplexer2-units --pack 3",
        "run multiplexer2-units --wire ray",
        "run multiplexer2-units --address auto",
        "run multiplexer2-units --seeds 0",
        "run multiplexer2-units --seeds 2 --workers 0",
        "run multiplexer2-units --engine ray --seeds 2",
        "run multiplexer2-units --checkpoint=-1",
        "run multiplexer2-units --checkpoint nan",
        "run multiplexer2-units --seeds 2 --probe actor.1.3.weight_nrom",
        "sweep hardship --engine ray --workers 2",
        "bench everything",
        "bench startup --seconds 0",
    ],
)
def test_bad_usage_exits_with_64_and_says_why_on_standard_error(arguments, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = command(*arguments.split())
    assert (code, out) == (64, "")
    assert err.strip()
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_replicas_have_the_digests_of_runs_of_their_own_whatever_the_number_of_workers(tmp_path):
    scenario = check(small(task={"decisions": 400}), "small")
    alone = [asyncnet.run(scenario, seed=seed, out=None).record.digest for seed in (4, 5, 6)]
    assert len(set(alone)) == 3
    for workers in (1, 2, 3):
        results = asyncnet.replicate(scenario, (4, 5, 6), workers=workers, out=tmp_path)
        assert [result.record.digest for result in results] == alone
    assert len({result.run_dir for result in results}) == 3


def test_seeds_print_a_line_each_with_mean_and_standard_error(tmp_path, capsys):
    path = tmp_path / "small.toml"
    path.write_text(check(small(task={"decisions": 400}), "small").toml())
    arguments = ["run", str(path), "--seeds", "3", "--workers", "2", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--json"])
    summary = json.loads(capsys.readouterr().out)
    assert stop.value.code == 0
    assert summary["seeds"] == [1, 2, 3]
    rewards = [run["mean_reward"] for run in summary["runs"]]
    assert len(set(rewards)) > 1
    assert summary["mean"]["mean_reward"] == pytest.approx(np.mean(rewards))
    assert summary["standard_error"]["mean_reward"] == pytest.approx(np.std(rewards, ddof=1) / 3**0.5)
    with pytest.raises(SystemExit):
        main(arguments)
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_each_replica_writes_its_probes(tmp_path, command):
    path = tmp_path / "small.toml"
    path.write_text(check(small(task={"decisions": 400}), "small").toml())
    node = asyncnet.load(path).network and "actor.1"
    assert command("run", path, "--seeds", 2, "--probe", f"{node}.weight_norm", "--probe-every", 100, "--out", tmp_path / "runs")[0] == 0
    probes = [*(tmp_path / "runs").glob("*__*/probes.csv")]
    assert len(probes) == 2
    assert len({file.read_text() for file in probes}) == 2


def test_what_a_run_was_told_and_its_directory_does_not_say_is_in_the_command_that_goes_on(tmp_path):
    order = Run("x", address=None, memory=200.0, checkpoint=5.0, record=False, log=["csv"])
    assert again(order) == ["--memory", "200.0", "--checkpoint", "5.0", "--no-record", "--log", "csv"]
    assert again(Run("x")) == []
    assert again(Resume(tmp_path, address="auto")) == ["--address", "auto"]


def test_resuming_and_measuring_refuse_numbers_that_make_no_sense(tmp_path, command):
    path = asyncnet.run(check(small(task={"decisions": 400}), "small"), out=tmp_path).run_dir
    for words, said in (
        (("resume", path, "--set", "task.decisions=500", "--checkpoint", "-1"), "--checkpoint"),
        (("evaluate", path, "--decisions", 0), "decisions"),
    ):
        code, out, err = command(*words)
        assert (code, out) == (64, "")
        assert said in err
        assert err.count("\n") == 1


def test_an_interrupt_ends_all_replicas_and_keeps_what_they_did(tmp_path):
    scenario = check(small(task={"decisions": 3_000_000}), "small")

    class Impatient(Quiet):
        def row(self, row):
            _thread.interrupt_main()

    results = asyncnet.replicate(scenario, range(1, 5), workers=2, out=tmp_path, reporter=Impatient())
    assert len(results) == 2
    assert all(result.record.stopped == "interrupted" for result in results)
    assert all(0 < result.summary()["decisions"] < 3_000_000 for result in results)


def test_bench_prints_a_figure_beside_its_yardstick_as_one_json_object(command, monkeypatch):
    monkeypatch.setattr(startup, "measure", functools.partial(startup.measure, rounds=1))
    code, out, err = command("bench", "startup", "--json")
    assert code == 0, err
    rows = {row["what"]: row for row in strictly(out)["rows"]}
    assert len(rows) == 2
    for row in rows.values():
        assert row["ours"] > 0.0
        assert row["ratio"] == pytest.approx(row["theirs"] / row["ours"])


def test_a_run_has_one_length_whichever_was_set_last():
    scenario = asyncnet.load("cartpole-weight-max", settings=["task.decisions=70"])
    assert (scenario.task.decisions, scenario.task.episodes) == (70, None)
    assert scenario.replace({"task.episodes": 5}).task.decisions is None


def test_a_file_that_is_there_is_asked_for_with_its_path(command, tmp_path, monkeypatch):
    (tmp_path / "notes").write_text("")
    monkeypatch.chdir(tmp_path)
    code, _, err = command("validate", "notes")
    assert (code, err) == (64, "asyncnet: notes: no shipped scenario of that name; the file of that name is ./notes\n")


def test_a_rule_in_the_place_of_a_scenario_is_told_apart(command):
    code, _, err = command("validate", "my_rule.py")
    assert (code, err) == (
        64,
        "asyncnet: my_rule.py: is a file of Python; a rule of one's own is given as --rule FILE, a task as --task FILE, beside a scenario\n",
    )


def test_bench_shows_what_it_has_measured_when_a_part_fails(monkeypatch, capsys):
    from asyncnet.benchmarks import Row, recording
    from asyncnet.commands.bench import Bench

    def fails(seconds):
        raise RuntimeError("no")

    monkeypatch.setattr(startup, "measure", lambda: [Row("a figure of minutes", 3.0, "s")])
    monkeypatch.setattr(recording, "measure", fails)
    with pytest.raises(RuntimeError, match="no"):
        Bench(what=("startup", "recording"))()
    assert "a figure of minutes" in capsys.readouterr().out


def test_what_keeps_the_recordings_of_a_benchmark_is_a_keeper(tmp_path):
    from asyncnet.benchmarks.recording import Kept
    from asyncnet.runs.record import Keeper

    kept = Kept(tmp_path, False)
    asked = {*Keeper.__annotations__, *(name for name in vars(Keeper) if not name.startswith("_"))}
    assert len(asked) >= 6
    assert not [name for name in asked if not hasattr(kept, name)]
    kept.close()
