"""The account in segments: saved where it changes, put back bit for bit."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.records import Logs
from milepost_backtester.engine.terms import Terms
from milepost_backtester.parquet import pa, write_table
from milepost_backtester.segments import SegmentedLogs
from milepost_backtester.tables import account_columns, account_of, account_schema
from milepost_contracts.artifacts import ArtifactReference
from milepost_runtime.checkpoints.data import LoadedCheckpoint
from milepost_runtime.errors import CheckpointDamagedError

from tests.backtester.backtest_doubles import Trader
from tests.support.bars import make_bars

pytestmark = pytest.mark.unit


def tables_of(logs: Logs, cuts: list[int]) -> list[Any]:
    """The account's segments between these bars."""
    pairs = pairwise(cuts)
    return [pa.table(account_columns(logs, start, stop), schema=account_schema(1)) for start, stop in pairs]


@given(seed=st.integers(0, 10_000), cut=st.integers(1, 299), borrow=st.sampled_from([0.0, 0.3]))
@settings(max_examples=25, deadline=None)
def test_equity_follows_from_the_changes(seed: int, cut: int, borrow: float) -> None:
    """Equity, cash and position are put back to the last bit, also of shorts that pay at every bar."""
    bars = make_bars(300, seed, step=0.1)
    engine = BacktestingEngine(bars, Trader(seed), terms=Terms(commission_rate=0.001, borrow_rate=borrow))
    engine.advance()
    logs = engine.logs
    equity, cash, positions = account_of(tables_of(logs, [0, cut, 300]), np.atleast_2d(engine.closes), 300)
    for mine, kept in ((equity, logs.equity), (cash, logs.cash), (positions[0], logs.position)):
        assert mine.tobytes() == kept.tobytes()


def test_a_quiet_account_is_one_row() -> None:
    """An account that nothing changes is saved as its first bar, however many bars there are."""
    engine = BacktestingEngine(make_bars(500), Trader(1, every=10**9))
    engine.advance()
    (table,) = tables_of(engine.logs, [0, 500])
    assert table.num_rows == 1


@pytest.mark.parametrize("bars", [[], [11, 12], [10, 12, 12], [10, 20]])
def test_rows_that_are_no_segment_are_refused(tmp_path: Path, bars: list[int]) -> None:
    """A segment that is empty, begins late, repeats a bar or goes beyond its name is damaged."""
    rows = {"bar": bars, "cash": [1.0] * len(bars), "position": [0.0] * len(bars)}
    segments = SegmentedLogs(np.ones(20))
    names = ("account-000000000000-000000000010.parquet", "account-000000000010-000000000020.parquet")
    first = {"bar": [0], "cash": [1.0], "position": [0.0]}
    references: list[ArtifactReference] = []
    for name, columns in zip(names, (first, rows), strict=True):
        write_table(columns, account_schema(1), tmp_path / name, quick=True)
        references.append(
            ArtifactReference(name=name, digest="sha256:" + "0" * 64, size_bytes=1, media_type="a/b")
        )
    checkpoint = LoadedCheckpoint(20, tmp_path, tuple(references), {})
    with pytest.raises(CheckpointDamagedError, match="account-000000000010"):
        segments.restore(checkpoint, {"account": 20, "fills": 0, "trades": 0})
