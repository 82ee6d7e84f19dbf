"""What a backtest amounts to. Formulas and their sources stand at the fields of ``Statistics``."""

from milepost_backtester.statistics.calculation import compute_statistics
from milepost_backtester.statistics.figures import Statistics
from milepost_backtester.statistics.months import MonthReturn, monthly_returns

__all__ = ["MonthReturn", "Statistics", "compute_statistics", "monthly_returns"]
