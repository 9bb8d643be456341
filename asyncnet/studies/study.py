"""A study as one frozen value: a question, what is varied, how often; and the cells that it consists of.

    grid    every value of each varied setting with every value of the others        zip    the first values of all, the second ones, ...

A setting is a dotted key, as for `--set`. Two names are no settings: `scenario` varies what all starts from, `under` the conditions laid over it. Variants are
named sets of settings that belong together (a rule and its step size); factors are more of them, each a dimension of its own under a name of its own. Each
combination is run with every seed.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tomli_w
from pydantic import BeforeValidator, Field, ValidationError

from asyncnet.scenario.mistakes import ScenarioError, first, near, short
from asyncnet.scenario.model import Model, as_lists, as_tuples
from asyncnet.scenario.outside import needed, raised_in
from asyncnet.scenario.reading import Layer, change, find, read_toml, shipped
from asyncnet.scenario.schema import Scenario, read
from asyncnet.studies.space import Search

MOST_CELLS = 100_000
WIDE = 2**63  # a whole number from there on, an infinity or what is none stands in no column of numbers
# Columns of every table, and figures that a factor could be called like.
FIXED = frozenset({"run", "scenario", "rule", "under", "variant", "seed", "decisions", "episodes", "missing", "final", "verdict", "reasons", "digest"})
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value)]


class Variant(Model):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    scenario: str = Field("", description="what it starts from, if not what the study does")
    set: dict[str, Any] = Field({}, description="settings by dotted key")
    under: Names = Field((), description="conditions laid over it")


class Study(Model):
    """A question asked of many runs; equal values consist of equal cells."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._=-]{0,127}$")]
    question: str = ""
    expect: str = Field("", description="what is expected, said before it was measured")
    scenario: str = Field(description="what all starts from: a shipped name, or a TOML file (beside the study's own, if relative)")
    set: dict[str, Any] = Field({}, description="settings of all runs, by dotted key")
    under: Names = Field((), description="conditions laid over all runs")
    vary: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field({}, description="values of each varied setting; also of scenario and under")
    mode: Literal["grid", "zip"] = Field("grid", description="every value with every other, or the first of all, the second of all, ...")
    variants: tuple[Variant, ...] = Field((), description="named sets of settings, a dimension of their own")
    factors: dict[Annotated[str, Field(pattern=r"^[a-z][a-z -]{0,39}$")], Annotated[tuple[Variant, ...], Field(min_length=1)]] = Field(
        {}, description="more dimensions of that kind, each with a name: its levels are variants"
    )
    seeds: Annotated[int, Field(ge=1, le=MOST_CELLS)] | Annotated[tuple[Annotated[int, Field(ge=0, lt=2**53)], ...], Field(min_length=1)] = Field(
        10, description="how many, from the scenario's own on; or which"
    )
    search: Search | None = Field(None, description="what is searched for, in place of what is varied; the study's seeds are those that it is reported on")

    def data(self) -> dict[str, Any]:
        """The study as plain data: what a file would say."""
        return as_lists(self.model_dump(exclude_defaults=True))

    def toml(self) -> str:
        return tomli_w.dumps(self.data())

    def columns(self) -> list[str]:
        """What tells one cell from another, beside the seed."""
        return [*(key for key in ("scenario", "under") if key in self.vary), *self.named(), *self.settings()]

    def named(self) -> dict[str, tuple[Variant, ...]]:
        """The dimensions of named sets of settings, by column."""
        return {**({"variant": self.variants} if self.variants else {}), **self.factors}

    def settings(self) -> list[str]:
        """The varied settings."""
        return [key for key in self.vary if key not in ("scenario", "under")]

    def runs(self) -> int:
        """How many runs it consists of."""
        lengths = [len(values) for values in self.vary.values()]
        varied = min(lengths, default=1) if self.mode == "zip" else math.prod(lengths)
        return varied * math.prod(map(len, self.named().values())) * (len(self.seeds) if isinstance(self.seeds, tuple) else self.seeds)

    def combinations(self) -> Iterator[dict[str, Any]]:
        """The values of one combination by column, as they were written; raises ScenarioError where a zip does not come out."""
        lengths = {key: len(values) for key, values in self.vary.items()}
        if self.mode == "zip" and len(set(lengths.values())) > 1:
            counts = ", ".join(f"{key} has {count}" for key, count in lengths.items())
            raise ScenarioError(self.name, "vary", f"a zip needs as many values of each: {counts}")
        together = zip(*self.vary.values(), strict=True) if self.mode == "zip" and self.vary else itertools.product(*self.vary.values())
        for values in together:
            for levels in itertools.product(*self.named().values()):
                yield dict(zip(self.vary, values, strict=True)) | dict(zip(self.named(), levels, strict=True))


class Cell(NamedTuple):
    """One run of a study: `labels` are the values of its columns, as shown; `scenario` is None where they do not fit together, and `why` says what does not."""

    labels: dict[str, Any]
    seed: int
    scenario: Scenario | None
    why: str = ""
    key: str = ""  # at which key that was noticed

    def entry(self) -> Entry:
        """The same as plain data, for whoever looks at the study later."""
        made = self.scenario
        names = ("", "", "") if made is None else (identity(made), made.name, made.rule.name)
        return Entry(labels=self.labels, seed=self.seed, id=names[0], scenario=names[1], rule=names[2], why=self.why)


def identity(scenario: Scenario) -> str:
    """SHA-256 of all that decides a run: its scenario, and the text of every rule, task and import from outside the package that it needs."""
    whole = hashlib.sha256(scenario.fingerprint().encode())
    for about, _ in needed(scenario):
        whole.update(f"\n{about.kind} {about.name} {about.sha256}".encode())
    return whole.hexdigest()


class Entry(Model):
    """A run of a study in its index; `id` as in identity()."""

    labels: dict[str, bool | int | float | str]
    seed: int
    id: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")]
    scenario: str
    rule: str
    why: str = ""


def cells(study: Study, beside: Path | None = None) -> list[Cell]:
    """All runs of a study, in order; scenario files are looked for `beside` it. Raises ScenarioError if none can be run, with the reason of the first."""
    if (runs := study.runs()) > MOST_CELLS:
        raise ScenarioError(study.name, "", f"{runs:,} runs; at most {MOST_CELLS:,}")
    made = each(study, beside)
    if all(cell.scenario is None for cell in made):
        raise ScenarioError(study.name, "", made[0].why)
    _once(study, made)
    return made


def _once(study: Study, made: Sequence[Cell]) -> None:
    """Refuse, with a ScenarioError, a combination that stands there twice: one run would count as two in each interval."""
    there: set[tuple[Any, ...]] = set()
    for cell in made:
        row = (*cell.labels.values(), cell.seed)
        if row in there:
            combination = ", ".join(f"{column} = {short(str(value))}" for column, value in cell.labels.items())
            raise ScenarioError(study.name, "vary", f"{combination}: stands there twice; each combination is run once with each seed")
        there.add(row)


def each(study: Study, beside: Path | None = None) -> list[Cell]:
    """The same of a study of which it may be that none can be run."""
    return [cell for values in study.combinations() for cell in _of(study, values, beside)]


def _of(study: Study, values: Mapping[str, Any], beside: Path | None) -> Iterator[Cell]:
    levels = [values[column] for column in study.named()]
    labels = {column: shown(values[column]) for column in study.columns()}
    under = [*study.under, *(names(values["under"]) if "under" in values else ()), *itertools.chain.from_iterable(level.under for level in levels)]
    under = [str(beside / name) if beside is not None and name.endswith(".toml") and (beside / name).is_file() else name for name in under]
    layers = [change(f"set {short(key)}", key, value) for settings in (study, *levels) for key, value in settings.set.items()]
    layers += [change(f"vary {short(key)}={short(str(values[key]))}", key, values[key]) for key in study.settings()]
    start = next((level.scenario for level in reversed(levels) if level.scenario), values.get("scenario", study.scenario))
    try:
        base = read(_file(start, beside), under, layers)
    except Exception as raised:
        error = raised if isinstance(raised, ScenarioError) else raised_in(raised)
        if error is None:
            raise
        seeds = study.seeds if isinstance(study.seeds, tuple) else range(study.seeds)
        yield from (Cell(labels, seed, None, str(error), error.key) for seed in seeds)
        return
    seeds = study.seeds if isinstance(study.seeds, tuple) else range(base.seed, base.seed + study.seeds)
    for seed in seeds:
        yield Cell(labels, seed, base.model_copy(update={"seed": seed}))  # the only key that fits whatever the others are


def _file(name: Any, beside: Path | None) -> Path:
    if not isinstance(name, str):
        raise ScenarioError("vary scenario", "", f"names or files, got {short(str(name))}")
    path = find(name)
    return beside / path if beside is not None and name not in shipped() else path


def names(value: Any) -> tuple[str, ...]:
    """The conditions of one value of `under`: a name, several in a list or joined by "+", or "none"."""
    found = tuple(value.split("+")) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else None
    if found is None or not all(isinstance(name, str) for name in found):
        raise ScenarioError("vary under", "", f'names of conditions, lists of them, or "none"; got {short(str(value))}')
    return () if found == ("none",) else found


def shown(value: Any) -> Any:
    """A value as it stands in a table: numbers and words as they are, anything else as text."""
    if isinstance(value, Variant):
        return value.name
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)):
        return value if abs(value) < WIDE else str(value)
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value):
        return "+".join(value)
    if isinstance(value, dict):
        return " ".join(f"{key}={shown(item)}" for key, item in value.items())
    return "none" if value in ((), [], None) else str(list(value) if isinstance(value, tuple) else value)


def read_study(path: Path) -> Study:
    """The study in a TOML file; raises ScenarioError with file, key and reason."""
    data = read_toml(path)
    if isinstance(data.get("vary"), dict):
        data["vary"] = dict(_flat(data["vary"]))
    if isinstance(data.get("search"), dict) and isinstance(data["search"].get("space"), dict):
        data["search"] = {**data["search"], "space": dict(_flat(data["search"]["space"]))}
    return checked({"name": path.stem, **data}, str(path))


def checked(data: Mapping[str, Any], where: str) -> Study:
    """The study in plain data; raises ScenarioError naming the first key that is wrong."""
    frozen = as_tuples(data)
    try:
        made = Study.model_validate(frozen)
    except ValidationError as error:
        raise ScenarioError(where, *first(Study, error, frozen)) from None
    if "seed" in made.vary:
        raise ScenarioError(where, "vary.seed", "seeds are said as seeds, such as seeds = [1, 2], or --seeds 1,2")
    if isinstance(made.seeds, tuple) and len({*made.seeds}) < len(made.seeds):
        raise ScenarioError(where, "seeds", f"each once, got {short(', '.join(map(str, made.seeds)))}")
    for column in made.factors:
        if column in FIXED or column in made.vary:
            raise ScenarioError(where, f"factors.{column}", "the table has another column of that name")
    for column, levels in made.named().items():
        several = [level.name for level in levels]
        if twice := next((name for name in several if several.count(name) > 1), None):
            raise ScenarioError(where, "variants" if column == "variant" else f"factors.{column}", f"two of them are called {twice}")
    return made


def varied(text: str) -> tuple[str, tuple[Any, ...]]:
    """`key=a,b,c` of the command line: the key and its values, each as TOML or a bare word; raises ScenarioError."""
    where = f"--vary {short(text)}"
    key, equals, listed = text.partition("=")
    if not equals or not key.strip() or not listed.strip():
        raise ScenarioError(where, "", "expected key=value,value,...")
    values: list[Any] = []
    for part in _parts(listed):
        try:
            values.append(tomllib.loads(f"value = {part}")["value"])
        except (ValueError, RecursionError):
            values.append(part.strip())
    return key.strip(), tuple(values)


def _parts(text: str) -> list[str]:
    """What stands between commas, those within brackets or quotes left out of account."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        quote = ("" if letter == quote else quote) if quote else (letter if letter in "\"'" else "")
        depth += 0 if quote else (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def studies() -> dict[str, Path]:
    """The studies that ship, by name."""
    return shipped("studies")


def asked(
    what: str,
    *,
    vary: Iterable[str] = (),
    seeds: str = "",
    under: Iterable[str] = (),
    settings: Iterable[Layer] = (),
    mode: str | None = None,
    trials: int | None = None,
    **more: str,
) -> tuple[Study, Path | None]:
    """The study that a command asks for, and the folder beside which its scenario's file is: one of a file, with more laid over it, or of a scenario."""
    path = _study_file(what)
    data: dict[str, Any] = {"scenario": what} if path is None else read_study(path).data()
    more_varied = [*map(varied, vary)]
    if twice := next((key for number, (key, _) in enumerate(more_varied) if key in dict(more_varied[:number])), None):
        raise ScenarioError(f"--vary {short(twice)}", "", "is given twice; all its values stand in one, with commas between them")
    data["vary"] = {**data.get("vary", {}), **dict(more_varied)}
    data["set"] = {**data.get("set", {}), **{key: value for layer in settings for key, value in leaves(layer.data)}}
    data["under"] = [*data.get("under", ()), *under]
    if seeds:
        data["seeds"] = _seeds(seeds)
    if mode:
        data["mode"] = mode
    if trials is not None:
        if not isinstance(data.get("search"), dict):
            raise ScenarioError(str(path or what), "search", "missing: a search is for a study file with a table [search] of what is searched for")
        data["search"] = {**data["search"], "trials": trials}
    data |= {key: value for key, value in more.items() if value}
    data.setdefault("name", "__".join([Path(what).stem, *(key.replace('"', "") for key in data["vary"])])[:128])
    return checked(data, str(path or what)), path.parent if path else None


def _study_file(name: str) -> Path | None:
    """The file of a study: a shipped one, or a TOML file that names a scenario; None if the name stands for a scenario."""
    if name in studies():
        return studies()[name]
    if name in shipped():
        return None
    if not (name.endswith(".toml") or "/" in name):
        raise ScenarioError(name, "", f"no shipped study or scenario of that name; {near(name, [*studies(), *shipped()])}")
    return Path(name) if isinstance(read_toml(Path(name)).get("scenario"), str) else None


def _seeds(text: str) -> int | tuple[int, ...]:
    try:
        several = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ScenarioError("--seeds", "", f"a number, or seeds with commas between them; got {short(text)}") from None
    return several if "," in text else several[0]


def leaves(data: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """A setting as layers hold it, with its dotted key."""
    for key, value in data.items():
        here = (*path, f'"{key}"' if "." in key else key)
        if isinstance(value, dict) and len(value) == 1 and "kind" not in value:
            yield from leaves(value, here)
        else:
            yield ".".join(here), value


def _flat(data: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Tables within tables as dotted keys, down to the lists of values, and the tables of a range."""
    for key, value in data.items():
        if isinstance(value, dict) and value and all(isinstance(item, (dict, list)) for item in value.values()):
            yield from _flat(value, (*path, f'"{key}"' if "." in key else key))
        else:
            yield ".".join((*path, key if not path or "." not in key else f'"{key}"')), value
