"""A figure inside the page: its SVG in the page's own ink, and where its points are with what is said of them, for the script."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from asyncnet.studies import figures
from asyncnet.studies.page.html import text
from asyncnet.text import as_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(picture: figures.Picture, drawn: Figure, svg: str, prefix: str, *, wide: bool) -> str:
    """A <figure>; `prefix` makes the names in its SVG its own on the page, `wide` says that it has the page's whole width."""
    head = f'data-name="{text(picture.name)}" data-series="{picture.series}" data-points="{picture.points}"'
    kind = ' class="across"' if wide else ""
    body = f"{_own(svg, prefix, picture.title)}{_points(picture, drawn)}"
    return f"<figure {head}{kind}><h3>{text(picture.title)}</h3>{body}<figcaption>{text(picture.text)}</figcaption></figure>"


def _own(svg: str, prefix: str, title: str) -> str:
    """An SVG without prologue, in the page's ink, with names that no other figure on the page has."""
    svg = svg[svg.index("<svg") :].replace(figures.INK, "currentColor")
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{prefix}-", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{text(title)}" ', 1)


def _points(picture: figures.Picture, drawn: Figure) -> str:
    """The points of each series: share of the width, share of the height, x, y, what is said of it."""
    series = [
        {
            "label": line.label,
            "entry": number if line.entry is None else line.entry,
            "points": [[round(left, 5), round(top, 5), point.x, point.y, point.said] for (left, top), point in zip(at, line.points, strict=True)],
        }
        for number, (line, at) in enumerate(zip(picture.lines, figures.places(drawn, picture.lines), strict=True))
    ]
    return f'<script type="application/json">{as_json(series).replace("<", chr(92) + "u003c")}</script>'
