"""A report in a real browser: it renders without an error, every figure has its series, and light and dark are both readable."""

import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from asyncnet.studies import figures, report, sweep
from asyncnet.studies.study import checked

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: chromium)")

STUDY = {
    "name": "seen",
    "question": "What does a reader see?",
    "scenario": "multiplexer3-weight-max",
    "set": {"task.decisions": 400},
    "seeds": 3,
    "vary": {"links.feedback.delay": [0, 2, 30], "rule.credit": ["stamped", "trace"]},
}
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return report.write(sweep.run_study(checked(STUDY, "test"), out=tmp_path_factory.mktemp("sweeps")))


def browser(page, folder, *words):
    """(standard output, standard error) of a browser that opens a page."""
    command = [CHROMIUM, "--headless=new", *QUIET, f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", *words, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "HOME": str(folder)})
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, done.stderr


def seen(page, folder, *words):
    """What is on the screen, (height, width, 3) from 0 to 1."""
    from matplotlib.image import imread

    browser(page, folder, f"--screenshot={folder / 'screen.png'}", "--window-size=1100,4200", *words)
    return imread(folder / "screen.png")[..., :3]


def near(pixels, color, within=0.12):
    """How many pixels have about that colour."""
    wanted = np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return int((np.abs(pixels - wanted).max(axis=-1) < within).sum())


def test_every_figure_has_its_series_and_the_console_no_error(page, tmp_path):
    dom, log = browser(page, tmp_path, "--dump-dom")
    assert "CONSOLE" not in log
    found = re.findall(r'<figure data-name="([^"]+)" data-series="(\d+)" data-points="(\d+)">(.*?)</figure>', dom, re.S)
    assert [name for name, *_ in found] == ["degradation-links.feedback.delay", "intervals", "learning", "profiles"]
    for name, series, points, inside in found:
        drawn = [color for color in figures.COLORS if f"stroke: {color}" in inside]
        assert len(drawn) == min(int(series), 2 if name == "intervals" else 10), name
        assert int(points) >= int(series)
        assert "NaN" not in inside
    curve = next(inside for name, _, _, inside in found if name == "learning")
    lines = [path.count("L") for path in re.findall(rf'<path d="([^"]+)"[^>]*stroke: {figures.COLORS[0]}', curve)]
    assert max(lines) >= 30, "a learning curve is drawn through its points"


@pytest.mark.parametrize(("words", "paper"), [((), "#fdfdfb"), (("--force-prefers-color-scheme=dark", "--blink-settings=preferredColorScheme=0"), "#191a1b")])
def test_it_is_readable_light_and_dark(words, paper, page, tmp_path):
    pixels = seen(page, tmp_path, *words)
    share = near(pixels, paper, 0.03) / pixels[..., 0].size
    assert share > 0.6, "the page's own ground"
    for color in figures.COLORS[:2]:
        assert near(pixels, color) > 200
    contrast = np.abs(pixels - pixels[0, 0]).max(axis=-1)
    assert (contrast > 0.6).sum() > 5000, "words and axes stand out"
