"""What a notebook shows: escaped, small, a curve of the values that there are; and the ten lines of docs/studies.md in a real kernel."""

import re
from xml.etree import ElementTree

import pytest

import asyncnet
from asyncnet.api import Quiet
from asyncnet.console import html
from asyncnet.console.notebook import Notebook
from asyncnet.scenario.schema import check
from support.interrupted import edited
from support.places import ROOT
from support.small import small

HOSTILE = "<script>alert(1)</script>\x1b[31m\"'&"
SHOWN = "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[31m&quot;&#x27;&amp;"


def parsed(page):
    """A piece of HTML that is also XML."""
    return ElementTree.fromstring(f"<div>{page}</div>")


def cells(page):
    return [(found[0].text, found[1].text) for found in parsed(page).iter("tr")]


def points(page):
    (line,) = parsed(page).iter("polyline")
    return [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]


def test_a_curve_goes_through_the_values():
    found = points(html.curve([0.0, 10.0, 5.0], "return", "3 episodes"))
    (x0, y0), (x1, y1), (x2, y2) = found
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert y0 > y2 > y1, "downwards is larger in a picture"
    assert y2 == pytest.approx((y0 + y1) / 2, abs=0.06)
    texts = [text.text for text in parsed(html.curve([0.0, 10.0, 5.0], "return", "3 episodes")).iter("text")]
    assert texts == ["10", "0", "3 episodes"]


@pytest.mark.parametrize("values", [[], [1.0], [float("nan")] * 5])
def test_there_is_no_curve_of_nothing(values):
    assert html.curve(values, "", "") == ""


def test_a_curve_of_many_or_endless_values_is_small_and_finite():
    page = html.curve([float(n % 7) for n in range(200_000)] + [float("inf"), float("nan")], HOSTILE, HOSTILE)
    assert len(page) < 4000
    assert "inf" not in page
    assert "nan" not in page
    assert page.count(SHOWN) == 3
    assert "<script" not in page


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return asyncnet.run(check(small(task={"decisions": 400}), "small"), out=tmp_path_factory.mktemp("runs"))


def test_a_result_and_its_run_opened_show_the_same_table_and_curve(result):
    page = result._repr_html_()
    told = dict(cells(page))
    assert told["decisions"] == "400"
    assert told["digest"] == result.record.digest[:16]
    assert told["run"] == str(result.run_dir)
    assert float(told["mean reward"]) == pytest.approx(result.summary()["mean_reward"], rel=1e-3)
    assert len(points(page)) > 50
    assert len(page) < 8000
    assert asyncnet.open(result.run_dir)._repr_html_() == page
    assert "color:#" not in page, "both light and dark pages give their own ink"


def test_a_run_that_somebody_edited_is_shown_as_text(result, tmp_path):
    run = asyncnet.run(result.scenario, out=tmp_path)
    edited(run.run_dir / "summary.json", reasons=[HOSTILE], scenario=HOSTILE)
    page = asyncnet.open(run.run_dir)._repr_html_()
    assert page.count(SHOWN) == 2
    assert "<script" not in page
    (run.run_dir / "summary.json").unlink()
    assert "has no summary" in asyncnet.open(run.run_dir)._repr_html_()


def test_curves_of_results_are_a_figure_and_a_file(result, tmp_path):
    figure = asyncnet.plot(result, asyncnet.open(result.run_dir), result.run_dir, to=tmp_path / "three.pdf")
    (axes,) = figure.axes
    assert axes.get_xlabel() == "decisions"
    assert max(line.get_xdata()[-1] for line in axes.lines) == 400
    assert (tmp_path / "three.pdf").read_bytes()[:5] == b"%PDF-"
    with pytest.raises(asyncnet.ScenarioError, match="kept nowhere"):
        asyncnet.plot(asyncnet.run(result.scenario, out=None))
    with pytest.raises(asyncnet.ScenarioError, match="is not the directory of a run"):
        asyncnet.plot(tmp_path)


def test_a_scenario_says_what_was_changed():
    scenario = asyncnet.load("cartpole-free", under="stale-reward").replace({"rule.credit": "trace", "task.episodes": 12}, seed=4)
    told = dict(cells(scenario._repr_html_()))
    assert told["task"] == "CartPole-v1, 12 episodes"
    assert told["under"] == "stale-reward"
    assert told["rule.credit"] == "trace (ships with stamped)"
    assert told["seed"] == "4"
    assert "rule.learning_rate" not in told
    assert repr(scenario).startswith("<Scenario cartpole-free: task CartPole-v1, 12 episodes, rule weight-max, critic ")
    assert "rule.credit trace (ships with stamped)" in repr(scenario)
    assert "stamped" not in repr(asyncnet.load("cartpole-free"))


def test_what_is_explained_prints_what_the_command_prints(command):
    found = asyncnet.explain("multiplexer3-weight-max", "lossy", decisions=60)
    _, out, _ = command("explain", "multiplexer3-weight-max", "--under", "lossy", "--decisions", 60)
    assert str(found).split() == out.split()
    assert found["world"]["decisions"] == 60
    assert "loss 0.1, for good (links.default)" in html.lines(str(found))


def test_progress_in_a_notebook_is_a_table_with_the_curve_so_far():
    page = Notebook()
    page.begin(HOSTILE, "runs/x")
    asyncnet.run(check(small(task={"decisions": 400}), "small"), out=None, loop="readable", reporter=type("Rows", (Quiet,), {"row": staticmethod(page.row)})())
    page.note(HOSTILE)
    told = cells(page.page())
    assert ("on time", "100%") in told or any(name == "on time" for name, _ in told)
    assert len(points(page.page())) > 50
    assert page.page().count(SHOWN) == 2
    assert "width:100.0%" in page.page()


def test_the_ten_lines_of_the_documents_make_the_figure_in_a_kernel(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    text = (ROOT / "docs" / "studies.md").read_text()
    lines = re.search(r"^## In a notebook$.*?```python\n(.*?)```", text, re.M | re.S).group(1)
    assert len([line for line in lines.splitlines() if line]) <= 10
    assert "seeds=5" in lines
    assert "20_000" in lines
    quick = lines.replace("seeds=5", "seeds=2").replace("20_000", "300").replace("[0, 2, 20]", "[0, 20]")  # as many lines, fewer runs
    here = f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); os.environ['PYTHONPATH'] = {str(ROOT)!r}"
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in (here, quick, "table", "asyncnet.load(scenario)")])
    nbclient.NotebookClient(made, timeout=250, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = made.cells[1].outputs
    assert (tmp_path / "delay.pdf").read_bytes()[:5] == b"%PDF-"
    page = next(output["data"]["text/html"] for output in outputs if output.output_type == "display_data")
    assert "width:100.0%" in page
    assert ("runs", "8 of 8 runs") in cells(page)
    assert "report.html" in "".join(output.get("text", "") for output in outputs)
    shown = made.cells[2].outputs[0]["data"]["text/html"]
    assert shown.count("<tr") >= 8
    assert "links.feedback.delay" in shown
    assert "Does a team learn" in made.cells[3].outputs[0]["data"]["text/html"]
