"""NUMBA_DISABLE_JIT=1 runs a scenario in plain Python: to the bits of the compiled run, with print and the debugger inside kernels."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from asyncnet import api
from asyncnet.kernels.cut import plain_cut
from asyncnet.kernels.kernel import view
from asyncnet.kernels.layout import GIVEN, SCRATCH, STATE
from asyncnet.scenario.schema import check
from support.places import ROOT
from support.small import small

# How far a scenario is run: a hundred milliseconds or so of plain Python.
RUNS = {
    "multiplexer3-weight-max": {"task.decisions": 30},  # sampled units
    "multiplexer2-units": {"task.decisions": 30},  # cut into units
    "multiplexer3-map-async": {"task.decisions": 6},  # settling
    "regression-map-async": {"task.decisions": 2, "network.hidden": [6, 4]},  # normal draws
    "multiplexer5-map": {"task.decisions": 2, "network.hidden": [6, 4], "task.k": 2},  # phased
    "multiplexer3-coordinated": {"task.decisions": 3, "network.hidden": [6]},  # units that hear each other
    "cartpole-free": {"task.episodes": 2},  # a critic by backprop, a task of kernels, free clocks
    "cartpole-weight-max-traces": {"task.episodes": 2},
}
# What the shipped ones lack here: every kind of clock and delay. The other optimisers are stepped below: a family for each would be long in compiling.
KINDS = {
    "poisson, lognormal, loss": {
        "clocks": {"default": {"kind": "poisson", "period": 1.0}},
        "links": {"default": {"delay": {"kind": "lognormal", "mean": 0.5, "sigma": 0.4}, "loss": 0.05}},
    },
    "straggler, exponential": {
        "clocks": {"default": {"kind": "periodic", "period": 1.0, "jitter": 0.2, "drift": 0.1}, "actor.1": {"kind": "straggler", "period": 1.0, "slow": 3.0}},
        "links": {"default": {"delay": {"kind": "exponential", "mean": 0.5}}},
        "rule": {"name": "reinforce"},
    },
    "uniform, an odd power": {
        "links": {"default": {"delay": {"kind": "uniform", "low": 0.1, "high": 0.9}}},
        "rule": {"power": 1.5},
    },
    "units": {"network": {"split": "unit"}},
}
IN_THE_COMPILED_LOOP = {"compiled loop": "poisson, lognormal, loss", "compiled loop, several ports": "units"}

RUN = """
import json, sys
from asyncnet import api
from asyncnet.loop.loop import Loop
from asyncnet.scenario.reading import find, setting
from asyncnet.scenario.schema import check, read
from asyncnet.loop.timekeeper import Virtual
from asyncnet.loop.compiled.compiled_loop import CompiledLoop

runs, kinds, compiled = json.loads(sys.argv[1])
out = {}
for name, how in runs.items():
    made = read(find(name), [], [setting(f"{key}={json.dumps(value)}") for key, value in how.items()])
    out[name] = api.run(made, out=None).record.digest
for name, data in kinds.items():
    out[name] = api.run(check(data, name), out=None).record.digest
for name, kind in compiled.items():
    loop = CompiledLoop(check(kinds[kind], "again"), Virtual())
    loop.prepare()
    loop.run()
    out[name] = loop.digest()
print(json.dumps(out))
"""


def plainly(*command, cwd=ROOT, typed=None, **environment):
    """A fresh Python in which nothing is compiled; Ray has put a debugger of its own in the place of Python's, if tests have used it here."""
    around = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONBREAKPOINT"},
        "NUMBA_DISABLE_JIT": "1",
        "PYTHONPATH": str(ROOT),
        **environment,
    }
    return subprocess.run([sys.executable, *command], cwd=cwd, env=around, input=typed, capture_output=True, text=True, timeout=200, check=False)


def test_plain_python_comes_to_the_bits_of_compiled_code_on_every_machine():
    """No warning either: what wraps, overflows or divides by zero does so in silence, as compiled."""
    given = json.dumps([RUNS, {name: small(**data) for name, data in KINDS.items()}, IN_THE_COMPILED_LOOP])
    done = plainly("-W", "error", "-c", RUN, given)
    assert done.returncode == 0, done.stderr
    compiled = subprocess.run([sys.executable, "-c", RUN, given], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert compiled.returncode == 0, compiled.stderr
    digests = json.loads(compiled.stdout)
    assert json.loads(done.stdout) == digests
    assert all(digests[name] == digests[kind] for name, kind in IN_THE_COMPILED_LOOP.items())
    assert len(set(digests.values())) == len(RUNS) + len(KINDS), "each is a run of its own; the last are some of them in the other loop"


FUNCTIONS = """
import json, sys
from typing import NamedTuple
import numpy as np
from asyncnet.kernels import arithmetic, chance, products
from asyncnet.kernels.kernel import entry
from asyncnet.loop.link import LOGNORMAL, outcome, row
from asyncnet.optimizers import rmsprop, sgd
from asyncnet.tasks.cartpole import uniform_of_pcg

@entry
def each(name, x, out):
    for i in range(x.size):
        if name == 0:
            out[i] = arithmetic.exp(x[i])
        elif name == 1:
            out[i] = arithmetic.log1p(abs(x[i]) / 700.0)
        elif name == 2:
            out[i] = arithmetic.sigmoid(x[i])
        elif name == 3:
            out[i] = arithmetic.softplus(x[i])
        elif name == 4:
            out[i] = arithmetic.log(abs(x[i]))
        elif name == 5:
            out[i] = arithmetic.cosine_of_turns(abs(x[i]) / 60.0)
        elif name == 6:
            mean, slope = arithmetic.softplus_and_slope(x[i])
            out[i] = mean - slope
        else:
            out[i] = chance.normal(3, 1, i, 0, 7)

@entry
def sums(a, other):
    return arithmetic.total(a), arithmetic.dot(a, other)

@entry
def multiplied(x, weight, bias, out, back):
    products.add_up(x, weight, bias, out)
    products.project(out, weight, back)

@entry
def pcg(g, out):
    for i in range(out.size):
        out[i] = uniform_of_pcg(g)

class C(NamedTuple):
    memory: float
    epsilon: float
    momentum: float

@entry
def step(c, w, slots, gradient):
    rmsprop.ascend(w, c, w, slots[0], 0, gradient, gradient, 0.01)
    sgd.ascend(w, c, w, slots[1], 0, gradient, gradient, 0.01)

rng = np.random.default_rng(2)
said = []
for name in range(8):
    x = rng.uniform(-60.0, 60.0, 1500)
    out = np.empty(x.size)
    each(name, x, out)
    said.append(out.tobytes().hex())
for n in (0, 1, 4, 7, 67):
    said.append(np.array(sums(rng.normal(size=n) * 10.0 ** rng.integers(-9, 9, n), rng.normal(size=n))).tobytes().hex())
for streams, inputs, units in ((1, 1, 1), (1, 9, 47), (7, 6, 13), (4, 5, 32)):
    out, back = np.empty((streams, units)), np.empty((streams, inputs))
    multiplied(rng.normal(size=(streams, inputs)), rng.normal(size=(inputs, units)), rng.normal(size=units), out, back)
    said.append([out.tobytes().hex(), back.tobytes().hex()])
out = np.empty(50)
pcg(rng.integers(0, 2**32, 8).astype(np.float64), out)
said.append(out.tobytes().hex())
w, slots = rng.normal(size=40), np.zeros((2, 40))
for _ in range(20):
    step(C(0.9, 1e-8, 0.7), w, slots, rng.normal(size=40))
said.append([w.tobytes().hex(), slots.tobytes().hex()])
said.append([chance.uniform_of(2**53 - 1, 8, 2**32 - 1, k, 2**55 + k) for k in range(50)])
said.append([int(outcome(np.array([row(LOGNORMAL, 3000.0, 0.7)]), 5, 1, 2, 3, k, 1, 0, 0, -1.0, 0, np.zeros(0, np.int64))[0]) for k in range(300)])
print(json.dumps(said))
"""


def test_arithmetic_and_chance_have_the_same_bits_in_plain_python(tmp_path):
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    done = plainly("-W", "error", "-m", "functions", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    compiled = subprocess.run([sys.executable, "-m", "functions"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert compiled.returncode == 0, compiled.stderr
    assert json.loads(done.stdout) == json.loads(compiled.stdout)


OUTSIDE = """
from asyncnet.kernels.kernel import kernel
from asyncnet.rules import RULES, coagent, reinforce

NAME, LINE = "chatty", "REINFORCE that says what it learns"
UNITS, OUTPUTS, FREE_LOGITS = reinforce.UNITS, reinforce.OUTPUTS, reinforce.FREE_LOGITS
HIDDEN = OUTPUT = reinforce.HIDDEN._replace(kernels=__name__)
Settings, values, FIELDS, SETTINGS = reinforce.Settings, reinforce.values, coagent.FIELDS, coagent.SETTINGS


@kernel
def learn(v, c, slot, on, feedback):
    HERE
    return coagent.learn(v, c, slot, on, feedback)


RULES["reinforce"] = __import__("sys").modules[__name__]
"""
START = "import chatty; from asyncnet.cli import main; main()"


def told_by(tmp_path, here, *words, typed=None):
    (tmp_path / "chatty.py").write_text(OUTSIDE.lstrip().replace("HERE", here))
    scenario = ["run", "multiplexer3-weight-max", "--set", "rule.name=reinforce", "--set", "rule.learning_rate=0.01", "--set", "task.decisions=3"]
    return plainly("-c", START, *scenario, "--out", str(tmp_path / "runs"), *words, cwd=tmp_path, typed=typed, PYTHONPATH=f"{ROOT}:{tmp_path}")


def test_a_print_in_a_kernel_outside_the_package_shows_arrays_numbers_and_parts(tmp_path):
    done = told_by(tmp_path, 'print("learns", v.weight.shape, type(c.B).__name__, c.B, float(c.rate), c.rule.respond.__name__, c.optimizer.ascend.__module__)')
    assert done.returncode == 0, done.stderr
    lines = {line for line in done.stdout.splitlines() if line.startswith("learns")}
    assert any(line.endswith(" int 1 0.01 respond asyncnet.optimizers.adam") for line in lines), lines
    assert len({line.partition(" int")[0] for line in lines}) > 1, "each layer's own shape"
    notes = [line for line in done.stderr.splitlines() if "NUMBA_DISABLE_JIT" in line]
    assert notes == ["NUMBA_DISABLE_JIT=1: kernels run as plain Python, hundreds of times slower than compiled"]


def test_a_breakpoint_in_a_kernel_opens_the_debugger_there_and_q_leaves(tmp_path):
    typed = "p 'shape', v.weight.shape, v.updates[0]\np v.wieght\nw\nq\n"
    done = told_by(tmp_path, "breakpoint()", typed=typed)
    assert done.returncode == 130, done.stderr
    assert "('shape', (" in done.stdout
    assert "v has no wieght; did you mean weight?" in done.stdout
    assert "chatty.py" in done.stdout
    assert "machines/sampled.py" in done.stdout, "who asked for it"
    assert "Traceback" not in done.stderr


def test_v_and_c_in_plain_python_are_arrays_numbers_and_kernels_and_say_what_is_wrong():
    state, config, scratch = np.arange(10.0), np.array([2.0, 3.0, 0.5, 4.0, 1.0]), np.array([0.0, 7.0, 8.0])
    numbers = {"B": (0, True), "O": (1, True), "decay": (2, False)}
    arrays = {"weight": ((0, 1), 3, STATE), "once": (("1",), 3, STATE), "given": (("1",), 2, GIVEN), "passing": ((0,), 4, SCRATCH)}
    config[2] = 3.0  # a setting, and where what is given lies
    v, c = plain_cut(numbers, arrays, {"rule": {"learn": len}.get})(state, config, scratch)
    assert (v.given[0], v.passing.tolist()) == (4.0, [7.0, 8.0])
    assert v.weight.tolist() == [[4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]
    v.weight[0, 0] = -1.0
    assert state[4] == v.once[0] == -1.0
    assert v.weight is v.weight
    assert (c.B, c.decay, type(c.B)) == (2, 3.0, int)
    with np.errstate(divide="ignore"):
        assert 1.0 / (c.decay - 3.0) == np.inf, "as compiled"
    assert c.rule.learn is len
    assert (dir(v), repr(c)) == (["given", "once", "passing", "weight"], "<c: B, O, decay, rule>")
    with pytest.raises(AttributeError, match="v has no wieght; did you mean weight"):
        _ = v.wieght
    with pytest.raises(AttributeError, match=r"v\.weight cannot be another; write into an array"):
        v.weight = 1.0
    with pytest.raises(AttributeError, match=r"c\.rule has no kernel lern"):
        _ = c.rule.lern


def test_the_other_loop_is_plain_python_too_and_says_so_in_a_line(tmp_path):
    done = told_by(tmp_path, "pass", "--loop", "compiled")
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if "NUMBA_DISABLE_JIT" in line)
    assert line.endswith("; the compiled loop, asked for, too")


def test_on_ray_it_is_refused_in_a_line(tmp_path):
    done = told_by(tmp_path, "pass", "--engine", "ray")
    assert done.returncode == 64
    assert done.stderr.startswith("asyncnet: --engine ray: NUMBA_DISABLE_JIT is set")
    assert not (tmp_path / "runs").exists()


def test_a_plain_run_can_verify_a_compiled_one(tmp_path):
    result = api.run(check(small(), "small"), out=tmp_path)
    done = plainly("-m", "asyncnet", "verify", str(result.run_dir))
    assert done.returncode == 0, done.stderr
    assert "identical" in done.stdout


def test_view_has_the_meaning_of_compiled_code_and_looks_where_that_does_not():
    text = view.__wrapped__ if hasattr(view, "__wrapped__") else view
    base = np.arange(12.0).reshape(3, 4)
    part = text(base, 2, (2, 3))
    assert part.tolist() == [[2.0, 3.0, 4.0], [5.0, 6.0, 7.0]]
    part[0, 0] = -1.0
    assert base[0, 2] == -1.0
    for at, shape, array in ((8, (5,), base), (-1, (1,), base), (0, (2,), base[:, 1])):
        with pytest.raises(ValueError, match=r"view from element|cannot reshape"):
            text(array, at, shape)
