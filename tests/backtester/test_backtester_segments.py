"""Segments: the account saved where it changes and put back bit for bit, what is written anew, what is refused."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milepost_backtester.bridge import log_lengths
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.records import Logs
from milepost_backtester.engine.terms import Terms
from milepost_backtester.parquet import pa
from milepost_backtester.segment_files import log_rows, read_segment, write_segment
from milepost_backtester.segments import SEGMENTS_MAX, SegmentedLogs, segment_name
from milepost_backtester.tables import FILL_ROWS, TRADE_ROWS, account_columns, account_of, account_schema
from milepost_contracts.artifacts import ArtifactReference
from milepost_runtime.checkpoints.data import LoadedCheckpoint
from milepost_runtime.checksums import measure_both
from milepost_runtime.errors import CheckpointDamagedError

from tests.backtester.backtest_doubles import Trader
from tests.support.bars import make_bars

pytestmark = pytest.mark.unit


def tables_of(logs: Logs, cuts: list[int]) -> list[Any]:
    """The account's segments between these bars."""
    pairs = pairwise(cuts)
    return [pa.table(account_columns(logs, start, stop), schema=account_schema(1)) for start, stop in pairs]


def reference_to(path: Path) -> ArtifactReference:
    digest, _ = measure_both(path)
    return ArtifactReference(
        name=path.name, digest=digest.digest, size_bytes=digest.size_bytes, media_type="a/b"
    )


def lengths_of(engine: BacktestingEngine) -> dict[str, int]:
    return log_lengths(engine.state_dict())


def save(segments: SegmentedLogs, logs: Logs, lengths: dict[str, int], directory: Path) -> LoadedCheckpoint:
    """Write a checkpoint's new segment, and have all of them stored."""
    plan = segments.plan(logs, lengths)
    written: list[ArtifactReference] = []
    for name, writer in plan.files.items():
        writer.write(directory / name)
        written.append(reference_to(directory / name))
        writer.stored(written[-1])
    return LoadedCheckpoint(lengths["account"], directory, (*written, *plan.kept), {})


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


@given(
    seed=st.integers(0, 10_000),
    cuts=st.sets(st.integers(1, 299), max_size=30),
    borrow=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=25, deadline=None)
def test_logs_saved_at_any_bars_come_back(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cuts: set[int], borrow: float
) -> None:
    """However many checkpoints there were and wherever, the last one gives every log back to the last bit."""
    directory = tmp_path_factory.mktemp("segments")
    terms = Terms(commission_rate=0.001, borrow_rate=borrow, leverage_max=3.0, maintenance_margin=0.2)
    engine = BacktestingEngine(make_bars(300, seed, step=0.1), Trader(seed), terms=terms)
    segments = SegmentedLogs(engine.closes, borrows=engine.borrows)
    for bar in sorted(cuts):
        engine.advance(bar)
        assert len(save(segments, engine.logs, lengths_of(engine), directory).artifacts) <= SEGMENTS_MAX
    engine.advance()
    checkpoint = save(segments, engine.logs, lengths_of(engine), directory)
    found, logs = SegmentedLogs(engine.closes).restore(checkpoint, lengths_of(engine)), engine.logs
    for name in ("equity", "cash", "position", "fills", "trades"):
        assert getattr(found, name).tobytes() == getattr(logs, name).tobytes()


def test_rows_are_rewritten_a_few_times_only(tmp_path: Path) -> None:
    """Of a four hundred checkpoints of a growing log each row is written some three times, not twenty."""
    engine = BacktestingEngine(make_bars(400, 1, step=0.1), Trader(1, every=1))
    engine.advance()
    segments, written = SegmentedLogs(engine.closes, borrows=engine.borrows), 0
    for bar in range(1, 401):
        fills, trades = (
            int(np.searchsorted(rows[column], bar))
            for rows, column in ((engine.logs.fills, "bar"), (engine.logs.trades, "exit_bar"))
        )
        before = {path.name for path in tmp_path.iterdir()}
        save(segments, engine.logs, {"account": bar, "fills": fills, "trades": trades}, tmp_path)
        (new,) = {path.name for path in tmp_path.iterdir()} - before
        start, stop = (int(number) for number in new.removesuffix(".arrows").split("-")[1:])
        written += stop - start
    rows = 400 + len(engine.logs.fills) + len(engine.logs.trades)
    assert rows < written < 4 * rows


def test_a_borrowed_past_is_compared_bar_by_bar(tmp_path: Path) -> None:
    """A fork without borrow cost writes what was paid before it once more, and loses none of it."""
    terms = Terms(borrow_rate=0.3)
    engine = BacktestingEngine(make_bars(300, 5, step=0.1), Trader(5), terms=terms)
    engine.advance()
    assert engine.outcome.borrow_cost > 0
    lengths = lengths_of(engine)
    checkpoint = save(SegmentedLogs(engine.closes), engine.logs, lengths, tmp_path)
    fork = SegmentedLogs(engine.closes, borrows=False)
    fork.restore(checkpoint, lengths)
    fork._known.clear()  # pyright: ignore[reportPrivateUsage] - as when too many segments are written anew
    (tmp_path / "fork").mkdir()
    again = save(fork, engine.logs, lengths, tmp_path / "fork")
    found = SegmentedLogs(engine.closes).restore(again, lengths)
    assert found.cash.tobytes() == engine.logs.cash.tobytes()


def test_a_quiet_account_is_one_row() -> None:
    """An account that nothing changes is saved as its first bar, however many bars there are."""
    engine = BacktestingEngine(make_bars(500), Trader(1, every=10**9))
    engine.advance()
    (table,) = tables_of(engine.logs, [0, 500])
    assert table.num_rows == 1
    assert len(account_columns(engine.logs, 0, 500, engine.logs.fills["bar"])["bar"]) == 1


def write_account(directory: Path, start: int, stop: int, bars: list[int]) -> ArtifactReference:
    """A segment with these bars of the account, whatever its name says."""
    schema = account_schema(1)
    rows = {"bar": bars, "cash": [1.0] * len(bars), "position": [0.0] * len(bars)}
    path = directory / segment_name((start, 0, 0), (stop, 0, 0))
    parts = [log_rows("account", start, stop, rows, schema)]
    for name, other in (("fills", FILL_ROWS), ("trades", TRADE_ROWS)):
        parts.append(log_rows(name, 0, 0, {column: [] for column in other.names}, other))
    write_segment(parts, path)
    return reference_to(path)


@pytest.mark.parametrize("bars", [[], [11, 12], [10, 12, 12], [10, 20]])
def test_rows_that_are_no_segment_are_refused(tmp_path: Path, bars: list[int]) -> None:
    """A segment that is empty, begins late, repeats a bar or goes beyond its name is damaged."""
    references = (write_account(tmp_path, 0, 10, [0]), write_account(tmp_path, 10, 20, bars))
    checkpoint = LoadedCheckpoint(20, tmp_path, references, {})
    with pytest.raises(CheckpointDamagedError, match=r"logs-0+10-0+20\.arrows: it does not hold rows 10 to"):
        SegmentedLogs(np.ones(20)).restore(checkpoint, {"account": 20, "fills": 0, "trades": 0})


@pytest.mark.parametrize("length", [0, 1, 7, 100, -9, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    """A file that ends anywhere before its end is named as damaged; none is read in part."""
    whole = write_account(tmp_path, 0, 10, [0, 3])
    path = tmp_path / whole.name
    path.write_bytes(path.read_bytes()[:length])
    checkpoint = LoadedCheckpoint(10, tmp_path, (whole,), {})
    with pytest.raises(CheckpointDamagedError, match=r"logs-0+-0+10\.arrows"):
        SegmentedLogs(np.ones(10)).restore(checkpoint, {"account": 10, "fills": 0, "trades": 0})


def test_the_checksum_on_the_way_is_that_of_the_file(tmp_path: Path) -> None:
    """What the writer says of its bytes is what anybody finds in the file, and the rows come back."""
    schema = account_schema(1)
    rows = {"bar": np.arange(3), "cash": np.ones(3), "position": np.zeros(3)}
    measured = write_segment([log_rows("account", 0, 3, rows, schema)], tmp_path / "segment")
    assert measured == measure_both(tmp_path / "segment")[1]
    (part,) = read_segment(tmp_path / "segment")
    assert (part.log, part.start, part.stop, part.table["bar"].to_pylist()) == ("account", 0, 3, [0, 1, 2])
