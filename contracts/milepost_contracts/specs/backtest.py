"""Spec of a backtest: data, strategy, account."""

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from milepost_contracts.datasets import DatasetReference
from milepost_contracts.ids import Token
from milepost_contracts.model import ContractModel, JsonObject


class StrategySpec(ContractModel):
    """A registered strategy and its parameters."""

    name: Token = "sma-cross"
    """A name under the entry point group ``milepost.strategies``."""
    parameters: JsonObject = {}
    """Checked against the strategy's own schema."""


class SmaCrossParameters(ContractModel):
    """Long while the fast simple moving average of the close is above the slow one."""

    fast: Annotated[int, Field(ge=1, le=100_000)] = 10
    """Bars of the fast average."""
    slow: Annotated[int, Field(ge=2, le=100_000, validate_default=True)] = 30
    """Bars of the slow average."""
    quantity: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 100.0
    """Units of the instrument in a position."""
    allow_short: bool = False
    """Short, rather than flat, while the fast average is below the slow one."""

    @field_validator("slow")
    @classmethod
    def _fast_is_faster(cls, slow: int, info: ValidationInfo) -> int:
        """Check a field, not the whole: so it is named together with whatever else is wrong."""
        fast = info.data.get("fast")
        if fast is not None and fast >= slow:
            raise ValueError(f"fast ({fast}) must be smaller than slow ({slow})")
        return slow


class BacktestSpec(ContractModel):
    """One backtest over the bars of one dataset."""

    data: DatasetReference
    strategy: StrategySpec = StrategySpec()
    initial_cash: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 100_000.0
    """In the currency of the data."""
    commission_rate: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.001
    """Share of the traded value, paid on each fill; 0.001 is 0.1 %."""
