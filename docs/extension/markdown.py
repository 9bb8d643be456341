"""Text put into Markdown so that it means itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def plain(text: str) -> str:
    """A text as it is, but for code in single backticks."""
    parts = re.split(r"(`[^`]+`)", " ".join(text.split()))
    return "".join(part if index % 2 else re.sub(r"([\\*_<>\[\]{}|#~^$`])", r"\\\1", part) for index, part in enumerate(parts))


def code(text: str) -> str:
    """A text as code, also within a table."""
    return "`" + text.replace("|", "\\|") + "`"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def directive(name: str, argument: str, body: str, **options: str) -> str:
    """A block directive."""
    said = "".join(f":{key}: {value}\n" for key, value in options.items())
    return f":::::{{{name}}} {argument}\n{said}\n{body}\n:::::\n"
