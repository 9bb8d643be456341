"""What a user of the Python surface meets: names that stay what they are, options that are looked at, a result that says what it is."""

import importlib.util
import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import tomli_w

import asyncnet
from asyncnet.scenario import names
from asyncnet.scenario.schema import check
from asyncnet.team import draw as team
from support.places import ROOT
from support.small import small


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(tomli_w.dumps(small()))
    return path


def test_no_submodule_can_take_the_place_of_a_public_name():
    assert [name for name in asyncnet.__all__ if importlib.util.find_spec(f"asyncnet.{name}")] == []


def test_replay_and_the_list_of_scenarios_can_be_called_twice(tmp_path):
    code = """
import asyncnet, asyncnet.scenarios
for _ in range(2):
    assert "cartpole-free" in asyncnet.list_scenarios() and "lossy" in asyncnet.list_conditions()
    try:
        asyncnet.replay("nowhere")
    except asyncnet.ScenarioError as error:
        print(error)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nowhere: ") == 2


def test_the_public_surface_is_typed_and_a_callers_mistake_is_found_by_its_types(tmp_path):
    def checked(*words):
        command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), *words]
        return subprocess.run(command, cwd=ROOT, env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True, text=True, timeout=200, check=False)

    done = checked()
    assert done.returncode == 0, done.stdout
    program = tmp_path / "program.py"
    program.write_text('import asyncnet\n\nresult = asyncnet.run(asyncnet.load("cartpole-free"), engine="rya")\nprint(result.summery())\n')
    found = checked("--config-file", str(ROOT / "pyproject.toml"), str(program)).stdout
    assert [found.count(f"program.py:{line}: error") for line in (1, 3, 4)] == [0, 1, 1], found


NAMES = {"": names.ScenarioName, "conditions": names.ConditionName, "studies": names.StudyName}


@pytest.mark.parametrize("folder", NAMES)
def test_the_names_that_editors_complete_are_those_that_ship(folder):
    ships = sorted(path.stem for path in (ROOT / "scenarios" / folder).glob("*.toml"))
    assert list(typing.get_args(NAMES[folder])) == ships, f"asyncnet/scenario/names.py: {', '.join(map(repr, ships))}"


COMPLETE = """
function=$(complete -p asyncnet | grep -o -e '-F [^ ]*')
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMPREPLY=(); ${function#-F }; echo "${COMPREPLY[@]}"; }
ask asyncnet ti; ask asyncnet run x --lo; ask asyncnet run x --log t
"""


def test_a_shell_completes_verbs_options_and_choices():
    words = [sys.executable, "-m", "asyncnet", "--tyro-print-completion", "bash"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    told = subprocess.run(["bash", "-c", done.stdout + COMPLETE], capture_output=True, text=True, timeout=60, check=False)
    verbs, options, choices = (set(line.split()) for line in told.stdout.splitlines())
    assert "timeline" in verbs, told
    assert {"--log", "--loop"} <= options
    assert "tensorboard" in choices


def test_public_names_can_be_listed_before_they_are_used_and_are_typed():
    code = "import asyncnet, sys; print(sorted(set(asyncnet.__all__) - set(dir(asyncnet))), 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "[] False\n", done.stderr
    assert set(asyncnet.__all__) == set(asyncnet._WHERE)
    assert (Path(asyncnet.__file__).parent / "py.typed").is_file()
    assert 'asyncnet = ["py.typed"]' in (ROOT / "pyproject.toml").read_text()


def test_a_result_says_in_one_line_what_came_out():
    result = asyncnet.run(check(small(), "small"), out=None, loop="readable")
    shown = rf"<Result small: 30 decisions, last mean reward -?[\d.e-]+, pass, digest {result.record.digest[:16]}>"
    assert re.fullmatch(shown, repr(result)), repr(result)
    result.record.score.update(last_mean_return=12.3456, decisions=12345)
    assert "12,345 decisions, last mean return 12.35, pass" in repr(result)
    result.record.score.update(last_mean_return=None, last_mean_reward=None)
    assert "12,345 decisions, pass" in repr(result)


def test_one_condition_or_setting_alone_need_not_stand_in_a_list(file):
    assert asyncnet.load(file, under="straggler") == asyncnet.load(file, under=["straggler"])
    assert asyncnet.load(file, settings="seed=5") == asyncnet.load(file, settings=["seed=5"])
    result = asyncnet.run(asyncnet.load(file), under="straggler", out=None, loop="readable")
    assert result.scenario == asyncnet.load(file, under=["straggler"])


@pytest.mark.parametrize(
    ("engine", "options", "said"),
    [
        ("embedded", {"lop": "readable"}, "lop: no option of the embedded engine; did you mean loop?"),
        ("embedded", {"sed": 3}, "sed: no option of the embedded engine; did you mean seed?"),
        ("embedded", {"pak": 3}, "pak: no option of the embedded engine; there are time, loop, "),
        ("embedded", {"pack": 3}, "pack: no option of the embedded engine; it is for the ray engine"),
        ("ray", {"loop": "readable"}, "loop: no option of the ray engine; it is for the embedded engine"),
        ("ray", {"pak": 3}, "pak: no option of the ray engine; did you mean pack?"),
        ("embedded", {"set": {"seed": 2}}, "set: no option of the embedded engine; a scenario is changed before it is run: asyncnet.load(NAME).replace({"),
        ("rai", {}, "engine: no engine 'rai'; did you mean ray?"),
    ],
)
def test_an_option_that_the_engine_does_not_have_is_refused_by_name_before_anything_starts(engine, options, said, file, tmp_path):
    with pytest.raises(asyncnet.ScenarioError) as caught:
        asyncnet.run(file, engine, out=tmp_path / "runs", **options)
    assert str(caught.value).startswith(said)
    assert not (tmp_path / "runs").exists()


def test_replicas_refuse_an_unknown_option_too(file, tmp_path):
    with pytest.raises(asyncnet.ScenarioError, match="pak: no option of the embedded engine"):
        asyncnet.replicate(file, range(2), out=tmp_path / "runs", pak=3)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 3}, "seed: no option of replicas: each has one of `seeds`"),
        ({"engine": "ray"}, "engine: no option of replicas: they run embedded, in this process"),
        ({"loggers": ["csv", object()], "workers": 2}, "loggers: an object hears one run at a time, and there are several workers"),
        ({"loggers": object(), "workers": 2}, "loggers: an object hears one run at a time, and there are several workers"),
    ],
)
def test_replicas_refuse_what_would_not_be_theirs_each(options, said, file, tmp_path):
    with pytest.raises(asyncnet.ScenarioError) as caught:
        asyncnet.replicate(file, range(2), out=tmp_path / "runs", **options)
    assert str(caught.value).startswith(said)
    assert not (tmp_path / "runs").exists()


def test_replicas_close_the_task_of_every_loop_that_they_make(file, monkeypatch):
    from asyncnet.loop.compiled.compiled_loop import CompiledLoop
    from asyncnet.nodes.node import World

    made, closed = [], []
    prepare, close = CompiledLoop.prepare, World.close
    monkeypatch.setattr(CompiledLoop, "prepare", lambda self, **how: made.append(self.nodes[0]) or prepare(self, **how))
    monkeypatch.setattr(World, "close", lambda self: closed.append(self) or close(self))
    asyncnet.replicate(file, range(2), out=None)
    assert len(made) == 3
    assert {id(node) for node in made} <= {id(node) for node in closed}


@pytest.mark.parametrize("changes", [{"rule.name": "reinforce", "rule.learning_rate": 0.01}, {"rule": {"name": "reinforce", "learning_rate": 0.01}}])
def test_another_rule_in_the_place_of_one_comes_without_the_defaults_of_that(changes):
    shipped = asyncnet.load("multiplexer3-weight-max")
    made = shipped.replace({"rule.credit": "trace"}).replace(changes)
    assert "power" in shipped.data()["rule"], "what reinforce does not know"
    assert made.rule == asyncnet.load("multiplexer3-weight-max", settings=["rule.name=reinforce", "rule.learning_rate=0.01", "rule.credit=trace"]).rule
    with pytest.raises(asyncnet.ScenarioError, match=r"rule\.power: unknown key"):
        shipped.replace({"rule.power": 3.0}).replace(changes)


def test_replace_takes_keys_as_toml_writes_them(file):
    scenario = asyncnet.load(file)
    clock = {"kind": "periodic", "period": 2.0}
    made = scenario.replace({'clocks."actor.1"': clock, 'clocks."actor.2".kind': "poisson"}, seed=4)
    assert made.clocks["actor.1"].period == 2.0
    assert made.clocks["actor.2"].kind == "poisson"
    assert made.seed == 4
    with pytest.raises(asyncnet.ScenarioError, match=r'^replace clocks\.actor\.1: clocks\.actor: needs kind = .*in quotes: clocks\."actor\.1"$'):
        scenario.replace({"clocks.actor.1": clock})
    with pytest.raises(asyncnet.ScenarioError, match=r"^replace task.world.intervall: task.world.intervall: unknown key; did you mean interval\?$"):
        scenario.replace({"seed": 5, "task.world.intervall": 3.0, "tick": 10})
    for key in ("", "a b", "a = 1\nb", 'clocks."actor.1'):
        with pytest.raises(asyncnet.ScenarioError, match="not a dotted key"):
            scenario.replace({key: 1})


def test_a_runs_team_is_drawn_once(monkeypatch):
    drawn = []
    monkeypatch.setattr(team, "_draw", lambda scenario, draw=team._draw: drawn.append(scenario) or draw(scenario))
    scenario = asyncnet.load("multiplexer2-units", settings=["task.decisions=20"])
    assert asyncnet.run(scenario, out=None).summary()["decisions"] == 20
    assert len([one for one in drawn if one is scenario]) == len(drawn) == 1
