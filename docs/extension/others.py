"""Pages that the first page does not name: they stand at the end of the guides, so that a new page is found without more."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent


def text() -> str:
    """Their names, a line each, as a toctree takes them."""
    first = (DOCS / "index.md").read_text()
    named = {*re.findall(r"^(?:.*<)?([\w/]+)>?$", "\n".join(re.findall(r"```\{toctree\}\n(.*?)```", first, re.S)), re.M), "index"}
    return "\n".join(sorted({path.stem for path in DOCS.glob("*.md")} - named))
