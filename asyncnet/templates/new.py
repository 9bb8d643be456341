"""A file of a user's own that works as it is: a scenario, a study or a rule to begin with."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from asyncnet.rules import RULES, value
from asyncnet.runs import durable
from asyncnet.scenario.mistakes import ScenarioError, near, short
from asyncnet.scenario.reading import read_toml, shipped
from asyncnet.scenario.reference import keys
from asyncnet.studies.study import Study
from asyncnet.templates.annotated import annotated
from asyncnet.text import in_a_line

Kind = Literal["scenario", "study", "rule"]
SUFFIX = {"scenario": ".toml", "study": ".toml", "rule": ".py"}
LIKE = "multiplexer3-weight-max"
RULE = Path(__file__).with_name("rule.py")
RULE_NAME = "reinforce-baseline"  # as rule.py has it
EXAMPLE: dict[str, Any] = {
    "question": "How late may feedback come, with credit by stamp and by trace?",
    "expect": "credit by stamp does not mind; a trace has forgotten which sample it is about",
    "scenario": LIKE,
    "seeds": 5,
    "set": {"task.decisions": 20_000},
    "vary": {"links.feedback.delay": [0, 5, 20]},
    "variants": [
        {"name": "credit by stamp", "set": {"rule.credit": "stamped"}},
        {"name": "credit by a trace over decisions", "set": {"rule.credit": "trace", "rule.lambda": 0.5}},
    ],
}


def new(kind: Kind, name: str | Path, like: str = "") -> Path:
    """Write a file to begin with and return its path: NAME.toml (NAME.py for a rule), in the folder that the name says.

    A scenario is `like` one that ships, a study `like` one that ships. Raises ScenarioError, and writes nothing, if there is such a file or name already.
    """
    if kind not in SUFFIX:
        raise ScenarioError(short(str(kind)), "", f"no kind of file; {near(str(kind), SUFFIX)}")
    suffix = SUFFIX[kind]
    path = Path(str(name).removesuffix(suffix))
    if not re.fullmatch("[a-z][a-z0-9_-]{0,63}" if kind == "rule" else "[A-Za-z0-9][A-Za-z0-9_=-]{0,63}", path.name):
        raise ScenarioError(
            short(str(name)),
            "",
            "a name has at most 64 letters, digits, - and _"
            + (", begins with a letter and has no capitals" if kind == "rule" else ", or =, and begins with a letter or digit"),
        )
    name = path.name.replace("_", "-") if kind == "rule" else path.name
    if name in {"scenario": shipped(), "study": shipped("studies"), "rule": RULES}[kind]:
        raise ScenarioError(name, "", f"a {kind} of that name ships with asyncnet; choose another")
    if kind == "rule" and like:
        raise ScenarioError("--like", "", "is for scenarios and studies; every rule begins as that of docs/rules.md")
    text = {"scenario": _scenario, "study": _study, "rule": _rule}[kind](name, like)
    made = path.with_name((name.replace("-", "_") if kind == "rule" else name) + suffix)
    _write(made, text)
    return made


def commands(kind: Kind, path: Path) -> list[str]:
    """What to do with such a file next."""
    if kind == "rule":
        return [
            shlex.join(["asyncnet", "check-rule", str(path)]),
            shlex.join(
                ["asyncnet", "run", LIKE, "--rule", str(path), "--set", f"rule.name={rule_name(path)}", "--set", "rule.learning_rate=0.01"],
            ),
        ]
    if kind == "study":
        return [shlex.join(["asyncnet", "sweep", str(path)]), shlex.join(["asyncnet", "report", f"sweeps/{path.stem}"])]
    return [shlex.join(["asyncnet", verb, str(path)]) for verb in ("explain", "run")]


def rule_name(path: Path) -> str:
    """The name of a rule that was written to this file."""
    return path.stem.replace("_", "-")


def _scenario(name: str, like: str) -> str:
    data = read_toml(_shipped(like or LIKE))
    if "critic" in data:
        data["critic"] = {"name": value.NAME, **data["critic"]}
    said = f"# {name}: begins as {like or LIKE} does. `asyncnet validate` says what is wrong with it, `asyncnet keys` what else may stand here.\n"
    return said + annotated(data, keys(), "asyncnet keys")


def _study(name: str, like: str) -> str:
    data = read_toml(_shipped(like, "studies")) if like else EXAMPLE
    said = f"# {name}: a study; every combination is run with every seed. Settings are dotted keys, as for --set: `asyncnet keys` lists them.\n"
    return said + annotated(data, keys(Study))


def _rule(name: str, like: str) -> str:
    return RULE.read_text().replace(RULE_NAME, name)


def _shipped(name: str, kind: str = "") -> Path:
    known = shipped(kind)
    if name not in known:
        raise ScenarioError(f"--like {short(name)}", "", f"no {'study' if kind else 'scenario'} of that name ships; {near(name, known)}")
    return known[name]


def _write(path: Path, text: str) -> None:
    """Write a new file, whole or not at all."""
    try:
        if not path.parent.is_dir():
            durable.make(path.parent)
    except OSError as error:
        raise ScenarioError(str(path.parent), "", in_a_line(error)) from None
    try:
        descriptor = durable.create(path)
    except FileExistsError:
        raise ScenarioError(str(path), "", "is there already, and stays as it is") from None
    except OSError as error:
        raise ScenarioError(str(path), "", in_a_line(error)) from None
    try:
        durable.append(descriptor, text.encode())
    except OSError as error:
        with suppress(OSError):
            durable.discard(path)
        raise ScenarioError(str(path), "", in_a_line(error)) from None
    finally:
        os.close(descriptor)
