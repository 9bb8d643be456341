"""The page in a real browser: it draws the team, says what the run's own files say, moves, and complains of nothing."""

import csv
import json
import math
import shutil
import statistics
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import psutil
import pytest

import asyncnet
from asyncnet.runs import traffic_log
from asyncnet.runs.traffic import TRAFFIC
from asyncnet.scenario.schema import check
from asyncnet.team.draw import plan
from support.browser import CHROMIUM, browser
from support.interrupted import edited
from support.small import small
from support.teams import FREE, multiplexer

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: chromium)")

GONE = "net::ERR_CONNECTION_REFUSED"  # a page that asks once more when its server has just been closed
READY = "window.asyncnet && asyncnet.feed.rows.length > 0 && document.querySelector('#channels td') !== null"
AT_THE_END = f"{READY} && !asyncnet.timeline.moves && asyncnet.timeline.share === 1"
HELPERS = """
window.the = id => document.getElementById(id);
window.cells = (selector, name, value) => Object.fromEntries([...document.querySelectorAll(selector)].map(cell => [name(cell), value(cell)]));
window.channels = () => cells('#channels td[data-name]', cell => `${cell.dataset.channel} ${cell.dataset.name}`, cell => Number(cell.dataset.value));
window.figures = () => cells('#figures dd', cell => cell.dataset.name, cell => cell.textContent);
window.tip = () => [document.querySelector('#tip b').textContent, cells('#tip dd', cell => cell.dataset.name, cell => cell.textContent)];
window.onScreen = ([x, y]) => { const box = the('stage').getBoundingClientRect(); return [box.left + x, box.top + y]; };
window.nodes = () => asyncnet.scene.drawn.nodes.map(node => ({ ...node, place: onScreen([node.x, node.y]) }));
window.middle = ({ curve: c }) => onScreen([0, 1].map(i => (c[i] + 3 * c[2 + i] + 3 * c[4 + i] + c[6 + i]) / 8));
window.change = (id, value, event) => { the(id).value = value; the(id).dispatchEvent(new Event(event)); };
window.recorded = { dots: 0, pulse: 0, least: Infinity };
window.record = () => {
  const { dots, pulse } = asyncnet.moving();
  recorded.least = Math.min(recorded.least, asyncnet.timeline.figure('decisions'));
  recorded.dots = Math.max(recorded.dots, dots);
  recorded.pulse = Math.max(recorded.pulse, pulse);
  requestAnimationFrame(record);
};
"""


@contextmanager
def shown(page, run):
    """A run on the page, which has left before it is served no longer."""
    with asyncnet.watch(run) as watching:
        page.open(watching.url)
        page.until("document.readyState === 'complete' && document.getElementById('stage') !== null")
        page.value(HELPERS)
        yield
        page.open("about:blank")
        page.until("location.href === 'about:blank'")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as made:
        made.size(1300, 800)
        yield made


@pytest.fixture(autouse=True)
def no_complaint(request):
    yield
    if "page" in request.fixturenames:
        complaints = request.getfixturevalue("page").complaints
        said, complaints[:] = [one for one in complaints if GONE not in one], []
        assert said == []


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on free clocks, of thirteen unit nodes, whose messages may be lost; with some rows on its way."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FIRST", "EVERY"):
            patch.setattr(traffic_log, name, 0.02)
        made = multiplexer("weight-max", FREE | {"network.split": "unit", "task.decisions": 40_000})
        return asyncnet.run(made, out=tmp_path_factory.mktemp("runs")).run_dir


def seen(page, folder):
    """What is on the screen, (height, width, 3) from 0 to 255."""
    from matplotlib.image import imread

    page.screenshot(folder / "screen.png")
    return (255 * imread(folder / "screen.png")[..., :3]).astype(int)


def near(pixels, color, within=24):
    """How many pixels have about that colour."""
    wanted = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    return int((np.abs(pixels - wanted).max(axis=-1) < within).sum())


def test_every_figure_on_the_page_is_that_of_the_runs_files(run, page):
    with shown(page, run):
        page.until(AT_THE_END)
        summary = json.loads((run / "summary.json").read_text())
        with (run / "ledger.csv").open(newline="") as file:
            ledger = [row | {"channel": row["link"].partition(" ")[0]} for row in csv.DictReader(file)]
        expected = {}
        for row in ledger:
            for name in ("sent", "lost"):
                expected[f"{row['channel']} {name}"] = expected.get(f"{row['channel']} {name}", 0) + int(row[name])
        assert sum(value for key, value in expected.items() if key.endswith("lost")) > 100
        assert page.value("channels()") == expected
        figures = page.value("figures()")
        assert figures["decisions"] == f"{summary['decisions']:,}"
        assert figures["digest"] == summary["digest"][:16]
        assert figures["nodes"] == str(len(summary["nodes"]) + 1)
        assert page.value("the('standing').textContent") == "finished: pass"
        ticks = page.value("Object.fromEntries(asyncnet.feed.team.nodes.map((node, i) => [node.name, asyncnet.feed.rows.at(-1).ticks[i]]))")
        assert {name: counts["ticks"] for name, counts in summary["nodes"].items()} == {name: ticks[name] for name in summary["nodes"]}
        points = page.value("asyncnet.feed.progress.map(row => [row.decisions, row.mean_reward])")
        with (run / "progress.csv").open(newline="") as file:
            assert points == [[int(row["decisions"]), float(row["rollout/mean_reward"])] for row in csv.DictReader(file)]


def test_a_small_window_leaves_the_team_room_and_cuts_no_node(run, page):
    try:
        for size in ((800, 600), (600, 900)):
            page.size(*size)
            with shown(page, run):
                page.until(AT_THE_END)
                low = page.value("the('stage').getBoundingClientRect().bottom")
                assert max(node["place"][1] + node["r"] for node in page.value("nodes()")) < low
    finally:
        page.size(1300, 800)


def test_what_the_pointer_is_at_is_said_with_its_figures(run, page):
    with (run / "ledger.csv").open(newline="") as file:
        ledger = {row["link"]: row for row in csv.DictReader(file)}
    summary = json.loads((run / "summary.json").read_text())
    with shown(page, run):
        page.until(AT_THE_END)

        def at(place):
            x, y = page.value(place)
            page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
            page.until("!the('tip').hidden")
            return page.value("tip()")

        name, figures = at("nodes().find(node => node.name === 'actor.1.3').place")
        assert name == "actor.1.3"
        assert figures["ticks"] == f"{summary['nodes']['actor.1.3']['ticks']:,}"
        assert figures["samples learned from"] == f"{summary['nodes']['actor.1.3']['learned']:,}"
        name, figures = at("middle(asyncnet.scene.drawn.links.find(link => link.channel === 'reward'))")
        channel, _, ends = name.partition(": ")
        row = ledger[f"{channel} {ends.replace('→', '->')}"]
        assert (channel, figures["sent"], figures["delivered"]) == ("reward", f"{int(row['sent']):,}", f"{int(row['delivered']):,}")
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)


@pytest.mark.parametrize(("scheme", "paper", "blue"), [("dark", "#0d1117", "#58b6ff"), ("light", "#fcfcfa", "#0f76c4")])
def test_the_team_is_drawn_light_and_dark(scheme, paper, blue, run, page, tmp_path):
    page.prefer(scheme)
    with shown(page, run):
        page.until(AT_THE_END)
        page.until("asyncnet.scene.rests > 0")
        time.sleep(0.3)
        pixels = seen(page, tmp_path)
        assert near(pixels, paper, 6) / pixels[..., 0].size > 0.5
        assert near(pixels, blue) > 400
        assert (np.abs(pixels - pixels[5, 5]).max(axis=-1) > 150).sum() > 3000, "words stand out"
        nodes = page.value("nodes().map(({ place, r, team }) => [...place, r, team])")
        assert len(nodes) == 14
        for x, y, r, team in nodes:
            if team == "actor":
                around = pixels[int(y - r - 2) : int(y + r + 3), int(x - r - 2) : int(x + r + 3)]
                assert near(around, blue, 40) > 15, "its ring"
        for i, (x, y, r, _) in enumerate(nodes):
            assert all(math.hypot(x - a, y - b) > r + c for a, b, c, _ in nodes[:i]), "none over another"


def test_a_finished_run_is_played_again(run, page):
    with shown(page, run):
        page.until(AT_THE_END)
        assert page.value("asyncnet.timeline.rows.length") > 3
        page.value("change('speed', '1', 'change')")
        page.value("the('play').click()")
        page.value("record()")
        page.until("recorded.dots > 3 && recorded.pulse > 0.5")
        assert page.value("recorded.least") < 2000
        page.until(AT_THE_END)
        assert page.value("figures()")["decisions"] == "40,000"
        page.value("change('slider', 400, 'input')")
        page.until("!asyncnet.timeline.moves && figures().decisions !== '40,000'")
        decisions = int(page.value("figures()")["decisions"].replace(",", ""))
        assert 0 < decisions < 40_000
        assert page.value("channels()")["reward sent"] == pytest.approx(decisions, abs=2)


def test_whoever_looks_back_goes_on_doing_so_when_the_file_is_thinned(run, page, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(run, path)
    with shown(page, path):
        page.until(AT_THE_END)
        page.value("change('slider', 300, 'input')")
        page.until("!asyncnet.timeline.moves && asyncnet.timeline.cursor < asyncnet.timeline.end")
        before, rows = page.value("[asyncnet.timeline.cursor, asyncnet.feed.rows.length]")
        first, *some, last = (path / TRAFFIC).read_text().splitlines()
        (path / "thin").write_text("\n".join([first, *some[::2], last, ""]))
        (path / "thin").replace(path / TRAFFIC)
        page.until(f"asyncnet.feed.rows.length > 0 && asyncnet.feed.rows.length < {rows}")
        assert page.value("[asyncnet.timeline.cursor, asyncnet.timeline.follows]") == [before, False]


def test_a_run_is_shown_while_it_goes_on_and_when_it_has_been_stopped(page, tmp_path):
    made = multiplexer("weight-max", FREE | {"task.decisions": 10**8})
    over, ended = threading.Event(), []

    def look(live):
        time.sleep(0.001)  # else it would take all there is of the processor
        if over.is_set():
            live.stop()

    with shown(page, tmp_path / "latest"):
        page.until("the('empty').textContent.startsWith('Nothing to see yet: there is no run at ')")
        running = threading.Thread(target=lambda: ended.append(asyncnet.run(made, out=tmp_path, on_progress=look, every=200)))
        running.start()
        try:
            page.until("the('standing').dataset.standing === 'running'", 200)
            page.until(f"{READY} && asyncnet.feed.rows.length > 4", 100)
            assert page.value("the('empty').hidden")
            assert page.value("the('live').getAttribute('aria-pressed')") == "true"
            before = page.value("asyncnet.timeline.figure('decisions')")
            page.until(f"asyncnet.timeline.figure('decisions') > {before} + 500")
            page.until("asyncnet.moving().dots > 0")
        finally:
            over.set()
            running.join(60)
        page.until("the('standing').textContent === 'interrupted'")
        page.until(AT_THE_END)
        assert page.value("figures()")["decisions"] == f"{ended[0].record.score['decisions']:,}"


def test_a_dead_run_and_hostile_names_are_shown_as_text(page, tmp_path):
    path = asyncnet.run(check(small(), "small"), out=tmp_path).run_dir
    evil = "<img src=x onerror=alert(1)>"
    about = json.loads((path / "run.json").read_text())
    edited(
        path / "run.json",
        status="running",
        process=about["process"] | {"began": 5.0},
        scenario=about["scenario"] | {"name": evil, "question": evil, "under": [evil]},
    )
    first, *rows = (path / TRAFFIC).read_text().splitlines()
    team = json.loads(first)
    team["nodes"][1]["name"] = team["layers"][1]["name"] = team["channels"][0]["name"] = evil
    (path / TRAFFIC).write_text("\n".join([json.dumps(team), *rows, ""]))
    with shown(page, path):
        page.until(READY)
        assert page.value("the('standing').textContent") == "dead: its process is gone"
        assert page.value("the('standing').dataset.standing") == "bad"
        assert page.value("the('name').textContent") == evil
        assert page.value("document.querySelectorAll('img').length") == 0
        time.sleep(0.5)


def test_it_says_when_nobody_serves_it_any_more(run, page):
    with asyncnet.watch(run) as watching:
        page.open(watching.url)
        page.until(READY)
    page.until("document.getElementById('standing').textContent === 'asyncnet watch has ended'")
    page.open("about:blank")
    page.until("location.href === 'about:blank'")
    page.complaints[:] = [said for said in page.complaints if "ERR_CONNECTION_REFUSED" not in said]


@pytest.mark.study
def test_a_hundred_nodes_are_drawn_sixty_times_a_second(tmp_path):
    """Sixty frames must fit into a second of processor time; that they come is measured too, and is so where a core is free."""
    made = asyncnet.load("multiplexer2-units", under=["lossy", "straggler"], settings=["network.hidden=[60,38]", "task.decisions=20_000"])
    run = asyncnet.run(made, out=tmp_path / "runs").run_dir
    with browser(tmp_path) as page, shown(page, run):
        page.size(1400, 860)
        page.until(f"{READY} && asyncnet.feed.rows.length > 4")
        assert page.value("asyncnet.feed.team.nodes.length") == 100
        page.value("the('play').click()")
        rates, costs = [], []
        for _ in range(4):
            before, began = page.value("[asyncnet.frames, performance.now()]"), spent()
            time.sleep(3.0)
            after, ended = page.value("[asyncnet.frames, performance.now(), asyncnet.timeline.moves]"), spent()
            assert after[2], "it was in motion"
            rates.append(1000.0 * (after[0] - before[0]) / (after[1] - before[1]))
            costs.append(1000.0 * (ended - began) / (after[0] - before[0]))
        assert page.complaints == []
    rate, cost = statistics.median(rates), statistics.median(costs)
    said = f"{rate:.1f} frames a second ({max(rates):.1f} at best), {cost:.1f} ms of processor time a frame, all the browser's processes together"
    print(f"\n100 nodes, {len(plan(made).links):,} links: {said}", file=sys.stderr)
    assert cost < 1000.0 / 60.0


def spent():
    """Seconds of processor time of all the browser's processes."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        times = process.cpu_times()
        total += times.user + times.system
    return total
