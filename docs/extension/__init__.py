"""Parts of the site that are made from the code: a page has a line `<!-- made: NAME -->`, and NAME's text takes its place when the page is read.

Nothing is written but the site itself, so a build leaves the sources as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from extension import docstrings, gallery, keys, others, public, shipped, verbs

if TYPE_CHECKING:
    from sphinx.application import Sphinx

MADE: dict[str, Callable[[], str]] = {
    "gallery": gallery.text,
    "keys": keys.text,
    "others": others.text,
    "public": public.text,
    "shipped": shipped.text,
    "verbs": verbs.text,
}


def read(app: Sphinx, page: str, source: list[str]) -> None:
    """Put what is made in its place."""
    source[0] = re.sub(r"^<!-- made: (\w+) -->$", lambda found: MADE[found[1]](), source[0], flags=re.M)


def schema(app: Sphinx, error: Exception | None) -> None:
    """Leave the JSON Schema of a scenario in the site, for editors."""
    if error is None and app.builder.format == "html":
        from asyncnet.scenario.reference import json_schema

        (Path(app.outdir) / "scenario.schema.json").write_text(json.dumps(json_schema(), indent=1) + "\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", read)
    app.connect("build-finished", schema)
    app.connect("autodoc-process-docstring", docstrings.as_rest)
    app.connect("autodoc-process-signature", docstrings.without_fields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
