"""How kernels see a node: `v.weight` and `c.decay`, read from flat arrays where they are used, and `c.rule.learn`, a kernel of a part.

A field becomes an array, a setting a number, only where a kernel names it, so a kernel costs (to compile and to call) what it uses, not what its node's type
declares. What compiled code makes of them is in numba_internals/attributes.py; in plain Python (plain.py) they are objects.

    config      dimensions, then settings, then where each field starts in its array, then the given ones
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numba.extending import intrinsic

from asyncnet.kernels.layout import GIVEN, Field
from asyncnet.kernels.numba_internals import attributes
from asyncnet.kernels.plain import PLAIN
from asyncnet.scenario.mistakes import near


class _Names:
    """What `v`, `c` and the parts are in plain Python: each name is looked up once, where a kernel first asks for it."""

    def __init__(self, label: str, names: Sequence[str], find: Callable[[str], Any]) -> None:
        vars(self).update(_label=label, _names=names, _find=find)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self._names:
            raise AttributeError(f"{self._label} has no {name}; {near(name, self._names)}")
        found = vars(self)[name] = self._find(name)
        return found

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{self._label}.{name} cannot be another; write into an array, as in v.{name}[0] = ...")

    def __dir__(self) -> Sequence[str]:
        return self._names

    def __repr__(self) -> str:
        return f"<{self._label}: {', '.join(self._names)}>"


class _Part:
    """A part of `c` in plain Python: its kernels by name."""

    def __init__(self, label: str, kernel: Callable[[str], Any]) -> None:
        self._label, self._kernel = label, kernel

    def __getattr__(self, name: str) -> Any:
        found = None if name.startswith("__") else self._kernel(name)
        if found is None:
            raise AttributeError(f"{self._label} has no kernel {name}")
        return found


def cutter(
    family: str, dimensions: Sequence[str], settings: Sequence[tuple[str, bool]], fields: Sequence[Field], parts: Mapping[str, Callable[[str], Any]]
) -> Any:
    """The kernel `cut(state, config, scratch)` -> (v, c) of a family; a setting is (name, whether whole); `parts` find their kernels by name."""
    places = {d: place for place, d in enumerate(dimensions)}
    first = len(dimensions)
    numbers = {d: (place, True) for d, place in places.items()} | {name: (first + i, whole) for i, (name, whole) in enumerate(settings)}
    first += len(settings)
    arrays = {field.name: (tuple(places.get(d, d) for d in field.shape.split()), first + i, field.lies) for i, field in enumerate(fields)}
    if PLAIN:
        return plain_cut(numbers, arrays, parts)
    c = attributes.Settings(family, numbers, {name: attributes.Part(family, name, kernel) for name, kernel in parts.items()})
    return intrinsic(attributes.cut(attributes.Fields(family, arrays), c))


def plain_cut(
    numbers: Mapping[str, tuple[int, bool]],
    arrays: Mapping[str, tuple[tuple[int | str, ...], int, int]],
    parts: Mapping[str, Callable[[str], Any]],
) -> Any:
    """The same in plain Python."""
    kernels = {name: _Part(f"c.{name}", kernel) for name, kernel in parts.items()}
    names, fields = (*numbers, *kernels), tuple(arrays)

    def cut(*flat: np.ndarray) -> tuple[_Names, _Names]:
        config = flat[GIVEN]

        def field(name: str) -> np.ndarray:
            shape, start, lies = arrays[name]
            sizes = [int(d) if isinstance(d, str) else int(config[d]) for d in shape]
            first = int(config[start])
            return flat[lies][first : first + math.prod(sizes)].reshape(sizes)

        def setting(name: str) -> Any:
            if name in kernels:
                return kernels[name]
            place, whole = numbers[name]
            return int(config[place]) if whole else config[place]  # a float64, whose division by zero is inf

        return _Names("v", fields, field), _Names("c", names, setting)

    return cut
