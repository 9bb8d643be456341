"""A study is a value: what it says is checked in one line, and which runs it consists of follows from it alone."""

import pytest

import asyncnet
from asyncnet.scenario.mistakes import ScenarioError
from asyncnet.scenario.reading import setting
from asyncnet.studies import table
from asyncnet.studies.study import FIXED, Study, asked, cells, checked, read_study, varied

BASE = {"name": "s", "scenario": "multiplexer3-weight-max", "set": {"task.decisions": 100}, "seeds": 2}


def study(**changes):
    return checked(BASE | changes, "test")


def labels(made):
    return [tuple(cell.labels.values()) for cell in made][::2]


def test_a_grid_is_every_value_with_every_other_and_each_with_every_seed():
    made = cells(study(vary={"links.feedback.delay": [0, 2], "rule.credit": ["stamped", "trace"]}))
    assert labels(made) == [(0, "stamped"), (0, "trace"), (2, "stamped"), (2, "trace")]
    assert [cell.seed for cell in made] == [1, 2] * 4
    assert made[5].scenario == asyncnet.load("multiplexer3-weight-max", settings=["links.feedback.delay=2", "task.decisions=100"]).replace(seed=2)
    assert len({cell.scenario.fingerprint() for cell in made}) == 8


def test_a_zip_is_the_first_values_of_all_and_then_the_second_ones():
    made = cells(study(vary={"rule.credit": ["stamped", "trace"], "rule.lambda": [0.0, 0.5]}, mode="zip"))
    assert labels(made) == [("stamped", 0.0), ("trace", 0.5)]
    with pytest.raises(ScenarioError, match=r"a zip needs as many values of each: rule.credit has 2, rule.lambda has 1"):
        cells(study(vary={"rule.credit": ["stamped", "trace"], "rule.lambda": [0.0]}, mode="zip"))


def test_conditions_scenarios_and_variants_are_dimensions():
    made = cells(
        study(
            vary={"scenario": ["multiplexer3-weight-max", "multiplexer2-units"], "under": ["none", "lossy+bursty", ["lossy", "straggler"]]},
            variants=[{"name": "wm"}, {"name": "reinforce", "set": {"rule.name": "reinforce", "rule.learning_rate": 0.01}}],
        )
    )
    assert len(made) == 2 * 3 * 2 * 2
    assert list(made[0].labels) == ["scenario", "under", "variant"]
    assert {cell.labels["under"] for cell in made} == {"none", "lossy+bursty", "lossy+straggler"}
    last = made[-1]
    assert (last.scenario.name, last.scenario.under, last.scenario.rule.name) == ("multiplexer2-units", ("lossy", "straggler"), "reinforce")


def test_a_factor_is_a_dimension_of_named_levels_between_variants_and_settings():
    levels = [{"name": "none"}, {"name": "late", "set": {"links.feedback.delay": 3}}, {"name": "lossy", "under": "lossy"}]
    starts = [{"name": "own"}, {"name": "units", "scenario": "multiplexer2-units"}]
    made = study(variants=[{"name": "a"}, {"name": "b"}], factors={"hardship": levels, "team": starts}, vary={"task.world.interval": [8, 9]}, seeds=1)
    found = cells(made)
    assert list(found[0].labels) == ["variant", "hardship", "team", "task.world.interval"]
    assert len({tuple(cell.labels.values()) for cell in found}) == len(found) == 2 * 3 * 2 * 2
    last = found[-1]
    assert list(last.labels.values()) == ["b", "lossy", "units", 9]
    plain = asyncnet.load("multiplexer2-units", under="lossy", settings=["task.decisions=100", "task.world.interval=9"])
    assert last.scenario == plain
    late = next(cell for cell in found if cell.labels["hardship"] == "late")
    assert late.scenario.links.feedback[0].delay.value == 3
    assert found[0].scenario.links.feedback == ()
    assert checked(made.data(), "again") == made


@pytest.mark.parametrize("taken", sorted({*table.FIGURES, *FIXED, "same_bits_as"}))
def test_a_factor_cannot_be_called_like_another_column_of_the_table(taken):
    with pytest.raises(ScenarioError, match=r"factors"):
        study(factors={taken: [{"name": "a"}]})


def test_a_table_has_no_column_of_its_own_that_is_not_known_to_be_taken():
    rows = table.rows(study(), [], {})
    fixed = {*table.columns(study(), rows), "under", "variant"} - set(table.FIGURES) - {"same_bits_as"}
    assert fixed <= FIXED


def test_levels_of_a_factor_have_names_of_their_own():
    with pytest.raises(ScenarioError, match=r"factors\.speed: two of them are called a"):
        study(factors={"speed": [{"name": "a"}, {"name": "a"}]})


def test_a_run_that_stands_there_twice_is_refused_for_it_would_count_as_two():
    for changes, why in (
        ({"seeds": [3, 3]}, r"seeds: each once, got 3, 3"),
        ({"vary": {"seed": [1, 2]}}, r"vary\.seed: seeds are said as seeds"),
        ({"vary": {"links.feedback.delay": [1, 2, 1]}}, r"links.feedback.delay = 1: stands there twice"),
        ({"vary": {"links.feedback.delay": [1, 1.0]}}, r"stands there twice"),
        ({"vary": {"under": ["lossy", ["lossy"]]}}, r"under = lossy: stands there twice"),
    ):
        with pytest.raises(ScenarioError, match=why):
            cells(study(**changes))
    paired = cells(study(vary={"links.feedback.delay": [1, 1], "rule.credit": ["stamped", "trace"]}, mode="zip"))
    assert labels(paired) == [(1, "stamped"), (1, "trace")]
    with pytest.raises(ScenarioError, match=r"--vary rule.lambda: is given twice"):
        asked("multiplexer3-weight-max", vary=["rule.lambda=0", "rule.lambda=0.5"])


def test_a_number_that_no_column_holds_is_a_row_that_failed():
    numbers = [float("nan"), float("inf"), 2**70, 0]
    made = cells(study(vary={"links.feedback.delay": numbers}, seeds=1))
    assert [(cell.entry().labels["links.feedback.delay"], cell.scenario is None) for cell in made] == [
        ("nan", True), ("inf", True), (str(2**70), True), (0, False)
    ]  # fmt: skip
    assert "must be" in made[0].why


def test_a_study_of_too_many_runs_is_refused_before_they_are_laid_out(monkeypatch):
    monkeypatch.setattr(Study, "combinations", lambda study: pytest.fail("laid out"))
    many = {key: list(range(1, 11)) for key in ("tick", "task.decisions", "task.world.interval", "links.feedback.delay", "rule.lambda")}
    with pytest.raises(ScenarioError, match=r"200,000 runs; at most 100,000"):
        cells(study(vary=many))


def test_seeds_can_be_named():
    assert [cell.seed for cell in cells(study(seeds=[7, 3]))] == [7, 3]
    assert [cell.scenario.seed for cell in cells(study(seeds=[7, 3]))] == [7, 3]


def test_settings_that_do_not_fit_together_are_cells_that_say_so_unless_all_are():
    made = cells(study(vary={"rule.learning_rate": [0.01, [0.1, 0.2]]}))
    assert [cell.why for cell in made] == ["", "", *["vary rule.learning_rate=(0.1, 0.2): rule.learning_rate: 2 values for 3 layers"] * 2]
    with pytest.raises(ScenarioError, match="unknown key; did you mean credit"):
        cells(study(vary={"rule.credits": ["trace"]}))


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("links.feedback.delay=0,0.5,1", "links.feedback.delay", (0, 0.5, 1)),
        ("rule.credit=stamped,trace", "rule.credit", ("stamped", "trace")),
        ("rule.learning_rate=[0.1,0.2],0.3", "rule.learning_rate", ([0.1, 0.2], 0.3)),
        ('clocks."actor.1"={kind="poisson",period=2}', 'clocks."actor.1"', ({"kind": "poisson", "period": 2},)),
        ("under=none,lossy+straggler", "under", ("none", "lossy+straggler")),
    ],
)
def test_what_is_varied_is_toml_or_bare_words_between_commas(text, key, values):
    assert varied(text) == (key, values)


@pytest.mark.parametrize("text", ["", "rule.credit", "=1", "rule.credit="])
def test_a_variation_without_key_or_values_is_refused(text):
    with pytest.raises(ScenarioError, match="expected key=value,value"):
        varied(text)


def test_a_study_in_a_file_is_the_same_however_its_tables_are_written(tmp_path):
    (tmp_path / "flat.toml").write_text('scenario = "multiplexer3-weight-max"\n[vary]\n"links.feedback.delay" = [0, 1]\n')
    (tmp_path / "nested.toml").write_text('name = "flat"\nscenario = "multiplexer3-weight-max"\n[vary.links.feedback]\ndelay = [0, 1]\n')
    assert read_study(tmp_path / "flat.toml") == read_study(tmp_path / "nested.toml")
    again = tmp_path / "again.toml"
    again.write_text(read_study(tmp_path / "flat.toml").toml())
    assert read_study(again) == read_study(tmp_path / "flat.toml")


def test_a_studys_scenario_is_looked_for_beside_it(tmp_path):
    (tmp_path / "mine.toml").write_text(asyncnet.load("multiplexer3-weight-max").toml())
    (tmp_path / "study.toml").write_text('scenario = "mine.toml"\nseeds = 1\n')
    made, beside = asked(str(tmp_path / "study.toml"))
    assert cells(made, beside)[0].scenario == asyncnet.load("multiplexer3-weight-max")


def test_a_command_lays_more_over_a_studys_file(tmp_path):
    (tmp_path / "study.toml").write_text('scenario = "multiplexer3-weight-max"\n[vary]\n"rule.credit" = ["stamped", "trace"]\n')
    made, _ = asked(
        str(tmp_path / "study.toml"), vary=["rule.credit=trace", "rule.lambda=0,0.5"], seeds="4,5", settings=[setting("task.decisions=9")], name="more"
    )
    assert made.vary == {"rule.credit": ("trace",), "rule.lambda": (0, 0.5)}
    assert (made.seeds, made.set, made.name) == ((4, 5), {"task.decisions": 9}, "more")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": 0}, "seeds: must be greater than or equal to 1"),
        ({"vary": {"rule.credit": []}}, 'vary."rule.credit": must have at least 1'),
        ({"sceanrio": "x"}, "unknown key; did you mean scenario"),
        ({"variants": [{"name": "a"}, {"name": "a"}]}, "two of them are called a"),
        ({"name": "../up"}, "name: "),
    ],
)
def test_what_is_wrong_with_a_study_is_said_by_key(changes, said):
    with pytest.raises(ScenarioError, match=said):
        study(**changes)


@pytest.mark.parametrize("name", sorted(asyncnet.list_studies()))
def test_a_shipped_study_is_sound_and_says_what_it_asks_and_expects(name):
    made, beside = asked(name)
    assert made.question
    assert made.expect
    assert [cell.why for cell in cells(made, beside) if cell.why] == []


def test_the_hardship_study_is_of_four_rules_and_fourteen_conditions():
    made = cells(*asked("hardship"))
    assert len(made) == 4 * 14 * 5
    assert {cell.scenario.rule.name for cell in made} == {"weight-max", "reinforce", "map-propagation-async", "coordinated-exploration"}
    assert {cell.scenario.task.k for cell in made} == {3}
    assert {cell.scenario.task.decisions for cell in made} == {30_000}
