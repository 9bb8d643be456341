"""The reporter that suits where progress goes."""

from __future__ import annotations

import os
import sys

from asyncnet.console.notebook import Notebook, in_a_notebook
from asyncnet.console.progress import Plain
from asyncnet.console.terminal import Terminal


def reporter() -> Plain | Terminal | Notebook:
    """A live table in a terminal or a notebook; plain lines where neither is, where a terminal obeys nothing, and beside a debugger's prompt."""
    from asyncnet.kernels.plain import PLAIN  # imports numba

    if PLAIN:
        return Plain()
    if in_a_notebook():
        return Notebook()
    return Terminal() if sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown") else Plain()
