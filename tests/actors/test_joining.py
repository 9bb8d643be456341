"""A process that is in a Ray already runs its scenarios there, leaves it as it was, and Ray's own tools call the actors by their nodes."""

import psutil
import pytest

import asyncnet
from asyncnet.actors.reaper import leftovers
from asyncnet.api import Quiet
from support.teams import multiplexer

SCENARIO = multiplexer("weight-max", {"task.decisions": 20_000, "links": {"default": {"delay": 0.5}}})


class Looking(Quiet):
    """Writes down what is said, and at the first row of progress which actors Ray knows and what their processes are called."""

    def __init__(self, mark):
        self.mark, self.notes, self.actors, self.titles = mark, [], [], []

    def note(self, text):
        self.notes.append(text)

    def row(self, _):
        if not self.actors:
            from ray.util import list_named_actors

            self.actors = list_named_actors(all_namespaces=True)
            self.titles = [title(process) for process in leftovers(self.mark)]


def title(process):
    try:
        return process.cmdline()[0]
    except (psutil.Error, IndexError):
        return ""


@pytest.mark.ray
def test_a_run_joins_the_ray_that_its_process_is_in_under_the_names_of_its_nodes(ray_session, tmp_path):
    import ray
    from ray.util import list_named_actors

    seen = Looking(ray_session.mark)
    before = {process.pid for process in leftovers(ray_session.mark)}
    result = asyncnet.run(SCENARIO, "ray", out=tmp_path, time="virtual", pack=2, reporter=seen)
    assert result.record.digest == asyncnet.run(SCENARIO, out=None).record.digest
    assert f"joining the Ray of this process, at {ray_session.address}" in seen.notes
    number = result.run_dir.name.rpartition("__")[2]
    assert {actor["name"] for actor in seen.actors} == {f"{nodes} {number}" for nodes in ("world", "actor.1+actor.2", "actor.3")}
    (namespace,) = {actor["namespace"] for actor in seen.actors}
    assert namespace != ray_session.namespace
    assert {"ray::world", "ray::actor.1+actor.2", "ray::actor.3"} <= {said.removesuffix(".status") for said in seen.titles}
    assert ray.is_initialized()
    assert ray.get(ray.put(3)) == 3
    assert list_named_actors(all_namespaces=True) == []
    assert before <= {process.pid for process in leftovers(ray_session.mark)}, "nothing was shut down that was there before"
    longer = asyncnet.resume(result.run_dir, set={"task.decisions": 30_000})
    assert longer.engine == "ray"
    assert longer.record.digest == asyncnet.run(SCENARIO.replace({"task.decisions": 30_000}), out=None).record.digest != result.record.digest


@pytest.mark.ray
def test_it_goes_on_there_on_real_clocks_too(ray_session, tmp_path):
    made = SCENARIO.replace({"task.decisions": 60})
    first = asyncnet.run(made, "ray", out=tmp_path, pack=8)
    assert first.record.stopped == "finished"
    longer = asyncnet.resume(first.run_dir, set="task.decisions=120")
    assert (longer.record.stopped, longer.record.score["decisions"]) == ("finished", 120)
    assert longer.summary()["resumed"].startswith("statistically")
    shown = asyncnet.open(first.run_dir).summary
    assert shown["measured"]["wire_us"]["world"]["activity"]
    assert "Time on the wire, by actor" in asyncnet.report(first.run_dir, to=tmp_path / "page").read_text()
    same, found = asyncnet.replay(first.run_dir)
    assert same, found
    assert found.count("identical") == 2
    assert asyncnet.verify(first.run_dir)[0]
