"""HTML of a page that needs nothing from elsewhere: all text is escaped, and no other script than the page's own can run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from asyncnet.text import printable

HERE = Path(__file__).parent


def text(words: str, *, lines: bool = False) -> str:
    """Words as they stand, in one line or, with `lines`, in theirs."""
    return escape("\n".join(map(printable, words.splitlines())) if lines else printable(words))


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page."""
    style, script = ((HERE / name).read_text() for name in ("page.css", "page.js"))
    seal = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{seal}'; base-uri 'none'; form-action 'none'"
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{text(title)}</title><style>{style}</style>'
    )
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n<script>{script}</script></body></html>\n'


def section(title: str, *parts: str) -> str:
    """A part of the page under a heading; nothing where there is nothing in it."""
    inside = "".join(parts)
    return f"<section><h2>{text(title)}</h2>{inside}</section>" if inside else ""


def paragraph(words: str, kind: str = "") -> str:
    return f"<p{f' class={kind}' if kind else ''}>{text(words)}</p>"


def listed(items: Iterable[str]) -> str:
    """A list; nothing for none."""
    inside = "".join(f"<li>{text(item)}</li>" for item in items)
    return f"<ul>{inside}</ul>" if inside else ""


def folded(summary: str, *parts: str) -> str:
    """What a reader opens; in print it is open."""
    return f"<details><summary>{text(summary)}</summary>{''.join(parts)}</details>"


def code(words: str) -> str:
    """Lines of code or a command."""
    return f"<pre>{text(words, lines=True)}</pre>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], words: int, name: str = "") -> str:
    """A table whose first `words` columns are words, and the others numbers; nothing without rows."""
    if not rows:
        return ""
    kinds = [' class="n"' if number >= words else "" for number in range(len(head))]
    top = "".join(f'<th scope="col"{kind}>{text(title)}</th>' for title, kind in zip(head, kinds, strict=True))
    body = "".join("<tr>" + "".join(f"<td{kind}>{text(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>" for row in rows)
    named = f' data-name="{text(name)}"' if name else ""
    return f'<div class="wide"><table{named}><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
