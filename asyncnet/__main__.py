"""`python -m asyncnet` is the `asyncnet` command."""

from asyncnet.cli import main

main()
