"""Bugs that are planted are such: each edit fits the source as it is; a check that passes all the same, or fails for another reason, has caught nothing."""

import sys
from typing import get_args

import pytest

from asyncnet.benchmarks import endurance, planted
from support.places import ROOT

EDITS = [pytest.param(edit, id=f"{name} {edit.file}") for name, bug in planted.BUGS.items() for edit in bug.edits]


class Script(planted.Check):
    """A check that runs a line of Python."""

    def command(self):
        return [sys.executable, "-c", self.name]


@pytest.mark.parametrize("edit", EDITS)
def test_every_edit_fits_the_source_as_it_is_and_leaves_a_file_that_compiles(edit):
    before = (ROOT / edit.file).read_text()
    after = planted.edited(edit, before)
    assert after != before
    compile(after, edit.file, "exec")


def test_there_are_twelve_bugs_and_each_has_a_check_that_is_there():
    assert list(planted.BUGS) == list(get_args(planted.Name))
    assert len(planted.BUGS) == 12
    for bug in planted.BUGS.values():
        file, _, test = bug.check.name.partition("::")
        if bug.check.trials:
            assert bug.check.name in endurance.ROWS
        else:
            assert f"def {test.partition('[')[0]}(" in (ROOT / file).read_text()


@pytest.mark.parametrize("text", ["nothing", "one one"])
def test_an_edit_of_what_is_not_there_just_once_is_refused(text):
    with pytest.raises(ValueError, match=rf"a.py: 'one' is there {text.count('one')} times"):
        planted.edited(planted.Edit("a.py", "one", "two"), text)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("import sys; print('it broke'); sys.exit(1)", ""),
        ("print('it broke')", "passes all the same"),
        ("import sys; sys.exit(1)", "fails for another reason: exit code 1"),
        ("import sys; print('it broke'); sys.exit(2)", "fails for another reason: exit code 2"),
        ("import nowhere  # it broke", "fails for another reason"),
        ("import time; print('it broke'); time.sleep(60)", "fails for another reason: not over after 2 s"),
    ],
)
def test_a_bug_is_caught_only_by_a_check_that_fails_and_says_why(line, why, monkeypatch):
    monkeypatch.setattr(planted, "COPIED", ("pyproject.toml",))
    monkeypatch.setattr(planted, "LONGEST", 2.0)
    found, _ = planted.caught(planted.Bug("", (planted.Edit("pyproject.toml", 'name = "asyncnet"', 'name = "x"'),), Script(line), "it broke"))
    assert found.startswith(why)
    assert bool(found) == bool(why)


def test_a_check_that_fails_without_a_bug_catches_none(monkeypatch, capsys):
    monkeypatch.setattr(planted, "COPIED", ("pyproject.toml",))
    bug = planted.Bug("wrong", (planted.Edit("pyproject.toml", 'name = "asyncnet"', 'name = "x"'),), Script("print('it broke'); exit(1)"), "it broke")
    monkeypatch.setitem(planted.BUGS, "set-order", bug)
    with pytest.raises(SystemExit) as ended:
        planted.main(only=("set-order",))
    assert ended.value.code == 1
    assert "NOT CAUGHT" in (said := capsys.readouterr().out)
    assert "0 of 1 caught" in said


@pytest.mark.study
@pytest.mark.timeout(3600)
def test_all_twelve_are_caught_by_the_check_expected(capsys):
    with pytest.raises(SystemExit) as ended:
        planted.main()
    said = capsys.readouterr().out
    print(said)
    assert ended.value.code == 0, said
    assert "12 of 12 caught" in said
