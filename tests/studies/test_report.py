"""A report says what its table says: pictures with all their series, statistics, what made no difference, what failed; and it needs no other file."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

import asyncnet
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.studies import figures, report, statistics, sweep, table
from asyncnet.studies.study import checked

STUDY = {
    "name": "two-ways",
    "question": "How does <credit> degrade & why?",
    "expect": "badly",
    "scenario": "multiplexer3-weight-max",
    "set": {"task.decisions": 400},
    "seeds": 3,
    "vary": {"links.feedback.delay": [0, 1, 2, 30], "rule.credit": ["stamped", "trace"], "under": ["none", "lossy"]},
}


class Page(HTMLParser):
    """What a browser would see of it: tags, figures, words, and every address it would fetch."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.figures, self.fetched, self.open, self.words = [], [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        if tag == "figure":
            self.figures.append(found)
        self.fetched += [value for name, value in found.items() if name in ("src", "href", "xlink:href") and value and not value.startswith("#")]

    def handle_data(self, data):
        self.words += data


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return sweep.run_study(checked(STUDY, "test"), out=tmp_path_factory.mktemp("sweeps"))


@pytest.fixture(scope="module")
def page(swept):
    return Page(report.write(swept).read_text())


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_it_is_given(page, swept):
    assert page.fetched == []
    assert "script" not in page.tags
    assert "How does <credit> degrade & why?" in page.words
    assert "credit" not in page.tags
    text = (swept.folder / "report.html").read_text()
    assert not re.findall(r"(?:src|href)=\"(?!#)|@import|url\((?!#)", text)
    assert "prefers-color-scheme: dark" in text
    assert figures.INK not in text, "axes and words have the page's ink"


def test_every_picture_is_there_as_svg_pdf_and_png(page, swept):
    names = {figure["data-name"] for figure in page.figures}
    assert names == {"degradation-links.feedback.delay", "heat-under-rule.credit", "intervals"}, "sixteen learning curves could not be told apart"
    for name in names:
        for kind, beginning in (("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")):
            assert (swept.folder / "figures" / f"{name}.{kind}").read_bytes().startswith(beginning)


def test_a_degradation_curve_has_the_means_and_intervals_of_the_table(swept):
    (picture,) = (picture for picture in figures.pictures(swept, "last_mean_reward") if picture.name.startswith("degradation"))
    axes = picture.make().axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert len(lines) == picture.series == 4
    line = lines["lossy, credit trace"]
    assert line.get_xdata().tolist() == [0, 1, 2, 30]
    rows = [row for row in swept.rows if (row["rule.credit"], row["under"]) == ("trace", "lossy")]
    wanted = [np.mean([row["last_mean_reward"] for row in rows if row["links.feedback.delay"] == at]) for at in (0, 1, 2, 30)]
    assert np.allclose(line.get_ydata(), wanted)
    band = axes.collections[list(lines).index("lossy, credit trace")].get_paths()[0].vertices
    found = statistics.interval([row["last_mean_reward"] for row in rows if row["links.feedback.delay"] == 30])
    assert {round(found.low, 9), round(found.high, 9)} <= {round(y, 9) for x, y in band if x == 30}


def test_a_heat_map_has_the_mean_of_each_pair(swept):
    (picture,) = (picture for picture in figures.pictures(swept, "last_mean_reward") if picture.name.startswith("heat"))
    axes = picture.make().axes[0]
    shown = [text.get_text() for text in axes.texts]
    wanted = [
        np.mean([row["last_mean_reward"] for row in swept.rows if (row["rule.credit"], row["under"]) == (credit, under)])
        for under in ("none", "lossy")
        for credit in ("stamped", "trace")
    ]
    assert shown == [f"{mean:.3g}" for mean in wanted]


def test_learning_curves_are_means_over_seeds_of_rows_of_progress(tmp_path):
    swept = sweep.run_study(checked(STUDY | {"name": "few", "vary": {"rule.credit": ["stamped", "trace"]}}, "test"), out=tmp_path)
    (picture,) = (picture for picture in figures.pictures(swept, "last_mean_reward") if picture.name == "learning")
    lines = picture.make().axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["credit stamped", "credit trace"]
    ends = [swept.came(number)["rows"][-1]["rollout/mean_reward"] for number in range(3)]
    assert lines[0].get_ydata()[-1] == pytest.approx(np.mean(ends))
    assert lines[0].get_xdata()[-1] == 400


def test_the_answer_names_best_and_worst_with_their_intervals(swept):
    text = report.answer(swept, "last_mean_reward")
    means = {values: np.mean([row["last_mean_reward"] for row in inside]) for values, inside in table.groups(swept.study, swept.rows).items()}
    best, worst = max(means, key=means.get), min(means, key=means.get)
    assert f"{table.in_words(swept.study, [best])} has the best mean reward, last 10%, {means[best]:.4g} [" in text
    assert f"{table.in_words(swept.study, [worst])} the worst, {means[worst]:.4g} [" in text
    assert "with probability" in text


def test_the_page_says_what_made_no_difference_and_what_was_lost(page, swept):
    several = table.same(swept.study, swept.rows)
    assert several
    for each in several:
        assert table.in_words(swept.study, each) in page.words
    lost = sum(link["lost"] for row in swept.rows if row["under"] == "lossy" for link in swept.found[row["run"]]["summary"]["links"].values())
    assert lost > 1000
    assert "share lost" in page.words
    assert "vary = " not in page.words or "links.feedback.delay" in page.words


def test_a_report_of_runs_that_failed_and_are_missing_says_so(tmp_path):
    study = checked(STUDY | {"name": "odd", "seeds": 1, "vary": {"rule.learning_rate": [0.01, [0.1, 0.2]]}}, "test")
    made = sweep.run_study(study, out=tmp_path)
    page = Page(report.write(made).read_text())
    assert "Runs that failed" in page.words
    assert "2 values for 3 layers" in page.words
    assert "1 of 2 runs" in page.words


def test_a_study_of_which_nothing_has_finished_has_no_report(tmp_path):
    made = sweep.run_study(checked(STUDY | {"name": "none", "seeds": 1, "vary": {}}, "test"), out=tmp_path)
    for cell in (made.folder / "cells").iterdir():
        cell.unlink()
    with pytest.raises(ScenarioError, match="no run of it has a last mean reward yet"):
        report.write(sweep.load(made.folder))


def test_the_command_writes_a_report_of_a_folder_and_refuses_another(swept, command, tmp_path):
    code, out, err = command("report", swept.folder)
    assert (code, out) == (0, f"{swept.folder / 'report.html'}\n"), err
    before = (swept.folder / "report.html").read_bytes()
    assert command("report", swept.folder, "--outcome", "on_time")[0] == 0
    assert (swept.folder / "report.html").read_bytes() != before
    assert command("report", tmp_path)[::2] == (64, f"asyncnet: {tmp_path}: is not the folder of a study (there is no index.json in it)\n")
    assert "did you mean on_time?" in command("report", swept.folder, "--outcome", "on_tim")[2]


def test_a_page_is_the_same_whenever_it_is_written(swept):
    once = report.write(swept).read_bytes()
    assert report.write(sweep.load(swept.folder)).read_bytes() == once


def test_curves_of_runs_are_saved_with_a_line_for_each(command, tmp_path):
    runs = [asyncnet.run(asyncnet.load("cartpole-free").replace({"task.episodes": 20}), seed=seed, out=tmp_path / "runs").run_dir for seed in (1, 2)]
    figure = figures.of_runs([asyncnet.open(run) for run in runs])
    lines = figure.axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["cartpole-free, weight-max, seed 1", "cartpole-free, weight-max, seed 2"]
    assert lines[0].get_ydata()[-1] == asyncnet.open(runs[0]).summary["last_mean_return"]
    code, out, _ = command("plot", *runs, "--to", tmp_path / "two.pdf")
    assert (code, out) == (0, f"{tmp_path / 'two.pdf'}\n")
    assert (tmp_path / "two.pdf").read_bytes().startswith(b"%PDF")
    assert command("plot", *runs, "--to", tmp_path / "two.gif")[2] == f"asyncnet: {tmp_path / 'two.gif'}: a figure is svg, pdf or png, by the end of its name\n"
    assert "is not the directory of a run" in command("plot", tmp_path)[2]
