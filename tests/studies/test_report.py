"""A report says what its table says: pictures with all their series, statistics, what made no difference, what failed; and it needs no other file."""

import base64
import hashlib
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

import asyncnet
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.studies import cases, comparisons, figures, statistics, sweep, table
from asyncnet.studies.page import compared
from asyncnet.studies.pictures import degradation
from asyncnet.studies.report import Part, about_study, report
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
        self.tags, self.figures, self.fetched, self.words = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        if tag == "figure":
            self.figures.append(found)
        self.fetched += [value for name, value in found.items() if name in ("src", "href", "xlink:href") and value and not value.startswith("#")]

    def handle_data(self, data):
        self.words += data


FEW = STUDY | {"name": "few", "vary": {"rule.credit": ["stamped", "trace"]}}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return sweep.run_study(checked(STUDY, "test"), out=tmp_path_factory.mktemp("sweeps"))


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return sweep.run_study(checked(FEW, "test"), out=tmp_path_factory.mktemp("sweeps"))


@pytest.fixture(scope="module")
def text(swept):
    return report(swept.folder).read_text()


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def picture_of(swept, beginning, outcome=""):
    """The one picture whose name begins so."""
    (picture,) = (picture for picture in about_study(swept, outcome).pictures if picture.name.startswith(beginning))
    return picture


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_it_is_given(page, text):
    assert page.fetched == []
    assert "How does <credit> degrade & why?" in page.words
    assert "credit" not in page.tags
    assert not re.findall(r"(?:src|href)=\"(?!#)|@import|url\((?!#)", text)
    assert "prefers-color-scheme: dark" in text
    assert figures.INK not in text, "axes and words have the page's ink"
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names)) > 100, "what a figure refers to is its own"


def test_no_other_script_than_the_pages_own_may_run(text):
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    seal = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{seal}'" in text
    assert not re.findall(r"http|fetch|import\b|eval", script)


def test_every_picture_is_there_as_svg_pdf_and_png_for_one_column_and_for_two(page, swept):
    names = {figure["data-name"] for figure in page.figures}
    paired = {f"paired-{column}" for column in ("under", "rule.credit", "links.feedback.delay")}
    assert names == {"degradation-links.feedback.delay", "heat-under-rule.credit", "intervals", *paired}, "sixteen curves could not be told apart"
    for name in names:
        for kind, beginning in (("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")):
            for width in ("", "-wide"):
                assert (swept.folder / "figures" / f"{name}{width}.{kind}").read_bytes().startswith(beginning)


def test_no_print_is_smaller_than_six_points_and_nothing_is_cut_off(few, swept):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    for picture in [*about_study(few).pictures, picture_of(swept, "heat"), picture_of(swept, "degradation")]:
        for width in picture.widths:
            figure = picture.drawn(width)
            with figures.styled():
                FigureCanvasAgg(figure).draw()
            assert figure.get_figwidth() == width
            drawn = figure.get_tightbbox()
            assert drawn.x0 >= -0.02, (picture.name, width)
            assert drawn.y0 >= -0.02, (picture.name, width)
            assert drawn.x1 <= width + 0.02, (picture.name, width)
            assert drawn.y1 <= figure.get_figheight() + 0.02, (picture.name, width)
            assert min(words.get_fontsize() for words in figure.findobj(Text)) >= 6.0


def test_a_degradation_curve_has_the_means_and_intervals_of_the_table(swept):
    picture = picture_of(swept, "degradation")
    axes = picture.drawn(figures.COLUMN).axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert len(lines) == picture.series == 4
    line = lines["lossy, credit trace"]
    assert line.get_xdata().tolist() == [0, 1, 2, 30]
    rows = [row for row in swept.rows if (row["rule.credit"], row["under"]) == ("trace", "lossy")]
    wanted = [np.mean([row["last_mean_reward"] for row in rows if row["links.feedback.delay"] == at]) for at in (0, 1, 2, 30)]
    assert np.allclose(line.get_ydata(), wanted)
    assert np.allclose([point.y for point in next(line for line in picture.lines if line.label == "lossy, credit trace").points], wanted)
    band = axes.collections[list(lines).index("lossy, credit trace")].get_paths()[0].vertices
    found = statistics.interval([row["last_mean_reward"] for row in rows if row["links.feedback.delay"] == 30])
    assert {round(found.low, 9), round(found.high, 9)} <= {round(y, 9) for x, y in band if x == 30}


def test_a_heat_map_has_the_mean_of_each_pair(swept):
    axes = picture_of(swept, "heat").drawn(figures.COLUMN).axes[0]
    shown = [text.get_text() for text in axes.texts]
    wanted = [
        np.mean([row["last_mean_reward"] for row in swept.rows if (row["rule.credit"], row["under"]) == (credit, under)])
        for under in ("none", "lossy")
        for credit in ("stamped", "trace")
    ]
    assert shown == [f"{mean:.3g}" for mean in wanted]


def test_learning_curves_are_means_over_seeds_of_rows_of_progress(few):
    lines = picture_of(few, "learning").drawn(figures.COLUMN).axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["credit stamped", "credit trace"]
    ends = [few.came(number)["rows"][-1]["rollout/mean_reward"] for number in range(3)]
    assert lines[0].get_ydata()[-1] == pytest.approx(np.mean(ends))
    assert lines[0].get_xdata()[-1] == 400


def test_the_answer_names_best_and_worst_with_their_intervals(swept):
    text = compared.answer(cases.of_study(swept, "last_mean_reward"), "last_mean_reward")
    means = {values: np.mean([row["last_mean_reward"] for row in inside]) for values, inside in table.groups(swept.study, swept.rows).items()}
    best, worst = (cases.labelled(swept.study.columns(), limit(means, key=means.get)) for limit in (max, min))
    assert f"{best} has the best mean reward, last 10%, {max(means.values()):.4g} [" in text
    assert f"{worst} the worst, {min(means.values()):.4g} [" in text
    assert "with probability" in text


def test_a_paired_difference_is_that_of_runs_with_the_same_seed_and_all_else_alike(swept):
    found = comparisons.differences(cases.of_study(swept, "last_mean_reward"), swept.study.columns(), "last_mean_reward")
    assert len(found) == 8 + 8 + 12, "under, credit, delay: each value but the first, for all others"
    (one,) = (one for one in found if (one.column, one.value, one.others) == ("links.feedback.delay", 30, "lossy, credit trace"))
    rows = [row for row in swept.rows if (row["under"], row["rule.credit"]) == ("lossy", "trace")]
    at = {value: {row["seed"]: row["last_mean_reward"] for row in rows if row["links.feedback.delay"] == value} for value in (0, 30)}
    assert one.difference.n == 3
    assert one.difference.value == pytest.approx(np.mean([at[30][seed] - at[0][seed] for seed in at[0]]))
    assert one.improvement.value == np.mean([(a > b) + 0.5 * (a == b) for a in at[30].values() for b in at[0].values()])


def test_keys_that_end_alike_are_told_apart_by_as_much_of_them_as_it_takes():
    two = ["links.feedback.loss", "links.activity.loss", "rule.credit"]
    assert cases.labelled(two, [0.1, 0.4, "trace"]) == "feedback.loss 0.1, activity.loss 0.4, credit trace"
    assert cases.labelled(two, [0.1, 0.4, "trace"], ["links.feedback.loss"]) == "activity.loss 0.4, credit trace"
    assert cases.shortened(["loss", "links.loss", "links.feedback.delay"]) == ["loss", "links.loss", "delay"]


def test_columns_that_vary_together_are_held_to_the_first_case(tmp_path):
    study = STUDY | {"name": "together", "mode": "zip", "seeds": 2, "vary": {"rule.credit": ["stamped", "trace"], "links.feedback.delay": [0, 9]}}
    made = cases.of_study(sweep.run_study(checked(study, "test"), out=tmp_path), "last_mean_reward")
    (one,) = comparisons.differences(made, ["rule.credit", "links.feedback.delay"], "last_mean_reward")
    assert (one.column, one.value, one.first) == ("rule.credit, links.feedback.delay", "credit trace, delay 9", "credit stamped, delay 0")


def test_a_threshold_is_reached_when_a_score_is_kept_and_a_run_that_never_does_is_later_than_its_end():
    def ran(*scores):
        return cases.Ran(1, None, {}, {}, (np.arange(10.0, 10.0 * len(scores) + 1, 10.0), np.array(scores)))

    brief, steady, never = ran(0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0), ran(0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1), ran(*[0] * 12)
    (one,) = comparisons.reached([cases.Case((), "all", [brief, steady, never])], "mean_reward", 0.5)
    assert (one.runs, one.reached, one.within) == (3, 2, 120.0)
    assert one.decisions.value == 70.0, "the median of 40, 70 and never"
    (less,) = comparisons.reached([cases.Case((), "all", [steady])], "mean_squared_error", 0.5)
    assert less.reached == 0, "of an error less is better: it was low for three rows only"
    (low,) = comparisons.reached([cases.Case((), "all", [ran(1, 1, *[0] * 10)])], "mean_squared_error", 0.5)
    assert low.decisions.value == 30.0
    (none,) = comparisons.reached([cases.Case((), "all", [never])], "mean_reward", 0.5)
    assert none.decisions.value > none.within


def test_the_page_says_what_made_no_difference_and_what_was_lost(page, swept):
    several = table.same(swept.study, swept.rows)
    assert several
    for each in several:
        assert table.in_words(swept.study, each) in page.words
    rows = [row for row in swept.rows if (row["under"], row["rule.credit"], row["links.feedback.delay"]) == ("lossy", "stamped", 2)]
    links = [swept.found[row["run"]]["summary"]["links"]["activity"] for row in rows]
    lost, sent = (sum(link[key] for link in links) for key in ("lost", "sent"))
    assert lost > 100
    assert f"{lost:,} of {sent:,} messages lost" in page.words


def test_a_report_of_runs_that_failed_and_are_missing_says_so(tmp_path):
    study = checked(STUDY | {"name": "odd", "seeds": 1, "vary": {"rule.learning_rate": [0.01, [0.1, 0.2]]}}, "test")
    part = about_study(sweep.run_study(study, out=tmp_path))
    page = Page(part.head + part.tail)
    assert "Runs that failed" in page.words
    assert "2 values for 3 layers" in page.words
    assert "1 of 2 runs" in page.words
    assert "P(better" not in page.words, "one case is held to none"


def test_a_study_of_which_nothing_has_finished_has_no_report(tmp_path):
    made = sweep.run_study(checked(STUDY | {"name": "none", "seeds": 1, "vary": {}}, "test"), out=tmp_path)
    for cell in (made.folder / "cells").iterdir():
        cell.unlink()
    with pytest.raises(ScenarioError, match="no run of it has a last mean reward yet"):
        report(made.folder)


def test_the_command_writes_the_same_page_whenever_it_is_asked_and_refuses_another_folder(few, command, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FORMATS", ("svg",))
    code, out, err = command("report", few.folder)
    assert (code, out) == (0, f"{few.folder / 'report.html'}\n"), err
    once = (few.folder / "report.html").read_bytes()
    (few.folder / "report.html").unlink()
    assert command("report", few.folder)[0] == 0
    assert (few.folder / "report.html").read_bytes() == once
    assert about_study(few, "on_time").head != about_study(few).head
    nothing = f"asyncnet: {tmp_path}: is neither the folder of a study (there is no index.json in it) nor the directory of a run (no run.json)\n"
    assert command("report", tmp_path)[::2] == (64, nothing)
    assert "did you mean on_time?" in command("report", few.folder, "--outcome", "on_tim")[2]
    assert command("report")[0] == 64


def test_studies_of_one_name_and_a_study_called_as_the_runs_are_have_figures_each(few, command, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FORMATS", ("svg",))
    other = shutil.copytree(few.folder, tmp_path / "few")
    again = {file.name for file in (report(few.folder, to=tmp_path / "alone").parent / "figures").iterdir()}
    both = report(few.folder, other, to=tmp_path / "both").parent / "figures"
    assert {file.name for file in both.iterdir()} == {f"{number}-few-{name}" for number in (1, 2) for name in again}
    (other / "study.toml").write_text((other / "study.toml").read_text().replace('name = "few"', 'name = "runs"', 1))
    run = asyncnet.run(asyncnet.load("multiplexer3-weight-max", settings=["task.decisions=200"]), out=tmp_path / "runs").run_dir
    names = {file.name.partition("-")[0] for file in (report(other, run, to=tmp_path / "third").parent / "figures").iterdir()}
    assert names == {"1", "2"}
    names = {file.name.partition("-")[0] for file in (report(few.folder, run, to=tmp_path / "fourth").parent / "figures").iterdir()}
    assert names == {"few", "runs"}


def test_a_figure_whose_name_no_disk_takes_has_a_shorter_one_of_its_own(few, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FORMATS", ("svg",))
    picture = picture_of(few, "learning")
    long = [picture._replace(name=name) for name in ("é" * 200 + "a", "é" * 200 + "b", "paired-a/b", "paired-a-b")]
    Part("", iter(long), "").page(tmp_path, "few-", "p0")
    files = [file.name for file in tmp_path.iterdir()]
    assert len(files) == 4 * len(picture.widths)
    assert max(len(name.encode()) for name in files) <= 240
    assert {"few-paired-a-b.svg", "few-paired-a-b-wide.svg"} <= set(files)


def test_cells_that_do_not_say_their_scenario_are_reported_without_what_needs_it(few, tmp_path):
    import json

    folder = shutil.copytree(few.folder, tmp_path / "few")
    for cell in (folder / "cells").iterdir():
        came = json.loads(cell.read_text())
        assert came.pop("scenario")["name"] == "multiplexer3-weight-max"
        for key in ("lateness", "simulated_s"):
            came["summary"].pop(key)
        cell.write_text(json.dumps(came))
    part = about_study(sweep.load(folder))
    assert "credit stamped" in part.head
    assert "delays" not in {picture.name for picture in part.pictures}
    assert "their rules are not here" in part.tail


def test_a_picture_of_more_combinations_than_can_be_told_apart_says_how_many_it_leaves_out():
    class Scored:
        def __init__(self, *values):
            self.values = values

        def scores(self, outcome):
            return [0.1, 0.2]

    found = [Scored(delay, loss) for delay in (0, 1) for loss in range(13)]
    picture = degradation.degradation(found, ("links.feedback.delay", "links.activity.loss"), "links.feedback.delay", "mean_reward")
    assert (picture.series, picture.left) == (10, 3)
    assert "3 more combinations" in picture.text
    assert degradation.degradation(found[:10], ("links.feedback.delay", "links.activity.loss"), "links.feedback.delay", "mean_reward").left == 0


def test_a_figure_that_leaves_combinations_out_warns_of_it(swept, monkeypatch, recwarn):
    name = picture_of(swept, "degradation-").name
    asyncnet.plot(swept.folder, picture=name)
    assert not [one for one in recwarn if "leaves" in str(one.message)]
    monkeypatch.setattr(degradation, "MOST_CURVES", 1)
    with pytest.warns(UserWarning, match=r"shows 1 combinations.*leaves \d+ out"):
        asyncnet.plot(swept.folder, picture=name)
