"""Spec of a backtest: data, strategy, account."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator

from milepost_contracts.datasets import DatasetReference
from milepost_contracts.ids import Token
from milepost_contracts.model import ContractModel, JsonObject
from milepost_contracts.specs.strategies import SmaCrossParameters

__all__ = ["CHANGEABLE", "BacktestSpec", "SmaCrossParameters", "StrategySpec", "TermsSpec"]


Datasets: TypeAlias = Annotated[tuple[DatasetReference, ...], Field(min_length=1, max_length=128)]
Amount: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Rate: TypeAlias = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class StrategySpec(ContractModel):
    """A registered strategy and its parameters."""

    name: Token = "sma-cross"
    """A name under the entry point group ``milepost.strategies``."""
    parameters: JsonObject = {}
    """Checked against the strategy's own schema."""


class TermsSpec(ContractModel):
    """Costs and borrowing beside the commission rate. Rates are shares; the default costs nothing."""

    commission_fixed: Amount = 0.0
    """For each fill."""
    commission_per_unit: Amount = 0.0
    commission_minimum: Amount = 0.0
    """Least commission of a fill."""
    slippage_fixed: Amount = 0.0
    """How much worse than the market an order fills that takes it, in money."""
    slippage_rate: Rate = 0.0
    slippage_random_rate: Rate = 0.0
    """The most of a random slippage, as a share of the price."""
    slippage_seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    spread: Amount = 0.0
    """Between bid and ask; an order that takes the market pays half of it."""
    leverage_max: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Most exposure, in equities; an order that would exceed it is refused on filling. None: no limit."""
    maintenance_margin: Annotated[float, Field(ge=0, lt=1, validate_default=True)] = 0.0
    """Least equity as a share of the exposure; below it everything is closed at the next open. 0: never."""
    borrow_rate: Amount = 0.0
    """What shorts cost: a share of their value, for each year."""

    @field_validator("maintenance_margin")
    @classmethod
    def _can_be_held(cls, margin: float, info: ValidationInfo) -> float:
        leverage = info.data.get("leverage_max")
        if leverage is not None and margin * leverage > 1:
            raise ValueError(f"maintenance_margin ({margin}) must be at most 1 / leverage_max ({leverage})")
        return margin


def _one_or_many(value: Any) -> Literal["one", "many"]:
    return "many" if isinstance(value, list | tuple) else "one"


def _twice(values: Sequence[str | None]) -> list[str]:
    return sorted({value for value in values if value is not None and values.count(value) > 1})


class BacktestSpec(ContractModel):
    """One backtest over the bars of one dataset, or of several on one account."""

    data: Annotated[
        Annotated[DatasetReference, Tag("one")] | Annotated[Datasets, Tag("many")],
        Discriminator(_one_or_many),
    ]
    """One dataset, or a list of them, one for each symbol: bars are matched by their times, and where a symbol has
    none it is marked at its last close and cannot trade."""
    strategy: StrategySpec = StrategySpec()
    initial_cash: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 100_000.0
    """In the currency of the data."""
    commission_rate: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.001
    """Share of the traded value, paid on each fill; 0.001 is 0.1 %."""
    terms: TermsSpec = TermsSpec()
    warm_up_bars: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    """At so many first bars the strategy sees what there is to see, and its orders are not accepted. Equity,
    figures and report begin after them."""
    tier: Literal["auto", "compiled", "wake", "python"] = "auto"
    """How the strategy is called; the result is the same. ``auto``: the fastest way that it offers."""

    @field_validator("data")
    @classmethod
    def _data_is_given_once(
        cls, data: DatasetReference | tuple[DatasetReference, ...]
    ) -> DatasetReference | tuple[DatasetReference, ...]:
        if isinstance(data, DatasetReference):
            return data
        names = _twice([each.name for each in data])
        if names:
            raise ValueError(f"given more than once: {', '.join(names)}")
        digests = _twice([each.digest for each in data])
        if digests:
            same = [each.name or digest for digest in digests for each in data if each.digest == digest]
            raise ValueError(f"the same bars more than once: {', '.join(same)}")
        return data

    @property
    def datasets(self) -> tuple[DatasetReference, ...]:
        """The datasets, one or many."""
        return (self.data,) if isinstance(self.data, DatasetReference) else self.data


CHANGEABLE: dict[str, tuple[str, ...]] = {
    "commission_rate": ("commission_rate",),
    **{f"terms.{name}": (name,) for name in TermsSpec.model_fields},
}
"""What a fork may change (see ``KindDescription``): what the account pays and may borrow from the next bar on. Not
the strategy: its indicators hold what they saw with the old parameters. Not the bars and not the first cash: the
equity so far rests on them."""
