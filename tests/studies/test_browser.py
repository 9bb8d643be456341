"""A report in a real browser: it renders without a complaint, shows what the table says, answers the pointer; readable light, dark, narrow and printed."""

import base64
import csv

import numpy as np
import pytest

from asyncnet.studies import figures, sweep
from asyncnet.studies.report import report
from asyncnet.studies.study import checked
from support.browser import CHROMIUM, browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: chromium)")

HOSTILE = "</script><script>window.evil = 1</script><img src=x onerror='window.evil = 2'>"
STUDY = {
    "name": "seen",
    "question": f"What does a reader see? {HOSTILE}",
    "scenario": "multiplexer3-weight-max",
    "set": {"task.decisions": 400},
    "seeds": 3,
    "vary": {"links.feedback.delay": [0, 2, 30]},
    "variants": [{"name": "stamped"}, {"name": HOSTILE[:60], "set": {"rule.credit": "trace"}}],
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    made = sweep.run_study(checked(STUDY, "test"), out=tmp_path_factory.mktemp("sweeps"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "FORMATS", ("svg",))  # the others are not looked at here
        report(made.folder)
    return made


@pytest.fixture(scope="module")
def page(swept, tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as found:
        found.size(1100, 900)
        found.open((swept.folder / "report.html").as_uri())
        found.until("document.readyState === 'complete' && document.querySelector('.said') !== null")
        yield found


def rows_of(swept):
    with (swept.folder / "table.csv").open() as file:
        return list(csv.DictReader(file))


def series(page, name):
    """The series of a figure as the page holds them."""
    return page.value(f"JSON.parse(document.querySelector('figure[data-name=\"{name}\"] script').textContent)")


def test_every_figure_has_its_series_drawn_and_nothing_complains(page):
    found = page.value(
        "[...document.querySelectorAll('figure')].map(f => [f.dataset.name, +f.dataset.series, +f.dataset.points,"
        " JSON.parse(f.querySelector('script').textContent).map(s => [s.points.length, f.querySelectorAll(`[id$=\"-line-${s.entry}\"]`).length]),"
        " f.querySelector('svg').getBoundingClientRect().width])"
    )
    names = {name for name, *_ in found}
    assert {"degradation-links.feedback.delay", "intervals", "paired-variant", "learning", "profiles", "improvement", "delays"} <= names
    for name, lines, points, drawn, width in found:
        assert len(drawn) == lines > 0, name
        assert sum(count for count, _ in drawn) == points
        assert name == "improvement" or all(parts for _, parts in drawn), name
        assert width > 300
    assert page.value("document.querySelector('h1').textContent").startswith("What does a reader see? </script>")
    assert page.value("window.evil ?? null") is None
    assert page.complaints == []


def test_what_is_shown_is_what_the_table_says(page, swept):
    rows = rows_of(swept)

    def mean(delay, variant):
        found = np.mean([float(row["last_mean_reward"]) for row in rows if (float(row["links.feedback.delay"]), row["variant"]) == (delay, variant)])
        return round(found, 12) + 0.0  # what rounding leaves of nothing is nothing

    for line in series(page, "degradation-links.feedback.delay"):
        assert [point[2] for point in line["points"]] == [0, 2, 30]
        for *_, x, y, said in line["points"]:
            assert y == pytest.approx(mean(x, line["label"]))
            assert f"{mean(x, line['label']):.4g}, 95%" in said
    shown = page.value("[...document.querySelector('table[data-name=statistics]').tBodies[0].rows].map(r => [...r.cells].map(c => c.textContent))")
    assert len(shown) == 6
    for variant, delay, runs, value, *_ in shown:
        assert (runs, value) == ("3", f"{mean(float(delay), variant):.4g}")
    kept = page.value("[...document.querySelector('table[data-name=runs]').tBodies[0].rows].map(r => r.cells[r.cells.length - 2].textContent)")
    assert kept == [row["digest"][:16] for row in rows]


def test_the_pointer_is_told_the_values_of_the_point_below_it(page):
    (line, *_) = series(page, "degradation-links.feedback.delay")
    left, top, _, _, said = line["points"][1]
    figure = "document.querySelector('figure[data-name=\"degradation-links.feedback.delay\"]')"
    page.value(f"{figure}.scrollIntoView()")
    box = page.value(f"(() => {{ const b = {figure}.querySelector('svg').getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; }})()")
    assert page.value(f"{figure}.querySelector('.said').hidden")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + left * box[2] + 2, y=box[1] + top * box[3])
    page.until(f"!{figure}.querySelector('.said').hidden")
    assert page.value(f"{figure}.querySelector('.said').textContent") == line["label"] + said
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    page.until(f"{figure}.querySelector('.said').hidden")


def test_an_entry_of_the_legend_shows_its_series_alone_and_again_all(page):
    dim = "[0, 1].map(n => document.querySelector(`figure[data-name='degradation-links.feedback.delay'] [id$='-line-${n}']`).classList.contains('dim'))"
    click = "document.querySelector(\"figure[data-name='degradation-links.feedback.delay'] [id$='-word-1']\").dispatchEvent(new MouseEvent('click'))"
    assert page.value(dim) == [False, False]
    page.value(click)
    assert page.value(dim) == [True, False]
    page.value(click)
    assert page.value(dim) == [False, False]


def test_a_table_is_sorted_by_the_column_that_is_asked_for(page):
    cells = "[...document.querySelector('table[data-name=statistics]').tBodies[0].rows].map(r => parseFloat(r.cells[3].textContent))"
    before = page.value(cells)
    press = "document.querySelector('table[data-name=statistics]').tHead.rows[0].cells[3].querySelector('button').click()"
    page.value(press)
    assert page.value(cells) == sorted(before) != before
    page.value(press)
    assert page.value(cells) == sorted(before, reverse=True)


@pytest.mark.parametrize(("scheme", "paper"), [("light", "#fdfdfb"), ("dark", "#191a1b")])
def test_it_is_readable_light_and_dark(scheme, paper, page, tmp_path):
    from matplotlib.image import imread

    page.prefer(scheme)
    page.value("scrollTo(0, 0)")
    page.screenshot(tmp_path / "screen.png")
    pixels = imread(tmp_path / "screen.png")[..., :3]

    def near(color, within):
        wanted = np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
        return int((np.abs(pixels - wanted).max(axis=-1) < within).sum())

    assert near(paper, 0.03) / pixels[..., 0].size > 0.6, "the page's own ground"
    for color in figures.COLORS[:2]:
        assert near(color, 0.12) > 100
    contrast = np.abs(pixels - pixels[0, 0]).max(axis=-1)
    assert (contrast > 0.6).sum() > 3000, "words and axes stand out"


def test_a_narrow_window_is_not_wider_than_itself_and_print_opens_what_is_folded(page):
    page.prefer("light")
    page.size(400, 800)
    assert page.value("document.documentElement.scrollWidth") == 400
    page.size(1100, 900)
    paper = base64.b64decode(page.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert paper.startswith(b"%PDF")
    assert paper.count(b"/Type /Page") > 2
    assert page.value("document.querySelectorAll('details[open]').length") == 0, "they are closed again"


def test_no_script_but_its_own_runs_in_it(page):
    before = len(page.complaints)
    page.value("(() => { const s = document.createElement('script'); s.textContent = 'window.evil = 3'; document.body.append(s); })()")
    assert page.value("window.evil ?? null") is None
    page.until("true")
    assert any("Content Security Policy" in said for said in page.complaints[before:])
