"""Grids, ranges and constraints: what they stand for, and what is refused in which words."""

from typing import Any

import pytest
from milepost_contracts.problems import problems_of
from milepost_contracts.specs.strategies import SmaCrossParameters
from milepost_contracts.specs.sweep import RANKABLE, SweepSpec
from milepost_contracts.specs.sweep_combinations import GridError, combinations_of
from milepost_contracts.specs.sweep_constraints import parse_constraint
from milepost_contracts.specs.sweep_ranges import GridRange, values_of
from pydantic import ValidationError

pytestmark = pytest.mark.unit

TWO = [{"name": "a"}, {"name": "b"}]


def spec_of(**fields: Any) -> SweepSpec:
    content = {"data": {"name": "walk"}, "grid": {"fast": [2, 3, 8], "slow": [5, 8]}, **fields}
    return SweepSpec.model_validate(content)


def check(parameters: Any) -> Any:
    try:
        SmaCrossParameters.model_validate(parameters)
    except ValidationError as error:
        return problems_of(error, "", parameters)
    return ()


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ({"from": 5, "to": 20, "step": 5}, (5, 10, 15, 20)),
        ({"from": 5, "to": 19, "step": 5}, (5, 10, 15)),
        ({"from": 0.1, "to": 0.5, "step": 0.1}, (0.1, 0.2, 0.3, 0.4, 0.5)),
        ({"from": 1, "to": 9, "count": 5}, (1, 3, 5, 7, 9)),
        ({"from": 1, "to": 2, "count": 5}, (1.0, 1.25, 1.5, 1.75, 2.0)),
        ({"from": 3, "to": 3, "step": 1}, (3,)),
    ],
)
def test_ranges_stand_for_values(content: dict[str, Any], values: tuple[float, ...]) -> None:
    """Both ends are included, decimals are as a person writes them, whole numbers stay whole."""
    found = values_of(GridRange.model_validate(content))
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_combinations_come_in_one_order_and_impossible_ones_are_counted() -> None:
    """The last parameter by name changes fastest, whatever order the spec has; what is left out has its reason."""
    expected = [{"fast": fast, "slow": slow} for fast, slow in ((2, 5), (2, 8), (3, 5), (3, 8))]
    for grid in ({"fast": [2, 3, 8], "slow": [5, 8]}, {"slow": [5, 8], "fast": [2, 3, 8]}):
        found = combinations_of(spec_of(grid=grid), check)
        assert list(found.parameters) == expected
        assert found.left_out == {"slow: fast must be smaller than slow": 2}


def test_constraints_leave_combinations_out() -> None:
    """A comparison of parameters, also with a factor or a number, decides which combinations stay."""
    found = combinations_of(spec_of(constraints=["slow >= 2 * fast", "fast != 3"]), check)
    assert list(found.parameters) == [{"fast": 2, "slow": 5}, {"fast": 2, "slow": 8}]
    assert found.left_out == {"not fast != 3": 1, "not slow >= 2 * fast": 3}


def test_a_sweep_without_any_combination_is_refused_with_every_reason() -> None:
    """Each reason is named with its field and how many combinations it takes away."""
    with pytest.raises(GridError) as caught:
        combinations_of(spec_of(grid={"fast": [9, 0], "slow": [5]}, constraints=["fast < 100"]), check)
    assert [(problem.field, problem.message) for problem in caught.value.problems] == [
        ("grid", "none of its 2 combinations is possible"),
        ("grid.slow", "fast (9) must be smaller than slow (5) (1 of 2 combinations)"),
        ("grid.fast", "Input should be greater than or equal to 1 (1 of 2 combinations)"),
    ]


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"grid": {"fsat": [1, 2]}}, "grid.fsat", "there is no such field"),
        ({"strategy": {"parameters": {"colour": 1}}}, "strategy.parameters.colour", "no such field"),
        ({"constraints": ["speed < 3"]}, "constraints.0", "neither in the grid nor in strategy.parameters"),
        ({"combinations_max": 3}, "combinations_max", "4 possible combinations, more than 3"),
    ],
)
def test_impossible_grids_are_refused(fields: dict[str, Any], field: str, words: str) -> None:
    """Unknown parameters and too many combinations are named where they stand."""
    with pytest.raises(GridError) as caught:
        combinations_of(spec_of(**fields), check)
    assert any(problem.field == field and words in problem.message for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"grid": {}}, "spec.grid", "at least 1"),
        ({"grid": {"fast": []}}, "spec.grid.fast", "at least 1"),
        ({"grid": {"fast": [1, 1]}}, "spec.grid", "fast: a value stands twice"),
        ({"grid": {"fast": "5"}}, "spec.grid.fast", "give a list of values, or a range"),
        ({"grid": {"fast": {"from": 5, "to": 1, "step": 0}}}, "spec.grid.fast", "to (1) must be at least"),
        ({"grid": {"fast": {"from": 5, "to": 9}}}, "spec.grid.fast", "give step or count"),
        ({"grid": {"fast": {"from": 0, "to": 1, "step": 1e-9}}}, "spec.grid.fast", "more than 100,000 values"),
        ({"grid": {name: [*range(100)] for name in "abc"}}, "spec.grid", "1,000,000 places"),
        ({"constraints": ["__import__('os')"]}, "spec.constraints", "cannot be read"),
        ({"constraints": ["fast < slow < 3"]}, "spec.constraints", "cannot be read"),
        ({"rank_by": "luck"}, "spec.rank_by", "no figure to rank by"),
        ({"data": TWO, "walk_forward": {"test_bars": 9}}, "spec.walk_forward", "one dataset"),
        ({"walk_forward": {}}, "spec.walk_forward.test_bars", "must be given"),
        ({"walk_forward": {"test_bars": 9, "step_bars": 5}}, "spec.walk_forward.step_bars", "traded twice"),
        ({"walk_forward": {"test_bars": 9, "train_bars": 5, "train_share": 0.5}}, "spec.walk_forward", "not both"),
    ],
)  # fmt: skip
def test_specs_that_mean_nothing_are_refused(fields: dict[str, Any], field: str, words: str) -> None:
    """Each fault is named at its field, with what to do."""
    content = {"data": {"name": "walk"}, "grid": {"fast": [2], "slow": [5]}, **fields}
    with pytest.raises(ValidationError) as caught:
        SweepSpec.model_validate(content)
    found = [(problem.field, problem.message) for problem in problems_of(caught.value, "spec", content)]
    assert any(place == field and words in message for place, message in found), found


def test_a_spec_survives_the_bus() -> None:
    """Written as JSON and read again it is the same spec; a range keeps its own words."""
    spec = spec_of(grid={"fast": {"from": 2, "to": 4, "step": 1}}, walk_forward={"test_bars": 30})
    written = spec.model_dump(mode="json")
    assert written["grid"]["fast"]["from"] == 2
    assert SweepSpec.model_validate(written) == spec


def test_a_constraint_needs_numbers() -> None:
    """Comparing text with a number leaves the combination out with the reason."""
    constraint = parse_constraint("fast < 3")
    assert constraint.holds({"fast": 2})
    with pytest.raises(TypeError, match="no number"):
        constraint.holds({"fast": "two"})


def test_every_rankable_figure_has_a_better_end() -> None:
    """``best`` turns it round; ``auto`` follows the figure."""
    assert spec_of(rank_by="max_drawdown").direction == "lowest"
    assert spec_of(rank_by="max_drawdown", best="highest").direction == "highest"
    assert set(RANKABLE.values()) == {"highest", "lowest"}
