"""Check a strategy's parameters for a whole grid: is one combination possible, and are there too many?"""

from collections.abc import Callable, Mapping

from milepost_contracts.failures import Problem
from milepost_contracts.model import ContractModel, JsonObject
from milepost_contracts.problems import problems_of
from milepost_contracts.specs.sweep import SweepSpec
from milepost_contracts.specs.sweep_combinations import GridError, combinations_of
from pydantic import ValidationError

from milepost_orchestrator.application.json_schemas import problems_with

SCHEMA_CHECKS_MAX = 300
"""Checked against an announced schema, which is slow; the worker checks every one by the class itself."""

_Check = Callable[[JsonObject], tuple[Problem, ...]]


def problems_of_grid(
    spec: JsonObject,
    models: Mapping[str, type[ContractModel]],
    schemas: Mapping[str, JsonObject],
) -> tuple[Problem, ...]:
    """Return what makes a sweep impossible; nothing where the spec or its strategy is wrong in another way."""
    try:
        sweep = SweepSpec.model_validate(spec)
    except ValidationError:
        return ()
    check = _check_of(sweep.strategy.name, models, schemas)
    if check is None:
        return ()
    try:
        combinations_of(sweep, check)
    except GridError as error:
        return tuple(
            Problem(field=f"spec.{problem.field}", message=problem.message) for problem in error.problems
        )
    return ()


def _check_of(
    name: str, models: Mapping[str, type[ContractModel]], schemas: Mapping[str, JsonObject]
) -> _Check | None:
    if name in models:
        return _by_model(models[name])
    return _by_schema(schemas[name]) if name in schemas else None


def _by_model(model: type[ContractModel]) -> _Check:
    def check(parameters: JsonObject) -> tuple[Problem, ...]:
        try:
            model.model_validate(parameters)
        except ValidationError as error:
            return problems_of(error, "", parameters)
        return ()

    return check


def _by_schema(schema: JsonObject) -> _Check:
    checks = 0
    accepted = False

    def check(parameters: JsonObject) -> tuple[Problem, ...]:
        nonlocal checks, accepted
        # One that is possible is enough: the worker says which of the others are left out.
        if accepted or checks >= SCHEMA_CHECKS_MAX:
            return ()
        checks += 1
        found = tuple(
            problem.model_copy(update={"field": problem.field.removeprefix("parameters").lstrip(".")})
            for problem in problems_with(schema, parameters, "parameters")
        )
        accepted = not found
        return found

    return check
