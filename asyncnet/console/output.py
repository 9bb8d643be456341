"""Text and tables that are never cut: what does not fit stands on more lines."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from asyncnet.text import printable

WIDEST = 10_000  # columns, of which a table is asked how many it needs


def text(words: str) -> Text:
    """Text as it stands: no markup, nothing that a terminal obeys."""
    return Text(printable(words), overflow="fold")


def output() -> Console:
    """Standard output; as wide as the text needs where nobody's window says how wide it is."""
    return Console() if sys.stdout.isatty() else Console(width=240)


def pairs(rows: Iterable[tuple[str, str]], label: int) -> Table:
    """Names and values, a row each, folded where they are too long; names have `label` columns."""
    shown = Table.grid(padding=(0, 2))
    shown.add_column(overflow="fold", width=label)
    shown.add_column(overflow="fold")
    for name, value in rows:
        shown.add_row(text(name), text(value))
    return shown


def show(console: Console, head: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()) -> None:
    """Print rows under a head, the columns named in `right` to the right; in a window too narrow for their longest words, a block of lines for each row."""
    made = [[text(str(word)) for word in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="")
    for at, name in enumerate(head):
        one_word = not any(" " in word for word in (name, *(row[at].plain for row in made)))  # a key, say, to be copied: others make room
        table.add_column(text(name), justify="right" if name in right else "left", overflow="fold", no_wrap=one_word)
    for row in made:
        table.add_row(*row)
    if console.measure(table, options=console.options.update(width=WIDEST)).minimum <= console.width:
        console.print(table)
        return
    label = min(max(map(len, head)), console.width // 2)
    for row in made:
        console.print(pairs(((name, word.plain) for name, word in zip(head, row, strict=True)), label))
        console.print()


def show_parts(parts: Iterable[Table | str]) -> None:
    """What was made ready, on standard output; lines of text are left to the terminal to wrap, so that what is copied from them is whole."""
    console = output()
    for part in parts:
        console.print(part if isinstance(part, Table) else text(part), soft_wrap=not isinstance(part, Table))
