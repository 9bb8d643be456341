"""What was compiled is found again while all that it is made of is as it was, and never else; a cache that cannot be written costs time and nothing more."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from asyncnet.kernels.layout import DIMENSIONS
from asyncnet.loop.timekeeper import Virtual
from asyncnet.scenario.schema import check
from support.places import ROOT
from support.small import small

# A machine of two kernels, a rule for it, and what the rule takes from elsewhere; compiled in a second.
FILES = {
    "machine.py": """
import math

from asyncnet.nodes.entries import bound
from asyncnet.kernels.layout import Field

PARTS = {"rule": ("plain",)}
FIELDS = (Field("x", "1"),)
SETTINGS = ()


@bound
def handle(v, c, now, kind, port, seq, stamp, payload, out, numbers):
    return c.rule.first(v, c) + c.rule.second(v, c)
""",
    "plain.py": """
from asyncnet.kernels.kernel import kernel


@kernel
def first(v, c):
    return 1.0 * v.x[0]


@kernel
def second(v, c):
    return 0.0
""",
    "rule.py": """
import helper
from asyncnet.kernels.kernel import kernel
from deeper.constants import SHIFT

FIELDS = SETTINGS = ()


@kernel
def first(v, c):
    return helper.scaled(v.x[0]) + SHIFT
""",
    "helper.py": """
import apart  # no kernel takes anything from it
from asyncnet.kernels.kernel import kernel


@kernel
def scaled(x):
    return 1.0 * x


def plain():
    return apart.X
""",
    "apart.py": "X = 1\n",
    "deeper/constants.py": "SHIFT = 0.0\n",
    "deeper/__init__.py": "",
    "told.py": """
import json, resource, sys

import numpy as np

if sys.argv[1:] and int(sys.argv[1]) >= 0:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from asyncnet.kernels.kernel import telling

said = []
with telling(said.append):
    import machine, rule
    from asyncnet.nodes.family import bind

    for edit in sys.argv[2:]:  # FILE:OLD:NEW
        path, old, new = edit.split(":")
        with open(path) as file:
            text = file.read()
        assert old in text
        with open(path, "w") as file:
            file.write(text.replace(old, new))
    made = bind(machine, rule=rule)
    event = 0, 0, 0, 0, 0, np.zeros(0), np.zeros((1, 6), dtype=np.int64), np.zeros(0)
    print(json.dumps([made.handle(np.array([3.0]), made.config({}, {}, {}, 0), *event), said]))
""",
}


@pytest.fixture
def place(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip())
    (tmp_path / "tmp").mkdir()
    return tmp_path


def told(place, *arguments, cache=None):
    """What the bound machine makes of 3, what was said, and what standard error holds, in a fresh process."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{place / 'work'}",
        "ASYNCNET_CACHE": str(cache or place / "cache"),
        "TMPDIR": str(place / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run([sys.executable, "-m", "told", *arguments], env=environment, cwd=place, capture_output=True, text=True, timeout=120, check=False)
    return *(json.loads(done.stdout) if done.returncode == 0 else (None, [])), done.stderr


def edit(place, name, old, new):
    path = place / "work" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_change_in_anything_that_a_kernel_can_reach_is_compiled_and_nothing_else_is(place):
    assert [word for word in told(place)[1] if word.startswith("compiling machine")] == ["compiling machine rule"]
    edit(place, "apart.py", "1", "2")
    assert told(place)[:2] == (3.0, [])
    edit(place, "helper.py", "1.0 * x", "-1.0 * x")
    assert told(place)[0] == -3.0
    edit(place, "deeper/constants.py", "0.0", "10.0")
    edit(place, "plain.py", "return 0.0", "return 100.0")
    assert told(place)[0] == 107.0


def test_the_packages_kernels_count_everything_they_take_constants_from():
    from asyncnet.kernels.reach import reached
    from asyncnet.loop.compiled import go
    from asyncnet.machines import sampled
    from asyncnet.nodes.family import bind
    from asyncnet.optimizers import adam
    from asyncnet.rules import coagent

    loop = reached(go.__name__)
    kernels, loops = (
        ("chance", "kernel", "pointer", "numba_internals.calls"),
        ("message", "timekeeper", "link", "compiled.posting", "compiled.agenda", "compiled.inbox"),
    )
    assert {"asyncnet.nodes.outbox", *(f"asyncnet.kernels.{name}" for name in kernels), *(f"asyncnet.loop.{name}" for name in loops)} <= loop.keys()
    assert "asyncnet.scenario.schema" not in loop
    kernels = ("arithmetic", "chance", "cut", "layout", "numba_internals.arrays", "numba_internals.attributes", "numba_internals.sums")
    team = bind(sampled, rule=coagent, optimizer=adam).texts
    others = {f"asyncnet.{name}" for name in ("rules.coagent", "optimizers.adam", "machines.archive", "machines.hearing")}
    assert others | {f"asyncnet.kernels.{name}" for name in kernels} <= team.keys()


@pytest.mark.parametrize(
    ("name", "old", "new", "why"),
    [
        ("rule.py", "v.x[0]", "v.xx[0]", "rule.first, line 10: v.xx is no field of this node; did you mean x?"),
        ("rule.py", "+ SHIFT", "+ c.decy", "rule.first, line 10: c.decy is no setting of this node; did you mean decay?"),
        ("machine.py", "c.rule.second", "c.rule.third", "rule: machine asks for third, and nobody brings it"),
        ("rule.py", "@kernel\ndef", "def", "rule.first: is no kernel: @kernel is missing"),
        (
            "machine.py",
            'Field("x", "1")',
            'Field("x", "U")',
            f"machine: field x: has the shape 'U', and U is no dimension; there are {', '.join(DIMENSIONS)}",
        ),
    ],
)
def test_a_name_that_nobody_knows_is_refused_in_one_line_before_anything_is_compiled(name, old, new, why, place):
    edit(place, "machine.py", "SETTINGS = ()", 'SETTINGS = (("decay", float),)')
    edit(place, name, old, new)
    made, _, err = told(place)
    assert made is None
    assert err.splitlines()[-1] == f"asyncnet.scenario.mistakes.ScenarioError: {why}"
    assert not list((place / "cache").rglob("*.nbc"))


def test_a_misspelt_kernel_of_a_rule_is_refused_with_the_name_that_was_meant(place):
    edit(place, "rule.py", "def first", "def frist")
    assert "rule.frist: machine asks for no kernel of that name, and nothing there uses it; did you mean first?" in told(place)[2]
    with (place / "work" / "rule.py").open("a") as file:
        file.write("\n\n@kernel\ndef first(v, c):\n    return 2.0 * frist(v, c)\n")
    assert told(place)[0] == 6.0


@pytest.mark.parametrize("why", ["a file", "nowhere to make it"])
def test_a_cache_that_cannot_be_made_is_said_once_and_nothing_is_left_behind(why, place):
    cache = place / "cache" if why == "a file" else Path("/proc/asyncnet")
    if why == "a file":
        cache.write_text("in the way")
    made, said, _ = told(place, cache=cache)
    assert made == 3.0
    (line,) = (word for word in said if "not kept" in word)
    assert line.startswith(f"compiled kernels are not kept: {cache}: ")
    assert line.endswith("; $ASYNCNET_CACHE can name another folder for them")
    assert list((place / "tmp").iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_cache_that_may_only_be_read_is_said_too(place):
    (place / "cache").mkdir(mode=0o555)
    made, said, _ = told(place)
    assert made == 3.0
    assert len([word for word in said if "not kept" in word]) == 1
    assert list((place / "cache").iterdir()) == []


@pytest.mark.parametrize("room", [0, 3000])
def test_a_disk_that_fills_up_costs_the_cache_and_not_the_run(room, place):
    made, said, err = told(place, str(room))
    assert made == 3.0, err
    assert len([word for word in said if "not kept" in word]) == 1
    left = [path for folder in ("cache", "tmp") for path in (place / folder).rglob("*") if path.is_file()]
    assert not [path for path in left if path.suffix != ".py"]
    assert told(place)[0] == 3.0


@pytest.mark.parametrize(
    ("name", "old", "new"), [("helper.py", "1.0 *", "-1.0 *"), ("rule.py", "+ SHIFT", "- 1.0"), ("machine.py", "+ c.rule.second", "- 7.0 * c.rule.second")]
)
def test_code_edited_while_a_process_runs_is_not_taken_for_what_that_process_compiled(place, name, old, new):
    assert told(place, "-1", f"{place / 'work' / name}:{old}:{new}")[0] == 3.0, "what was imported"
    made, said, _ = told(place)
    assert made == {"helper.py": -3.0, "rule.py": 2.0, "machine.py": 3.0}[name]
    assert "compiling machine rule" in said


def test_a_damaged_file_in_the_cache_is_compiled_anew(place):
    told(place)
    kept = list((place / "cache").rglob("*.nbc"))
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:20])
    made, said, _ = told(place)
    assert made == 3.0
    assert "compiling machine rule" in said
    assert told(place)[:2] == (3.0, [])


def test_code_for_some_arguments_is_never_taken_for_that_for_others(place):
    (place / "work" / "sized.py").write_text(
        "import sys\nimport numpy as np\nfrom asyncnet.kernels.kernel import entry\n\n@entry\ndef first(x):\n    return x[0]\n\n"
        "for kind in sys.argv[1:]:\n    print(first(np.array([3], dtype=kind)))\n"
    )

    def said(*kinds):
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{place / 'work'}", "ASYNCNET_CACHE": str(place / "cache")}
        return subprocess.run([sys.executable, "-m", "sized", *kinds], env=environment, capture_output=True, text=True, timeout=120, check=True).stdout.split()

    kept = {}
    for kind in ("float64", "int64"):  # each in a process that has seen nothing of the other, as if both compiled at once
        said(kind)
        (path,) = (place / "cache").rglob("*.nbc")
        kept[path.name] = path.read_bytes(), path
        path.unlink()
    assert len(kept) == 2
    for code, path in kept.values():
        path.write_bytes(code)
    assert said("float64", "int64") == ["3.0", "3"]


def test_a_kernel_that_a_factory_makes_is_refused():
    from asyncnet.kernels.kernel import kernel

    def factory(factor):
        @kernel
        def scaled(x):
            return factor * x

        return scaled

    with pytest.raises(TypeError, match=r"factory\.<locals>\.scaled: a kernel is a function of a module"):
        factory(2.0)
    nameless = lambda x: x  # noqa: E731
    nameless.__qualname__ = "<lambda>"  # as one in a module has it
    with pytest.raises(TypeError, match="lambda>: a kernel is a function of a module"):
        kernel(nameless)


def test_no_two_functions_in_compiled_code_have_one_name():
    """numba numbers functions of one name as a process compiles them; code kept by two processes may give a number to both."""
    from asyncnet.kernels.plain import as_python
    from asyncnet.kernels.pointer import address
    from asyncnet.loop.compiled import compiled_loop
    from asyncnet.machines import phased, sampled, settling
    from asyncnet.nodes import dopamine, world
    from asyncnet.nodes.family import bind
    from asyncnet.optimizers import adam
    from asyncnet.rules import coagent, settling_in_phases, settling_on_clocks, value
    from asyncnet.tasks import cartpole

    compiled_loop.CompiledLoop(check(small(), "test"), Virtual()).prepare(wired=True)
    learners = (sampled, coagent), (sampled, value), (settling, settling_on_clocks), (phased, settling_in_phases)
    families = [bind(machine, rule=rule, optimizer=adam) for machine, rule in learners]
    handles = [family.handle for family in (*families, bind(world, task=cartpole), bind(dopamine))]
    for handle in handles:
        address(handle)
    for made in (*handles, compiled_loop.go, compiled_loop.take_all_in, *(made for made, _ in compiled_loop.TOGETHER)):
        kept = list(Path(made._cache.cache_path).glob(f"*.{as_python(made).__qualname__}-*.{'?' * 20}.nbc"))
        assert kept, made
        for file in kept:  # one for each types of arguments
            names = set(re.findall(rb"_ZN\d+asyncnet[^\0]+", file.read_bytes()))
            assert names
            assert len({re.sub(rb"B\d+v\d+", b"", name) for name in names}) == len(names), made


@pytest.mark.parametrize(
    ("reads", "line"),
    [("v.x[int(v.x[0]) - 2]", "IndexError: index is out of bounds"), ("view(v.x, int(v.x[0]) - 3, (2,))[1]", "IndexError: view is out of bounds")],
)
@pytest.mark.parametrize("checked", ["0", "1"])
def test_an_index_or_a_view_outside_a_field_is_an_error_if_numba_is_asked_to_check(checked, reads, line, place, monkeypatch):
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "0")
    told(place)  # what is kept of the other kind is not taken
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", checked)
    edit(place, "told.py", "np.array([3.0])", "np.array([3.0, 4.0])")
    edit(place, "plain.py", "return 0.0", f"return 0.0 * {reads}")
    edit(place, "plain.py", "import kernel", "import kernel, view")
    assert (line in told(place)[2]) == (checked == "1")
