"""A tiny scenario to vary."""

from typing import Any

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
