"""A search is tuned on some seeds and reported on others, draws the same trials whatever happens to it, and runs nothing twice."""

import csv
import os
import signal
import subprocess
import time
from pathlib import Path

import pandas
import psutil
import pytest

import asyncnet
from asyncnet.runs import memory
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.studies import crew, search, space, sweep, worker
from asyncnet.studies.pictures import search as search_picture
from asyncnet.studies.sampler import Sampler
from asyncnet.studies.study import checked, read_study, studies
from asyncnet.team.draw import plan
from support.commands import words_of

SEARCH = {
    "outcome": "mean_reward",
    "direction": "maximize",
    "seeds": [101, 102],
    "trials": 5,
    "batch": 2,
    "startup": 2,
    "set": {"task.decisions": 300},
    "space": {"rule.learning_rate": {"low": 0.2, "high": 5.0, "log": True, "times": True}, "rule.credit": ["stamped", "trace"]},
}


def asked_for(search=SEARCH, **changes):
    base = {"name": "s", "scenario": "multiplexer3-weight-max", "set": {"task.decisions": 600}, "seeds": [1, 2]}
    return checked(base | {"search": search} | changes, "test")


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


FILE = """
scenario = "multiplexer3-weight-max"
seeds = [1, 2]
set = { "task.decisions" = 4000 }
[search]
outcome = "mean_reward"
direction = "maximize"
seeds = [101, 102]
trials = 5
batch = 2
startup = 2
set = { "task.decisions" = 2000 }
[search.space]
"rule.learning_rate" = { low = 0.2, high = 5.0, log = true, times = true }
rule.credit = ["stamped", "trace"]
task.world.interval = { low = 12, high = 20, step = 4, int = true }
"""


@pytest.fixture
def orders(monkeypatch):
    """Runs are done in this process; gives what was ordered."""
    given = []

    def here(self, orders, most=None):
        for number, order in orders.items():
            given.append(order["scenario"])
            try:
                yield number, {"result": worker.carried_out(order, lambda share: None)}
            except Exception as error:
                yield number, {"failed": f"{type(error).__name__}: {error}"}

    monkeypatch.setattr(crew.Crew, "work_off", here)
    return given


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search that ran without a break, by one process at a time: its study file, and its folder."""
    out = tmp_path_factory.mktemp("search")
    (out / "mine.toml").write_text(FILE)
    search.run_search(read_study(out / "mine.toml"), out=out / "sweeps", workers=1)
    return out / "mine.toml", out / "sweeps" / "mine"


def test_a_trial_is_the_runs_that_its_row_says_and_the_best_is_reported_on_other_seeds(whole):
    _, folder = whole
    trials, table = rows_of(folder / "search.csv"), rows_of(folder / "table.csv")
    assert [row["trial"] for row in trials] == list("01234")
    assert len({row["rule.learning_rate"] for row in trials}) == 5
    one = trials[3]
    for seed in (101, 102):
        factor = float(one["rule.learning_rate"])
        settings = [f"rule.learning_rate={[factor * rate for rate in (0.03, 0.003, 0.0003)]}", f"rule.credit={one['rule.credit']}", "task.decisions=2000"]
        settings.append(f"task.world.interval={one['task.world.interval']}")
        alone = asyncnet.run(asyncnet.load("multiplexer3-weight-max", settings=settings), seed=seed, out=None)
        assert float(one[f"mean_reward, seed {seed}"]) == pytest.approx(alone.summary()["mean_reward"])
    best = max(trials, key=lambda row: float(row["mean_reward"]))
    assert [row["trial"] for row in trials if row["best"] == "True"] == [best["trial"]] != ["0"]
    assert [(row["variant"], row["seed"], row["decisions"]) for row in table] == [(v, s, "4000") for v in ("untuned", "tuned") for s in "12"]
    shipped = asyncnet.run(asyncnet.load("multiplexer3-weight-max", settings=["task.decisions=4000"]), seed=2, out=None)
    assert table[1]["digest"] == shipped.record.digest != table[3]["digest"]


def test_the_command_says_what_was_found_and_names_both_sets_of_seeds(whole, command, orders):
    file, folder = whole
    code, out, err = command("sweep", file, "--out", folder.parent)
    assert (code, orders) == (0, [])
    (best,) = [row for row in rows_of(folder / "search.csv") if row["best"] == "True"]
    assert f"tuned (trial {best['trial']}): rule.credit = {best['rule.credit']}, rule.learning_rate = [" in err
    assert "5 of 5 trials complete; tuned on seeds 101, 102 (task.decisions = 2000), reported on seeds 1, 2" in err
    assert [line.split()[0] for line in out.splitlines()] == ["variant", "untuned", "tuned"]


def test_the_first_trial_is_what_the_scenario_itself_says(whole):
    first = rows_of(whole[1] / "search.csv")[0]
    assert (first["rule.learning_rate"], first["rule.credit"], first["task.world.interval"]) == ("1.0", "stamped", "16")


def test_a_search_that_was_killed_ends_with_the_same_tables_and_runs_nothing_twice(whole, tmp_path):
    file, folder = whole
    words = words_of(["sweep", str(file), "--out", str(tmp_path), "--workers", "1"])
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    here = tmp_path / "mine" / "cells"
    until = time.monotonic() + 120
    while (not here.is_dir() or len(list(here.glob("*.json"))) < 5) and running.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    children = psutil.Process(running.pid).children(recursive=True)
    assert children
    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=60)
    assert psutil.wait_procs(children, timeout=15.0)[1] == []
    before = {path.name: path.stat().st_mtime_ns for path in here.glob("*.json")}
    assert 5 <= len(before) < 14
    search.run_search(read_study(file), out=tmp_path, workers=2)
    after = {path.name: path.stat().st_mtime_ns for path in here.glob("*.json")}
    assert before.items() <= after.items()
    assert after.keys() == {path.name for path in (folder / "cells").glob("*.json")}
    for name in ("search.csv", "table.csv", "table.parquet", "study.toml"):
        assert (tmp_path / "mine" / name).read_bytes() == (folder / name).read_bytes()


class Interrupting:
    """Has Ctrl-C come when so many runs have ended."""

    def __init__(self, runs):
        self.runs = runs

    def note(self, text):
        pass

    def study(self, done, text):
        if text.startswith(f"{self.runs} of"):
            raise KeyboardInterrupt


@pytest.mark.parametrize("runs", [3, 11])
def test_an_interrupted_search_keeps_what_is_done_and_goes_on_with_what_is_left(runs, whole, tmp_path, orders):
    file, folder = whole
    swept = search.run_search(read_study(file), out=tmp_path, shown=Interrupting(runs))
    assert swept.interrupted
    states = [row["state"] for row in rows_of(tmp_path / "mine" / "search.csv")]
    assert states == (["complete", "not run"] if runs == 3 else ["complete"] * 5)
    assert [row["verdict"] for row in swept.rows] == ([] if runs == 3 else ["pass", "not run", "not run", "not run"])
    search.run_search(read_study(file), out=tmp_path)
    assert len(orders) == 14
    for name in ("search.csv", "table.csv"):
        assert (tmp_path / "mine" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.ray
def test_the_same_search_as_ray_tasks_ends_with_the_same_tables(whole, tmp_path):
    file, folder = whole
    words = words_of(["sweep", str(file), "--out", str(tmp_path), "--engine", "ray"])
    done = subprocess.run(words, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("search.csv", "table.csv"):
        assert (tmp_path / "mine" / name).read_bytes() == (folder / name).read_bytes()


def test_more_trials_go_on_where_fewer_ended(tmp_path, orders):
    few = asyncnet.sweep(asked_for({**SEARCH, "trials": 3}), out=tmp_path)
    orders.clear()
    more = asyncnet.sweep(asked_for(), search=5, out=tmp_path)
    assert [{**row, "best": 0} for row in more.attrs["trials"][:3]] == [{**row, "best": 0} for row in few.attrs["trials"]]
    assert len(more.attrs["trials"]) == 5
    assert [order["seed"] for order in orders[:4]] == [101, 102, 101, 102]
    assert all(order["seed"] in (1, 2) for order in orders[4:])
    orders.clear()
    assert asyncnet.sweep(asked_for(), search=5, out=tmp_path).equals(more)
    assert orders == []


def test_the_best_is_the_least_where_less_is_better(tmp_path, orders):
    frame = asyncnet.sweep(asked_for({**SEARCH, "direction": "minimize"}), out=tmp_path)
    trials = frame.attrs["trials"]
    (best,) = [row for row in trials if row["best"]]
    assert best["mean_reward"] == min(row["mean_reward"] for row in trials) < max(row["mean_reward"] for row in trials)
    assert frame.attrs["best"]["rule.credit"] == best["rule.credit"]


def test_the_sampler_goes_by_what_it_was_told_and_other_seeds_draw_other_trials():
    """On a parabola it comes closer to the top than trials that were told nothing, and it repeats."""

    def drawn(startup, seed=0):
        asks = asked_for({**SEARCH, "space": {"rule.lambda": {"low": 0.0, "high": 1.0}}, "startup": startup, "sampler_seed": seed}).search
        sampler, values = Sampler(asks, {}), []
        for _ in range(20):
            batch = [value["rule.lambda"] for value in sampler.batch()]
            sampler.tell([-((value - 0.3) ** 2) for value in batch])
            values += batch
        return values

    def off(values):
        return sum(abs(value - 0.3) for value in values[20:])

    assert drawn(5) == drawn(5) != drawn(5, seed=1)
    assert drawn(5)[:4] == drawn(1000)[:4]
    assert off(drawn(5)) < 0.5 * off(drawn(1000))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": [101, 2]}, r"s: search\.seeds: 2: also what it is reported on \(seeds 1, 2\); these must be others"),
        ({"seeds": [101, 101]}, r"search\.seeds: each once, got 101, 101"),
        ({"outcome": "mean_rewards"}, r"search\.outcome: no figure mean_rewards; did you mean mean_reward\?"),
        ({"direction": "up"}, r"search\.direction: must be maximize \| minimize, got 'up'"),
        ({"space": {}}, r"search\.space: "),
        ({"space": {"rule.lambda": {"low": 0.5, "high": 0.5}}}, r's: search\.space\."rule\.lambda": low must be less than high, got 0\.5 and 0\.5'),
        (
            {"space": {"rule.lambda": {"low": 0.0, "high": 0.5, "log": True}}},
            r'search\.space\."rule\.lambda": low must be greater than 0 on a logarithmic scale',
        ),
        ({"space": {"rule.lambda": {"low": 0.1, "high": 0.5, "log": True, "step": 0.1}}}, r'"rule\.lambda": step and log do not go together'),
        ({"space": {"rule.lambda": {"low": 0.1, "high": 0.5, "step": 1.0}}}, r"a step of 1 leads out of 0\.1 to 0\.5"),
        ({"space": {"rule.lambda": {"low": 0.1, "high": 0.5, "step": 1e-300}}}, r"a step of 1e-300 is too fine from 0\.1 to 0\.5"),
        ({"space": {"rule.lambda": {"low": 0.1, "high": 1.5}}}, r'"rule\.lambda": 1\.5 does not fit: .*rule\.lambda: must be less than or equal to 1'),
        ({"space": {"rule.lamda": {"low": 0.1, "high": 0.5}}}, r'"rule\.lamda": 0\.1 does not fit: .*did you mean lambda\?'),
        ({"space": {"rule.lambda": {"low": 0.1, "hihg": 0.5}}}, r'search\.space\."rule\.lambda"\.hihg: unknown key; did you mean high'),
        ({"space": {"task.world.interval": {"low": 2.5, "high": 8, "int": True}}}, r"low, high and step must be whole numbers"),
        ({"space": {"rule.credit": ["stamped", "stampd"]}}, r'"rule\.credit": stampd does not fit: .*did you mean stamped\?'),
        ({"space": {"task.decisions": [100, 200]}}, r"task\.decisions is set by search\.set already"),
        ({"space": {"rule.lambda": [0.1, 0.2], "critic.lambda": {"low": 0.1, "high": 0.2, "also": "rule.lambda"}}}, r"rule\.lambda is set by search\.space"),
        ({"space": {"rule.credit": {"low": 0.5, "high": 2.0, "times": True}}}, r'space\."rule\.credit": times is for numbers'),
    ],
)
def test_a_search_that_makes_no_sense_is_refused_before_anything_is_made(changes, said, tmp_path):
    with pytest.raises(ScenarioError, match=said) as raised:
        asyncnet.sweep(asked_for({**SEARCH, **changes}), out=tmp_path)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "more", [{"vary": {"rule.lambda": [0.1, 0.2]}}, {"variants": [{"name": "a"}, {"name": "b"}]}, {"factors": {"speed": [{"name": "a"}, {"name": "b"}]}}]
)
def test_a_study_that_searches_has_no_other_dimension(more, tmp_path):
    with pytest.raises(ScenarioError, match=f"{next(iter(more))}: a study that searches varies nothing else"):
        asyncnet.sweep(asked_for(**more), out=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["multiplexer3-weight-max", "--search", "5"], "search: missing: a search is for a study file with a table [search]"),
        (["{file}", "--search", "0"], "search.trials: must be greater than or equal to 1, got 0"),
        (["{file}", "--vary", "rule.lambda=0.1,0.2"], "vary: a study that searches varies nothing else"),
        (["{file}", "--seeds", "102,103"], "search.seeds: 102: also what it is reported on (seeds 102, 103)"),
    ],
)
def test_a_search_asked_for_in_the_wrong_way_is_a_line(words, said, command, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(FILE)
    code, out, err = command("sweep", *(word.format(file=file) for word in words), "--out", tmp_path / "sweeps")
    assert (code, out) == (64, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "sweeps").exists()


def test_a_missing_library_is_named_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "NEEDS", ("nowhere",))
    with pytest.raises(ScenarioError, match=r"nowhere: not installed; a search needs pip install 'asyncnet\[search\]'"):
        asyncnet.sweep(asked_for(), out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_is_a_failed_trial_and_the_best_is_of_the_others(tmp_path, orders, monkeypatch):
    order = sweep._order

    def broken(scenario, *more):
        return order(scenario, *more) | ({"memory": "no number"} if scenario.rule.credit == "trace" else {})

    monkeypatch.setattr(sweep, "_order", broken)
    swept = search.run_search(asked_for(), out=tmp_path)
    states = {row["rule.credit"]: (row["state"], row["mean_reward"] is None) for row in swept.trial_rows}
    assert states == {"stamped": ("complete", False), "trace": ("failed", True)}
    assert next(row["reasons"] for row in swept.trial_rows if row["state"] == "failed").startswith("seed 101: TypeError: ")
    assert swept.best.values["rule.credit"] == "stamped"
    assert [row["verdict"] for row in swept.rows] == ["pass"] * 4


def test_what_is_drawn_does_not_depend_on_how_many_processes_share_the_memory(tmp_path, orders):
    wide = {"rule.learning_rate": {"low": 0.5, "high": 2.0, "times": True}, "network.hidden": [[64, 32], [400, 400], [3000, 3000]]}
    asks = asked_for({**SEARCH, "space": wide, "trials": 6, "seeds": [101]})
    needed = {
        width: memory.estimate(made, plan(made)) / memory.GIB
        for width in (64, 400)
        for made in (asyncnet.load("multiplexer3-weight-max", settings=[f"network.hidden=[{width},{width}]", "task.decisions=600"]),)
    }
    assert needed[64] < 0.4 * needed[400], "only the wide one needs more than its share"
    drawn = {}
    for workers in (1, 4):
        swept = search.run_search(asks, out=tmp_path / f"{workers}", workers=workers, memory=1.5 * needed[400])
        drawn[workers] = [(tuple(row.items())[1:3], row["reasons"]) for row in swept.trial_rows]
    assert drawn[1] == drawn[4]
    states = {dict(values)["network.hidden"]: "GiB" in reasons for values, reasons in drawn[4]}
    assert states == {"[64, 32]": False, "[400, 400]": False, "[3000, 3000]": True}


def test_settings_that_do_not_fit_together_are_a_failed_trial(tmp_path, orders):
    looked_for = {"rule.learning_rate": [0.01, [0.03, 0.003, 0.0003]], "network.hidden": [[64, 32], [16]]}
    swept = search.run_search(asked_for({**SEARCH, "space": looked_for, "trials": 8, "seeds": [101]}), out=tmp_path)
    failed = [row for row in swept.trial_rows if row["state"] == "failed"]
    assert {(row["rule.learning_rate"], row["network.hidden"]) for row in failed} == {("[0.03, 0.003, 0.0003]", "[16]")}
    assert "3 values for 2 layers" in failed[0]["reasons"]
    assert len(orders) == len({tuple(row.items())[1:3] for row in swept.trial_rows}) - 1 + len(swept.rows)


def test_a_search_of_which_nothing_comes_reports_the_scenario_as_it_is(tmp_path, command, orders):
    (tmp_path / "mine.toml").write_text(FILE.replace('"mean_reward"', '"mean_return"').replace("4000", "200").replace("2000", "100"))
    code, _, err = command("sweep", tmp_path / "mine.toml", "--out", tmp_path / "sweeps", "--search", 2)
    assert code == 1
    assert "nothing was found: 0 of 2 trials complete" in err
    rows = rows_of(tmp_path / "sweeps" / "mine" / "search.csv")
    assert [(row["state"], row["reasons"]) for row in rows] == [("failed", "seed 101: no mean_return")] * 2
    assert [row["variant"] for row in rows_of(tmp_path / "sweeps" / "mine" / "table.csv")] == ["untuned", "untuned"]


def test_a_factor_multiplies_each_number_and_moves_what_goes_with_it():
    asks = checked(
        {
            "name": "s",
            "scenario": "acrobot-map-async",
            "search": {**SEARCH, "space": {"rule.learning_rate": {"low": 0.5, "high": 2.0, "times": True, "also": ["rule.learning_rate_end"]}}},
        },
        "test",
    ).search
    data = asyncnet.load("acrobot-map-async").data()
    assert space.settings(asks, {"rule.learning_rate": 1.5}, data) == {
        "rule.learning_rate": [0.015, 1.5e-05, 1.5e-06],
        "rule.learning_rate_end": [0.0015, 1.5e-06, 1.5e-08],
    }
    assert space.own(asks, data) == {"rule.learning_rate": 1.0}


def test_the_report_of_a_search_is_of_the_scenario_untuned_and_tuned_and_has_a_picture_of_the_trials(whole, command):
    code, out, _ = command("report", whole[1])
    assert code == 0
    page = Path(out.strip()).read_text()
    assert "rule.learning_rate (factor)" in (whole[1] / "figures" / "search-wide.svg").read_text()
    assert '<figure data-name="search" ' in page
    assert all((whole[1] / "figures" / f"search-wide.{kind}").stat().st_size > 1000 for kind in ("pdf", "png"))
    assert all(word in page for word in ("untuned", "tuned", "search.space"))
    assert read_study(whole[1] / "study.toml").search.seeds == (101, 102)
    assert [variant.name for variant in sweep.load(whole[1]).study.variants] == ["untuned", "tuned"]
    assert pandas.read_parquet(whole[1] / "table.parquet")["variant"].tolist() == ["untuned", "untuned", "tuned", "tuned"]


@pytest.mark.parametrize("text", ["", "trial,state\n0,complete\n", "\xff", "trial,state,mean_reward,rule.learning_rate,rule.credit\n0,complete,nan,1,x\n"])
def test_trials_of_another_search_or_none_are_a_line_or_no_picture(text, tmp_path):
    (tmp_path / "search.csv").write_bytes(text.encode("latin-1"))
    if not text:
        assert search_picture.trials(tmp_path, asked_for().search) is None
        return
    with pytest.raises(ScenarioError, match="cannot be read as the trials of this search"):
        search_picture.trials(tmp_path, asked_for().search)


def test_shipped_searches_fit_their_scenarios():
    for name, file in studies().items():
        asks = read_study(file)
        if asks.search is not None:
            assert search._Plan(asks, file.parent).seeds, name
