"""The studies that ship, a section each: question, what was expected, what is varied, figure, file."""

from __future__ import annotations

from pathlib import Path

from asyncnet.studies.study import Study, cells, read_study, studies
from extension.markdown import code, plain

DOCS = Path(__file__).resolve().parent.parent


def text() -> str:
    """All of them, by name."""
    return "\n".join(_section(name, path) for name, path in studies().items())


def _section(name: str, path: Path) -> str:
    made = read_study(path)
    figure = DOCS / "figures" / f"{name}.svg"
    shown = f"```{{image}} figures/{figure.name}\n:alt: {plain(made.question)}\n:align: center\n```\n\n" if figure.is_file() else ""
    expected = f"Expected: {plain(made.expect)}\n\n" if made.expect else ""
    command = f"```bash\nasyncnet sweep {name}\nasyncnet report sweeps/{name}\n```\n\n"
    file = f"<details><summary>{path.name}</summary>\n\n```toml\n{path.read_text()}```\n\n</details>\n"
    return f"## {name}\n\n**{plain(made.question)}**\n\n{expected}{_varied(made, path)}\n\n{shown}{command}{file}"


def _varied(made: Study, path: Path) -> str:
    """How many runs there are, and what they differ in."""
    found = cells(made, path.parent)
    seeds = len({cell.seed for cell in found})
    what = ", ".join(code(column) for column in made.columns()) or "nothing but the seed"
    return f"Varies {what}: {len(found):,} runs, {seeds} seed{'s' * (seeds != 1)} each."
