"""A rule, a task or a condition from outside the package is as good as one of its own, in every process of a run; what is wrong with it is said in a line."""

import json
import os
import re
import sys
import textwrap

import pytest

import asyncnet
from asyncnet.api import Quiet
from asyncnet.kernels.reach import GIVEN
from asyncnet.rules import RULES, contract
from asyncnet.runs import embedded
from asyncnet.scenario import outside
from asyncnet.scenario.schema import ScenarioError
from support.commands import started
from support.outside import RULE, USING, afterwards_as_before, using


@pytest.fixture(autouse=True)
def registries():
    with afterwards_as_before():
        yield


@pytest.fixture
def rule(tmp_path):
    path = tmp_path / "my_rule.py"
    path.write_text(RULE)
    return path


def scenario(decisions=200):
    return asyncnet.load("multiplexer3-weight-max", settings=[*USING, f"task.decisions={decisions}"])


def refused(path, kind="rule"):
    with pytest.raises(ScenarioError) as caught:
        outside.register(str(path), kind)
    assert not any(module.__name__.startswith(GIVEN) for module in RULES.values())
    return str(caught.value)


# Run, resume, replay


BAD_KINDS = {
    "_replace(machine='os')": "os is no machine: it has no FIELDS",
    "_replace(machine='nowhere')": "no module nowhere",
    "_replace(machine='..x')": "no machine '..x'",
    "_replace(hears=())": "hears no inputs",
    "_replace(says=())": "says no activity",
    "_replace(hears=(*reinforce.HIDDEN.hears, reinforce.INPUTS))": "hears one thing twice: inputs, credit, inputs",
    "_replace(hears=(reinforce.INPUTS._replace(relation='sideways'), *reinforce.HIDDEN.hears[1:]))": "port inputs: no relation 'sideways'; there are below",
    "_replace(hears=(*reinforce.HIDDEN.hears, PEERS))": "port peers: asyncnet.machines.sampled has no dimensions T and H",
    "_replace(says=(reinforce.ACTIVITIES._replace(size='B'),))": "says activity in another form than the machines send it",
}


@pytest.mark.parametrize(("change", "why"), BAD_KINDS.items(), ids=list(range(len(BAD_KINDS))))
def test_a_kind_of_node_that_cannot_be_is_refused_in_one_line(change, why, tmp_path):
    lines = [
        '"""A rule."""',
        "from typing import Literal",
        "from asyncnet.machines.gibbs import PEERS",
        "from asyncnet.rules import reinforce",
        'NAME, LINE, UNITS, OUTPUTS, FREE_LOGITS = "odd", "a rule that is odd", reinforce.UNITS, reinforce.OUTPUTS, False',
        f"HIDDEN = OUTPUT = reinforce.HIDDEN.{change}",
        "class Settings(reinforce.CoagentSettings):",
        '    name: Literal["odd"]',
        "values = reinforce.values",
    ]
    (tmp_path / "odd.py").write_text("\n".join(lines))
    with pytest.raises(ScenarioError) as caught:
        asyncnet.register(str(tmp_path / "odd.py"))
    assert "HIDDEN" in str(caught.value)
    assert why in str(caught.value)


def test_a_brought_file_that_leaves_the_process_is_refused(tmp_path):
    (tmp_path / "leaves.py").write_text("import sys; sys.exit(0)")
    with pytest.raises(ScenarioError, match="SystemExit"):
        asyncnet.register(str(tmp_path / "leaves.py"))


def test_a_rule_in_a_file_runs_is_found_compiled_by_the_next_process_and_is_verified_from_its_directory_alone(rule, tmp_path):
    words = ["run", "multiplexer3-weight-max", "--rule", rule, *using("task.decisions=300"), "--json"]
    code, out, err = started(tmp_path, *words)
    assert code == 0, err
    code, again, err = started(tmp_path, *words)
    assert code == 0, err
    assert "compiling" not in err
    assert json.loads(out)["digest"] == json.loads(again)["digest"]
    rule.unlink()
    code, out, err = started(tmp_path, "verify", "runs/latest")
    assert code == 0, err
    assert out.startswith("identical: 300 decisions")


def test_a_run_on_real_clocks_is_replayed_from_its_directory_alone(rule, tmp_path):
    words = ["run", "multiplexer3-weight-max", "--rule", rule, *using("task.decisions=40", "task.world.interval=8.0"), "--time", "wall", "--json"]
    code, _, err = started(tmp_path, *words)
    assert code == 0, err
    rule.unlink()
    code, out, err = started(tmp_path, "replay", "runs/latest")
    assert (code, out.split(":")[0]) == (0, "identical"), err


def test_an_interrupted_run_goes_on_from_its_directory_alone_to_the_same_bits(rule, tmp_path):
    outside.register(rule)
    made = scenario(5000)
    whole = asyncnet.run(made, out=None)

    class Impatient(Quiet):
        def row(self, row):
            raise KeyboardInterrupt

    begun = asyncnet.run(made, out=tmp_path / "runs", reporter=Impatient())
    assert begun.record.stopped == "interrupted"
    rule.unlink()
    code, out, err = started(tmp_path, "resume", begun.run_dir, "--json")
    assert code == 0, err
    assert json.loads(out)["digest"] == whole.record.digest


def test_run_json_tells_the_files_of_a_run_and_outside_holds_their_text(rule, tmp_path):
    outside.register(rule)
    result = asyncnet.run(scenario(), out=tmp_path / "runs", loop="readable")
    (about,) = json.loads((result.run_dir / "run.json").read_text())["outside"]
    assert (about["kind"], about["name"], about["file"]) == ("rule", "reinforce-baseline", str(rule))
    assert (result.run_dir / "outside" / f"{about['module']}.py").read_text() == RULE
    plain = asyncnet.run(asyncnet.load("multiplexer3-weight-max").replace({"task.decisions": 50}), out=tmp_path / "runs", loop="readable")
    assert json.loads((plain.run_dir / "run.json").read_text())["outside"] == []
    assert not (plain.run_dir / "outside").exists()


@pytest.mark.ray
def test_actors_get_the_text_of_a_rule_and_end_in_the_bits_of_one_process(ray_session, rule):
    from asyncnet.actors.team import run_in

    outside.register(rule)
    rule.unlink()
    made = scenario()
    assert run_in(ray_session, made, Quiet(), time="virtual").digest == embedded.run(made, Quiet()).digest


@pytest.mark.ray
def test_a_run_of_actors_with_a_rule_in_a_file_is_replayed(rule, tmp_path):
    code, _, err = started(tmp_path, "run", "multiplexer3-weight-max", "--rule", rule, *using("task.decisions=100"), "--engine", "ray")
    assert code in (0, 2), err  # how well this machine kept its clocks is not the question
    rule.unlink()
    code, out, err = started(tmp_path, "replay", "runs/latest")
    assert (code, out.split(":")[0]) == (0, "identical"), err


# Edited files, and code of others


def test_a_directory_whose_rule_was_edited_is_refused(rule, tmp_path):
    outside.register(rule)
    result = asyncnet.run(scenario(), out=tmp_path / "runs", loop="readable")
    (kept,) = (result.run_dir / "outside").iterdir()
    kept.write_text(RULE + "# edited\n")
    with pytest.raises(ScenarioError, match=r"my_rule\.py: edited since this run began"):
        asyncnet.verify(result.run_dir)


@pytest.mark.parametrize("verb", ["resume", "replay", "verify"])
def test_a_run_is_not_done_again_with_a_rule_of_another_text(verb, rule, tmp_path, command):
    with afterwards_as_before():
        outside.register(rule)
        result = asyncnet.run(scenario(), out=tmp_path / "runs", loop="readable")
    rule.write_text(RULE.replace("Setting(0.01", "Setting(0.02"))
    code, out, err = command(verb, result.run_dir, "--rule", rule)
    assert (code, out) == (64, "")
    assert "there is a rule of that name already, with another text" in err.splitlines()[-1]


def test_code_in_a_directory_that_was_never_brought_here_is_not_run_unless_trusted(rule, tmp_path, monkeypatch):
    with afterwards_as_before():
        outside.register(rule)
        result = asyncnet.run(scenario(), out=tmp_path / "runs", loop="readable")
    monkeypatch.setattr(outside, "is_known", lambda sha256: False)  # another machine
    with pytest.raises(ScenarioError, match="never run on this machine: read it, and say --trust"):
        asyncnet.verify(result.run_dir)
    assert "reinforce-baseline" not in RULES
    assert asyncnet.verify(result.run_dir, trust=True)[0]


def test_what_was_brought_once_is_known_on_this_machine(rule):
    import hashlib

    text = RULE + f"# {os.getpid()} {os.urandom(8).hex()}\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert not outside.is_known(digest)
    rule.write_text(text)
    outside.register(rule)
    assert outside.is_known(digest)


def test_the_same_text_may_be_registered_twice_and_another_of_its_name_may_not(rule, tmp_path):
    outside.register(rule)
    first = RULES["reinforce-baseline"]
    outside.register(rule)
    copy = tmp_path / "copy_of_it.py"
    copy.write_text(RULE)
    outside.register(copy)
    assert RULES["reinforce-baseline"] is first
    copy.write_text(RULE + "\n# another\n")
    with pytest.raises(ScenarioError, match=r"copy_of_it\.py: NAME = .*: there is a rule of that name already, with another text"):
        outside.register(copy)
    assert RULES["reinforce-baseline"] is first


def test_a_shipped_rule_cannot_be_replaced(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(RULE.replace("reinforce-baseline", "weight-max"))
    assert "there is a rule of that name already" in refused(path)


# Mistakes


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def learn(", "def lern(", "wrong.lern: asyncnet.machines.sampled asks for no kernel of that name, and nothing there uses it; did you mean learn?"),
        ("v.baseline[b] +=", "v.baselin[b] +=", "wrong.learn, line 48: v.baselin is no field of this node; did you mean baseline?"),
        ("NAME =", "NAMES =", "NAME: missing; a rule file says text there; is NAMES it?"),
        ('name: Literal["reinforce-baseline"]', 'name: Literal["other"]', 'Settings.name: must be declared as name: Literal["reinforce-baseline"]'),
        (', description="share of the newest reward in the running mean"', "", "Settings.horizon: has no description"),
        ("machines.sampled", "machines.sampeld", "HIDDEN.machine: no module asyncnet.machines.sampeld; did you mean asyncnet.machines.sampled?"),
        ("FREE_LOGITS = False", 'FREE_LOGITS = "no"', "FREE_LOGITS: must be True or False, got 'no'"),
        ("\nHIDDEN = OUTPUT = Kind(", "\nHIDDEN = OUTPUT = dict(a=", "line 24: SyntaxError"),
        ("\nHIDDEN = OUTPUT =", "\nOUTPUT = HIDDENS =", "HIDDEN: missing; a rule file says an asyncnet.team.ports.Kind there; is HIDDENS it?"),
        ('UNITS, OUTPUTS = ("bernoulli", "sign")', 'UNITS, OUTPUTS = "sign"', "UNITS: must be names in a tuple"),
        ("class Settings(CoagentSettings)", "class Settings", "Settings: must be a class made from"),
        ("@kernel", "@kernal", "line 41: NameError: name 'kernal' is not defined"),
        ("@kernel\n", "", "wrong.learn: is no kernel: @kernel is missing"),
        ("def values(", "def values(:", "SyntaxError"),
        ("import coagent", "import cogent", "cannot import name 'cogent'"),
        ("hears=(INPUTS, REWARD_AS_CREDIT)", 'hears=(INPUTS, "reward")', "HIDDEN: hears takes a tuple of asyncnet.team.ports.In, got 'reward'"),
        ("v, c, slot, on, feedback):", "v, c, slot, on):", "wrong.learn: takes 4 arguments; asyncnet.machines.sampled gives it 5"),
        ('Field("baseline", "B")', 'Field("baseline", "b")', "wrong: field baseline: has the shape 'b', and b is no dimension; there are B, "),
    ],
)
def test_what_is_wrong_in_a_rule_is_said_in_one_line(old, new, said, tmp_path):
    path = tmp_path / "wrong.py"
    assert old in RULE
    path.write_text(RULE.replace(old, new))
    line = refused(path)
    assert said in line
    assert "\n" not in line


def test_a_wrong_kernel_name_ends_the_command_before_anything_is_made(rule, tmp_path, command):
    rule.write_text(RULE.replace("def learn(", "def lern("))
    code, out, err = command("run", "multiplexer3-weight-max", "--rule", rule, *using(), "--out", tmp_path / "runs")
    assert (code, out) == (64, "")
    assert err == "asyncnet: my_rule.lern: asyncnet.machines.sampled asks for no kernel of that name, and nothing there uses it; did you mean learn?\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("nowhere.py", None, "nowhere.py: No such file"),
        ("a-b.py", "", "'a-b' cannot be the name of a module"),
        ("empty.py", "", "NAME: missing"),
        ("latin.py", b"# \xe9\n", "UnicodeDecodeError"),
        ("raises.py", "raise SystemError('so\\nthere')", "line 1: SystemError: so there"),
    ],
)
def test_a_file_that_is_no_rule_is_refused(name, text, said, tmp_path):
    path = tmp_path / name
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert said in refused(path)


@pytest.mark.parametrize(
    ("engine", "old", "new", "wanted"),
    [
        ("embedded", '"horizon": settings.horizon', '"horizon": 1 / 0', "ZeroDivisionError: division by zero"),
        pytest.param("ray", 'horizon": settings', 'horizon": 1 / (layer < 1) or settings', "ZeroDivisionError: division by zero", marks=pytest.mark.ray),
        (
            "embedded",
            'of the newest reward in the running mean")\n',
            '")\n\n    def check(self, scenario, table):\n        return scenario.rules\n',
            "AttributeError: 'Scenario' object has",
        ),
    ],
)
def test_what_the_python_of_a_rule_raises_is_said_with_its_line(engine, old, new, wanted, rule, tmp_path):
    assert old in RULE
    rule.write_text(RULE.replace(old, new))
    line = next(number for number, text in enumerate(rule.read_text().splitlines(), 1) if "1 / " in text or "scenario.rules" in text)
    code, out, err = started(tmp_path, "run", "multiplexer3-weight-max", "--engine", engine, "--rule", rule, *using("task.decisions=20"))
    assert (code, out) == (64, "")
    assert err.splitlines()[-1].startswith(f"asyncnet: {rule}: line {line}: {wanted}")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"horizon": settings', '"horizn": settings', "my_rule.values: gives horizn, which is no setting of its kernels; did you mean horizon?"),
        (
            'mean")\n',
            'mean")\n\n    def check(self, scenario, table):\n        return "task"\n',
            "my_rule.check: returns (key, reason) of what does not fit, or None; got 'task'",
        ),
    ],
)
def test_what_a_rules_python_gives_back_wrongly_is_said_before_anything_is_compiled(old, new, said, rule, command):
    assert old in RULE
    rule.write_text(RULE.replace(old, new))
    code, out, err = command("run", "multiplexer3-weight-max", "--rule", rule, *using())
    assert (code, out) == (64, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_type_that_a_kernel_cannot_have_is_said_with_its_line(rule, tmp_path):
    rule.write_text(RULE.replace("reward = v.credit[b, 0]", "reward = [v.credit[b, 0]]"))
    code, out, err = started(tmp_path, "run", "multiplexer3-weight-max", "--rule", rule, *using("task.decisions=20"))
    assert (code, out) == (64, "")
    line = next(number for number, text in enumerate(rule.read_text().splitlines(), 1) if "reward - v.baseline" in text)
    assert err.splitlines()[-1].startswith(f"asyncnet: {rule}: line {line}: TypingError: No implementation of function")
    assert "NUMBA_DISABLE_JIT=1" in err


def test_check_rule_says_why_a_rule_refuses_all_that_it_has(rule, command):
    more = 'mean")\n\n    def check(self, scenario, table):\n        return ("task.decisions", "too few") if scenario.task.decisions < 1000 else None\n'
    rule.write_text(RULE.replace('mean")\n', more))
    code, _, err = command("check-rule", rule)
    assert (code, err) == (
        64,
        "asyncnet: reinforce-baseline: task.decisions: too few (it refuses every small team that check-rule has for it; --set may change them)\n",
    )


def test_a_module_that_is_not_there_is_refused(tmp_path):
    assert "no module of that name can be imported; a file is named with its path and ends in .py, such as ./my_rule.py" in refused("my_rules")


def test_settings_of_a_rule_from_outside_are_checked_as_strictly_as_any(rule, command):
    code, _, err = command("validate", "multiplexer3-weight-max", "--rule", rule)
    assert code == 0, err
    for text, said in (("rule.horizon=2.0", "rule.horizon: must be less than or equal to 1"), ("rule.horizont=0.1", "unknown key; did you mean horizon?")):
        code, _, err = command("run", "multiplexer3-weight-max", "--rule", rule, *using(text))
        assert code == 64
        assert said in err
    code, _, err = command("run", "multiplexer3-weight-max", "--rule", rule, "--set", "rule.name=reinforce-baselin")
    assert "did you mean reinforce-baseline?" in err


def test_list_names_what_was_brought(rule, command):
    code, out, _ = command("list", "--rule", rule, "--json")
    assert code == 0
    assert json.loads(out)["rules"]["reinforce-baseline"] == "REINFORCE that subtracts a running mean of the reward"


# check-rule


def test_check_rule_says_that_the_tutorials_rule_keeps_to_the_contract(rule, command):
    code, out, err = command("check-rule", rule)
    assert (code, out.splitlines()[-1]) == (0, "reinforce-baseline: 8 claims hold, 0 broken, 0 left out"), err
    assert out.startswith("holds     every weight is moved by reward, and everything stays finite (in 9 settings)\n")


@pytest.mark.parametrize(
    ("old", "new", "broken"),
    [
        ("reward - v.baseline[b])", "reward - v.baseline[b]) * c.O", {"is_cut_without_a_trace"}),
        ("reward - v.baseline[b])", "np.random.random() - v.baseline[b])", {"repeats", "hears_nothing_but_its_inbox", "keeps_all_in_its_state"}),
    ],
)
def test_check_rule_finds_what_a_rule_breaks(old, new, broken, rule, command):
    rule.write_text(RULE.replace("from typing", "import numpy as np\nfrom typing", 1).replace(old, new))
    code, out, err = command("check-rule", rule, "--json")
    assert code == 1, err
    found = {claim["claim"] for claim in json.loads(out)["claims"] if claim["holds"] is False}
    assert {getattr(contract, name).__doc__ for name in broken} <= found
    if len(broken) == 1:
        assert len(found) == 1


def test_check_rule_uses_the_rules_own_settings_and_refuses_what_they_do_not_allow(rule, command):
    code, out, _ = command("check-rule", rule, "--set", "rule.learning_rate=0.0")
    assert code == 1
    assert re.search(r"^BROKEN +every weight is moved by reward.* 48 of 48 numbers of its weight never moved", out, re.M)
    for words, said in (((rule, "--set", "rule.horizon=3.0"), "rule.horizon: must be less than or equal to 1"), (("weight-maxx",), "did you mean weight-max?")):
        code, out, err = command("check-rule", *words)
        assert (code, out) == (64, "")
        assert said in err


# Modules and installed packages


@pytest.fixture
def package(tmp_path):
    """A folder as pip leaves it: a package that offers the tutorial's rule, with kernels in a file of their own, a task and a condition."""
    site = tmp_path / "site"
    (site / "offering").mkdir(parents=True)
    (site / "offering" / "__init__.py").touch()
    head, kernels = RULE.split("FIELDS = ")
    head = head.replace(", __name__,", ', "offering.kernels",')
    (site / "offering" / "rule.py").write_text(head)
    imports = "from asyncnet.kernels.kernel import kernel\nfrom asyncnet.kernels.layout import Field\nfrom asyncnet.rules import coagent\n\n"
    (site / "offering" / "kernels.py").write_text(f'"""Kernels."""\n{imports}FIELDS = {kernels}')
    (site / "offering" / "harsh.toml").write_text('line = "half of all activity is lost"\n[links.activity]\nloss = 0.5\n')
    paths = "from pathlib import Path\n\nHARSH = Path(__file__).parent / 'harsh.toml'\n"
    (site / "offering" / "conditions.py").write_text(paths)
    about = site / "offering-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[asyncnet.rules]\nreinforce-baseline = offering.rule\nbroken = offering.nowhere\n[asyncnet.conditions]\nharsh = offering.conditions:HARSH\n"
    )
    return site


def test_a_rule_and_a_condition_of_an_installed_package_are_found_by_name_and_an_edit_is_seen(package, tmp_path):
    path = {"PYTHONPATH": str(package)}
    words = ["run", "multiplexer3-weight-max", *using("task.decisions=100"), "--under", "harsh", "--loop", "readable", "--json"]
    code, out, err = started(tmp_path, *words, **path)
    assert code == 0, err
    run = json.loads(out)["run_dir"]
    assert {each["kind"]: each["module"] for each in json.loads((tmp_path / run / "run.json").read_text())["outside"]} == {
        "part": "offering.kernels",
        "rule": "offering.rule",
    }
    assert started(tmp_path, "verify", run, **path)[0] == 0
    kernels = package / "offering" / "kernels.py"
    kernels.write_text(kernels.read_text().replace("c.horizon * (", "0.5 * c.horizon * ("))
    code, _, err = started(tmp_path, "verify", run, **path)
    assert code == 64
    assert "kernels.py: is not what this run began with" in err
    code, _, err = started(tmp_path, "run", "multiplexer3-weight-max", "--set", "rule.name=broken", **path)
    assert code == 64
    assert "offering.nowhere, which an installed package offers as broken, cannot be imported: No module named" in err


def test_a_module_may_be_registered_by_name_and_as_itself(rule, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    asyncnet.register("my_rule")
    assert RULES["reinforce-baseline"].__name__ == "my_rule"
    asyncnet.register(sys.modules["my_rule"])
    assert asyncnet.run(scenario(), out=None, loop="readable").summary()["decisions"] == 200
    monkeypatch.delitem(sys.modules, "my_rule")


def test_a_condition_may_be_a_file_or_be_registered_by_its_name(tmp_path):
    path = tmp_path / "harsh.toml"
    path.write_text('line = "a fifth of all activity is lost"\n[links.activity]\nloss = 0.2\n')
    by_path = asyncnet.load("multiplexer3-weight-max", under=[str(path)])
    asyncnet.register(path)
    assert asyncnet.load("multiplexer3-weight-max", under=["harsh"]) == by_path
    assert asyncnet.list_conditions()["harsh"] == "a fifth of all activity is lost"
    other = tmp_path / "more" / "harsh.toml"
    other.parent.mkdir()
    other.write_text("[links.activity]\nloss = 0.3\n")
    with pytest.raises(ScenarioError, match="there is a condition harsh already, with another text"):
        asyncnet.register(other)


def test_a_critic_of_a_registered_rule_is_a_critic(tmp_path):
    """The team of nodes that is its critic is named in its file and nowhere else."""
    path = tmp_path / "mine.py"
    path.write_text(
        textwrap.dedent('''
        """MAP Propagation under another name."""
        from typing import Literal

        from asyncnet.rules import map_async
        from asyncnet.rules.map_async import FREE_LOGITS, HIDDEN, OUTPUT, OUTPUTS, UNITS, values
        from asyncnet.rules.settings import ValueNetwork

        NAME, LINE = "mine", "MAP Propagation under another name"


        class Settings(map_async.Settings):
            name: Literal["mine"]


        class Critic(ValueNetwork, Settings):
            pass
        ''').lstrip()
    )
    outside.register(path)
    made = asyncnet.load("cartpole-map-async").replace({"critic.name": "mine"})
    assert made.critic.name == "mine"
    assert [about.name for about, _ in outside.needed(made)] == ["mine"]
