"""Parameters of the strategy ``model``, and whether they fit a model."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, ValidationInfo, field_validator

from milepost_contracts.failures import Problem
from milepost_contracts.model import ContractModel
from milepost_contracts.trained_models import ModelReference

Threshold: TypeAlias = Annotated[float, Field(allow_inf_nan=False)] | None

UP, DOWN = "up", "down"
"""Classes that the strategy trades."""
EQUITIES_MAX = 100.0


class ModelParameters(ContractModel):
    """Long while a trained model expects rising prices, and short while it expects falling ones if allowed.

    What the thresholds are compared with is the model's probability of ``up`` (long) and of ``down`` (short), or,
    when it predicts returns, the expected log return (long) and its negative (short).
    """

    model: ModelReference
    enter_long: Threshold = None
    """Long from above this. None: 0.5 for probabilities, 0 for returns."""
    leave_long: Annotated[Threshold, Field(validate_default=True)] = None
    """No longer long below this. None: as ``enter_long``."""
    allow_short: bool = False
    enter_short: Annotated[Threshold, Field(validate_default=True)] = None
    """Short from above this. None: 0.5 for probabilities, 0 for returns."""
    leave_short: Annotated[Threshold, Field(validate_default=True)] = None
    """No longer short below this. None: as ``enter_short``."""
    sizing: Literal["units", "cash", "equity"] = "units"
    """What ``amount`` counts when a position is entered: units, money, or shares of the equity at that bar."""
    amount: Annotated[float, Field(gt=0, allow_inf_nan=False, validate_default=True)] = 100.0
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """For the predictions; another number may change their last bits."""

    @field_validator("leave_long")
    @classmethod
    def _leaves_long_below(cls, leave: Threshold, info: ValidationInfo) -> Threshold:
        return _not_above(leave, info.data.get("enter_long"), "long")

    @field_validator("leave_short")
    @classmethod
    def _leaves_short_below(cls, leave: Threshold, info: ValidationInfo) -> Threshold:
        if leave is not None and not info.data.get("allow_short", True):
            raise ValueError("counts only with allow_short")
        return _not_above(leave, info.data.get("enter_short"), "short")

    @field_validator("enter_short")
    @classmethod
    def _short_is_allowed(cls, enter: Threshold, info: ValidationInfo) -> Threshold:
        if enter is not None and not info.data.get("allow_short", True):
            raise ValueError("counts only with allow_short")
        return enter

    @field_validator("amount")
    @classmethod
    def _can_be_borrowed(cls, amount: float, info: ValidationInfo) -> float:
        if info.data.get("sizing") == "equity" and amount > EQUITIES_MAX:
            raise ValueError(f"is a share of the equity, at most {EQUITIES_MAX:g}; 0.5 is half of it")
        return amount


def with_thresholds(parameters: ModelParameters, classes: tuple[str, ...]) -> ModelParameters:
    """Return the parameters with every threshold filled in, as a model with these classes has them."""
    usual = 0.5 if classes else 0.0
    enter_long = usual if parameters.enter_long is None else parameters.enter_long
    filled = {
        "enter_long": enter_long,
        "leave_long": enter_long if parameters.leave_long is None else parameters.leave_long,
    }
    if parameters.allow_short:
        enter_short = usual if parameters.enter_short is None else parameters.enter_short
        leave_short = enter_short if parameters.leave_short is None else parameters.leave_short
        filled |= {"enter_short": enter_short, "leave_short": leave_short}
    return parameters.model_copy(update=filled)


def misfits(parameters: ModelParameters, classes: tuple[str, ...]) -> tuple[Problem, ...]:
    """Return why a model with these classes (none: it predicts returns) cannot be traded so.

    Fields are those of the parameters.
    """
    lacking = [name for name in (UP, DOWN) if classes and name not in classes]
    if lacking:
        told = f"the model tells {', '.join(classes)} apart, the strategy trades {UP} and {DOWN}"
        return (Problem(field="model", message=told),)
    filled = with_thresholds(parameters, classes)
    return _beyond(filled, classes) or (*_above(filled), *_at_once(filled, 1.0 if classes else 0.0))


def _beyond(filled: ModelParameters, classes: tuple[str, ...]) -> tuple[Problem, ...]:
    """Return a problem for each threshold that nothing can reach, or everything."""
    least, words = (0.0, "a probability: between 0 and 1") if classes else (-1.0, _RETURNS)
    thresholds = {name: getattr(filled, name) for name in _THRESHOLDS}
    return tuple(
        Problem(field=name, message=f"{value:g} is compared with {words}")
        for name, value in thresholds.items()
        if value is not None and not least < value < 1
    )


def _above(filled: ModelParameters) -> tuple[Problem, ...]:
    """Return a problem for each side that is left above what it is entered at; one of them is a default."""
    problems: list[Problem] = []
    for side in ("long", "short"):
        try:
            _not_above(getattr(filled, f"leave_{side}"), getattr(filled, f"enter_{side}"), side)
        except ValueError as error:
            problems.append(Problem(field=f"leave_{side}", message=str(error)))
    return tuple(problems)


def _at_once(filled: ModelParameters, least: float) -> tuple[Problem, ...]:
    """Return a problem when one prediction could enter both sides."""
    long, short = filled.enter_long, filled.enter_short
    if long is None or short is None or long + short >= least:
        return ()
    words = f"enter_long ({long:g}) and enter_short ({short:g}) must add up to {least:g} at least"
    return (Problem(field="enter_short", message=f"both sides would be entered at once: {words}"),)


_THRESHOLDS = ("enter_long", "leave_long", "enter_short", "leave_short")
_RETURNS = "an expected log return: between -1 and 1, 0.01 is about 1 %"
_ABOVE = "leave_{side} ({leave:g}) must be at most enter_{side} ({enter:g})"


def _not_above(leave: Threshold, enter: Threshold, side: str) -> Threshold:
    if leave is not None and enter is not None and leave > enter:
        raise ValueError(_ABOVE.format(leave=leave, enter=enter, side=side))
    return leave
