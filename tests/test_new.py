"""`asyncnet new`: what it writes works as it is, says what each key is for, and takes nobody's place."""

import json
import re
import tomllib

import pytest

import asyncnet
from asyncnet.runs import durable
from asyncnet.scenario.reading import read_toml, shipped
from asyncnet.scenario.reference import keys
from asyncnet.studies.study import cells, read_study, studies
from asyncnet.templates.new import RULE, RULE_NAME, commands
from support.outside import afterwards_as_before
from support.places import ROOT


@pytest.mark.parametrize("like", ["", *shipped()])
def test_a_new_scenario_is_the_one_that_it_is_like_under_a_name_of_its_own(like, tmp_path):
    made = asyncnet.load(asyncnet.new("scenario", tmp_path / "mine", like))
    there = asyncnet.load(like or "multiplexer3-weight-max")
    assert made.name == "mine"
    assert made == there.replace(name="mine")


def test_every_key_of_a_new_scenario_says_what_it_is_for_in_the_words_of_the_reference(tmp_path):
    text = asyncnet.new("scenario", tmp_path / "mine", "cartpole-free").read_text()
    pairs = [line for line in text.splitlines() if re.match(r"\w+ = ", line)]
    assert len(pairs) > 20
    assert [line for line in pairs if "  # " not in line and not line.startswith("kind")] == []
    listed = list(keys())
    said = {key.key: key.description for key in listed}
    assert f"interval = 8  # {said['task.world.interval']}\n" in text
    assert f"jitter = 0.2  # {next(key.description for key in listed if key.key.endswith('.jitter'))}\n" in text
    others = re.search(r"\[task\.world\].*?# also: (.*?) \(asyncnet keys task\)", text, re.S)[1].split(", ")
    whole = {key.removeprefix("task.world.") for key in said if key.startswith("task.world.")}
    assert {*others} | {"waits", "interval"} == whole
    assert not {*others} & {"waits", "interval"}


def test_a_new_scenario_runs(tmp_path):
    made = asyncnet.load(asyncnet.new("scenario", tmp_path / "mine"), settings="task.decisions=50")
    result = asyncnet.run(made, out=None, loop="readable")
    assert (result.summary()["decisions"], result.verdict()[0]) == (50, "pass")


@pytest.mark.parametrize("like", ["", *studies()])
def test_a_new_study_asks_for_runs_that_all_can_be_run(like, tmp_path):
    path = asyncnet.new("study", tmp_path / "mine", like)
    made = read_study(path)
    found = cells(made, path.parent)
    assert made.name == "mine"
    assert len(found) > 1
    assert [cell.why for cell in found if cell.scenario is None] == []
    assert len({cell.scenario.fingerprint() for cell in found}) == len(found), "each is a run of its own"
    if like:
        assert made.data() == {**read_study(studies()[like]).data(), "name": "mine"}


def test_a_new_rule_is_the_tutorials_with_its_own_name(tmp_path):
    text = asyncnet.new("rule", tmp_path / "my-rule").read_text()
    printed = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "rules.md").read_text(), re.S)[1]
    assert RULE.read_text() == printed
    assert printed.count(RULE_NAME) == 2
    assert text == printed.replace(RULE_NAME, "my-rule")
    assert (tmp_path / "my_rule.py").read_text() == text


@pytest.mark.study
def test_a_new_rule_keeps_to_what_every_rule_keeps_to(command, tmp_path):
    path = asyncnet.new("rule", tmp_path / "one-more")
    code, out, _ = command("check-rule", path)
    assert code == 0, out
    assert " 0 broken" in out


def test_a_new_rule_is_taken_by_a_scenario(tmp_path):
    with afterwards_as_before():
        asyncnet.register(asyncnet.new("rule", tmp_path / "taken-in"))
        made = asyncnet.load("multiplexer3-weight-max", settings=["rule.name=taken-in", "rule.horizon=0.1"])
        assert made.rule.horizon == 0.1


@pytest.mark.parametrize("kind", ["scenario", "study", "rule"])
def test_the_command_prints_the_path_and_what_to_do_next(kind, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = command("new", kind, "mine")
    assert (code, err) == (0, "")
    path, _, said, *following = out.splitlines()
    assert (tmp_path / path).is_file()
    assert said == "next:"
    assert [line.strip() for line in following] == commands(kind, tmp_path.joinpath(path).relative_to(tmp_path))
    assert all(path in line for line in following[:1])
    other = json.loads(command("new", kind, "other", "--json")[1])
    assert (tmp_path / other["path"]).is_file()
    assert len(other["next"]) == len(following)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("scenario cartpole-free", "cartpole-free: a scenario of that name ships with asyncnet; choose another"),
        ("study hardship", "hardship: a study of that name ships with asyncnet; choose another"),
        ("rule weight_max", "weight-max: a rule of that name ships with asyncnet; choose another"),
        ("scenario a.b", "a.b: a name has at most 64 letters, digits, - and _"),
        ("scenario ..", "..: a name has at most 64 letters, digits, - and _"),
        ("rule My-Rule", "My-Rule: a name has at most 64 letters, digits, - and _, begins with a letter and has no capitals"),
        ("scenario mine --like cartpole-fre", "--like cartpole-fre: no scenario of that name ships; did you mean cartpole-free?"),
        ("study mine --like cartpole-free", "--like cartpole-free: no study of that name ships; "),
        ("rule mine --like reinforce", "--like: is for scenarios and studies"),
        ("scenario file/mine", "file: File exists"),
    ],
)
def test_what_cannot_be_written_is_said_in_one_line_and_nothing_is_written(arguments, said, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    code, out, err = command("new", *arguments.split())
    assert (code, out, len(err.splitlines())) == (64, "", 1)
    assert err.startswith(f"asyncnet: {said}"), err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_is_there_stays_as_it_is_and_so_does_what_a_link_leads_to(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("kept")
    (tmp_path / "other.toml").symlink_to(tmp_path / "elsewhere.toml")
    for name in ("mine", "mine.toml", "other"):
        code, _, err = command("new", "scenario", name)
        assert (code, "is there already" in err) == (64, True)
    assert (tmp_path / "mine.toml").read_text() == "kept"
    assert not (tmp_path / "elsewhere.toml").exists()


def test_a_full_disk_leaves_no_half_of_a_file(command, tmp_path, monkeypatch):
    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "append", full)
    code, _, err = command("new", "scenario", tmp_path / "mine")
    assert (code, err.count("\n")) == (64, 1)
    assert "No space left on device" in err
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_is_toml_that_says_what_ships_says(tmp_path):
    for name, path in shipped().items():
        written = tomllib.loads(asyncnet.new("scenario", tmp_path / f"{name}-2", name).read_text())
        written.get("critic", {}).pop("name", None)
        there = read_toml(path)
        there.get("critic", {}).pop("name", None)
        assert written == there
