"""A bad scenario is refused in one line that names file, key and reason, before anything is started or written."""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import hypothesis.strategies as st
import pytest
import tomli_w
from hypothesis import given, settings

from asyncnet import cli
from asyncnet.api import load
from asyncnet.scenario.mistakes import short
from asyncnet.scenario.reading import LARGEST_FILE, Layer, setting
from asyncnet.scenario.schema import Scenario, ScenarioError, check, laid
from support.small import GONE, merged, small

CARTPOLE = {"task": {"name": "gymnasium", "id": "CartPole-v1", "k": GONE, "decisions": 100}, "network": {"output": "softmax"}}
CRITIC = {"hidden": [4], "learning_rate": 0.01}


class Bad(NamedTuple):
    """A mistake, what it is laid over, and what its message must say: the dotted key and part of the reason."""

    id: str
    key: str
    why: str
    changes: Mapping[str, Any] = MappingProxyType({})  # laid over the small scenario
    raw: bytes | None = None  # the whole file instead
    under: tuple[str, ...] = ()
    set: tuple[str, ...] = ()
    where: str = "bad.toml"  # the file or option named
    name: str = "bad.toml"  # what is asked for; a name ending in .toml is looked for in the test's folder


def task(**changes: Any) -> dict[str, Any]:
    return {"task": changes}


def world(**changes: Any) -> dict[str, Any]:
    return {"task": {"world": changes}}


def network(**changes: Any) -> dict[str, Any]:
    return {"network": changes}


def rule(**changes: Any) -> dict[str, Any]:
    return {"rule": changes}


def clock(**changes: Any) -> dict[str, Any]:
    return {"clocks": {"default": changes}}


def links(**changes: Any) -> dict[str, Any]:
    return {"links": changes}


def gym(**changes: Any) -> dict[str, Any]:
    return merged(CARTPOLE, changes)


GOOD_TEXT = tomli_w.dumps(small()).encode()

BAD = [
    # unknown keys, one for each table
    Bad("unknown key at the top", "lenght", "unknown key; there are name, question, seed", {"lenght": 3}),
    Bad("unknown key in task", "task.colour", "unknown key", task(colour="red")),
    Bad("unknown key in the world", "task.world.wait", "did you mean waits?", world(wait=True)),
    Bad("unknown key in network", "network.layers", "unknown key", network(layers=[3])),
    Bad("unknown key in rule", "rule.rate", "unknown key", rule(rate=0.1)),
    Bad("unknown key in critic", "critic.unit", "unknown key", {"critic": {**CRITIC, "unit": 3}}),
    Bad("unknown key in a clock", "clocks.default.speed", "unknown key", clock(speed=2.0)),
    Bad("unknown channel in links", "links.rewards", "did you mean reward?", links(rewards={"delay": 1.0})),
    Bad("unknown key in a condition", "links.reward.drop", "unknown key", links(reward={"drop": 0.1})),
    Bad("unknown key in a delay", "links.reward.delay.max", "unknown key", links(reward={"delay": {"kind": "constant", "value": 1.0, "max": 2.0}})),
    Bad("a setting of another rule's task", "task.k", "unknown key", gym(task={"k": 2})),
    # missing keys
    Bad("no seed", "seed", "missing", {"seed": GONE}),
    Bad("no task", "task", "missing", {"task": GONE}),
    Bad("no world", "task.world", "missing", {"task": {"world": GONE}}),
    Bad("no learning rate", "rule.learning_rate", "missing", rule(learning_rate=GONE)),
    Bad("a clock without its kind", "clocks.default", "needs kind = on-arrival | periodic | poisson | straggler", clock(kind=GONE)),
    # wrong types
    Bad("string for a number", "tick", "whole number", {"tick": "fast"}),
    Bad("float for a count", "task.decisions", "whole number", task(decisions=30.0)),
    Bad("bool for a number", "task.world.interval", "number", world(interval=True)),
    Bad("bool for a count", "task.k", "whole number", task(k=True)),
    Bad("bool for a delay", "links.default.delay", "a number of ticks or a table with kind = constant | uniform", links(default={"delay": True})),
    Bad("number for a bool", "task.world.waits", "true or false", world(waits=0)),
    Bad("number for a table", "links", "must be a table, got 3", {"links": 3}),
    Bad("number for a name", "rule", "name", rule(name=7)),
    Bad("number for a list", "network.hidden", "a list of whole numbers", network(hidden=8)),
    Bad("list for a number", "seed", "whole number", {"seed": [1]}),
    Bad("date for a number", "tick", "whole number", raw=GOOD_TEXT.replace(b"tick = 1000", b"tick = 2020-02-02")),
    # numbers out of range
    Bad("NaN for a delay", "links.default.delay", "finite", links(default={"delay": math.nan})),
    Bad("infinite delay", "links.default.delay", "", links(default={"delay": math.inf})),
    Bad("NaN for a learning rate", "rule.learning_rate.1", "finite", rule(learning_rate=[0.1, math.nan, 0.1])),
    Bad("infinite period", "clocks.default.period", "", clock(period=math.inf)),
    Bad("negative period", "clocks.default.period", "greater than 0", clock(period=-1.0)),
    Bad("zero period", "clocks.default.period", "greater than 0", clock(period=0.0)),
    Bad("jitter 2", "clocks.default.jitter", "less than or equal to 1", clock(jitter=2.0)),
    Bad("drift 1", "clocks.default.drift", "less than 1", clock(drift=1.0)),
    Bad("a straggler that is faster", "clocks.default.slow", "greater than or equal to 1", clock(kind="straggler", slow=0.5)),
    Bad("loss 1.5", "links.activity.loss", "less than or equal to 1", links(activity={"loss": 1.5})),
    Bad("negative loss", "links.activity.loss", "greater than or equal to 0", links(activity={"loss": -0.1})),
    Bad("negative delay", "links.reward.delay", "greater than or equal to 0", links(reward={"delay": -0.5})),
    Bad("uniform delay upside down", "links.reward.0.delay.high", "below low", links(reward={"delay": {"kind": "uniform", "low": 2.0, "high": 1.0}})),
    Bad("second condition wrong", "links.feedback.1.loss", "less than or equal to 1", links(feedback=[{"delay": 1.0}, {"loss": 2.0}])),
    Bad("negative stale", "links.reward.stale", "greater than or equal to 0", links(reward={"stale": -1})),
    Bad("retry at once", "links.retry", "greater than 0", links(retry=0.0)),
    Bad("tick 0", "tick", "greater than or equal to 1", {"tick": 0}),
    Bad("negative seed", "seed", "greater than or equal to 0", {"seed": -1}),
    Bad("seed too large for a float", "seed", "less than", {"seed": 2**53}),
    Bad("seed as a string", "seed", "whole number", {"seed": "1"}),
    Bad("seed of a thousand digits", "seed", "less than", raw=GOOD_TEXT.replace(b"seed = 1", b"seed = 0x" + b"f" * 5000)),
    Bad("discount above 1", "task.gamma", "less than or equal to 1", task(gamma=1.01)),
    Bad("no streams", "task.streams", "greater than or equal to 1", task(streams=0)),
    Bad("no decisions", "task.decisions", "greater than or equal to 1", task(decisions=0)),
    Bad("interval 0", "task.world.interval", "greater than 0", world(interval=0.0)),
    Bad("seven address bits", "task.k", "less than or equal to 6", task(k=7)),
    Bad("negative learning rate", "rule.learning_rate.0", "greater than or equal to 0", rule(learning_rate=[-0.1, 0.1, 0.1])),
    Bad("temperature 0", "rule.temperature", "must be positive", rule(temperature=0.0)),
    Bad("beta 1", "rule.optimizer.beta1", "less than 1", rule(optimizer={"beta1": 1.0})),
    Bad("unknown optimiser", "rule.optimizer", "rmsprop", rule(optimizer={"name": "rmprop"})),
    # names that stand for nothing
    Bad("unknown rule", "rule", "weight-max", rule(name="weight-min")),
    Bad("unknown task", "task", "multiplexer", task(name="chess")),
    Bad("unknown kind of clock", "clocks.default", "periodic", clock(kind="cuckoo")),
    Bad("unknown kind of delay", "links.default.delay", "lognormal", links(default={"delay": {"kind": "gamma", "mean": 1.0}})),
    Bad("unknown units", "network.units", "bernoulli", network(units="relu")),
    Bad("unknown split", "network.split", "layer | unit or a whole number", network(split="neuron")),
    Bad("split 0", "network.split", "greater than or equal to 1", network(split=0)),
    Bad("unknown lateness", "task.world.late", "withhold", world(late="ignore")),
    Bad("a clock for nobody", 'clocks."actor.9"', "did you mean actor.", {"clocks": {"actor.9": {"kind": "on-arrival"}}}),
    Bad("a clock for nobody near", 'clocks."zzz"', "there are actor.1, actor.2, actor.3", {"clocks": {"zzz": {"kind": "on-arrival"}}}),
    Bad("a clock whose name lacks its quotes", "clocks.actor", 'clocks."actor.1"', {"clocks": {"actor": {"1": {"kind": "on-arrival"}}}}),
    Bad("a word for a delay", "links.default.delay", "a number of ticks or a table", links(default={"delay": "soon"})),
    Bad("a word for rates", "rule.learning_rate", "a number or a list of numbers, got 'fast'", rule(learning_rate="fast")),
    Bad("a rule nearly named", "rule", "did you mean weight-max?", rule(name="weightmax")),
    Bad("units of one layer of two", "network.units", "1 values for 2 hidden layers", network(units=["sign"])),
    Bad("units of a layer that the rule is not made for", "network.units", "bernoulli or sign units, got relu", network(units=["sign", "relu"])),
    Bad("units nearly named", "network.units", "did you mean softplus?", network(units="softpls")),
    Bad("a clock for the world", 'clocks."world"', "task.world.interval", {"clocks": {"world": {"kind": "on-arrival"}}}),
    Bad("a name with a slash", "name", "pattern", {"name": "../../elsewhere"}),
    # networks that cannot be
    Bad("no hidden layer", "network.hidden", "at least 1", network(hidden=[])),
    Bad("a layer without units", "network.hidden.0", "greater than or equal to 1", network(hidden=[0])),
    Bad("a layer of a million", "network.hidden.0", "less than or equal to 65536", network(hidden=[1_000_000])),
    Bad("sixteen million links", "network.split", "16008000 links", network(hidden=[4000, 4000], split="unit")),
    Bad("a cycle", 'network.inputs."actor.1"', "cyclic", network(inputs={"actor.1": ["actor.2"]})),
    Bad("a layer that hears itself", 'network.inputs."actor.2"', "cyclic", network(inputs={"actor.2": ["actor.2"]})),
    Bad("a source that is not there", 'network.inputs."actor.2"', "actor.7", network(inputs={"actor.2": ["actor.7"]})),
    Bad("inputs of a layer that is not there", 'network.inputs."actor.7"', "no layer", network(inputs={"actor.7": ["observation"]})),
    Bad("a source named twice", 'network.inputs."actor.2"', "once", network(inputs={"actor.2": ["actor.1", "actor.1"]})),
    Bad("no source", 'network.inputs."actor.2"', "at least one", network(inputs={"actor.2": []})),
    Bad("a layer nobody hears", "network.inputs", "nobody hears actor.1", network(inputs={"actor.2": ["observation"]})),
    Bad("rates for another number of layers", "rule.learning_rate", "2 values for 3 layers", rule(learning_rate=[0.1, 0.1])),
    Bad("rates for another critic", "critic.learning_rate", "3 values for 2 layers", gym(critic={**CRITIC, "learning_rate": [0.1, 0.1, 0.1]})),
    Bad("no learning rate at all", "rule.learning_rate", "at least 1", rule(learning_rate=[])),
    # what does not go together
    Bad("decisions and episodes", "task", "either decisions or episodes", gym(task={"episodes": 5})),
    Bad("neither decisions nor episodes", "task", "either decisions or episodes", task(decisions=GONE)),
    Bad("a multiplexer with episodes", "task.episodes", "no episodes", task(decisions=GONE, episodes=5)),
    Bad("grade-by-stamp for a sequential task", "task.world.late", "independent questions", gym(task={"world": {"late": "grade-by-stamp"}})),
    Bad("withhold in a waiting world", "task.world.late", "never sees a late action", world(waits=True, late="withhold")),
    Bad("one unit for three actions", "network.output", "this task has 3", gym(task={"id": "Acrobot-v1"}, network={"output": "bernoulli"})),
    # environments
    Bad("unknown environment", "task.id", "Did you mean: `CartPole`", gym(task={"id": "CartPool-v1"})),
    Bad("an old version of an environment", "task.id", "deprecated", gym(task={"id": "Pendulum-v0"})),
    Bad("a version nobody has made", "task.id", "v99", gym(task={"id": "CartPole-v99"})),
    Bad("not a name of an environment", "task.id", "Malformed", gym(task={"id": "a b"})),
    Bad("a module that is not there", "task.id", "imports a module", gym(task={"id": "no_such_module_anywhere:CartPole-v1"})),
    Bad("an environment that needs more", "task.id", "gymnasium[mujoco]", gym(task={"id": "Ant-v5"})),
    Bad("a relative module", "task.id", "", gym(task={"id": ".:CartPole-v1"})),
    Bad("continuous actions", "network.output", "real-valued", gym(task={"id": "Pendulum-v1"})),
    Bad("discrete observations", "task.id", "", gym(task={"id": "FrozenLake-v1"})),
    # files
    Bad("2 MiB", "", "larger than", raw=b"#" * (2 << 20)),
    Bad("not UTF-8", "", "not UTF-8", raw=b"name = '\xff\xfe'\n"),
    Bad("not TOML", "", "not TOML", raw=b"seed: 1\n"),
    Bad("empty", "seed", "missing", raw=b""),
    Bad("nothing but NUL", "", "not TOML", raw=b"\0" * 100),
    Bad("5000 lists deep", "", "deep", raw=b"x = " + b"[" * 5000 + b"]" * 5000),
    Bad("2000 tables deep", "", "deep", raw=b"x" + b".x" * 2000 + b" = 1\n" + GOOD_TEXT),
    Bad("a number of 5000 digits", "", "digits", raw=b"seed = " + b"9" * 5000),
    Bad("line breaks and colours in a key", r"a\nb\x1b[31m", "unknown key", raw=b'"a\\nb\\u001b[31m" = 1\n' + GOOD_TEXT),
    Bad("missing file", "", "No such file", name="absent.toml", where="absent.toml"),
    Bad("a folder", "", "directory", name="folder.toml", where="folder.toml"),
    Bad("unknown shipped name", "", "did you mean cartpole-free?", name="cartpole-fre", where="cartpole-fre"),
    Bad("a shipped name like nothing", "", "there are ", name="zzzzzz", where="zzzzzz"),
    Bad("a path for a name", "", "No such file", name="../cartpole-free", where="../cartpole-free"),
    # options
    Bad("unknown condition", "", "did you mean lossy?", under=("losy",), where="losy"),
    Bad("a condition that is not there", "", "No such file", under=("./nowhere.toml",), where="nowhere.toml"),
    Bad("--set without =", "", "expected key=value", set=("seed",), where="--set seed"),
    Bad("--set without a key", "", "expected key=value", set=("=3",), where="--set =3"),
    Bad("--set with half a value", "", "TOML", set=('seed="1', "seed=2"), where="--set seed="),
    Bad("--set of an unknown key", "rule.bogus", "unknown key", set=("rule.bogus=1",), where="--set rule.bogus=1"),
    Bad("--set of a key nearly named", "links.reward.dely", "did you mean delay?", set=("links.reward.dely=1",), where="--set links.reward.dely=1"),
    Bad("--set of a wrong type", "seed", "whole number", set=("tick=10", "seed=many", "tick=20"), where="--set seed=many"),
    Bad("--set of a rule that is not there", "rule", "weight-max", set=("rule.name=weight-min",), where="--set rule.name=weight-min"),
    Bad("--set of what the rest cannot bear", "rule.learning_rate", "3 values for 2", set=("network.hidden=[3]",), where="--set network.hidden=[3]"),
    Bad("--set beside a mistake of the file", "tick", "whole number", {"tick": "fast"}, set=("seed=2",)),
    Bad("--set of a key without quotes", "clocks.actor", 'clocks."actor.1"', set=("clocks.actor.1.kind=periodic",), where="--set clocks.actor"),
    Bad("--set of two keys", "", "TOML", set=("seed=1\nname=2",), where="--set seed=1"),
    Bad("--set of no key", "", "not a dotted key", set=("a b=3",), where="--set a b=3"),
    Bad("--set of 5000 digits", "seed", "", set=("seed=" + "9" * 5000,), where="--set seed=999"),
    Bad("--set 2000 tables deep", "", "deep", set=("x" + ".x" * 2000 + "=1",), where="--set x.x"),
    Bad("--set over two lines", "", r"--set a\nb", set=("a\nb",), where="--set"),
    Bad("a condition with a mistake", "links.reward.los", "did you mean loss?", under=("condition.toml",), set=("seed=2",), where="condition.toml"),
]
EACH = pytest.mark.parametrize("bad", BAD, ids=[bad.id.replace(" ", "-") for bad in BAD])


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Writes a bad scenario's file; returns what to ask for."""

    def write(bad: Bad) -> str:
        (tmp_path / "folder.toml").mkdir(exist_ok=True)
        (tmp_path / "condition.toml").write_text('line = "Rewards are lost."\n[links.reward]\nlos = 0.1\n')
        monkeypatch.chdir(tmp_path)
        (tmp_path / "bad.toml").write_bytes(tomli_w.dumps(small(**bad.changes)).encode() if bad.raw is None else bad.raw)
        return str(tmp_path / bad.name) if bad.name.endswith(".toml") else bad.name

    return write


def says(line: str, bad: Bad) -> bool:
    return len(line.splitlines()) == 1 and line.isprintable() and bad.where in line and f"{bad.key}: " in f"{line}: " and bad.why in line


@EACH
def test_a_bad_scenario_is_refused_in_one_line_with_file_key_and_reason(bad, asked):
    name = asked(bad)
    with pytest.raises(ScenarioError) as caught:
        load(name, bad.under, bad.set)
    assert says(str(caught.value), bad), str(caught.value)
    assert caught.value.why


def command_line(bad: Bad, name: str) -> list[str]:
    return ["run", name, *(f"--under={text}" for text in bad.under), *(word for text in bad.set for word in ("--set", text))]


@pytest.fixture
def nothing_starts(monkeypatch, signals_as_they_were):
    """Whatever starts a process or imports ray fails the test."""

    def start(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a process was started: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(os, "fork", start)
    monkeypatch.setitem(sys.modules, "ray", None)  # import ray raises ImportError


@pytest.mark.usefixtures("nothing_starts")
@EACH
def test_the_command_says_the_same_with_exit_code_64_and_starts_nothing(bad, asked, capsys, tmp_path):
    out = tmp_path / "runs"
    with pytest.raises(SystemExit) as stop:
        cli.main([*command_line(bad, asked(bad)), "--engine", "ray", "--out", str(out)])
    said = capsys.readouterr()
    assert stop.value.code == 64
    assert said.out == ""
    assert says(said.err.removesuffix("\n"), bad), said.err
    assert "Traceback" not in said.err
    assert not out.exists()


ALONE = """
import atexit, json, os, subprocess, sys
started = []
sys.addaudithook(lambda event, arguments: started.append(event) if event in ("subprocess.Popen", "os.fork", "os.exec", "os.posix_spawn") else None)
atexit.register(lambda: os.write(int(sys.argv[1]), json.dumps([started, "ray" in sys.modules, "zmq" in sys.modules]).encode()))
from asyncnet.cli import main
main(sys.argv[2:])
"""
ONES = ["unknown key in rule", "a cycle", "continuous actions", "not UTF-8", "unknown condition"]


@pytest.mark.parametrize("bad", [bad for bad in BAD if bad.id in ONES], ids=lambda bad: bad.id.replace(" ", "-"))
def test_a_process_of_its_own_says_it_in_one_line_without_ray_or_a_child(bad, asked, tmp_path):
    read, write = os.pipe()
    arguments = [*command_line(bad, asked(bad)), "--engine", "ray", "--out", str(tmp_path / "runs")]
    done = subprocess.run([sys.executable, "-c", ALONE, str(write), *arguments], capture_output=True, text=True, timeout=60, pass_fds=(write,), check=False)
    os.close(write)
    with os.fdopen(read) as pipe:
        started, ray, zmq = json.loads(pipe.read())
    assert (done.returncode, done.stdout) == (64, ""), done.stderr
    assert done.stderr.endswith("\n")
    assert says(done.stderr[:-1], bad), done.stderr
    assert (started, ray, zmq) == ([], False, False)
    assert not (tmp_path / "runs").exists()


def test_a_file_without_end_is_read_no_further_than_the_limit():
    with pytest.raises(ScenarioError, match=f"larger than {LARGEST_FILE} bytes"):
        load("/dev/zero")


def test_a_path_that_no_file_can_have_is_refused():
    with pytest.raises(ScenarioError, match="null byte"):
        load("a\0b.toml")


def test_the_scenario_that_is_spoilt_here_is_sound():
    assert isinstance(check(small(), "small"), Scenario)
    assert isinstance(check(small(**CARTPOLE), "small"), Scenario)
    assert isinstance(check(small(**gym(critic=CRITIC)), "small"), Scenario)
    assert len({bad.id for bad in BAD}) == len(BAD) >= 40


# Random damage. Values that are huge and sound are left out: a team of a million units is allowed to take its time.
JUNK = st.one_of(
    st.sampled_from(
        [math.nan, math.inf, -math.inf, -1, -1.0, 1e308, 10**400, -(10**400), 2**63, "", "x", "a\nb", True, None, [], {}, [[]], [None], {"kind": "x"}]
    ),
    st.floats(),
    st.integers(max_value=0),
    st.text(max_size=8),
    st.lists(st.one_of(st.text(max_size=3), st.floats(), st.booleans()), max_size=3),
    st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=3), st.floats(), st.integers()), max_size=3),
    st.binary(max_size=4),
)
RICH = small(
    **CARTPOLE,
    critic={**CRITIC, "lambda": 0.5},
    clocks={
        "default": {"kind": "periodic", "period": 1.0, "jitter": 0.1, "drift": 0.1},
        "actor.1": {"kind": "straggler", "period": 1.0, "slow": 3.0, "start": 1.0, "stop": 9.0},
        "critic": {"kind": "poisson", "period": 2.0},
    },
    links={
        "default": [{"delay": {"kind": "uniform", "low": 0.1, "high": 0.2}}, {"loss": 0.1}],
        "reward": {"delay": {"kind": "lognormal", "mean": 1.0, "sigma": 0.5}, "stale": 2, "reliable": True},
        "retry": 3.0,
    },
)


def places(data: Any, path: tuple = ()) -> list[tuple]:
    """The path of every value inside, tables and lists included."""
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [at for key, value in inside for at in ((*path, key), *places(value, (*path, key)))]


def damaged(data: Any, path: tuple, how: str, junk: Any) -> Any:
    """A copy in which the value at `path` is replaced, taken away, or has gained a neighbour."""
    key, rest = path[0], path[1:]
    copy = dict(data) if isinstance(data, dict) else list(data)
    if rest:
        copy[key] = damaged(data[key], rest, how, junk)
    elif how == "replace":
        copy[key] = junk
    elif how == "delete":
        del copy[key]
    elif isinstance(copy, dict):
        copy[f"{key}x"] = junk
    else:
        copy.append(junk)
    return copy


FOREIGN = re.compile(r"Input should|valid|discriminator|pydantic|dictionary|instance|tuple|literal|\btag\b|constrained|extra_forbidden|Traceback")


def in_plain_words(error: ScenarioError, where: str) -> None:
    """One line of where, key and reason, in the words of a scenario and not in those of the library that checked it."""
    assert str(error).startswith(f"{where}: "), str(error)
    assert str(error).isprintable()
    assert error.key
    assert error.why
    assert not FOREIGN.search(re.sub(r"""got ('[^']*'|"[^"]*")""", "", error.why)), str(error)  # a value that is repeated may be any word


@settings(max_examples=400)
@given(st.data())
def test_random_damage_gives_a_scenario_or_a_scenario_error_and_nothing_else(data):
    broken = RICH
    for _ in range(data.draw(st.integers(1, 3), "wounds")):
        at = places(broken)
        if at:
            broken = damaged(broken, *data.draw(st.tuples(st.sampled_from(at), st.sampled_from(["replace", "delete", "add"]), JUNK)))
    try:
        made = check(broken, "file.toml")
    except ScenarioError as error:
        made, refused = None, error
    if made is None:
        in_plain_words(refused, "file.toml")
    else:
        assert check(made.data(), "again") == made


KEYS = sorted({".".join(f'"{part}"' if "." in str(part) else str(part) for part in path if not isinstance(part, int)) for path in places(RICH)})
WORDS = ["fast", "-1", "nan", "1e400", "9" * 400, "true", "[]", "[[1]]", "{ kind = 1 }", '{ kind = "x" }', '""', '"a b"', "1979-05-27", "'"]


@settings(max_examples=200)
@given(st.sampled_from(KEYS), st.sampled_from(["", "", "", "x", ".x", ".1", '."a.b"']), st.one_of(st.sampled_from(WORDS), st.text(max_size=6)))
def test_a_random_setting_gives_a_scenario_or_an_error_that_names_the_setting(key, more, value):
    text = f"{key}{more}={value}"
    where = str(ScenarioError(f"--set {short(text)}", "", "")).removesuffix(": ")
    refused = None
    try:
        laid(Layer("file.toml", RICH), [Layer("before", {"seed": 3}), setting(text), Layer("after", {"tick": 999})])
    except ScenarioError as error:
        refused = error
    if refused is not None and refused.key:
        in_plain_words(refused, where)
    elif refused is not None:
        assert re.fullmatch(rf"{re.escape(where)}: (neither the value nor its quoted text is TOML|not a dotted key, .*)", str(refused))
