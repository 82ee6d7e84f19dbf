"""Parameters of the strategies that ship with the backtester."""

from collections.abc import Mapping
from typing import Annotated, TypeAlias

from pydantic import Field, ValidationInfo, field_validator

from milepost_contracts.model import ContractModel
from milepost_contracts.specs.model_strategy import ModelParameters
from milepost_contracts.specs.sizing import SizedParameters

Window: TypeAlias = Annotated[int, Field(ge=2, le=100_000)]


def _check_faster(slow: int, info: ValidationInfo) -> int:
    """Check a field, not the whole: so it is named together with whatever else is wrong."""
    fast = info.data.get("fast")
    if fast is not None and fast >= slow:
        raise ValueError(f"fast ({fast}) must be smaller than slow ({slow})")
    return slow


class SmaCrossParameters(SizedParameters):
    """Long while the fast simple moving average of the close is above the slow one."""

    fast: Annotated[int, Field(ge=1, le=100_000)] = 10
    """Bars of the fast average."""
    slow: Annotated[int, Field(ge=2, le=100_000, validate_default=True)] = 30
    """Bars of the slow average."""
    allow_short: bool = False
    """Short, rather than flat, while the fast average is below the slow one."""

    _fast_is_faster = field_validator("slow")(_check_faster)


class EmaCrossParameters(SmaCrossParameters):
    """Long while the fast exponential moving average of the close is above the slow one.

    An average of n bars has the weight 2 / (n + 1) and starts at the first close.
    """


class RsiReversionParameters(SizedParameters):
    """Long from the relative strength index (Wilder) falling below ``enter`` to its rising above ``leave``."""

    period: Window = 14
    enter: Annotated[float, Field(gt=0, lt=100)] = 30.0
    leave: Annotated[float, Field(gt=0, lt=100, validate_default=True)] = 50.0

    @field_validator("leave")
    @classmethod
    def _leave_is_above(cls, leave: float, info: ValidationInfo) -> float:
        enter = info.data.get("enter")
        if enter is not None and enter >= leave:
            raise ValueError(f"enter ({enter}) must be smaller than leave ({leave})")
        return leave


class DonchianBreakoutParameters(SizedParameters):
    """Long from a close above the highest high of ``enter`` bars to one below the lowest low of ``leave`` bars."""

    enter: Window = 20
    leave: Window = 10
    allow_short: bool = False
    """The same downwards: short from a close below the lowest low of ``enter`` bars."""


class BollingerParameters(SizedParameters):
    """Long from a close below the lower band to one at or above the average."""

    window: Window = 20
    deviations: Annotated[float, Field(gt=0, le=10)] = 2.0
    """Distance of the bands from the average, in population standard deviations of the close."""


class BuyAndHoldParameters(SizedParameters):
    """Buy at the second bar's open and keep."""


class RotationParameters(ContractModel):
    """Hold the strongest of several symbols: those whose close rose most over ``lookback`` of their bars."""

    lookback: Annotated[int, Field(ge=1, le=100_000)] = 60
    """A symbol with fewer bars so far is not held."""
    hold: Annotated[int, Field(ge=1, le=128)] = 1
    """How many symbols at once, each with the same share of the equity."""
    every: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """Bars of the common timeline from one change to the next."""
    exposure: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Value of all that is held when ``hold`` symbols are, in equities."""
    rising_only: bool = True
    """Hold cash rather than a symbol that fell."""


class TrendCrossParameters(SizedParameters):
    """Crossing of two exponential averages, followed only in the direction of a higher timeframe's trend."""

    fast: Annotated[int, Field(ge=1, le=100_000)] = 10
    """Bars of the fast average."""
    slow: Annotated[int, Field(ge=2, le=100_000, validate_default=True)] = 30
    """Bars of the slow average."""
    timeframe: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}[mhdw]$")] = "1w"
    """Of the trend: a number of minutes, hours, days or weeks, such as 15m, 4h, 1d, 1w; longer than the bars."""
    trend_bars: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Higher bars whose highest high and lowest low the last close is compared with."""
    allow_short: bool = False
    """Short, rather than flat, when averages and trend both point down."""

    _fast_is_faster = field_validator("slow")(_check_faster)


STRATEGY_PARAMETERS: Mapping[str, type[ContractModel]] = {
    "bollinger": BollingerParameters,
    "buy-and-hold": BuyAndHoldParameters,
    "donchian-breakout": DonchianBreakoutParameters,
    "ema-cross": EmaCrossParameters,
    "model": ModelParameters,
    "rotation": RotationParameters,
    "rsi-reversion": RsiReversionParameters,
    "sma-cross": SmaCrossParameters,
    "trend-cross": TrendCrossParameters,
}
"""By the name that a spec gives."""
