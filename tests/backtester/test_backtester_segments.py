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
from milepost_backtester.saved_account import account_columns, account_of, account_schema
from milepost_backtester.saved_trades import SAVED_TRADE_ROWS, WHOLE_TRADE_ROWS
from milepost_backtester.segment_files import log_rows, read_segment, write_segment
from milepost_backtester.segments import SEGMENTS_MAX, SegmentedLogs, segment_name
from milepost_backtester.tables import FILL_ROWS, ROW
from milepost_contracts.artifacts import ArtifactReference
from milepost_runtime.checkpoints.data import LoadedCheckpoint
from milepost_runtime.checksums import measure_both
from milepost_runtime.errors import CheckpointDamagedError

from tests.backtester.backtest_doubles import Trader
from tests.support.bars import make_bars

pytestmark = pytest.mark.unit


def tables_of(logs: Logs, cuts: list[int], *, only_fills: bool = False) -> list[Any]:
    """The account's segments between these bars."""
    schema = account_schema(len(np.atleast_2d(logs.position)))
    return [
        pa.table(account_columns(logs, start, stop, only_fills=only_fills), schema=schema)
        for start, stop in pairwise(cuts)
    ]


def write_older(
    logs: Logs, start: dict[str, int], stop: dict[str, int], directory: Path
) -> ArtifactReference:
    """A segment as it was written while it held each change of the account and whole round trips."""
    fills, trades = (getattr(logs, name)[start[name] : stop[name]] for name in ("fills", "trades"))
    rows: dict[str, tuple[Any, Any]] = {
        "account": (account_columns(logs, start["account"], stop["account"]), account_schema(1)),
        "fills": ({ROW: fills}, FILL_ROWS),
        "trades": ({ROW: trades}, WHOLE_TRADE_ROWS),
    }
    path = directory / segment_name(tuple(start.values()), tuple(stop.values()))
    parts = [log_rows(name, start[name], stop[name], *content) for name, content in rows.items()]
    write_segment(parts, path)
    return reference_to(path)


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


@given(seed=st.integers(0, 10_000), cut=st.integers(1, 299), borrow=st.sampled_from([None, 0.0, 0.3]))
@settings(max_examples=40, deadline=None)
def test_the_account_follows_from_fills_and_changes(seed: int, cut: int, borrow: float | None) -> None:
    """Equity, cash and position are put back to the last bit, also of shorts that pay at every bar.

    ``None``: the fills alone have to do.
    """
    bars = make_bars(300, seed, step=0.1)
    engine = BacktestingEngine(
        bars, Trader(seed), terms=Terms(commission_rate=0.001, borrow_rate=borrow or 0.0)
    )
    engine.advance()
    logs, closes = engine.logs, np.atleast_2d(engine.closes)
    tables = tables_of(logs, [0, cut, 300], only_fills=borrow is None)
    equity, cash, positions = account_of(tables, logs.fills, closes, 300)
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


def test_fills_alone_are_saved_with_one_row_of_the_account(tmp_path: Path) -> None:
    """Where nothing but fills changes cash, a segment holds the account of its first bar only."""
    engine = BacktestingEngine(make_bars(500, 2, step=0.1), Trader(2, every=1), terms=Terms())
    engine.advance()
    segments = SegmentedLogs(engine.closes, borrows=engine.borrows)
    checkpoint = save(segments, engine.logs, lengths_of(engine), tmp_path)
    account, fills, _ = read_segment(tmp_path / checkpoint.artifacts[0].name)
    assert (account.table.num_rows, fills.table.num_rows) == (1, len(engine.logs.fills))
    assert len(engine.logs.fills) > 100


@given(seed=st.integers(0, 10_000), cut=st.integers(1, 299))
@settings(max_examples=10, deadline=None)
def test_older_segments_go_on(tmp_path_factory: pytest.TempPathFactory, seed: int, cut: int) -> None:
    """A checkpoint with each change and whole round trips is restored, also when a newer segment follows it."""
    directory = tmp_path_factory.mktemp("older")
    engine = BacktestingEngine(make_bars(300, seed, step=0.1), Trader(seed, every=3), terms=Terms())
    engine.advance(cut)
    before = lengths_of(engine)
    older = write_older(engine.logs, dict.fromkeys(before, 0), before, directory)
    segments = SegmentedLogs(engine.closes, borrows=engine.borrows)
    segments.restore(LoadedCheckpoint(cut, directory, (older,), {}), before)
    engine.advance()
    checkpoint = save(segments, engine.logs, lengths_of(engine), directory)
    assert older in checkpoint.artifacts
    found = SegmentedLogs(engine.closes).restore(checkpoint, lengths_of(engine))
    for name in ("equity", "cash", "position", "fills", "trades"):
        assert getattr(found, name).tobytes() == getattr(engine.logs, name).tobytes()


def test_round_trips_of_unknown_orders_are_refused(tmp_path: Path) -> None:
    """A round trip whose order no fill has is named as damage."""
    engine = BacktestingEngine(make_bars(300, 3, step=0.1), Trader(3, every=3), terms=Terms())
    engine.advance()
    logs, lengths = engine.logs.copy(), lengths_of(engine)
    logs.trades["exit_order_id"][1] = 10**6
    checkpoint = save(SegmentedLogs(engine.closes), logs, lengths, tmp_path)
    with pytest.raises(CheckpointDamagedError, match="order 1000000, which no fill has"):
        SegmentedLogs(engine.closes).restore(checkpoint, lengths)


def write_account(directory: Path, start: int, stop: int, bars: list[int]) -> ArtifactReference:
    """A segment with these bars of the account, whatever its name says."""
    schema = account_schema(1)
    rows = {"bar": bars, "cash": [1.0] * len(bars), "position": [0.0] * len(bars)}
    path = directory / segment_name((start, 0, 0), (stop, 0, 0))
    parts = [log_rows("account", start, stop, rows, schema)]
    for name, other in (("fills", FILL_ROWS), ("trades", SAVED_TRADE_ROWS)):
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
