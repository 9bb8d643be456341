"""One thread for each library, before any of them is imported; no test is judged by its time."""

import os
import signal

import hypothesis  # imports no numpy
import pytest

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

hypothesis.settings.register_profile("asyncnet", deadline=None)  # the first example may compile kernels
hypothesis.settings.load_profile("asyncnet")


def pytest_configure():
    """A shell's background job ignores SIGINT, and so would the processes whose handling of it is tested."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Two processes share the tests file by file, so that what a file prepares is prepared once; all that start Ray go to one of them: one Ray at a time.

    These come first: they take long, and no process shall wait for the other at the end.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group("ray" if item.get_closest_marker("ray") else item.path.stem))
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


def pytest_collection_finish(session):
    """Versions of pytest and xdist that do not fit each other leave the groups out of account, and nothing says so."""
    if "PYTEST_XDIST_WORKER" in os.environ and any("@" not in item.nodeid for item in session.items):
        raise pytest.UsageError("these versions of pytest and pytest-xdist share no tests by group; the tests need both as in pyproject.toml")


@pytest.fixture(scope="session")
def ray_session():
    """One Ray for all tests that need it: its start costs seconds."""
    from asyncnet.actors.session import session

    with session() as held:
        yield held


@pytest.fixture
def signals_as_they_were():
    """The command sets handlers for its whole process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def command(capsys, signals_as_they_were):
    """Calls the command, which ignores signals at its end; returns (exit code, standard output, standard error)."""
    from asyncnet import cli

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return stop.value.code or 0, said.out, said.err

    return call
