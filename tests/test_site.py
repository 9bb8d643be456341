"""The documentation site: it is built without a warning and without network, and says of commands, keys and names what the code says."""

import json
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

import asyncnet
from asyncnet.cli import VERBS
from asyncnet.scenario import reference
from asyncnet.scenario.reading import conditions, shipped
from asyncnet.studies.study import studies
from support.places import ROOT

PAGES = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))

# No process may open a connection while the site is built: what is asked of the network raises, and with -W so does the build.
BUILD = """
import socket, sys
def refuse(*what): raise OSError("no network here")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from sphinx.cmd.build import main
sys.exit(main(sys.argv[1:]))
"""


class Page(HTMLParser):
    """What a page has: anchors, links, words."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.words = set(), [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.anchors.add(found.get("id"))
        self.links += [found[name] for name in ("href", "src") if found.get(name)]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    place = tmp_path_factory.mktemp("site")
    before = subprocess.run(["git", "status", "--porcelain", "--ignored", "docs"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    words = ["-W", "--keep-going", "-q", "-b", "html", "-d", place / "doctrees", ROOT / "docs", place / "html"]
    done = subprocess.run([sys.executable, "-B", "-c", BUILD, *map(str, words)], cwd=place, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    after = subprocess.run(["git", "status", "--porcelain", "--ignored", "docs"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert after == before, "nothing is written into the sources"
    return place / "html"


@pytest.fixture(scope="module")
def pages(site):
    return {path.relative_to(site).as_posix().removesuffix(".html"): Page(path) for path in site.rglob("*.html")}


def test_every_page_of_the_documentation_is_in_the_site_and_can_be_reached_from_the_first(pages):
    assert {*PAGES, "notebooks/first"} <= pages.keys()
    assert {"commands", "design", "gallery", "glossary", "keys", "python", "recording", "references", "results", "rules", "shipped", "studies"} <= set(PAGES)
    assert {f"{name}.html" for name in PAGES if name != "index"} <= set(pages["index"].links)


def test_every_link_within_the_site_leads_somewhere(site, pages):
    followed = 0
    for name, page in pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:|//", link):
                continue
            place, _, anchor = link.partition("#")
            path = (site / f"{name}.html").parent / unquote(place.partition("?")[0]) if place else site / f"{name}.html"
            assert path.exists(), (name, link)
            target = path.resolve().relative_to(site.resolve()).as_posix().removesuffix(".html")
            assert not anchor or target not in pages or unquote(anchor) in pages[target].anchors, (name, link)
            followed += 1
    assert followed > 500


def test_what_is_fetched_to_show_a_page_is_in_the_site(site):
    """Formulas alone are shown by a script from elsewhere, and no page has one."""
    for path in site.rglob("*.html"):
        assert re.findall(r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="(https?:[^"]*)"', path.read_text()) == [], path


def verbs():
    return [re.sub("(?<=[a-z])(?=[A-Z])", "-", verb.__name__).lower() for verb in VERBS]


def test_every_verb_is_in_the_reference_with_what_it_does(pages):
    assert set(verbs()) <= pages["commands"].anchors
    for verb in VERBS:
        assert " ".join(verb.__doc__.split()).replace("`", "") in pages["commands"].text


def test_the_options_of_every_verb_are_those_that_its_help_names(pages, command):
    shared, compared = {"rule", "task", "import"}, 0
    for verb in verbs():
        spelled = re.findall(r"^[│|]? {0,2}(?:-h, )?(--[a-z][\w-]*(?:, --[\w-]+)*)", command(verb, "--help")[1], re.M)
        said = {name for names in spelled for name in re.findall(r"--([\w-]+)", names)}
        anchors = [re.fullmatch(rf"cmdoption-asyncnet-{verb}-([a-z].*)", name or "") for name in pages["commands"].anchors]
        listed = {found[1] for found in anchors if found and not found[1].startswith("arg-")}
        assert listed == said - shared - {"help"}, verb
        compared += len(listed)
    assert compared > 60


def test_every_key_of_a_scenario_has_an_anchor_and_its_words(pages):
    page = pages["keys"]
    keys = list(reference.keys())
    assert len(keys) > 150
    for key in keys:
        assert "confval-" + key.key.replace('"', "-") in page.anchors, key.key
        assert key.description.replace("`", "")[1:] in page.text, key.key


def test_the_schema_is_a_file_of_the_site(site, pages):
    assert json.loads((site / "scenario.schema.json").read_text()) == json.loads(json.dumps(reference.json_schema()))
    assert "scenario.schema.json" in pages["keys"].links


def test_every_public_name_is_documented(pages):
    assert {f"asyncnet.{name}" for name in asyncnet.__all__} <= pages["python"].anchors
    assert {"asyncnet.Scenario.replace", "asyncnet.Result.summary", "asyncnet.runs.live.Live.weights", "asyncnet.runs.opened.Opened.returns"} <= pages[
        "python"
    ].anchors
    assert "model_dump" not in pages["python"].text, "what pydantic brings is not ours"


def test_what_ships_is_listed_and_every_study_is_in_the_gallery_with_its_figure(pages):
    listed, gallery = pages["shipped"].text, pages["gallery"]
    assert [name for name in (*shipped(), *conditions()) if name not in listed] == []
    for name, path in studies().items():
        assert name in gallery.anchors
        assert tomllib.loads(path.read_text())["question"] in gallery.text
        assert f"asyncnet sweep {name}" in gallery.text
        figure = ROOT / "docs" / "figures" / f"{name}.svg"
        assert not figure.exists() or f"_images/{figure.name}" in gallery.links


def test_the_citation_says_what_the_project_says(pages):
    said = yaml.safe_load((ROOT / "docs" / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "message", "title", "authors"} <= said.keys()
    assert (said["title"], str(said["version"]), said["license"]) == (project["name"], asyncnet.__version__, project["license"])
    assert [author["name"] for author in said["authors"]] == [author["name"] for author in project["authors"]]
    assert set(said["keywords"]) <= set(project["keywords"])
    assert f"version = {{{asyncnet.__version__}}}" in pages["references"].text
    for cited in said["references"]:
        assert cited["title"] in pages["references"].text
        assert cited["url"] in pages["references"].links


def test_the_commands_that_the_first_page_shows_are_commands(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "index.md").read_text().replace("\\\n", "")
    shown = [line.split()[1:] for block in re.findall(r"```bash\n(.*?)```", text, re.S) for line in block.splitlines() if line.startswith("asyncnet ")]
    assert len(shown) > 5
    assert command(*next(words for words in shown if words[0] == "new"))[0] == 0
    for verb, what, *_ in shown:
        assert verb in verbs()
        if verb in ("run", "explain", "sweep"):
            assert what in (*shipped(), *studies()) or Path(what).is_file(), what
