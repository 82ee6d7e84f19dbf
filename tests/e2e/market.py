"""Bars that look like a market, the same ones for the same seed."""

import csv
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
START = datetime(2020, 1, 1, tzinfo=UTC)


def bars(count: int, seed: int = 7) -> list[list[object]]:
    """Return hourly bars of a random walk."""
    source = random.Random(seed)
    rows: list[list[object]] = []
    close = 100.0
    for number in range(count):
        open_price = close * (1 + source.gauss(0, 0.0005))
        close = open_price * (1 + source.gauss(0, 0.004))
        high = max(open_price, close) * (1 + abs(source.gauss(0, 0.001)))
        low = min(open_price, close) * (1 - abs(source.gauss(0, 0.001)))
        time = (START + timedelta(hours=number)).isoformat()
        rows.append([time, open_price, high, low, close, float(source.randint(1, 10**6))])
    return rows


def write_bars(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return path
