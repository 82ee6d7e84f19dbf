"""From a grid to combinations: possible ones in a fixed order, and why the others are left out."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from milepost_contracts.failures import Problem
from milepost_contracts.model import JsonObject
from milepost_contracts.specs.sweep import GridAxis, SweepSpec
from milepost_contracts.specs.sweep_constraints import Constraint, parse_constraint
from milepost_contracts.specs.sweep_ranges import values_of

REASONS_MAX = 20

Check = Callable[[JsonObject], tuple[Problem, ...]]
"""Says what is wrong with a strategy's parameters; fields below ``strategy.parameters``, without that prefix."""


@dataclass(frozen=True, slots=True)
class Combinations:
    """The possible combinations of a grid."""

    parameters: tuple[JsonObject, ...]
    """Of each: what the spec gives the strategy, with the grid's values."""
    left_out: Mapping[str, int]
    """How many were left out, by the reason."""


class GridError(ValueError):
    """No sweep can be made of the grid; every problem is named."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in problems))
        self.problems = problems


def grid_points(grid: Mapping[str, GridAxis]) -> Iterator[JsonObject]:
    """Return every place of the grid; parameters by name, the last one changes fastest."""
    names = sorted(grid)
    for values in product(*(values_of(grid[name]) for name in names)):
        yield dict(zip(names, values, strict=True))


def combinations_of(spec: SweepSpec, check: Check) -> Combinations:
    """Return the possible combinations of a sweep.

    Raises:
        GridError: there is none, or there are too many, or a constraint speaks of what is not there.
    """
    base = spec.strategy.parameters
    constraints = [parse_constraint(text) for text in spec.constraints]
    _check_names(spec, constraints)
    kept: list[JsonObject] = []
    left_out: Counter[str] = Counter()
    faults = _Faults()
    for point in grid_points(spec.grid):
        parameters = {**base, **point}
        problems = (*_broken(parameters, constraints), *check(parameters))
        if not problems:
            kept.append(parameters)
            continue
        left_out[_plain(problems[0], parameters)] += 1
        faults.add(problems, parameters, spec)
    if not kept:
        raise GridError(faults.told(sum(left_out.values())))
    if len(kept) > spec.combinations_max:
        raise GridError((_too_many(len(kept), spec.combinations_max),))
    return Combinations(tuple(kept), dict(left_out.most_common(REASONS_MAX)))


class _Faults:
    """What is wrong with the combinations of a grid: each kind of fault once, with how many have it."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, Problem] = {}

    def add(self, problems: tuple[Problem, ...], parameters: JsonObject, spec: SweepSpec) -> None:
        for problem in problems:
            reason = _plain(problem, parameters)
            self._counts[reason] += 1
            self._first.setdefault(reason, _placed(problem, spec))

    def told(self, total: int) -> tuple[Problem, ...]:
        named = [
            Problem(
                field=self._first[reason].field,
                message=f"{self._first[reason].message} ({count:,} of {total:,} combinations)",
            )
            for reason, count in self._counts.most_common(REASONS_MAX)
        ]
        return (Problem(field="grid", message=f"none of its {total:,} combinations is possible"), *named)


def _check_names(spec: SweepSpec, constraints: list[Constraint]) -> None:
    known = {*spec.grid, *spec.strategy.parameters}
    problems = tuple(
        Problem(
            field=f"constraints.{place}",
            message=f"{name} is neither in the grid nor in strategy.parameters: give it a value there",
        )
        for place, constraint in enumerate(constraints)
        for name in constraint.names
        if name not in known
    )
    if problems:
        raise GridError(problems)


def _broken(parameters: JsonObject, constraints: list[Constraint]) -> list[Problem]:
    problems: list[Problem] = []
    for constraint in constraints:
        try:
            if not constraint.holds(parameters):
                problems.append(Problem(field="", message=f"not {constraint.text}"))
        except TypeError as error:
            problems.append(Problem(field="", message=f"{constraint.text}: {error}"))
    return problems


def _plain(problem: Problem, parameters: JsonObject) -> str:
    """Return a problem in words without values, which differ from one combination to the next.

    ``fast (30) must be smaller than slow (20)`` is one reason, whatever the numbers.
    """
    reason = f"{problem.field}: {problem.message}" if problem.field else problem.message
    for value in parameters.values():
        reason = reason.replace(f" ({value})", "")
    return reason


def _placed(problem: Problem, spec: SweepSpec) -> Problem:
    """Return the problem with its field as the spec has it."""
    name = problem.field.partition(".")[0]
    if not name:
        return Problem(field="constraints", message=problem.message)
    place = f"grid.{problem.field}" if name in spec.grid else f"strategy.parameters.{problem.field}"
    return Problem(field=place, message=problem.message)


def _too_many(count: int, limit: int) -> Problem:
    return Problem(
        field="combinations_max",
        message=f"the grid has {count:,} possible combinations, more than {limit:,}: make it coarser,"
        " add constraints, or raise combinations_max",
    )
