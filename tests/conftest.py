"""One thread for each library, before any of them is imported; no test is judged by its time; and a tiny scenario to vary."""

import os
import signal
from typing import Any

import hypothesis  # imports no numpy
import pytest

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

hypothesis.settings.register_profile("asyncnet", deadline=None)  # the first example may compile kernels
hypothesis.settings.load_profile("asyncnet")

GONE = object()  # as a value in `small`: the key is left out

_SMALL = {
    "name": "small",
    "question": "Does a team of six units answer a one-bit multiplexer?",
    "seed": 1,
    "tick": 1000,
    "task": {"name": "multiplexer", "k": 1, "decisions": 30, "world": {"waits": False, "interval": 6}},
    "network": {"hidden": [3, 2], "output": "bernoulli"},
    "rule": {"name": "weight-max", "learning_rate": [0.03, 0.003, 0.0003]},
    "clocks": {"default": {"kind": "periodic", "period": 1.0}},
    "links": {"default": {"delay": 0.5}},
}


def pytest_configure():
    """A shell's background job ignores SIGINT, and so would the processes whose handling of it is tested."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Two processes share the tests file by file, so that what a file prepares is prepared once; all that start Ray go to one of them: one Ray at a time."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group("ray" if item.get_closest_marker("ray") else item.path.stem))


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


def merged(base: Any, over: Any) -> Any:
    """`over` laid over `base`, table by table."""
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {key: merged(base.get(key), value) for key, value in over.items()}
    return over


def _without_gone(value: Any) -> Any:
    return {key: _without_gone(item) for key, item in value.items() if item is not GONE} if isinstance(value, dict) else value


def small(**changes: Any) -> dict[str, Any]:
    """A sound scenario as plain data that runs in a moment, with changes laid over it."""
    return _without_gone(merged(_SMALL, changes))
