"""Whatever stands in a checkpoint whose checksums are right: it is gone on from, or refused in one line that names file and array; nothing crashes or hangs."""

import inspect
import json
import re
import subprocess
import sys

import numpy as np
import pytest

import asyncnet
from asyncnet.kernels import layout
from asyncnet.loop.compiled.compiled_loop import CompiledLoop
from asyncnet.loop.loop import Loop
from asyncnet.loop.timekeeper import Virtual
from asyncnet.machines import archive, hearing, phased, sampled, settling
from asyncnet.nodes import dopamine, world
from asyncnet.rules import coagent, lms, settling_in_phases, settling_on_clocks, value
from asyncnet.rules import settling as mode_seeking
from asyncnet.runs import checkpoint, snapshot
from asyncnet.runs.checkpoint import Checkpoint
from asyncnet.runs.stored import BEGINNING, recordings
from asyncnet.scenario.schema import ScenarioError
from asyncnet.tasks import cartpole, regression, tracking
from asyncnet.tasks import multiplexer as questions
from support.places import TESTS
from support.resealed import scenarios
from support.teams import FREE, multiplexer

PARTS = archive, hearing
MACHINES = {
    world: (questions, regression, tracking, cartpole),
    sampled: (*PARTS, coagent, value, lms),
    settling: (*PARTS, mode_seeking, settling_on_clocks),
    phased: (*PARTS, mode_seeking, settling_in_phases),
    dopamine: (),
}


def fuzz(seed, cases, seconds):
    """How many of so many resealed checkpoints went how; a process of its own, for it may crash."""
    done = subprocess.run(
        [sys.executable, "-m", "support.resealed", str(seed), str(cases), str(seconds)], cwd=TESTS, capture_output=True, text=True, timeout=3000, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_sixty_resealed_checkpoints_do_no_harm():
    counts = fuzz(1, 60, 0.05)
    assert sum(counts.values()) > 55
    assert counts["refused"] > 20
    assert counts["long enough"] > 10


@pytest.mark.study
@pytest.mark.timeout(3600)
def test_a_thousand_resealed_checkpoints_do_no_harm():
    print("\n", fuzz(2, 1000, 0.2), flush=True)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.__name__)
def test_every_field_that_a_kernel_makes_a_whole_number_of_says_what_it_may_hold(machine):
    modules = (machine, *MACHINES[machine])
    fields = {field.name: field.holds for module in modules for field in getattr(module, "FIELDS", ()) if field.lies == layout.STATE}
    given = {field.name for module in modules for field in getattr(module, "FIELDS", ()) if field.lies == layout.GIVEN}  # no part of a state
    wholes = {name for module in modules for name in re.findall(r"int\(v\.(\w+)", inspect.getsource(module))}
    assert wholes & fields.keys()
    assert {name for name in wholes - given if fields.get(name, "any") == "any"} == set()


@pytest.mark.parametrize("number", range(8))
def test_every_number_that_a_field_may_not_hold_is_refused_by_its_name(number):
    scenario, cut = list(scenarios())[number]
    made = CompiledLoop(scenario, Virtual())
    made.run(until=cut)
    made.nodes[0].close()
    state, other = snapshot.take(made), Loop(scenario, Virtual())
    seen = 0
    for node in {id(node.places): node for node in made.nodes.values()}.values():
        for field in node.bound.fields:
            first, last, _ = node.places[field.name]
            for wrong in (np.nan, -7.0, 2.0**60) if field.holds != "any" and last > first else ():
                array = node.state.copy()
                array[first] = wrong
                with pytest.raises(ScenarioError, match=f"checkpoint/state.safetensors: node/{node.name}: not a state of this team: {field.name} holds "):
                    snapshot.put(other, Checkpoint(state.about, state.arrays | {f"node/{node.name}": array}))
                seen += 1
    other.nodes[0].close()
    assert seen > 60


STATE = ("node/actor.2", "counts", "ledger", "agenda", "agenda/values", "held", "held/values", "score/rewards", "score/returns", "score/episodes")


@pytest.mark.parametrize("name", STATE)
@pytest.mark.parametrize("shape", ["one element", "one too few", "turned", "of another kind", "missing"])
def test_an_array_of_another_shape_or_kind_is_refused(name, shape):
    scenario = multiplexer("weight-max", {"links": {"default": {"delay": 1.3}, "reward": {"stale": 3}}})
    made = CompiledLoop(scenario, Virtual())
    made.run(until=500_000)
    state = snapshot.take(made)
    array = state.arrays[name]
    other = {
        "one element": array.ravel()[:1] if array.size > 1 else np.zeros(3),
        "one too few": array[:-1] if array.size else np.zeros(1),
        "turned": array[None],
        "of another kind": array.astype(np.int64 if array.dtype == np.float64 else np.float64),
    }
    arrays = {key: other.get(shape) if key == name else each for key, each in state.arrays.items() if key != name or shape != "missing"}
    with pytest.raises(ScenarioError, match=f"state.safetensors: {name.split('/values')[0]}"):
        snapshot.put(Loop(scenario, Virtual()), Checkpoint(state.about, arrays))


def reseal(folder, change):
    """Change the newest checkpoint in a folder, and make its checksums right again."""
    (whole, _), path = checkpoint.load(folder), max(folder.iterdir())
    change(whole.about, whole.arrays)
    other = folder.parent / "resealed"
    checkpoint.save(other, int(path.name), whole)
    for file in (other / path.name).iterdir():
        file.replace(path / file.name)
    return path


def cut_short(tmp_path, **how):
    """The directory of a run that was interrupted and kept a checkpoint."""

    class Stops(asyncnet.api.Quiet):
        def row(self, row):
            raise KeyboardInterrupt

    return asyncnet.run(multiplexer("weight-max", FREE | {"task.decisions": 400}), out=tmp_path, reporter=Stops(), **how).run_dir


def test_a_resealed_checkpoint_is_refused_before_anything_is_begun(command, tmp_path):
    path = cut_short(tmp_path)
    sealed = reseal(path / "checkpoints", lambda about, arrays: arrays["node/actor.1"].put(0, 1e300))
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    code, out, err = command("resume", path)
    assert (code, out, err.count("\n")) == (64, "", 1)
    assert f"{sealed}/state.safetensors: node/actor.1: not a state of this team: newest holds 1e+300" in err
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    reseal(path / "checkpoints", lambda about, arrays: about.update(now="soon"))
    code, _, err = command("resume", path)
    assert (code, err.count("\n")) == (64, 1)
    assert f"{sealed}/manifest.json: about.now: not a state of this team" in err


def test_a_resealed_beginning_of_a_recording_is_refused(command, tmp_path):
    path = cut_short(tmp_path, time="wall")
    assert asyncnet.resume(path).record.stopped == "finished"
    reseal(recordings(path, 1) / BEGINNING, lambda about, arrays: arrays["agenda"].__setitem__((0, 2), 10**6))
    code, _, err = command("replay", path)
    assert (code, err.count("\n")) == (64, 2)
    assert "state.safetensors: agenda: not a state of this team: a receiver holds 1000000" in err
