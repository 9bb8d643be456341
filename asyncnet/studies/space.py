"""What a search looks for: settings within ranges or of lists, the seeds it is tuned on, and the outcome that says which setting is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.model import Model
from asyncnet.scenario.reading import change

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MOST_TRIALS = 10_000
MOST_STEPS = 10**9
DIGITS = 4  # significant ones of a value between the ends of a range: what is found can be written down, and the last bits of a logarithm decide nothing
Seed = Annotated[int, Field(ge=0, lt=2**53)]
Keys = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class Range(Model):
    """Numbers from low to high, both included."""

    low: float
    high: float
    log: bool = Field(False, description="even on a logarithmic scale")
    step: Annotated[float, Field(gt=0.0)] | None = Field(None, description="only low, low + step, low + 2 step, ...")
    whole: bool = Field(False, alias="int", description="only whole numbers")
    times: bool = Field(False, description="a factor on what the scenario says, on each number where that is a list")
    also: Keys = Field((), description="settings that move with it: the same value or, with times, the same factor")


class Search(Model):
    """How a search goes; equal values ask for equal trials, however many processes run them."""

    space: Annotated[dict[str, Range | Annotated[tuple[Any, ...], Field(min_length=2)]], Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = Field(description="what it is tuned on; none of the study's own, which it is reported on")
    outcome: str = Field(description="the figure of a run's summary, its mean over the seeds")
    direction: Literal["maximize", "minimize"]
    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] = 20
    batch: Annotated[int, Field(ge=1, le=1000)] = Field(4, description="trials that are asked at a time, before any of them is told")
    startup: Annotated[int, Field(ge=0, le=MOST_TRIALS)] = Field(10, description="trials at random before the sampler goes by what it was told")
    sampler_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    set: dict[str, Any] = Field({}, description="settings that only the runs have that it is tuned on, by dotted key; such as their length")


def check(search: Search, where: str, reported_on: tuple[int, ...]) -> None:
    """Raise ScenarioError, with the key and the reason, for a search that makes no sense whatever the scenario is."""
    if both := sorted({*search.seeds} & {*reported_on}):
        raise ScenarioError(
            where, "search.seeds", f"{', '.join(map(str, both))}: also what it is reported on (seeds {numbered(reported_on)}); these must be others"
        )
    if len({*search.seeds}) < len(search.seeds):
        raise ScenarioError(where, "search.seeds", f"each once, got {', '.join(map(str, search.seeds))}")
    said: dict[str, str] = dict.fromkeys(search.set, "search.set")
    for key, values in search.space.items():
        here = f'search.space."{key}"'
        for each in (key, *(values.also if isinstance(values, Range) else ())):
            if each in said:
                raise ScenarioError(where, here, f"{each} is set by {said[each]} already")
            said[each] = here
        if isinstance(values, Range):
            _check_range(values, where, here)


def _check_range(values: Range, where: str, here: str) -> None:
    if not values.low < values.high:
        raise ScenarioError(where, here, f"low must be less than high, got {values.low:g} and {values.high:g}")
    if values.log and values.low <= 0:
        raise ScenarioError(where, here, f"low must be greater than 0 on a logarithmic scale, got {values.low:g}")
    if values.log and values.step is not None:
        raise ScenarioError(where, here, "step and log do not go together")
    if values.step is not None and values.low + values.step > values.high:
        raise ScenarioError(where, here, f"a step of {values.step:g} leads out of {values.low:g} to {values.high:g}")
    if values.step is not None and (values.high - values.low) / values.step > MOST_STEPS:
        raise ScenarioError(where, here, f"a step of {values.step:g} is too fine from {values.low:g} to {values.high:g}; at most {MOST_STEPS:,} steps")
    if values.whole and not all(float(end).is_integer() for end in (values.low, values.high, values.step or 1.0)):
        raise ScenarioError(where, here, "low, high and step must be whole numbers")
    if values.times and values.whole:
        raise ScenarioError(where, here, "times and int do not go together: a factor is any number")


def numbered(seeds: tuple[int, ...]) -> str:
    """Seeds in words: 1 to 10, or 3, 5, 9."""
    several = len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]} to {seeds[-1]}" if several else ", ".join(map(str, seeds))


def distribution(values: Range | tuple[Any, ...]) -> BaseDistribution:
    """The same for Optuna; of a list the places are drawn."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(values, tuple):
        return CategoricalDistribution(range(len(values)))
    steps = 0 if values.step is None else math.floor((values.high - values.low) / values.step + 1e-9)
    high = values.high if values.step is None else values.low + steps * values.step
    if values.whole:
        return IntDistribution(int(values.low), int(high), log=values.log, step=int(values.step or 1))
    return FloatDistribution(values.low, high, log=values.log, step=values.step)


def value(values: Range | tuple[Any, ...], drawn: Any) -> Any:
    """What was drawn, as it stands in a scenario and a table."""
    if isinstance(values, tuple):
        return values[drawn]
    if values.whole:
        return int(drawn)
    return min(max(float(f"{drawn:.{DIGITS if values.step is None else 12}g}"), values.low), values.high)


def own(search: Search, data: Mapping[str, Any]) -> dict[str, Any]:
    """What a scenario itself says, as if it had been drawn, of each setting for which that lies within the range: where a search begins."""
    found: dict[str, Any] = {}
    for key, values in search.space.items():
        if isinstance(values, tuple):
            there = [number for number, each in enumerate(values) if _plain(each) == _plain(at(data, key))]
            found |= {key: there[0]} if there else {}
            continue
        said = 1.0 if values.times else at(data, key)
        if isinstance(said, int if values.whole else (int, float)) and not isinstance(said, bool) and _within(said, values):
            found[key] = said
    return found


def _within(said: float, values: Range) -> bool:
    steps = 0.0 if values.step is None else (said - values.low) / values.step
    return values.low <= said <= values.high and abs(steps - round(steps)) < 1e-9


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def at(data: Mapping[str, Any], key: str) -> Any:
    """What stands at a dotted key; None if nothing does. Raises ScenarioError for what is none."""
    inside: Any = data
    path: Any = change("search.space", key, None).data
    while path is not None:
        ((part, path),) = path.items()
        inside = inside.get(part) if isinstance(inside, Mapping) else None
    return inside


def settings(search: Search, values: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that values mean, by dotted key, for a scenario that says `data`; raises ScenarioError for a factor on what is no number."""
    out: dict[str, Any] = {}
    for key, chosen in values.items():
        within = search.space[key]
        if isinstance(within, tuple):
            out[key] = chosen
            continue
        for each in (key, *within.also):
            out[each] = _multiplied(each, at(data, each), chosen) if within.times else chosen
    return out


def _multiplied(key: str, said: Any, factor: float) -> Any:
    several = said if isinstance(said, (list, tuple)) else [said]
    if not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in several):
        raise ScenarioError("search", f'space."{key}"', "times is for numbers and lists of them, and the scenario says none there")
    made = [float(f"{one * factor:.12g}") for one in several]
    return made if isinstance(said, (list, tuple)) else made[0]
