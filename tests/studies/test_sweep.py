"""A study's runs are kept as they finish; whatever ended it, it ends with the same table, byte for byte."""

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pandas
import psutil
import pytest

import asyncnet
from asyncnet.runs import durable, embedded, memory
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.studies import crew, sweep, table
from asyncnet.studies.study import cells, checked
from asyncnet.team.draw import plan
from support.commands import words_of
from support.outside import RULE, afterwards_as_before

WORDS = ["multiplexer3-weight-max", "--vary", "links.feedback.delay=0,1,2", "--vary", "rule.credit=stamped,trace", "--seeds", "2"]


def asked_for(**changes):
    base = {"name": "s", "scenario": "multiplexer3-weight-max", "set": {"task.decisions": 300}, "seeds": 2, "vary": {"rule.credit": ["stamped", "trace"]}}
    return checked(base | changes, "test")


def rows_of(folder):
    with (folder / "table.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study run without a break: its folder."""
    out = tmp_path_factory.mktemp("whole")
    done = subprocess.run(
        words_of(["sweep", *WORDS, "--set", "task.decisions=4000", "--out", str(out)]), capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    return next(out.iterdir()), done


def test_each_row_is_the_run_that_its_columns_say(whole):
    folder, done = whole
    rows = rows_of(folder)
    assert len(rows) == 12
    assert len({row["digest"] for row in rows}) > 4
    row = rows[3]
    assert (row["links.feedback.delay"], row["rule.credit"], row["seed"]) == ("0", "trace", "2")
    alone = asyncnet.run(
        asyncnet.load("multiplexer3-weight-max", settings=["task.decisions=4000", "links.feedback.delay=0", "rule.credit=trace"]), seed=2, out=None
    )
    assert row["digest"] == alone.record.digest
    assert float(row["last_mean_reward"]) == alone.summary()["last_mean_reward"]
    assert "95% interval" in done.stdout
    assert "made no difference (the same bits, seed by seed): links.feedback.delay = 1, 2; rule.credit = stamped\n" in done.stderr
    assert rows[8]["same_bits_as"] == "4"


def test_the_parquet_table_is_the_csv_table(whole):
    folder, _ = whole
    frame, read = pandas.read_parquet(folder / "table.parquet"), pandas.read_csv(folder / "table.csv")
    assert list(frame.columns) == list(read.columns)
    assert np.array_equal(frame["last_mean_reward"], read["last_mean_reward"])
    assert (frame["digest"] == read["digest"]).all()
    assert frame["decisions"].tolist() == [4000] * 12


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_study_that_was_ended_half_way_ends_with_the_same_table_byte_for_byte(number, whole, tmp_path):
    folder, _ = whole
    words = words_of(["sweep", *WORDS, "--set", "task.decisions=4000", "--out", str(tmp_path)])
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    here = tmp_path / folder.name / "cells"
    until = time.monotonic() + 120
    while (not here.is_dir() or len(list(here.glob("*.json"))) < 3) and running.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    children = psutil.Process(running.pid).children(recursive=True)
    assert children
    running.send_signal(number)
    _, err = running.communicate(timeout=60)
    finished = len(list(here.glob("*.json")))
    if number != signal.SIGKILL:
        assert (running.returncode, err.splitlines()[-2]) == (130, "interrupted; the same command goes on with what is left:")
        assert 3 <= sum(row["verdict"] != "not run" for row in rows_of(tmp_path / folder.name)) == finished
    assert 3 <= finished < 12
    assert psutil.wait_procs(children, timeout=15.0)[1] == []
    done = subprocess.run(words, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    assert f"12 runs of {folder.name}, {finished} of them there already" in done.stderr
    for name in ("table.csv", "table.parquet", "study.toml"):
        assert (tmp_path / folder.name / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.ray
def test_the_same_study_as_ray_tasks_ends_with_the_same_table(whole, tmp_path):
    folder, _ = whole
    words = words_of(["sweep", *WORDS, "--set", "task.decisions=4000", "--out", str(tmp_path), "--engine", "ray"])
    done = subprocess.run(words, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / folder.name / "table.csv").read_bytes() == (folder / "table.csv").read_bytes()


def test_a_study_that_is_asked_for_more_runs_only_what_is_not_there(tmp_path, monkeypatch):
    first = asyncnet.sweep(asked_for(), out=tmp_path, workers=1)
    given = []
    give = crew.Member.give
    monkeypatch.setattr(crew.Member, "give", lambda self, cell, order: given.append(order["scenario"]["seed"]) or give(self, cell, order))
    more = asyncnet.sweep(asked_for(seeds=3), out=tmp_path, workers=1)
    assert given == [3, 3]
    assert len(first) == 4
    assert more[more["seed"] < 3]["digest"].tolist() == first["digest"].tolist()
    assert asyncnet.sweep(asked_for(), out=tmp_path).equals(first)
    assert given == [3, 3]


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """A study of one run: its folder."""
    return sweep.run_study(asked_for(seeds=1, vary={}), out=tmp_path_factory.mktemp("single"), workers=1).folder


@pytest.mark.parametrize(
    ("where", "key", "value"),
    [
        ("summary", "last_mean_reward", "high"),
        ("summary", "last_mean_reward", 10**400),
        ("summary", "last_mean_reward", math.nan),
        ("rows", "decisions", None),
        ("rows", "decisions", 1e308),
        ("rows", "decisions", -5),
        ("rows", "decisions", 10**400),
        ("rows", "rollout/mean_reward", 10**400),
    ],
    ids=lambda each: str(each)[:20],
)
def test_a_cell_with_a_figure_that_is_no_number_has_not_been_run(where, key, value, single, tmp_path):
    shutil.copytree(single, tmp_path / "s")
    assert [row["verdict"] for row in sweep.load(tmp_path / "s").rows] == ["pass"]
    (file,) = (tmp_path / "s" / "cells").iterdir()
    cell = json.loads(file.read_text())
    for part in [cell["summary"]] if where == "summary" else cell["rows"]:
        part[key] = value
    file.write_text(json.dumps(cell))
    assert [row["verdict"] for row in sweep.load(tmp_path / "s").rows] == ["not run"]


def test_a_file_beside_it_that_is_called_like_a_library_is_no_part_of_a_study(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    assert [row["verdict"] for row in sweep.run_study(asked_for(seeds=1, vary={}), out=tmp_path, workers=1).rows] == ["pass"]


def test_a_damaged_cell_is_run_again(tmp_path):
    first = asyncnet.sweep(asked_for(), out=tmp_path, workers=1)
    files = sorted((tmp_path / "s" / "cells").glob("*.json"))
    files[0].write_text("{")
    files[1].write_text(files[2].read_text())
    files[3].write_text(json.dumps({"summary": 3}))
    assert asyncnet.sweep(asked_for(), out=tmp_path, workers=1).equals(first)
    assert all(json.loads(file.read_text())["rows"] for file in files)


def test_a_run_that_cannot_be_is_a_row_and_the_others_are_run(tmp_path, command):
    code, out, err = command(
        "sweep",
        "multiplexer3-weight-max",
        "--vary",
        "rule.learning_rate=0.01,[0.1,0.2]",
        "--seeds",
        1,
        "--set",
        "task.decisions=100",
        "--out",
        tmp_path,
        "--json",
    )
    good, bad = json.loads(out)
    assert code == 1
    assert (good["verdict"], bad["verdict"]) == ("pass", "error")
    assert "run 1 failed: vary rule.learning_rate=(0.1, 0.2): rule.learning_rate: 2 values for 3 layers\n" in err


def test_what_an_edited_rule_came_to_is_not_taken_for_what_it_comes_to_now(tmp_path):
    study = asked_for(set={"task.decisions": 300, "rule.name": "reinforce-baseline", "rule.learning_rate": 0.05}, vary={}, seeds=1)
    digests = []
    for text in (RULE, RULE.replace("reward - v.baseline[b])", "2.0 * reward - v.baseline[b])"), RULE):
        (tmp_path / "my_rule.py").write_text(text)
        with afterwards_as_before():
            asyncnet.register(tmp_path / "my_rule.py")
            digests += asyncnet.sweep(study, out=tmp_path / "sweeps", workers=1)["digest"].tolist()
    assert digests[0] == digests[2] != digests[1]
    assert len(list((tmp_path / "sweeps" / "s" / "cells").iterdir())) == 2


def test_cells_that_are_the_same_are_run_once_and_are_rows_each(tmp_path, monkeypatch):
    given = []
    give = crew.Member.give
    monkeypatch.setattr(crew.Member, "give", lambda self, cell, order: given.append(cell) or give(self, cell, order))
    twins = [{"name": "as it is", "set": {}}, {"name": "said again", "set": {"rule.credit": "stamped"}}]
    frame = asyncnet.sweep(asked_for(vary={}, variants=twins), out=tmp_path, workers=1)
    assert len(frame) == 4
    assert len(given) == frame["digest"].nunique() == 2


def test_a_run_that_raises_costs_its_cell(tmp_path):
    path = tmp_path / "my_rule.py"
    path.write_text(RULE.replace('"horizon": settings.horizon', '"horizon": 1.0 / (settings.horizon - 0.5)'))
    with afterwards_as_before():
        asyncnet.register(path)
        study = asked_for(
            set={"task.decisions": 100, "rule.name": "reinforce-baseline", "rule.learning_rate": 0.01}, vary={"rule.horizon": [0.1, 0.5, 0.9]}, seeds=1
        )
        swept = sweep.run_study(study, out=tmp_path)
    assert [row["verdict"] for row in swept.rows] == ["pass", "error", "pass"]
    assert swept.rows[1]["reasons"] == f"{path}: line 34: ZeroDivisionError: float division by zero"


WHO = """
import json, os, sys
for line in sys.stdin:
    print(json.dumps({"cell": json.loads(line)["cell"], "result": os.getpid()}), flush=True)
"""


def test_of_a_crew_no_more_work_than_are_asked_to(tmp_path, monkeypatch):
    (tmp_path / "says_who.py").write_text(WHO)
    monkeypatch.syspath_prepend(tmp_path)
    with crew.Crew(3, module="says_who") as several:
        assert sorted(number for number, _ in several.work_off({number: {} for number in range(3)})) == [0, 1, 2]
        assert len({word["result"] for _, word in several.work_off({number: {} for number in range(9)}, 1)}) == 1


def test_a_run_that_needs_more_than_its_share_of_the_memory_is_run_beside_fewer_others(tmp_path, monkeypatch):
    study = asked_for(vary={"network.hidden": [[400, 400], [64, 32]]})
    needed = [memory.estimate(cell.scenario, plan(cell.scenario)) / memory.GIB for cell in cells(study)]
    assert needed[2] < 0.4 * needed[0]
    given, work_off = [], crew.Crew.work_off

    def seen(self, orders, most):
        given.append((most, [*orders], [order["memory"] for order in orders.values()]))
        return work_off(self, orders, most)

    monkeypatch.setattr(crew.Crew, "work_off", seen)
    swept = sweep.run_study(study, out=tmp_path, workers=2, memory=1.5 * needed[0])
    assert [row["verdict"] for row in swept.rows] == ["pass"] * 4
    assert given == [(2, [2, 3], [pytest.approx(0.75 * needed[0])] * 2), (1, [0, 1], [pytest.approx(1.5 * needed[0])] * 2)]
    with pytest.raises(ScenarioError, match="--memory allows more"):
        sweep.run_study(study, out=tmp_path / "small", workers=2, memory=0.9 * needed[0])


HALF = """
import os, signal, subprocess, sys
sys.stdin.readline()
{before}
sys.stdout.write('{{"cell": 0, "resu')
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("before", ["", "subprocess.Popen(['sleep', '30'])"], ids=["alone", "its child holds the pipe"])
def test_a_process_that_dies_in_the_middle_of_a_line_costs_its_cell(before, tmp_path, monkeypatch):
    (tmp_path / "half_a_line.py").write_text(HALF.format(before=before))
    monkeypatch.syspath_prepend(tmp_path)
    several = crew.Crew(1, module="half_a_line")
    try:
        assert [*several.work_off({0: {}})] == [(0, {"failed": "its process was ended by SIGKILL"})]
    finally:
        several.leave()


def test_a_process_that_dies_costs_its_cell_and_another_takes_its_place():
    made = cells(asked_for(seeds=2, set={"task.decisions": 200_000}))
    orders = {number: {"scenario": cell.scenario.data(), "outside": [], "memory": 4.0} for number, cell in enumerate(made)}
    for number in (0, 3):
        orders[number]["scenario"]["task"]["decisions"] = 100
    orders[1]["memory"] = "no number"
    ends, began = {}, []
    for number, word in crew.worked_off(orders, 1):
        if "done" not in word:
            ends[number] = word
        elif number == 2 and not began:
            began = [one for one in psutil.Process().children() if "asyncnet.studies.worker" in " ".join(one.cmdline())]
            os.kill(began[0].pid, signal.SIGKILL)
    assert len(began) == 1
    assert list(ends) == [0, 1, 2, 3]
    assert ends[1]["failed"].startswith("TypeError")
    assert ends[2] == {"failed": "its process was ended by SIGKILL"}
    wanted = embedded.run(made[3].scenario.replace({"task.decisions": 100}), asyncnet.api.Quiet()).digest
    assert ends[3]["result"]["summary"]["digest"] == wanted


def test_a_run_that_was_just_kept_when_the_interrupt_came_is_in_the_table(tmp_path, monkeypatch):
    replace = durable.replace

    def and_then_interrupted(path, data):
        replace(path, data)
        if path.parent.name == "cells" and len(list(path.parent.iterdir())) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(sweep.durable, "replace", and_then_interrupted)
    swept = sweep.run_study(asked_for(), out=tmp_path, workers=1)
    assert swept.interrupted
    assert [row["verdict"] for row in swept.rows] == ["pass", "pass", "not run", "not run"]


def test_two_processes_do_not_run_one_study(tmp_path):
    with sweep.held(tmp_path / "s"), pytest.raises(ScenarioError, match="is being run by another process"):
        asyncnet.sweep(asked_for(), out=tmp_path)


def test_a_missing_library_is_named_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "NEEDS", ("pandas", "nowhere"))
    with pytest.raises(ScenarioError, match=r"nowhere: not installed; studies need pip install 'asyncnet\[study\]'"):
        asyncnet.sweep(asked_for(), out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_several_kinds_of_values_is_written_and_read(tmp_path):
    study = asked_for(vary={"rule.learning_rate": [0.01, [0.03, 0.003, 0.0003]]}, seeds=1)
    frame = asyncnet.sweep(study, out=tmp_path)
    assert frame["rule.learning_rate"].tolist() == [0.01, "[0.03, 0.003, 0.0003]"]
    assert pandas.read_parquet(tmp_path / "s" / "table.parquet")["rule.learning_rate"].tolist() == ["0.01", "[0.03, 0.003, 0.0003]"]
    assert table.outcome(frame.to_dict("records")) == "last_mean_reward"


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 64 KiB."""
    place = tmp_path / "tiny"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_a_line_and_the_runs_that_found_room_are_not_lost(tiny_disk, command):
    words = ["sweep", "multiplexer3-weight-max", "--vary", "rule.lambda=0,0.5,0.9", "--seeds", 3, "--set", "task.decisions=1500", "--out", tiny_disk]
    code, _, err = command(*words)
    assert code in (0, 64)
    assert "No space left on device" in err
    assert "Traceback" not in err
    kept = list((tiny_disk / "multiplexer3-weight-max__rule.lambda" / "cells").glob("*.json"))
    assert all(json.loads(path.read_text())["summary"] for path in kept)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("index.json", "{", "cannot be read"),
        ("index.json", "[3]", "cannot be read"),
        ("index.json", "[]", "no run of it has a"),
        ("study.toml", 'scenario = "multiplexer3-weight-max"\n[vary]\nother = [1]\n', "is not of the study in study.toml"),
        ("study.toml", "x", "not TOML"),
    ],
)
def test_a_damaged_study_is_a_line(name, text, said, whole, command, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(whole[0], folder)
    (folder / name).write_text(text)
    code, out, err = command("report", folder)
    assert (code, out) == (64, "")
    assert said in err
    assert err.count("\n") == 1


def test_cells_of_other_contents_are_runs_that_have_not_finished(whole, command, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(whole[0], folder)
    for number, file in enumerate(sorted((folder / "cells").iterdir())):
        known = json.loads(file.read_text())
        known["summary"]["links"] = [3, {"reward": 3}, {"reward": {"lost": "x"}}, "none", None, {"reward": {"lost": []}}][number % 6]
        known["rows"] = known["rows"] if number % 2 else "none"
        file.write_text(json.dumps(known))
    code, out, err = command("report", folder)
    assert (code, out) == (64, "")
    assert "no run of it has a" in err
