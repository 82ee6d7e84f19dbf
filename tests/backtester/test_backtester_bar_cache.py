"""The cache of bars: equal to the last bit, checked on every use, bounded, and never in the way."""

import os
from pathlib import Path

import numpy as np
import pytest
from milepost_backtester import bar_cache
from milepost_backtester.bar_cache import BAR_BYTES, CACHE_BYTES_MAX, HEADER_BYTES, BarCache, cache_bytes_of
from milepost_backtester.bar_table import COLUMNS
from milepost_backtester.engine.bars import Bars
from milepost_backtester.market_data import SCHEMA, load_bars
from milepost_backtester.parquet import write_table
from milepost_backtester.sweep.worker import SweepKind
from milepost_backtester.worker import BacktestKind
from milepost_runtime.digests import digest_of_file
from milepost_runtime.worker.kind import JobContext

from tests.support.bars import make_bars

pytestmark = pytest.mark.unit

BARS = 500
ENTRY_BYTES = HEADER_BYTES + BARS * BAR_BYTES


class Source:
    """A canonical file and how often it was decoded."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._directory = directory
        self.decoded = 0
        monkeypatch.setattr(bar_cache, "load_bars", self._decode)

    def file(self, seed: int) -> tuple[Path, str]:
        path = self._directory / f"{seed}.parquet"
        if not path.exists():
            bars = make_bars(BARS, seed)
            write_table({name: getattr(bars, name) for name in SCHEMA.names}, SCHEMA, path)
        return path, digest_of_file(path)

    def _decode(self, path: Path) -> Bars:
        self.decoded += 1
        return load_bars(path)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    return Source(tmp_path, monkeypatch)


def assert_equal(found: Bars, path: Path) -> None:
    whole = load_bars(path)
    for name in COLUMNS:
        column = getattr(found, name)
        assert column.tobytes() == getattr(whole, name).tobytes()
        assert column.dtype == getattr(whole, name).dtype
        assert column.flags.c_contiguous
        assert column.flags.aligned


def entry_in(directory: Path) -> Path:
    (entry,) = directory.iterdir()
    return entry


def test_the_second_time_nothing_is_decoded(source: Source, tmp_path: Path) -> None:
    """Bars come back to the last bit without their file being looked at again."""
    path, digest = source.file(1)
    cache = BarCache(tmp_path / "cache")
    assert_equal(cache.load(path, digest), path)
    assert_equal(cache.load(path, digest), path)
    assert_equal(BarCache(tmp_path / "cache").load(path, digest), path)
    assert source.decoded == 1


def test_every_flipped_byte_is_noticed(source: Source, tmp_path: Path) -> None:
    """A byte that changed anywhere in an entry, its header and padding too, makes it be made anew."""
    path, digest = source.file(1)
    cache = BarCache(tmp_path / "cache")
    cache.load(path, digest)
    entry = entry_in(tmp_path / "cache")
    whole = entry.read_bytes()
    places = [*range(0, 220, 3), 1_000, HEADER_BYTES - 1, HEADER_BYTES, *range(4_100, len(whole), 487)]
    for place in (*places, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        entry.write_bytes(damaged)
        before = source.decoded
        assert_equal(cache.load(path, digest), path)
        assert source.decoded == before + 1, f"byte {place}"
        assert entry.read_bytes() == whole


@pytest.mark.parametrize("length", [0, 1, HEADER_BYTES - 1, HEADER_BYTES, ENTRY_BYTES - 8, ENTRY_BYTES - 48])
def test_an_entry_cut_short_is_made_anew(source: Source, tmp_path: Path, length: int) -> None:
    """What a power cut may leave is never taken for bars."""
    path, digest = source.file(1)
    cache = BarCache(tmp_path / "cache")
    cache.load(path, digest)
    entry = entry_in(tmp_path / "cache")
    os.truncate(entry, length)
    assert_equal(cache.load(path, digest), path)
    assert (source.decoded, entry.stat().st_size) == (2, ENTRY_BYTES)


def test_an_entry_of_other_bars_is_not_taken(source: Source, tmp_path: Path) -> None:
    """An entry that was renamed to another digest is whole and all the same refused."""
    (one, digest_of_one), (two, digest_of_two) = source.file(1), source.file(2)
    cache = BarCache(tmp_path / "cache")
    cache.load(one, digest_of_one)
    entry = entry_in(tmp_path / "cache")
    entry.rename(entry.with_name(f"{digest_of_two.removeprefix('sha256:')}.bars"))
    assert_equal(cache.load(two, digest_of_two), two)


def test_another_format_is_made_anew(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of another version, which may have let other bars pass, is not used."""
    path, digest = source.file(1)
    cache = BarCache(tmp_path / "cache")
    cache.load(path, digest)
    monkeypatch.setattr(bar_cache, "FORMAT", bar_cache.FORMAT + 1)
    assert_equal(cache.load(path, digest), path)
    assert source.decoded == 2


def test_the_least_recently_used_give_way(source: Source, tmp_path: Path) -> None:
    """Entries never take more than the bound; those that were of use last are kept."""
    files = [source.file(seed) for seed in range(4)]
    cache = BarCache(tmp_path / "cache", bytes_max=3 * ENTRY_BYTES)
    for seconds, (path, digest) in enumerate(files[:3]):
        cache.load(path, digest)
        os.utime(tmp_path / "cache" / f"{digest.removeprefix('sha256:')}.bars", (seconds, seconds))
    cache.load(*files[0])  # used again: now the second is the oldest
    assert_equal(cache.load(*files[3]), files[3][0])
    kept = {path.stem for path in (tmp_path / "cache").iterdir()}
    assert kept == {digest.removeprefix("sha256:") for _, digest in (files[0], files[2], files[3])}


def test_more_than_the_bound_is_not_cached(source: Source, tmp_path: Path) -> None:
    """Bars that would not fit leave what is there and are decoded each time."""
    path, digest = source.file(1)
    cache = BarCache(tmp_path / "cache", bytes_max=ENTRY_BYTES - 1)
    for _ in range(2):
        assert_equal(cache.load(path, digest), path)
    assert source.decoded == 2
    assert not (tmp_path / "cache").exists()


def test_a_disk_that_refuses_is_no_error(source: Source, tmp_path: Path) -> None:
    """Where nothing can be written the bars come from their file, and no half entry is left."""
    path, digest = source.file(1)
    (tmp_path / "cache").write_text("a file where a directory should be")
    assert_equal(BarCache(tmp_path / "cache").load(path, digest), path)


def test_what_is_written_to_the_arrays_stays_in_the_process(source: Source, tmp_path: Path) -> None:
    """Bars can be changed as if they were decoded, and the entry is as before."""
    path, digest = source.file(1)
    cache = BarCache(tmp_path / "cache")
    cache.load(path, digest)
    cache.load(path, digest).close[:] = 1.0
    assert_equal(cache.load(path, digest), path)
    assert source.decoded == 1


def test_a_job_with_cached_bars_is_the_same(source: Source, tmp_path: Path) -> None:
    """A backtest over mapped bars leaves what one over decoded bars leaves, to the last bit."""
    path, digest = source.file(1)
    spec = {"data": {"name": "walk", "digest": digest}, "strategy": {"name": "sma-cross"}}
    logs = []
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        job = BacktestKind().create_job(JobContext("op-1", spec, {digest: path}, tmp_path, cache))
        job._engine.advance()  # pyright: ignore[reportAttributeAccessIssue]
        logs.append(job._engine.logs)  # pyright: ignore[reportAttributeAccessIssue]
    assert source.decoded == 1, "the first job has no cache and decodes by itself"
    assert len(logs[0].fills)
    for later in logs[1:]:
        for name in ("equity", "cash", "position", "fills", "trades"):
            assert np.array_equal(getattr(later, name), getattr(logs[0], name))


@pytest.mark.parametrize(
    ("setting", "kept"), [("", 2), (str(ENTRY_BYTES), 1), (str(ENTRY_BYTES - 1), 0), ("0", 0)]
)
def test_its_size_is_a_setting(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, kept: int
) -> None:
    """MILEPOST_BAR_CACHE_BYTES bounds what backtests and sweeps keep; 0 keeps nothing."""
    monkeypatch.setenv("MILEPOST_BAR_CACHE_BYTES", setting)
    for seed, (kind, grid) in enumerate(((BacktestKind(), {}), (SweepKind(), {"grid": {"fast": [5]}}))):
        path, digest = source.file(seed)
        spec = {"data": {"name": "walk", "digest": digest}, "strategy": {"name": "sma-cross"}, **grid}
        kind.create_job(JobContext("op-1", spec, {digest: path}, tmp_path, tmp_path / "cache"))
    assert len(list((tmp_path / "cache").glob("bars/*.bars"))) == kept


def test_a_size_that_is_none_is_refused_in_words() -> None:
    """The setting, what it was and what it should be are named."""
    assert cache_bytes_of({}) == CACHE_BYTES_MAX
    for text in ("4GiB", "-1", "1.5", "\u00b2"):
        with pytest.raises(ValueError, match="MILEPOST_BAR_CACHE_BYTES must be a whole number of bytes"):
            cache_bytes_of({"MILEPOST_BAR_CACHE_BYTES": text})
