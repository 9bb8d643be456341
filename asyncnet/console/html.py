"""What a notebook shows: names and values as a small table, and a curve as an SVG in the page's own ink, so that light and dark pages can both show it."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asyncnet.console.progress import thinned
from asyncnet.console.summary import ended
from asyncnet.text import printable

WIDTH, HEIGHT, LEFT, BELOW, MOST = 360, 110, 48, 16, 180  # pixels; points of a curve


def escaped(text: str) -> str:
    """Text as it stands: printable, and no markup."""
    return html.escape(printable(text))


def table(rows: Iterable[tuple[str, str]], title: str = "") -> str:
    """Names and values; long ones are folded, never cut."""
    left = "text-align:left;vertical-align:top;padding:1px 8px"
    lines = [
        f'<tr><th style="{left};font-weight:normal;opacity:.7;white-space:nowrap">{escaped(name)}</th>'
        f'<td style="{left};overflow-wrap:anywhere">{escaped(value)}</td></tr>'
        for name, value in rows
    ]
    head = f"<div><b>{escaped(title)}</b></div>" if title else ""
    return f'{head}<table style="border-collapse:collapse;max-width:100%">{"".join(lines)}</table>'


def lines(text: str) -> str:
    """Lines as they stand."""
    return "<pre>" + "\n".join(map(escaped, text.splitlines())) + "</pre>"


def bar(share: float) -> str:
    """A bar filled to a share."""
    inside = f'<div style="width:{100.0 * min(1.0, max(0.0, share)):.1f}%;height:6px;background:currentColor"></div>'
    return f'<div style="max-width:{WIDTH}px;border:1px solid currentColor;opacity:.7">{inside}</div>'


def curve(values: Sequence[float], title: str, last: str) -> str:
    """A curve of values at equal distances, under its title; `last` is what stands at its end. "" if there are fewer than two finite ones."""
    parts = thinned(values, MOST)
    if len(parts) < 2:
        return ""
    low, high = min(parts), max(parts)
    spread = high - low if 0.0 < high - low < math.inf else 1.0
    right, under = WIDTH - 4, HEIGHT - BELOW
    across = (right - LEFT) / (len(parts) - 1)
    points = " ".join(f"{LEFT + across * n:.1f},{under - (under - 6) * (value - low) / spread:.1f}" for n, value in enumerate(parts))
    words = f'<text x="{LEFT - 4}" y="{{}}" text-anchor="end">{{}}</text>'
    return (
        f'<figure style="margin:4px 0"><figcaption style="opacity:.7">{escaped(title)}</figcaption>'
        f'<svg role="img" aria-label="{escaped(title)}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" fill="currentColor" font-size="10">'
        f'<path d="M{LEFT},4V{under}H{right}" fill="none" stroke="currentColor" stroke-opacity=".4"/>'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        f"{words.format(12, f'{high:.4g}')}{words.format(under, f'{low:.4g}')}"
        f'<text x="{right}" y="{HEIGHT - 3}" text-anchor="end">{escaped(last)}</text></svg></figure>'
    )


def of_summary(summary: Mapping[str, Any], values: Sequence[float]) -> str:
    """A run that has ended; `values` are its returns or, without episodes, its rewards."""
    rows = [*ended(dict(summary)), *([("run", summary["run_dir"])] if summary["run_dir"] else [])]
    title = ", ".join([str(summary["scenario"]), *map(str, summary.get("under", ())), f"seed {summary.get('seed', '')}"])
    if summary["mean_return"] is not None:
        return table(rows, title) + curve(values, "return", f"{len(values):,} episodes")
    if summary["mean_squared_error"] is not None:
        return table(rows, title) + curve([-value for value in values], "squared error", f"{summary['decisions']:,} decisions")
    return table(rows, title) + curve(values, "reward", f"{summary['decisions']:,} decisions")
