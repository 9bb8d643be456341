"""The first notebook runs from top to bottom as it stands, and what it says of its figures is so."""

import os
import re

import nbclient
import nbformat
import pytest

from support.places import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "first.ipynb"
ASKED = """
means = table.groupby(["rule.credit", "links.feedback.delay"])["last_mean_reward"].mean()
{
    "runs": len(table),
    "passed": bool((table["verdict"] == "pass").all()),
    "learned": bool(run.returns.iloc[-50:].mean() > run.returns.iloc[:50].mean() + 0.2),
    "looked": [row["decisions"] for row in norms][:2] + [len(norms)],
    "grew": bool(norms[-1]["actor.1"] > norms[0]["actor.1"]),
    "harder": bool(now < before),
    "stamps do not mind": bool(means["stamped", 20] > means["stamped", 0] - 0.1),
    "traces do": bool(means["trace", 20] < means["trace", 0] - 0.1),
}
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    place = tmp_path_factory.mktemp("notebook")
    book = nbformat.read(NOTEBOOK, as_version=4)
    book.cells.append(nbformat.v4.new_code_cell(ASKED))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(place / "ipython")}
    nbclient.NotebookClient(book, timeout=250, resources={"metadata": {"path": str(place)}}).execute(env=environment)
    return place, book


def test_it_says_what_a_run_of_it_shows(executed):
    _, book = executed
    found = eval(book.cells[-1].outputs[-1].data["text/plain"], {})  # a dict that the cell above has made
    assert found.pop("runs") == 18
    assert found.pop("looked") == [500, 1000, 40]
    assert set(found.values()) == {True}, found


def test_every_cell_shows_what_the_notebook_in_the_repository_shows(executed):
    kept = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    made = [cell for cell in executed[1].cells if cell.cell_type == "code"][: len(kept)]
    assert len(kept) > 5
    for then, now in zip(kept, made, strict=True):
        shapes = [[(output.output_type, sorted(output.get("data", {}))) for output in cell.outputs if output.get("name") != "stderr"] for cell in (then, now)]
        assert shapes[0] == shapes[1], then.source
        texts = [re.sub("digest [0-9a-f]+|<Figure.*>", "", str([output.get("data", {}).get("text/plain") for output in cell.outputs])) for cell in (then, now)]
        assert texts[0] == texts[1], then.source


def test_it_leaves_its_runs_and_its_figure_where_it_was_run(executed):
    place, _ = executed
    assert (place / "late_feedback.pdf").read_bytes().startswith(b"%PDF")
    assert (place / "runs" / "latest" / "summary.json").is_file()
    assert [path.name for path in (place / "sweeps").iterdir()] == ["multiplexer3-weight-max__links.feedback.delay__rule.credit"]


def test_the_copy_in_the_repository_is_small_and_says_nothing_of_a_machine():
    text = NOTEBOOK.read_text()
    assert len(text) < 200_000
    assert not re.search(r"/(home|tmp|work|root|Users)/", text)
    assert '"output_type": "error"' not in text
