"""Reports and curves of run directories: what each asked and did, what conditions struck, how late actions were, how nodes kept their clocks."""

import csv
import json
import shutil

import numpy as np
import pytest
from studies.test_report import Page

import asyncnet
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.studies import cases, comparisons, figures, happened
from asyncnet.studies.page import happened as page_of_happened
from asyncnet.studies.page import runs as page_of_runs
from asyncnet.studies.pictures import traffic
from asyncnet.studies.report import about_runs, report

SHORT = {"task.decisions": 300}
SLOW = {"kind": "straggler", "period": 1.0, "slow": 4.0, "start": 100.0, "stop": 1100.0}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two of one scenario that differ in their seed, and one of another."""
    out = tmp_path_factory.mktemp("runs")
    lossy = asyncnet.load("multiplexer3-weight-max", "lossy").replace({**SHORT, 'clocks."actor.1"': SLOW})
    hasty = asyncnet.load("multiplexer3-weight-max").replace({**SHORT, "task.world.interval": 2.0})
    return [asyncnet.run(scenario, out=out).run_dir for scenario in (lossy, lossy.replace({"seed": 2}), hasty)]


@pytest.fixture(scope="module")
def opened(runs):
    return [asyncnet.open(run) for run in runs]


def test_a_case_in_which_no_action_came_is_drawn_beside_others(tmp_path):
    picture = traffic.lateness({"all lost": np.zeros(0), "some late": np.array([0.5, 0.5])})
    picture.make(3.4).savefig(tmp_path / "late.svg")
    assert (tmp_path / "late.svg").stat().st_size > 1000


def test_runs_that_differ_in_their_seed_are_one_case(opened):
    several = cases.of_runs(opened, "last_mean_reward")
    assert [len(case.runs) for case in several] == [2, 1]
    assert [run.seed for run in several[0].runs] == [1, 2]
    assert several[0].label == "multiplexer3-weight-max + lossy"
    (alone,) = cases.of_runs(opened[:2], "last_mean_reward")
    assert alone.values == ()


def as_run_elsewhere(run, path, **said):
    """A copy of a run's directory whose run.json says that."""
    shutil.copytree(run, path)
    (path / "run.json").write_text(json.dumps(json.loads((path / "run.json").read_text()) | said))
    return asyncnet.open(path)


def test_a_run_that_was_done_twice_is_one_sample_and_the_page_says_so(opened, runs, tmp_path):
    again = asyncnet.open(shutil.copytree(runs[0], tmp_path / "again"))
    (case,) = cases.of_runs([opened[0], again, opened[1]], "last_mean_reward")
    assert [run.seed for run in case.runs] == [1, 2]
    assert "3 runs of one case: 3 pass; 1 of them the same as another to the bit, and not counted; intervals" in about_runs([opened[0], again, opened[1]]).head
    assert "not counted; it says nothing about other seeds" in about_runs([opened[0], again]).head
    for number in (0, 1):  # where it is not known how a run ended it is not known to be another's
        summary = tmp_path / f"blank{number}" / "summary.json"
        shutil.copytree(runs[0], summary.parent)
        summary.write_text(json.dumps(json.loads(summary.read_text()) | {"digest": ""}))
    (case,) = cases.of_runs([asyncnet.open(tmp_path / f"blank{number}") for number in (0, 1)], "last_mean_reward")
    assert len(case.runs) == 2


def test_runs_on_real_clocks_are_another_case_than_those_in_simulated_time(opened, runs, tmp_path):
    real, ray = as_run_elsewhere(runs[1], tmp_path / "real", how={"time": "wall"}), as_run_elsewhere(runs[1], tmp_path / "ray", engine="ray", how={})
    found = cases.of_runs([opened[0], real, ray], "last_mean_reward")
    assert [len(case.runs) for case in found] == [1, 1, 1]
    name = "multiplexer3-weight-max"
    assert [case.label for case in found] == [f"{name}, {where}" for where in ("embedded in simulated time", "embedded in real time", "ray in real time")]


def test_a_threshold_is_a_number(runs, tmp_path):
    with pytest.raises(ScenarioError, match="--threshold: a score, got nan"):
        report(runs[0], threshold=float("nan"), to=tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_of_real_clocks_the_page_says_how_late_ticks_were(opened):
    (one,) = cases.of_runs(opened[:1], "last_mean_reward")
    late = {"actor.1": {"late_p50_us": 61.4, "late_p99_us": 900.6, "late_max_us": 12_345.0}}
    said = {name: row | late.get(name, {}) for name, row in one.runs[0].summary["nodes"].items()}
    real = one._replace(runs=[one.runs[0]._replace(summary=one.runs[0].summary | {"nodes": said})])
    assert "late by us" not in page_of_happened.nodes(one, happened.rates(one))
    page = page_of_happened.nodes(real, happened.rates(real))
    assert "ticks late by us: p50, p99, most" in page
    assert "61, 901, 12,345" in page


def test_a_figure_that_progress_does_not_tell_has_no_threshold(opened, runs, tmp_path):
    several = [*cases.of_runs(opened, "on_time"), *cases.of_runs(opened, "last_mean_reward")]
    assert all(run.curve[0].size > 1 for case in several for run in case.runs), "there is a curve, of the reward"
    raised = [case._replace(runs=[run._replace(summary=run.summary | {"on_time": 9.0, "last_mean_reward": 9.0}) for run in case.runs]) for case in several]
    assert comparisons.middle(raised, "last_mean_reward") is not None
    assert comparisons.middle(raised, "on_time") is None
    assert "Decisions to a threshold" not in about_runs(opened, "on_time").tail
    with pytest.raises(ScenarioError, match="--threshold: a run says its on time at its end only"):
        report(runs[0], outcome="on_time", threshold=0.5, to=tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_a_run_that_is_named_twice_is_one(runs, tmp_path):
    latest = tmp_path / "latest"
    latest.symlink_to(runs[0])
    page = Page(report(runs[0], latest, f"{runs[0]}/", runs[1], to=tmp_path / "page").read_text())
    assert page.words == Page(report(runs[0], runs[1], to=tmp_path / "page").read_text()).words
    assert "2 runs" in page.words
    curve = asyncnet.plot(*runs[:2], latest)
    assert [text.get_text() for text in curve.findobj(match=lambda each: hasattr(each, "get_text"))] == [
        text.get_text() for text in asyncnet.plot(*runs[:2]).findobj(match=lambda each: hasattr(each, "get_text"))
    ]


def test_the_page_of_a_run_has_question_verdict_faults_scenario_versions_and_the_command(runs):
    page = Page(report(runs[0]).read_text())
    told = json.loads((runs[0] / "run.json").read_text())
    assert opened_question() in page.words
    assert "One run: pass" in page.words
    with (runs[0] / "ledger.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["link"].startswith("reward")]
    lost, sent = (sum(int(row[key]) for row in rows) for key in ("lost", "sent"))
    assert lost > 0
    assert f"{lost:,} of {sent:,} messages lost" in page.words
    assert f"asyncnet run {runs[0] / 'config.toml'}" in page.words
    assert f"asyncnet verify {runs[0]}" in page.words
    assert f"numpy {told['versions']['numpy']}" in page.words
    assert (runs[0] / "config.toml").read_text().splitlines()[0] in page.words
    assert {figure["data-name"] for figure in page.figures} == {"learning", "rates"}
    assert (runs[0] / "figures" / "learning-wide.pdf").is_file()


def opened_question():
    return asyncnet.load("multiplexer3-weight-max").question


def test_a_slow_clock_is_told_with_the_ticks_that_it_missed(opened):
    (case,) = cases.of_runs(opened[:1], "last_mean_reward")
    found = {rate.node: rate for rate in happened.rates(case)}
    elapsed = opened[0].summary["simulated_s"] * 1e6 / opened[0].scenario.tick
    assert elapsed > 1100
    assert found["actor.1"].asked == pytest.approx(elapsed - 1000 + 1000 / 4)
    assert found["actor.1"].ticks == pytest.approx(found["actor.1"].asked, abs=6)
    (slow,) = (firing for firing in happened.firings(case, {}) if firing.where == "actor.1")
    assert slow.struck == f"{round(elapsed) - found['actor.1'].ticks:,} of {elapsed:,.0f} ticks missed"
    assert slow.share == pytest.approx(slow.expected, abs=0.005)
    picture = traffic.rates({"": list(found.values())})
    assert [round(point.x, 2) for point in picture.lines[0].points] == [1.0, 1.0, 1.0]


def test_late_actions_are_counted_decision_by_decision(opened):
    summary = opened[2].summary
    assert sum(summary["lateness"]) + round(summary["missing"] * 300) == 300
    assert summary["lateness"][0] == round(summary["on_time"] * 300)
    assert sum(summary["lateness"][1:]) > 20, "the world is faster than its team"
    used = sum(summary["lateness"])
    assert summary["action_delay"] == pytest.approx(np.dot(summary["lateness"], np.arange(len(summary["lateness"]))) / used)
    case = cases.of_runs(opened[2:], "last_mean_reward")[0]
    picture = traffic.lateness({"all": happened.late(case)})
    assert [point.y for point in picture.lines[0].points] == pytest.approx([count / 300 for count in summary["lateness"]])
    heights = [bar.get_height() for bar in picture.drawn(figures.COLUMN).axes[0].patches]
    assert heights == pytest.approx([count / 300 for count in summary["lateness"]])


def test_several_runs_and_cases_are_held_to_one_another_on_one_page(opened):
    part = about_runs(opened)
    assert "3 runs of 2 cases: " in part.head
    names = [picture.name for picture in part.pictures]
    assert {"intervals", "learning", "lateness"} <= set(names)
    (learning,) = (picture for picture in part.pictures if picture.name == "learning")
    assert [line.label for line in learning.lines] == [case.label for case in cases.of_runs(opened, "last_mean_reward")]
    assert "Paired differences" in part.tail


def test_what_the_wire_took_is_shown_by_actor_and_channel():
    measured = {"world": {"activity": [(100.0, 3), (200.0, 1)]}, "actor.1": {"activity": [(50.0, 2)], "feedback": [(400.0, 8)]}}
    picture = traffic.wire(measured)
    assert [line.label for line in picture.lines] == ["activity to world", "activity to actor.1", "feedback to actor.1"]
    for line in picture.lines:
        assert sum(point.y for point in line.points) == pytest.approx(1.0)
    assert max(point.y for point in picture.lines[0].points) == 0.75
    assert len(picture.drawn(figures.PAGE).axes) == 2
    assert traffic.wire({}) is None


def test_a_damaged_summary_or_ledger_is_a_line(runs, tmp_path):
    for number, (file, text, why) in enumerate(
        [("ledger.csv", "link,sent\nactivity world -> actor.1,many\n", "cannot be read"), ("summary.json", "[]", "summary.json")]
    ):
        run = shutil.copytree(runs[0], tmp_path / str(number))
        (run / file).write_text(text)
        with pytest.raises(ScenarioError, match=why):
            report(run)
    run = shutil.copytree(runs[0], tmp_path / "late")
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"lateness": ["<b>", 2]}))
    with pytest.raises(ScenarioError, match="lateness"):
        report(run)


WORD = "decisions,rollout/mean_reward\n10,0.5\n20,high\n"
BOOKS = "sent,duplicated,delivered,lost,refused,expired,in_flight"


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("progress.csv", WORD, "could not convert string to float: 'high'"),
        ("progress.csv", "rollout/mean_reward\n0.5\n", "there is no column 'decisions'"),
        ("progress.csv", "decisions,rollout/mean_reward\n10\n", "line 2 has 1 values, not 2"),
        ("progress.csv", "decisions,decisions\n1,2\n", "two columns of one name"),
        ("progress.csv", "", "there is no column 'decisions'"),
        ("ledger.csv", "link,lost\nactivity world -> actor.1,0\n", "there is no column 'sent'"),
        ("ledger.csv", f"link,{BOOKS}\nactivity world -> actor.1,1,0,1.5,0,0,0,0\n", "delivered: is not a count in every line"),
        ("ledger.csv", f"link,{BOOKS}\nactivity world -> actor.1,{'9' * 5000},0,1,0,0,0,0\n", "sent: is not a count in every line"),
    ],
    ids=["word", "no decisions", "short line", "twins", "empty", "nothing sent", "half a message", "many digits"],
)
def test_a_damaged_file_of_a_run_is_a_line_that_names_it(file, text, why, runs, command, tmp_path):
    run = shutil.copytree(runs[0], tmp_path / "run")
    (run / file).write_text(text)
    code, out, err = command("report", run)
    assert (code, out, err.count("\n")) == (64, "", 1), err
    assert err.startswith(f"asyncnet: {run / file}: ")
    assert why in err


def test_a_run_that_was_stopped_before_its_first_row_is_reported_beside_others(runs, tmp_path):
    early = shutil.copytree(runs[1], tmp_path / "early")
    for name in ("progress.csv", "rewards.csv", "ledger.csv"):
        (early / name).unlink()
    summary = json.loads((early / "summary.json").read_text())
    gone = dict.fromkeys(("mean_reward", "last_mean_reward", "on_time", "missing", "action_delay"))
    (early / "summary.json").write_text(json.dumps({**summary, **gone, "decisions": 0, "lateness": [], "stopped": "interrupted", "digest": ""}))
    page = Page(report(runs[0], early, to=tmp_path / "page").read_text())
    assert "2 runs of one case" in page.words
    assert "learning" in {figure["data-name"] for figure in page.figures}
    assert cases.outcome_of([asyncnet.open(early), asyncnet.open(runs[0])]) == "last_mean_reward"


def test_a_setting_that_was_changed_is_told_with_what_ships():
    assert page_of_runs._changed("task.decisions", [50000, 300]) == "task.decisions = 300; as shipped: 50000"
    assert page_of_runs._changed("clocks", [None, 1]) == "clocks = 1; as shipped: not set"


def test_curves_of_runs_are_a_line_and_a_band_for_runs_that_differ_in_their_seed(runs, command, tmp_path):
    code, out, err = command("plot", *runs, "--to", tmp_path / "all.svg")
    assert (code, out) == (0, f"{tmp_path / 'all.svg'}\n"), err
    text = (tmp_path / "all.svg").read_text()
    assert ("line-0" in text, "line-1" in text, "line-2" in text, "band-0" in text) == (True, True, False, True)
    assert command("plot", runs[0], "--to", tmp_path / "two.pdf", "--columns", "2")[0] == 0
    assert (tmp_path / "two.pdf").read_bytes().startswith(b"%PDF")
    assert command("plot", *runs, "--to", tmp_path / "two.gif")[2] == f"asyncnet: {tmp_path / 'two.gif'}: a figure is svg, pdf or png, by the end of its name\n"
    assert "is not the directory of a run" in command("plot", tmp_path)[2]
    assert "did you mean mean_reward?" in command("plot", runs[0], "--outcome", "mean_rewad")[2]


def test_delays_of_a_channel_that_add_up_are_said_to_stand_together(tmp_path):
    made = asyncnet.load("multiplexer3-weight-max").replace({"task.decisions": 300, "links.feedback": [{"delay": 20.0}]})
    (case,) = cases.of_runs([asyncnet.open(asyncnet.run(made, out=tmp_path).run_dir)], "last_mean_reward")
    found = {firing.where: [] for firing in happened.firings(case, happened.on_their_way(case))}
    for firing in happened.firings(case, happened.on_their_way(case)):
        found[firing.where].append(firing.struck)
    assert [struck.partition(", ")[2] for struck in found["feedback"]] == ["20.5 ticks each, all its delays together"] * 2
    assert [struck.partition(", ")[2] for struck in found["activity"]] == ["0.5 ticks each"]
