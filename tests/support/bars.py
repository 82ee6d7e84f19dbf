"""Seeded bars: as the engine has them, and put into a tenant's store as a dataset."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from milepost_backtester.engine.bars import Bars
from milepost_backtester.market_data import read_bars, write_canonical
from milepost_contracts.datasets import Dataset
from milepost_contracts.model import JsonObject
from milepost_runtime.store.datasets import DatasetCatalogue
from milepost_runtime.store.s3 import S3ArtifactStore

MINUTE = 60 * 10**9


def make_bars(count: int, seed: int = 1, *, step: float = 0.5) -> Bars:
    """A random walk in cents, one bar a minute."""
    generator = np.random.default_rng(seed)
    closes = np.round(100 + np.abs(np.cumsum(generator.normal(0, step, count))), 2)
    opens = np.round(np.concatenate(([closes[0]], closes[:-1])) + generator.normal(0, 0.05, count), 2)
    highs = np.round(np.maximum(opens, closes) + generator.uniform(0, 0.3, count), 2)
    lows = np.round(np.minimum(opens, closes) - generator.uniform(0, 0.3, count), 2)
    times = np.arange(count, dtype=np.int64) * MINUTE + 1_700_000_000 * 10**9
    return Bars(times, opens, highs, lows, closes, np.full(count, 1000.0))


def random_bars(rows: int, seed: int = 7) -> pd.DataFrame:
    """A random walk of minute bars that keeps high, low, open and close consistent."""
    rng = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.002, rows))), 2)
    opens = np.round(np.concatenate([[100.0], close[:-1]]) * (1 + rng.normal(0, 0.0005, rows)), 2)
    spread = np.abs(rng.normal(0, 0.05, (2, rows)))
    return pd.DataFrame(
        {
            "timestamp": pd.date_range("2020-01-01", periods=rows, freq="min", tz=UTC),
            "open": opens,
            "high": np.round(np.maximum(opens, close) + spread[0], 2),
            "low": np.round(np.minimum(opens, close) - spread[1], 2),
            "close": close,
            "volume": rng.integers(1, 10_000, rows).astype(float),
        }
    )


def add_dataset(store: S3ArtifactStore, directory: Path, rows: int, name: str = "walk") -> Dataset:
    """Put bars into the store and the catalogue, through a CSV file as a person would."""
    csv, path = directory / f"{name}.csv", directory / f"{name}.parquet"
    random_bars(rows).to_csv(csv, index=False)
    facts = write_canonical(read_bars(csv), path)
    artifact = store.put_file(path, name=path.name, media_type="application/vnd.apache.parquet")
    dataset = Dataset(
        name=name,
        artifact=artifact,
        rows=facts.rows,
        first=facts.first,
        last=facts.last,
        added_at=datetime(2026, 1, 1, tzinfo=UTC),
        source="seeded random walk",
    )
    DatasetCatalogue(store).put(dataset)
    return dataset


def backtest_spec(name: str = "walk", **strategy: object) -> JsonObject:
    """A spec over that dataset that trades often."""
    parameters = {"fast": 5, "slow": 20, "quantity": 10, "allow_short": True, **strategy}
    return {"data": {"name": name}, "strategy": {"name": "sma-cross", "parameters": parameters}}
