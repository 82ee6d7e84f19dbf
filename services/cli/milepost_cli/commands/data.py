"""``milepost data add``, ``list`` and ``sample``."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from milepost_contracts.datasets import Dataset
from milepost_runtime.clock import SystemClock

from milepost_cli.datasets import add_dataset, list_datasets
from milepost_cli.formatting import format_age, format_count, format_size
from milepost_cli.location import StackLocation, locate
from milepost_cli.options import DirectoryOption, JsonOption, examples, new_app
from milepost_cli.output import notes, people, print_json
from milepost_cli.samples import SAMPLES, SOURCE, write_sample
from milepost_cli.tables import print_table

app = new_app()


@app.callback()
def data() -> None:
    """Add and list market data."""


@app.command(
    "add",
    epilog=examples("milepost data add eurusd bars.csv", "milepost data add eurusd bars.parquet --json"),
)
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What specs will call it; lower case.")],
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="CSV or Parquet with timestamp, open, high, low, close, volume."),
    ],
    source: Annotated[str | None, typer.Option(help="Where it came from; kept with the data.")] = None,
    refuse_doubtful: Annotated[
        bool, typer.Option("--refuse-doubtful", help="Add nothing when there are gaps or spikes either.")
    ] = False,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a file of bars and add it under a name.

    Every fault is named with its row, and nothing is added then. Gaps and spikes may be right: they are named
    as doubts, and the data is added. Operations that were started earlier
    keep the data they were started with, for they name it by digest.
    """
    added = add_dataset(
        locate(directory), name, file, source=source or file.name, refuse_doubtful=refuse_doubtful
    )
    dataset = added.dataset
    if as_json:
        doubts = [doubt.model_dump(mode="json") for doubt in added.doubts]
        print_json({**dataset.model_dump(mode="json"), "doubts": doubts})
        return
    size = format_size(dataset.artifact.size_bytes)
    days = f"{dataset.first:%Y-%m-%d} to {dataset.last:%Y-%m-%d}"
    people().print(f"{dataset.name}: {format_count(dataset.rows, 'bar')}, {days}, {size}", soft_wrap=True)
    people().print(dataset.artifact.digest)
    for doubt in added.doubts:
        notes().print(f"doubtful: {doubt.field}: {doubt.message}", style="yellow", soft_wrap=True)
    notes().print(f"next: milepost start backtest --set data.name={dataset.name} --follow", soft_wrap=True)


@app.command("list", epilog=examples("milepost data list"))
def list_all(directory: DirectoryOption = None, as_json: JsonOption = False) -> None:
    """List the datasets."""
    found = list_datasets(locate(directory))
    if as_json:
        print_json({"datasets": [dataset.model_dump(mode="json") for dataset in found]})
        return
    if not found:
        notes().print(
            "no datasets; add one with `milepost data add NAME FILE` or `milepost data sample aapl`"
        )
        return
    now = SystemClock().now()
    rows = [
        (
            dataset.name,
            f"{dataset.rows:,}",
            f"{dataset.first:%Y-%m-%d}",
            f"{dataset.last:%Y-%m-%d}",
            format_size(dataset.artifact.size_bytes),
            format_age(dataset.added_at, now),
            dataset.source,
        )
        for dataset in found
    ]
    print_table(
        ("NAME", "BARS", "FIRST", "LAST", "SIZE", "ADDED", "SOURCE"),
        rows,
        right=("BARS", "SIZE"),
        wrap=("SOURCE",),
    )


@app.command("sample", epilog=examples("milepost data sample", "milepost data sample aapl msft"))
def sample(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help=f"Of {', '.join(SAMPLES)}; all by default.")
    ] = None,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add real daily prices that came with the installation."""
    location = locate(directory)
    added = [add_sample(location, name.lower()) for name in names or SAMPLES]
    if as_json:
        print_json({"datasets": [dataset.model_dump(mode="json") for dataset in added]})
        return
    for dataset in added:
        days = f"{dataset.first:%Y-%m-%d} to {dataset.last:%Y-%m-%d}"
        people().print(f"{dataset.name}: {format_count(dataset.rows, 'bar')}, {days}", soft_wrap=True)


def add_sample(location: StackLocation, name: str) -> Dataset:
    """Add one sample and return its catalogue entry."""
    with tempfile.TemporaryDirectory(prefix="milepost-sample-") as scratch:
        path = Path(scratch) / f"{name}.csv"
        write_sample(name, path)
        return add_dataset(location, name, path, source=SOURCE).dataset
