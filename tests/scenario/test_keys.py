"""Every key that a scenario may have is listed with what it is for, from the model that checks it; and the JSON Schema takes what ships."""

import json

import jsonschema
import pytest

import asyncnet
from asyncnet.scenario import reference
from asyncnet.scenario.reading import Layer, change, read_toml, shipped

KEYS, SCHEMA = list(reference.keys()), reference.json_schema()


def leaves(data, path=()):
    for key, value in data.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for item in value:
                yield from leaves(item, (*path, key))
        else:
            yield ".".join((*path, key))


@pytest.mark.parametrize("name", sorted(asyncnet.list_scenarios()))
def test_every_key_that_a_shipped_scenario_has_is_listed(name):
    known = {key.key for key in KEYS}
    for key in leaves(asyncnet.load(name).data()):
        named = key.replace("actor.", "actor_")
        parts = ['"NODE"' if index == 1 and parts[0] == "clocks" else part for parts in [named.split(".")] for index, part in enumerate(parts)]
        tags = parts[-1] in ("kind", "name") and len(parts) > 1
        assert tags or ".".join(parts) in known or ".".join(parts[:-1]) in known, key


def test_a_key_says_what_it_may_be_what_it_is_and_of_which_table():
    found = {(key.key, key.of): key for key in KEYS}
    assert found["network.timeout", ""].what == "whole number >= 1 <= 1e+06"
    assert found["network.timeout", ""].default == "4"
    assert found["network.timeout", ""].description == "own ticks a node waits for missing inputs"
    assert found["task.world.interval", ""].default == "", "it has to be said"
    assert found["task.k", "multiplexer"].description == "address bits; inputs: k + 2^k"
    assert found['clocks."NODE".jitter', "periodic, straggler"].default == "0.0"
    assert ("rule.optimizer.beta", "rmsprop") in found
    assert {key.of for key in KEYS if key.key == "links.feedback.delay.mean"} == {"exponential, lognormal, normal"}


def test_most_keys_say_what_they_are_for():
    silent = [key.key for key in KEYS if not key.description]
    assert len(silent) < 0.1 * len(KEYS), silent


def test_the_command_lists_keys_and_prints_the_schema(command):
    code, out, _ = command("keys", "network.t")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["key", "network.timeout"]
    assert "did you mean network.timeout?" in command("keys", "network.timeot")[2]
    schema = json.loads(command("keys", "--json")[1])
    assert schema == json.loads(json.dumps(reference.json_schema()))
    assert schema["properties"]["tick"]["maximum"] == 10**6


def test_the_schema_for_editors_takes_every_file_that_ships_as_it_is_written():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    editor = jsonschema.Draft202012Validator(SCHEMA)
    wrong = {name: [error.message for error in editor.iter_errors(read_toml(path))] for name, path in shipped().items()}
    assert {name: said for name, said in wrong.items() if said} == {}
    assert len(wrong) > 20


@pytest.mark.parametrize(
    ("key", "value"),
    [("task.k", "three"), ("task.kk", 3), ("links.default", 0.5), ("links.feedback.delay", -1), ("rule.learning_rate", ["fast"]), ("tick", 0)],
)
def test_the_schema_for_editors_refuses_what_a_run_would_refuse(key, value):
    editor = jsonschema.Draft202012Validator(SCHEMA)
    whole = Layer("", read_toml(shipped()["multiplexer3-weight-max"]))
    assert editor.is_valid(whole.data)
    assert not editor.is_valid(change("", key, value).over(whole.data))
    with pytest.raises(asyncnet.ScenarioError):
        asyncnet.load("multiplexer3-weight-max").replace({key: value})
