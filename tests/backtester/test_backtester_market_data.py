"""Bars from files: good ones become one canonical form, bad ones are refused with every row named."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from milepost_backtester.bar_parsing import parse_timestamps
from milepost_backtester.market_data import (
    PROBLEMS_MAX,
    BarProblemsError,
    check_bars,
    load_bars,
    read_bars,
    to_bars,
    write_canonical,
)
from milepost_runtime.digests import digest_of_file

pytestmark = pytest.mark.unit

HEADER = "timestamp,open,high,low,close,volume"
GOOD = [
    "2024-01-02,10,12,9,11,100",
    "2024-01-03,11,13,10,12,200",
    "2024-01-04,12,14,11,13,0",
    "2024-01-05,13,15,12,14,300",
]


def csv_file(directory: Path, lines: list[str], header: str = HEADER, name: str = "bars.csv") -> Path:
    path = directory / name
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def problems(directory: Path, lines: list[str], header: str = HEADER) -> list[str]:
    return [str(problem) for problem in check_bars(read_bars(csv_file(directory, lines, header)))]


def test_good_bars_have_no_problems_and_one_canonical_form(tmp_path: Path) -> None:
    """The same bars as CSV, gzip, Parquet and with other column names give the same bytes, read back unchanged."""
    plain = csv_file(tmp_path, GOOD)
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    spelt = [line.replace("-", "/") + ",x" for line in reversed(GOOD)][::-1]
    renamed = csv_file(tmp_path, spelt, " Date ,OPEN,High,low,Close,Vol,Adj Close", "renamed.csv")
    table = pa.table(
        {
            "Time": pa.array(
                [datetime(2024, 1, day, tzinfo=UTC) for day in (2, 3, 4, 5)], pa.timestamp("us")
            ),
            "open": [10, 11, 12, 13],
            "high": [12.0, 13.0, 14.0, 15.0],
            "low": pa.array([9, 10, 11, 12], pa.float32()),
            "close": [11, 12, 13, 14],
            "volume": [100, 200, 0, 300],
        }
    )
    pq.write_table(table, tmp_path / "bars.parquet")
    digests = set()
    for number, path in enumerate((plain, packed, renamed, tmp_path / "bars.parquet")):
        bars = read_bars(path)
        assert check_bars(bars) == []
        written = write_canonical(bars, tmp_path / f"canonical-{number}.parquet")
        assert (written.rows, written.first) == (4, datetime(2024, 1, 2, tzinfo=UTC))
        assert written.last == datetime(2024, 1, 5, tzinfo=UTC)
        digests.add(digest_of_file(tmp_path / f"canonical-{number}.parquet"))
    assert len(digests) == 1
    loaded = load_bars(tmp_path / "canonical-0.parquet")
    assert loaded.close.tolist() == [11, 12, 13, 14]
    assert loaded.timestamp.tolist() == [
        int(datetime(2024, 1, day, tzinfo=UTC).timestamp()) * 10**9 for day in (2, 3, 4, 5)
    ]


def test_canonical_files_have_no_metadata_that_varies(tmp_path: Path) -> None:
    """The canonical file holds the six columns and no notes of pandas or Arrow."""
    write_canonical(read_bars(csv_file(tmp_path, GOOD)), tmp_path / "c.parquet")
    schema = pq.read_schema(tmp_path / "c.parquet")
    assert [f"{field.name} {field.type}" for field in schema] == [
        "timestamp timestamp[ns, tz=UTC]",
        *[f"{name} double" for name in ("open", "high", "low", "close", "volume")],
    ]
    assert pq.read_metadata(tmp_path / "c.parquet").metadata is None


BAD = {
    "nan close": ("2024-01-04,12,14,11,nan,0", ["row 4, close: the value is NaN"]),
    "nan open": ("2024-01-04,NaN,14,11,13,0", ["row 4, open: the value is NaN"]),
    "nan volume": ("2024-01-04,12,14,11,13,nan", ["row 4, volume: the value is NaN"]),
    "infinite high": ("2024-01-04,12,inf,11,13,0", ["row 4, high: the value is infinite"]),
    "infinite low": ("2024-01-04,12,14,-Infinity,13,0", ["row 4, low: the value is infinite"]),
    "missing value": ("2024-01-04,12,14,,13,0", ["row 4, low: the value is missing"]),
    "no number": ("2024-01-04,12,14,11,1.3.1,0", ["row 4, close: '1.3.1' is not a number"]),
    "underscore": ("2024-01-04,12,14,11,1_3,0", ["row 4, close: '1_3' is not a number"]),
    "duplicate": ("2024-01-02,12,14,11,13,0", ["row 4, timestamp: 2024-01-02 stands in row 2 already"]),
    "unsorted": ("2024-01-01,12,14,11,13,0", ["row 4, timestamp: 2024-01-01 comes after 2024-01-03"]),
    "high below low": ("2024-01-04,12,11,14,13,0", ["row 4, high: 11.0 is below the low 14.0"]),
    "open outside": ("2024-01-04,15,14,11,13,0", ["row 4, open: 15.0 is outside low to high, 11.0 to 14.0"]),
    "close outside": (
        "2024-01-04,12,14,11,10.9,0",
        ["row 4, close: 10.9 is outside low to high, 11.0 to 14.0"],
    ),
    "zero price": ("2024-01-04,12,14,0,13,0", ["row 4, low: 0.0 is not positive"]),
    "negative prices": (
        "2024-01-04,-2,14,-3,13,0",
        ["row 4, open: -2.0 is not positive", "row 4, low: -3.0 is not positive"],
    ),
    "negative volume": ("2024-01-04,12,14,11,13,-1", ["row 4, volume: -1.0 is negative"]),
    "no date": ("2024-02-30,12,14,11,13,0", ["row 4, timestamp: '2024-02-30': there is no such time"]),
    "missing date": (",12,14,11,13,0", ["row 4, timestamp: the time is missing"]),
    "another form": (
        "2024/01/04,12,14,11,13,0",
        ["row 4, timestamp: '2024/01/04' is written in another form than row 2 (2024-03-01)"],
    ),
    "another form with time": (
        "2024-01-04T00:00:00Z,12,14,11,13,0",
        ["row 4, timestamp: '2024-01-04T00:00:00Z' is written in another form than row 2 (2024-03-01)"],
    ),
    "too few values": ("2024-01-04,12,14,11", ["row 4: 4 values, the header has 6"]),
    "too many values": ("2024-01-04,12,14,11,13,0,7", ["row 4: 7 values, the header has 6"]),
    "far future": (
        "9999-01-04,12,14,11,13,0",
        ["row 4, timestamp: '9999-01-04' is outside the years 1700 to 2261"],
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_row_is_named(tmp_path: Path, kind: str) -> None:
    """One bad row among good ones is named with its row and column, and nothing else is."""
    line, expected = BAD[kind]
    assert problems(tmp_path, [*GOOD[:2], line, GOOD[3]]) == expected


def test_every_fault_of_a_file_is_named_in_the_order_of_rows(tmp_path: Path) -> None:
    """Several bad rows and several faults in one row are all listed."""
    found = problems(tmp_path, ["2024-01-02,x,12,9,nan,100", GOOD[1], "2024-01-02,12,11,14,13,-5"])
    assert found == [
        "row 2, open: 'x' is not a number",
        "row 2, close: the value is NaN",
        "row 4, timestamp: 2024-01-02 stands in row 2 already",
        "row 4, volume: -5.0 is negative",
        "row 4, high: 11.0 is below the low 14.0",
    ]


@pytest.mark.parametrize("form", ["03/01/2024", "01.03.2024", "Mar 1 2024", "2024-3-1", "24-03-01", "12:30"])
def test_dates_that_can_be_read_in_two_ways_are_refused(tmp_path: Path, form: str) -> None:
    """Day-first and month-first dates, and other doubtful forms, are refused with the way to write them."""
    found = problems(tmp_path, [f"{form},10,12,9,11,100", *GOOD])
    assert (
        found[0]
        == f"row 2, timestamp: '{form}' is not a time; write it as 2024-03-01 or 2024-03-01T09:30:00Z"
    )


@pytest.mark.parametrize(
    "form",
    [
        "20240301",
        "2024-03-01",
        "2024/03/01 00:00",
        "2024-03-01 00:00:00.000",
        "2024-03-01T00:00",
        "2024-03-01T00:00:00Z",
        "2024-03-01 05:30:00+05:30",
        "2024-02-29T19:00:00-0500",
        "1709251200",
        "1709251200000",
        "1709251200000000",
        "1709251200000000000",
    ],
)
def test_forms_of_one_moment(form: str) -> None:
    """Each unambiguous form of a moment is read as that moment in UTC."""
    times, faults = parse_timestamps([form, form], np.array([2, 3]))
    assert faults == []
    assert times.tolist() == [1709251200 * 10**9] * 2


def test_missing_columns_are_named_with_those_there_are(tmp_path: Path) -> None:
    """Every missing column is named, and what the file has instead."""
    found = problems(tmp_path, ["2024-01-02,1,2", "2024-01-03,1,2"], "when,open,close")
    words = "the column is missing; there are: when, open, close"
    assert found == [f"row 1, {name}: {words}" for name in ("timestamp", "high", "low", "volume")]


def test_two_columns_for_one_thing_are_refused(tmp_path: Path) -> None:
    """A date and a time in two columns are refused rather than one of them dropped."""
    found = problems(tmp_path, [f"{line},09:30" for line in GOOD], "Date,open,high,low,close,volume,Time")
    assert found == ["row 1, timestamp: several columns could be it: Date, Time"]


@pytest.mark.parametrize(("lines", "count"), [([], 0), (GOOD[:1], 1)])
def test_fewer_than_two_bars_are_refused(tmp_path: Path, lines: list[str], count: int) -> None:
    """A file of no bars, or of one, is refused."""
    assert problems(tmp_path, lines) == [f"{count} bars; there must be at least 2"]


def test_empty_lines_do_not_shift_the_rows(tmp_path: Path) -> None:
    """Rows are counted as an editor counts lines, empty ones included."""
    assert problems(tmp_path, [GOOD[0], "", GOOD[1], "2024-01-04,12,14,11,nan,0", ""]) == [
        "row 5, close: the value is NaN"
    ]


def test_many_problems_are_counted_not_listed(tmp_path: Path) -> None:
    """At most fifty problems are listed, the last line says how many there are."""
    found = problems(tmp_path, [f"2024-01-{day:02d},0,12,9,11,x" for day in range(1, 31)])
    assert len(found) == PROBLEMS_MAX + 1
    assert found[-1] == "and 40 more problems, 90 in all"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("bars.txt", b"x", "give a .csv, .csv.gz or .parquet file"),
        ("bars.csv", b"", "the file is empty"),
        ("bars.csv", b"\xff\xfe\x00d", "cannot be read as CSV"),
        ("bars.csv.gz", b"timestamp,open", "cannot be read as CSV"),
        ("bars.parquet", b"timestamp,open", "is no Parquet file"),
    ],
)
def test_files_that_are_something_else_are_refused(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    """A file of another kind is refused in words, not with a traceback of a library."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BarProblemsError, match=words):
        read_bars(tmp_path / name)


def test_parquet_rows_count_from_one(tmp_path: Path) -> None:
    """In Parquet, which has no header row, the first bar is row 1; nulls, NaT and NaN are named there."""
    days = [datetime(2024, 1, 2, tzinfo=UTC), None, datetime(2024, 1, 4, tzinfo=UTC)]
    columns = {
        "open": [1.0, 1.0, 1.0],
        "high": [1.0, np.nan, 1.0],
        "low": [1.0, 1.0, None],
        "close": [1, 1, 1],
    }
    table = pa.table(
        {"date": pa.array(days, pa.timestamp("ns", "UTC")), **columns, "volume": ["1", "2", "many"]}
    )
    pq.write_table(table, tmp_path / "bars.parquet")
    assert [str(problem) for problem in check_bars(read_bars(tmp_path / "bars.parquet"))] == [
        "row 2, timestamp: the time is missing",
        "row 2, high: the value is NaN",
        "row 3, low: the value is missing",
        "row 3, volume: 'many' is not a number",
    ]


def test_faulty_bars_are_not_written(tmp_path: Path) -> None:
    """Writing refuses what checking would name, and leaves no file."""
    table = read_bars(csv_file(tmp_path, [GOOD[1], GOOD[0]]))
    with pytest.raises(BarProblemsError, match="row 3"):
        write_canonical(table, tmp_path / "c.parquet")
    assert not (tmp_path / "c.parquet").exists()


def test_a_file_that_is_not_canonical_is_no_input(tmp_path: Path) -> None:
    """A job refuses Parquet of other columns, and canonical columns with bad values."""
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(BarProblemsError, match="not canonical bars: a int64"):
        load_bars(tmp_path / "other.parquet")
    write_canonical(read_bars(csv_file(tmp_path, GOOD)), tmp_path / "c.parquet")
    table = pq.read_table(tmp_path / "c.parquet")
    bad = table.set_column(4, table.schema.field("close"), pa.array([11.0, np.nan, 13.0, 14.0]))
    pq.write_table(bad, tmp_path / "bad.parquet")
    with pytest.raises(BarProblemsError, match="row 2, close: the value is NaN"):
        load_bars(tmp_path / "bad.parquet")


def test_prices_keep_every_bit(tmp_path: Path) -> None:
    """A price is the double nearest to what stands in the file."""
    lines = [f"2024-01-0{day},0.1,0.30000000000000004,0.1,0.3,1e-3" for day in (1, 2)]
    bars = to_bars(read_bars(csv_file(tmp_path, lines)))
    assert (bars.high[0], bars.close[0], bars.volume[0]) == (0.1 + 0.2, 0.3, 0.001)
