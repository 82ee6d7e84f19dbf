"""Bars from a file into the store: checked whole, every fault named with its row, known by digest from then on."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from milepost_backtester.market_data import (
    BarProblem,
    BarProblemsError,
    BarTable,
    check_bars,
    doubts_about,
    read_bars,
    write_canonical,
)
from milepost_contracts.datasets import Dataset, DatasetName
from milepost_contracts.failures import Problem
from milepost_runtime.clock import SystemClock
from milepost_runtime.store.datasets import DatasetCatalogue
from milepost_runtime.store.s3 import S3ArtifactStore
from pydantic import TypeAdapter, ValidationError

from milepost_cli.errors import RefusedError, UsageFaultError
from milepost_cli.location import StackLocation

MEDIA_TYPE = "application/vnd.apache.parquet"
_NAME: TypeAdapter[str] = TypeAdapter(DatasetName)


@dataclass(frozen=True, slots=True)
class AddedDataset:
    """A catalogue entry, and what in its bars is worth a look."""

    dataset: Dataset
    doubts: tuple[Problem, ...]


def add_dataset(
    location: StackLocation, name: str, path: Path, *, source: str, refuse_doubtful: bool = False
) -> AddedDataset:
    """Check the bars in ``path``, store them, enter them under ``name``, and return the entry.

    Raises:
        UsageFaultError: the name is no name, or the file cannot be read.
        RefusedError: the bars have faults, or doubts that are to be refused; all are named and nothing is stored.
    """
    _check_name(name)
    table = _read(path)
    doubts = doubts_about(table)
    if doubts and refuse_doubtful:
        raise _doubtful(path, doubts)
    with tempfile.TemporaryDirectory(prefix="milepost-data-") as scratch:
        canonical = Path(scratch) / f"{name}.parquet"
        facts = write_canonical(table, canonical)
        store = S3ArtifactStore(location.store())
        try:
            artifact = store.put_file(canonical, name=canonical.name, media_type=MEDIA_TYPE)
            dataset = Dataset(
                name=name,
                artifact=artifact,
                rows=facts.rows,
                first=facts.first,
                last=facts.last,
                added_at=SystemClock().now(),
                source=source,
            )
            DatasetCatalogue(store).put(dataset)
        finally:
            store.close()
    return AddedDataset(dataset, _problems(doubts))


def list_datasets(location: StackLocation) -> list[Dataset]:
    """Return the newest dataset of each name, sorted by name."""
    store = S3ArtifactStore(location.store())
    try:
        return DatasetCatalogue(store).list()
    finally:
        store.close()


def _check_name(name: str) -> None:
    try:
        _NAME.validate_python(name)
    except ValidationError as error:
        raise UsageFaultError(
            f"{name!r} is no name for a dataset",
            fix="up to 64 lower-case letters, digits, dots, dashes and underscores, such as eurusd-1h",
        ) from error


def _read(path: Path) -> BarTable:
    try:
        table = read_bars(path)
    except BarProblemsError as error:
        raise _faulty(path, error.problems) from error
    except OSError as error:
        raise UsageFaultError(
            f"{path} cannot be read: {error.strerror or error}", fix="name a CSV or Parquet file of bars"
        ) from error
    problems = check_bars(table)
    if problems:
        raise _faulty(path, problems)
    return table


def _faulty(path: Path, problems: Sequence[BarProblem]) -> RefusedError:
    return RefusedError(
        f"{path} holds bars that cannot be used; nothing was added",
        fix="correct the rows that are named and add the file again",
        code="invalid-data",
        problems=_problems(problems),
    )


def _doubtful(path: Path, doubts: Sequence[BarProblem]) -> RefusedError:
    return RefusedError(
        f"{path} holds bars that are doubtful; nothing was added",
        fix="correct the rows that are named, or add the file without --refuse-doubtful",
        code="doubtful-data",
        problems=_problems(doubts),
    )


def _problems(found: Sequence[BarProblem]) -> tuple[Problem, ...]:
    return tuple(Problem(field=_place(problem), message=problem.message) for problem in found)


def _place(problem: BarProblem) -> str:
    parts = ("" if problem.row is None else f"row {problem.row}", problem.column)
    return ", ".join(part for part in parts if part)
