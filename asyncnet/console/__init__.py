"""What people see: progress in a terminal, in a notebook, plain lines elsewhere, tables at the end. Everything goes to standard error but the last table.

All of it is made printable here: some was read from files, and may be anybody's.
"""

from asyncnet.console.output import show_parts
from asyncnet.console.progress import Plain, line
from asyncnet.console.reporter import reporter
from asyncnet.console.tables import show_explained, show_findings, show_keys, show_lists, show_replicas, show_study, show_summary
from asyncnet.console.terminal import Terminal

__all__ = [
    "Plain",
    "Terminal",
    "line",
    "reporter",
    "show_explained",
    "show_findings",
    "show_keys",
    "show_lists",
    "show_parts",
    "show_replicas",
    "show_study",
    "show_summary",
]
