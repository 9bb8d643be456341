"""Whatever scenarios hypothesis thinks of."""

from hypothesis import strategies as st


def faults(names):
    """Faults of links and of nodes as plain data; not all of them strike something of every team."""
    few = st.sampled_from
    times = st.one_of(
        st.just({}),
        st.fixed_dictionaries({"start": st.floats(0.0, 200.0), "stop": st.floats(201.0, 900.0)}),
        st.fixed_dictionaries({"every": st.floats(1.0, 100.0), "lasting": st.floats(0.5, 60.0), "stop": st.just(2000.0)}),
        st.fixed_dictionaries({"poisson": st.floats(5.0, 100.0), "lasting": st.floats(0.5, 40.0), "stop": st.just(2000.0)}),
        st.fixed_dictionaries({"decisions": st.tuples(st.integers(0, 50), st.integers(51, 150)).map(list)}),
    )
    where = st.fixed_dictionaries(
        {},
        optional={
            "channel": few(["activity", "activity", "feedback", "reward"]),
            "nodes": few(names[1:]),
            "way": few(["in", "out", "both"]),
            "from": few(["actor", "world", *names[1:]]),
        },
    )
    delay = {"kind": "normal", "mean": 2.0, "sigma": 1.5}
    measured = {"kind": "measured", "quantiles": [[0.0, 0.2], [0.7, 1.0], [1.0, 6.0]]}
    what = st.one_of(
        st.fixed_dictionaries({"kind": few(["loss", "corrupt"]), "share": few([0.1, 0.6]), "burst": few([2.6, 4.0])}),
        st.fixed_dictionaries({"kind": st.just("delay"), "delay": few([1.5, delay, measured, {"kind": "exponential", "mean": 1.0}]), "alike": few([0.0, 0.8])}),
        st.fixed_dictionaries({"kind": st.just("reorder"), "share": few([0.1, 0.6]), "by": few([1.0, 7.0])}),
        st.fixed_dictionaries({"kind": st.just("cut")}),
        st.fixed_dictionaries({"kind": st.just("rate"), "per_tick": few([0.2, 0.7, 3.0]), "room": few([0, 2, 100])}),
        st.fixed_dictionaries({"kind": st.just("hold"), "stop": st.just(2000.0)}),
        st.fixed_dictionaries({"kind": st.just("duplicate"), "share": few([0.1, 0.6]), "by": few([0.001, 2.0])}),
        st.fixed_dictionaries({"kind": st.just("noise"), "channel": st.just("reward"), "sigma": st.just(0.3)}),
        st.fixed_dictionaries({"kind": st.just("misdate"), "channel": st.just("reward"), "share": few([0.1, 1.0]), "by": st.integers(1, 5)}),
    )
    made = st.tuples(times, what, where).map(lambda parts: parts[0] | parts[2] | parts[1])
    of_links = made.filter(lambda fault: not (fault["kind"] == "hold" and "decisions" in fault))
    befalls = st.one_of(
        st.fixed_dictionaries({"kind": st.just("crash"), "stop": st.just(2000.0)}, optional={"snapshot": st.floats(1.0, 100.0)}),
        st.fixed_dictionaries({"kind": st.just("pause"), "stop": st.just(2000.0)}),
        st.fixed_dictionaries({"kind": st.just("slow"), "by": st.floats(0.3, 5.0)}),
        st.fixed_dictionaries({"kind": st.just("skip"), "share": few([0.1, 0.6])}),
        st.fixed_dictionaries({"kind": st.just("mailbox"), "policy": few(["block", "drop-oldest", "drop-newest"]), "room": few([1, 2, 5])}),
        st.just({"kind": "mailbox", "policy": "newest-wins"}),
        st.fixed_dictionaries({"kind": st.just("shift"), "by": st.floats(0.1, 9.0)}),
    )
    whom = st.fixed_dictionaries({}, optional={"nodes": few(["actor", *names[1:]]), "count": st.just(1), "together": st.booleans()})
    of_nodes = st.tuples(befalls, times, whom).map(lambda parts: parts[0] | parts[1] | parts[2])
    return st.one_of(of_links, of_nodes)


@st.composite
def scenarios(draw, *, delayed=False, decisions=200):
    """Small teams, clocks and links as plain data; not all are sound. If `delayed`, every message takes some time."""
    few = st.sampled_from
    ticks = st.floats(0.0, 4.0, allow_subnormal=False)
    period = st.floats(0.3, 3.0)
    clock = st.one_of(
        st.just({"kind": "on-arrival"}),
        st.fixed_dictionaries({"kind": st.just("periodic"), "period": period, "jitter": few([0.0, 0.3]), "drift": few([0.0, 0.2])}),
        st.fixed_dictionaries({"kind": st.just("poisson"), "period": period}),
        st.fixed_dictionaries({"kind": st.just("straggler"), "period": period, "slow": st.just(4.0), "start": ticks, "stop": st.just(200.0)}),
    )
    delay = st.one_of(
        ticks,
        st.fixed_dictionaries({"kind": st.just("uniform"), "low": ticks, "high": st.floats(4.0, 6.0)}),
        st.fixed_dictionaries({"kind": st.just("exponential"), "mean": period}),
        st.fixed_dictionaries({"kind": st.just("lognormal"), "mean": period, "sigma": st.floats(0.0, 1.0)}),
    )
    condition = st.fixed_dictionaries({}, optional={"delay": delay, "loss": few([0.1, 0.5]), "reliable": st.booleans(), "stale": few([0, 1, 4])})
    conditions = st.lists(condition, max_size=2)
    hidden = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    names = ["default", *(f"actor.{i + 1}" for i in range(len(hidden) + 1))]
    waits = draw(st.booleans())
    world = {
        "waits": waits,
        "interval": draw(st.floats(0.5, 8.0)),
        "timeout": 15.0,
        "late": "use" if waits else draw(few(["use", "withhold", "grade-by-stamp"])),
    }
    name = draw(few(["weight-max", "reinforce", "map-propagation", "map-propagation-async"]))
    rule = {"name": name, "learning_rate": 0.02, "credit": draw(few(["stamped", "trace"])), "lambda": draw(few([0.0, 0.6]))}
    made = {
        "name": "any",
        "seed": draw(st.integers(0, 2**53 - 1)),
        "tick": draw(few([10, 1000] if delayed else [1, 10, 1000])),
        "task": {"name": "multiplexer", "k": draw(st.integers(1, 2)), "decisions": decisions, "streams": draw(few([1, 1, 2])), "world": world},
        "network": {
            "hidden": hidden,
            "output": draw(few(["bernoulli", "softmax", "sign"])),
            "split": draw(few(["layer", "unit", 2])),
            "ready": draw(few(["auto", "revise", "all"])),
            "timeout": draw(st.integers(1, 5)),
        },
        "rule": rule,
        "clocks": draw(st.dictionaries(few(names), clock, max_size=3)),
        "links": {"default": draw(conditions), "activity": draw(conditions), "reward": draw(conditions), "feedback": draw(conditions)},
    }
    if name.startswith("map"):
        made["network"] |= {"units": "softplus", "output": "softmax", "ready": "auto"}
        rule["variance"] = draw(few([0.1, 0.5]))
        made["clocks"] = {key: value for key, value in made["clocks"].items() if value["kind"] != "on-arrival"}
    if name == "map-propagation-async":
        made["clocks"].setdefault("default", {"kind": "periodic"})
        rule |= {"credit": draw(few(["stamped", "trace", "motion", "time"])), "start": draw(few(["sample", "mean", "zero"])), "decide": draw(few([0, 2]))}
    if name == "map-propagation":
        rule["rounds"], made["clocks"], made["links"] = draw(st.integers(1, 3)), {}, {"default": {"delay": draw(few([0.0, 0.1]))}}
        world |= {"waits": True, "interval": 8.0, "late": "use"}
    if name != "map-propagation":
        made["faults"] = draw(st.lists(faults(names), max_size=2))
    if delayed:
        made["links"]["default"] = [{"delay": draw(few([0.2, 0.5, 1.7]))}, *(made["links"]["default"] if name != "map-propagation" else [])]
    return made
