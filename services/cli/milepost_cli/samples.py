"""Real market data that came with the installation: daily bars of a few shares.

Source: Quandl WIKI prices (public domain), as packaged in ``bokeh_sampledata`` under ``_data/stocks.csv.gz``.
Prices are adjusted for splits and dividends by that source's adjusted close, as a backtest over years needs
it: without it a 2-for-1 split looks like a loss of half.
"""

import csv
import gzip
import io
from importlib import resources
from pathlib import Path

from milepost_cli.errors import NotFoundError

PACKAGE = "bokeh_sampledata"
SOURCE = "Quandl WIKI daily prices (public domain), adjusted for splits and dividends; from bokeh_sampledata"
SAMPLES = {"aapl": "AAPL", "goog": "GOOG", "ibm": "IBM", "msft": "MSFT"}
COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")


def write_sample(name: str, path: Path) -> int:
    """Write the bars of a sample to ``path`` as CSV and return how many there are.

    Raises:
        NotFoundError: there is no such sample, or the package that holds the data is not installed.
    """
    ticker = SAMPLES.get(name)
    if ticker is None:
        raise NotFoundError(
            f"there is no sample {name}", fix=f"there are: {', '.join(SAMPLES)}", code="unknown-sample"
        )
    rows = [_adjusted(row) for row in csv.DictReader(io.StringIO(_stocks())) if row["Ticker"] == ticker]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return len(rows)


def _stocks() -> str:
    try:
        # The package's own modules import pandas and more; its data file is all that is wanted.
        return gzip.decompress((resources.files(PACKAGE) / "_data" / "stocks.csv.gz").read_bytes()).decode()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise NotFoundError(
            "the sample data is not installed", fix="pip install bokeh_sampledata", code="no-sample-data"
        ) from error


def _adjusted(row: dict[str, str]) -> tuple[str, float, float, float, float, float]:
    # One positive factor for all four keeps their order, also after rounding.
    factor = float(row["Adj Close"]) / float(row["Close"])
    prices = (float(row[column]) * factor for column in ("Open", "High", "Low", "Close"))
    open_price, high, low, close = prices
    return row["Date"], open_price, high, low, close, float(row["Volume"])
