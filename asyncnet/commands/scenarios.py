"""Verbs about what there is: scenarios, their keys, rules."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import tyro

from asyncnet import api
from asyncnet.commands.shared import Brings, Flag, Settings
from asyncnet.scenario.mistakes import ScenarioError, near
from asyncnet.scenario.reading import setting
from asyncnet.text import as_json, printable


@dataclass(frozen=True)
class List(Brings):
    """List the shipped scenarios, conditions and studies, the rules and the tasks, each with one line."""

    json: Flag = False
    """Print one JSON object."""

    def __call__(self) -> int:
        from asyncnet.console import show_lists
        from asyncnet.rules import RULES
        from asyncnet.tasks import TASKS

        for registry in (RULES, TASKS):
            registry.find_all()
        rules, tasks = ({name: module.LINE for name, module in registry.items()} for registry in (RULES, TASKS))
        lists = {"scenarios": api.list_scenarios(), "conditions": api.list_conditions(), "rules": rules, "tasks": tasks, "studies": api.list_studies()}
        if self.json:
            print(as_json(lists))
        else:
            show_lists(lists, api.list_tasks())
        return 0


@dataclass(frozen=True)
class Keys(Brings):
    """Every key of a scenario: what it may be, what it is if nothing is said, and what for."""

    prefix: tyro.conf.Positional[str] = ""
    """Only keys that begin so, such as rule or links.feedback."""
    json: Flag = False
    """Print the JSON Schema of a scenario, for editors."""

    def __call__(self) -> int:
        from asyncnet.console import show_keys
        from asyncnet.scenario import reference

        if self.json:
            print(as_json(reference.json_schema(), indent=2))
            return 0
        known = list(reference.keys())
        found = [key for key in known if key.key.startswith(self.prefix)]
        if not found:
            raise ScenarioError(self.prefix, "", f"no key begins so; {near(self.prefix, dict.fromkeys(key.key for key in known))}")
        show_keys(found)
        return 0


@dataclass(frozen=True)
class Validate(Brings):
    """Check a scenario file: prints what is wrong (file, key, reason) and exits with 64, or prints "ok"."""

    file: tyro.conf.Positional[str]
    """A TOML file, or a shipped name."""
    json: Flag = False
    """Print the complete scenario, defaults included, as one JSON object."""

    def __call__(self) -> int:
        made = api.validate(self.file)
        print(as_json(made.data()) if self.json else f"{self.file}: ok")
        return 0


@dataclass(frozen=True)
class CheckRule(Brings):
    """Try what a rule has to keep to, on small teams: that it learns, repeats, can be cut, copied and replayed; exits with 1 if something does not hold."""

    name: tyro.conf.Positional[str]
    """A file with a rule (docs/rules.md), or the name of one."""
    set: Settings = field(default_factory=list)
    """Change one setting, such as rule.learning_rate=0.1; may be given several times."""
    json: Flag = False
    """Print one JSON object."""

    def __call__(self) -> int:
        from asyncnet.kernels.kernel import telling
        from asyncnet.rules import RULES, contract
        from asyncnet.scenario.outside import register

        name = self.name
        if name.endswith(".py") or "/" in name:
            name = register(name, "rule").NAME
        if RULES.find(name) is None:
            raise ScenarioError(name, "", f"no rule of that name; {near(name, RULES)}")

        def told(finding: contract.Finding) -> None:
            if not self.json:
                verdict = {True: "holds", False: "BROKEN", None: "left out"}[finding.holds]
                print(printable(f"{verdict:9} {finding.claim} ({finding.why or f'in {finding.tried} setting' + 's' * (finding.tried != 1)})"), flush=True)

        with telling(lambda text: print(text, file=sys.stderr, flush=True)):
            found = contract.check(name, [setting(text) for text in self.set], told)
        broken = sum(finding.holds is False for finding in found)
        if self.json:
            print(as_json({"rule": name, "broken": broken, "claims": [finding._asdict() for finding in found]}))
        else:
            left = sum(finding.holds is None for finding in found)
            print(f"{name}: {len(found) - broken - left} claims hold, {broken} broken, {left} left out")
        return 1 if broken else 0
