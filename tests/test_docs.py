"""What the documents say is so: README's commands are the ones CI runs, and the tutorial's rule works as printed."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from support.places import ROOT


def block(text, heading):
    """The first fenced block under a heading."""
    found = re.search(rf"^#+ {heading}$(.*?)(?=^#|\Z)", text, re.M | re.S)
    return re.search(r"```[a-z]*\n(.*?)```", found.group(1), re.S).group(1)


def test_readme_runs_a_scenario_that_ships_and_tests_with_pytest():
    readme = (ROOT / "README.md").read_text()
    run, test = block(readme, "Run it"), block(readme, "Test it")
    name = re.search(r"asyncnet run (\S+)", run).group(1)
    assert (ROOT / "scenarios" / f"{name}.toml").exists()
    assert test.rstrip().endswith("python -m pytest")


def test_readmes_python_example_runs_as_printed(tmp_path):
    program = block((ROOT / "README.md").read_text(), "In Python")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    reward, digest = done.stdout.split()
    assert float(reward) > 0.5  # chance is 0
    assert re.fullmatch("[0-9a-f]{12}", digest)
    assert (tmp_path / "runs" / "latest" / "summary.json").exists()


def test_every_scenario_condition_and_rule_is_in_the_readme():
    from asyncnet.rules import RULES
    from asyncnet.scenario.reading import shipped

    readme = (ROOT / "README.md").read_text()
    missing = [name for name in (*shipped(), *shipped("conditions"), *RULES) if f"`{name}`" not in readme]
    assert missing == []


@pytest.fixture(scope="module")
def checkout_with_the_tutorials_rule(tmp_path_factory):
    """A bare copy of the project with the rule of docs/rules.md put in as it tells."""
    place = tmp_path_factory.mktemp("tutorial")
    for folder in ("asyncnet", "actors", "scenarios"):
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    rule, registry = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "rules.md").read_text(), re.S)[:2]
    (place / "asyncnet" / "rules" / "reinforce_baseline.py").write_text(rule)
    init = place / "asyncnet" / "rules" / "__init__.py"
    lines = init.read_text().splitlines()
    for told in filter(None, registry.splitlines()):
        start = re.match(r"from asyncnet\.rules import |RULES = ", told).group()
        (at,) = (i for i, line in enumerate(lines) if line.startswith(start))
        lines[at] = told
    init.write_text("\n".join(lines) + "\n")
    return place


def test_the_tutorials_rule_runs_and_learns_as_printed(checkout_with_the_tutorials_rule):
    place = checkout_with_the_tutorials_rule
    program = """
import asyncnet, json
from asyncnet.api import Quiet
settings = ["rule.name=reinforce-baseline", "rule.learning_rate=0.01", "task.k=1", "task.decisions=6000", "network.hidden=[8]"]
assert "tutorial" in asyncnet.__file__, asyncnet.__file__
class Said(Quiet):
    said = []
    note = said.append
result = asyncnet.run(asyncnet.load("multiplexer3-weight-max", settings=settings), loop="readable", out=None, reporter=Said())
print(json.dumps([result.summary()["last_mean_reward"], Said.said]))
"""
    environment = {**os.environ, "PYTHONPATH": str(place), "ASYNCNET_CACHE": str(place / "cache")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=place, env=environment, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    reward, said = json.loads(done.stdout)
    assert reward > 0.5  # chance is 0
    assert "compiling sampled reinforce baseline adam" in said, "a minute of silence would be a minute of doubt"
    assert len(set(said)) == len(said)
