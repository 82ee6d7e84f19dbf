"""Spec of a sweep: a backtest, a grid of its strategy's parameters, and what to rank by."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from milepost_contracts.model import ContractModel
from milepost_contracts.specs.backtest import BacktestSpec
from milepost_contracts.specs.sweep_constraints import parse_constraint
from milepost_contracts.specs.sweep_ranges import GridRange, GridValue, values_of

GRID_MAX = 100_000
"""Places of a grid, possible or not."""
SHARE_DEFAULT = 0.5

ParameterName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


def _form(axis: Any) -> str | None:
    """Tell a list of values from a range."""
    if isinstance(axis, list | tuple):
        return "values"
    return "range" if isinstance(axis, dict | GridRange) else None


GridAxis: TypeAlias = Annotated[
    Annotated[list[GridValue], Field(min_length=1, max_length=GRID_MAX), Tag("values")]
    | Annotated[GridRange, Tag("range")],
    Discriminator(
        _form,
        custom_error_type="grid_axis",
        custom_error_message='give a list of values, or a range: {"from": 5, "to": 50, "step": 5}',
    ),
]
Direction: TypeAlias = Literal["highest", "lowest"]

RANKABLE: Mapping[str, Direction] = {
    **dict.fromkeys(
        (
            "final_equity",
            "total_return",
            "annual_return",
            "sharpe",
            "sortino",
            "calmar",
            "win_rate",
            "profit_factor",
            "payoff_ratio",
            "expectancy",
            "average_trade_return",
            "best_trade",
            "worst_trade",
            "system_quality_number",
            "kelly_fraction",
            "excess_return",
            "alpha",
            "information_ratio",
        ),
        "highest",
    ),
    **dict.fromkeys(
        (
            "volatility",
            "value_at_risk",
            "conditional_value_at_risk",
            "max_drawdown",
            "max_drawdown_bars",
            "max_drawdown_seconds",
            "longest_drawdown_bars",
            "longest_drawdown_seconds",
            "longest_losing_streak",
            "fees",
            "turnover",
            "annual_turnover",
        ),
        "lowest",
    ),
}
"""Figures of a backtest that say which combination is better, and which end is the better one."""


class WalkForwardSpec(ContractModel):
    """Choose on one window of bars, trade the next one, go on; windows are counted in bars."""

    train_bars: Annotated[int, Field(ge=2)] | None = None
    """Bars of the first training window."""
    train_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The same as a share of all bars; half of them when neither is given."""
    test_bars: Annotated[int, Field(ge=3)]
    """Bars that the best combination trades; what it holds is sold at the open of the last one."""
    step_bars: Annotated[int, Field(ge=3)] | None = None
    """How far the windows move from one fold to the next; as many as are tested when not given."""
    purge_bars: Annotated[int, Field(ge=0)] = 0
    """Bars left out between training and test."""
    anchored: bool = False
    """Whether every training window begins with the first bar and grows, rather than moving along."""

    @field_validator("step_bars")
    @classmethod
    def _tests_do_not_overlap(cls, step: int | None, info: ValidationInfo) -> int | None:
        test = info.data.get("test_bars")
        if step is not None and test is not None and step < test:
            raise ValueError(
                f"step_bars ({step}) must be at least test_bars ({test}): no bar is traded twice"
            )
        return step

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.train_bars is not None and self.train_share is not None:
            raise ValueError("give train_bars or train_share, not both")
        return self


class SweepSpec(BacktestSpec):
    """One backtest for each combination of parameters, ranked; with ``walk_forward`` over moving windows."""

    model_config = ConfigDict(serialize_by_alias=True)

    grid: Annotated[dict[ParameterName, GridAxis], Field(min_length=1, max_length=16)]
    """Values by parameter of the strategy: a list, or a range with ``from``, ``to`` and ``step`` or ``count``."""
    constraints: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    """What every combination must satisfy, such as ``fast < slow`` or ``slow >= 2 * fast``."""
    combinations_max: Annotated[int, Field(ge=1, le=GRID_MAX)] = 10_000
    """More possible combinations than this are refused."""
    rank_by: str = "sharpe"
    """A figure of a backtest; a combination for which it is undefined ranks last."""
    best: Literal["auto", "highest", "lowest"] = "auto"
    """Which end of the figure is the better one; ``auto`` knows it for each figure."""
    walk_forward: WalkForwardSpec | None = None

    @field_validator("walk_forward")
    @classmethod
    def _walks_with_one_symbol(
        cls, walk: WalkForwardSpec | None, info: ValidationInfo
    ) -> WalkForwardSpec | None:
        if walk is not None and isinstance(info.data.get("data"), tuple):
            raise ValueError("a walk takes one dataset: give data as an object, or sweep without walking")
        return walk

    @field_validator("warm_up_bars")
    @classmethod
    def _begins_at_once(cls, bars: int) -> int:
        if bars:
            raise ValueError(
                "a sweep takes none: every combination trades as soon as its own windows are full"
            )
        return bars

    @field_validator("grid")
    @classmethod
    def _can_be_counted(cls, grid: dict[str, GridAxis]) -> dict[str, GridAxis]:
        places = 1
        for name, axis in grid.items():
            values = values_of(axis)
            if len({(isinstance(value, bool), value) for value in values}) != len(values):
                raise ValueError(f"{name}: a value stands twice")
            places *= len(values)
        if places > GRID_MAX:
            raise ValueError(
                f"the grid has {places:,} places, which is more than {GRID_MAX:,}: make it coarser"
            )
        return grid

    @field_validator("constraints")
    @classmethod
    def _can_be_read(cls, constraints: tuple[str, ...]) -> tuple[str, ...]:
        for constraint in constraints:
            parse_constraint(constraint)
        return constraints

    @field_validator("rank_by")
    @classmethod
    def _can_be_ranked(cls, figure: str) -> str:
        if figure not in RANKABLE:
            raise ValueError(f"{figure!r} is no figure to rank by; there are: {', '.join(sorted(RANKABLE))}")
        return figure

    @property
    def direction(self) -> Direction:
        """The better end of ``rank_by``."""
        return RANKABLE[self.rank_by] if self.best == "auto" else self.best
