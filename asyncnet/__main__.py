"""The `asyncnet` command, also as `python -m asyncnet`: it hears Ctrl-C and SIGTERM before it imports what takes a second to import."""

from asyncnet.interrupts import listen


def main() -> None:
    """Entry point of the command."""
    listen()
    from asyncnet.cli import main as command

    command()


if __name__ == "__main__":
    main()
