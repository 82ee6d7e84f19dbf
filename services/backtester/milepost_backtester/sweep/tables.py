"""The result tables of a sweep as columns: combinations with their figures, and folds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from milepost_runtime.digests import canonical_json

from milepost_backtester.engine.bars import Integers
from milepost_backtester.parquet import TIMESTAMP, Schema, pa
from milepost_backtester.sweep.engine import SweepEngine
from milepost_backtester.sweep.figures import NAMES, WHOLE, FigureTable
from milepost_backtester.sweep.plan import Plan

Columns = dict[str, Any]
PARAMETER = "parameter_"
"""What the columns of parameters begin with: figures have names too."""


def combination_table(engine: SweepEngine, names: Sequence[str]) -> tuple[Columns, Schema]:
    """Return a row for each unit: fold and combination from 1, the grid's parameters, rank in it, figures."""
    plan = engine.plan
    count, folds = len(plan.combinations), len(plan.folds)
    ranks = np.concatenate([_ranks(engine, fold) for fold in range(folds)])
    columns: Columns = {
        "fold": np.repeat(np.arange(1, folds + 1), count),
        "combination": np.tile(np.arange(1, count + 1), folds),
        **parameter_columns(
            [plan.combinations[place] for _ in range(folds) for place in range(count)], names
        ),
        "rank": ranks,
        **_with_nulls(engine.combinations.columns(0, engine.unit), ""),
        "undefined": engine.combinations.columns(0, engine.unit)["undefined"],
    }
    if not plan.walks:
        del columns["fold"]
    return columns, _schema_of(columns)


def fold_table(engine: SweepEngine, names: Sequence[str], timestamp: Integers) -> tuple[Columns, Schema]:
    """Return a row for each fold: its windows, what was chosen, and the figures in and out of sample."""
    plan, forward = engine.plan, engine.forward
    chosen = np.array(forward.chosen, dtype=np.int64)
    inside = FigureTable(len(chosen))
    for fold, combination in enumerate(forward.chosen):
        unit = fold * len(plan.combinations) + combination
        inside.extend(engine.combinations.columns(unit, unit + 1))
    columns: Columns = {
        "fold": np.arange(1, len(chosen) + 1),
        **_windows(plan, timestamp),
        "combination": chosen + 1,
        **parameter_columns([plan.combinations[place] for place in forward.chosen], names),
        **_with_nulls(inside.columns(0, len(chosen)), "in_sample_"),
        **_with_nulls(forward.figures.columns(0, len(chosen)), "out_of_sample_"),
    }
    return columns, _schema_of(columns)


def parameter_columns(combinations: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Columns:
    """Return the parameters of some combinations: whole numbers, numbers, truth values or text; else JSON."""
    return {f"{PARAMETER}{name}": _typed([given[name] for given in combinations]) for name in names}


def _typed(values: list[Any]) -> Any:
    kinds: set[type] = {type(value) for value in values}
    if kinds == {bool}:
        return np.array(values, dtype=np.bool_)
    if kinds == {int}:
        return np.array(values, dtype=np.int64)
    if kinds <= {int, float}:
        return np.array(values, dtype=np.float64)
    return [value if isinstance(value, str) else canonical_json(value).decode() for value in values]


def _ranks(engine: SweepEngine, fold: int) -> Integers:
    order = engine.ranked(fold)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks


def _windows(plan: Plan, timestamp: Integers) -> Columns:
    """Return first and last bar of each window, from 0, and their times."""
    folds = plan.folds
    ends = {
        "train_first": [fold.train_start for fold in folds],
        "train_last": [fold.train_stop - 1 for fold in folds],
        "test_first": [fold.test_start for fold in folds],
        "test_last": [fold.test_stop - 1 for fold in folds],
    }
    bars = {f"{name}_bar": np.array(values, dtype=np.int64) for name, values in ends.items()}
    times = {f"{name}_time": pa.array(timestamp[values], type=TIMESTAMP) for name, values in ends.items()}
    return {**bars, **times}


def _with_nulls(columns: Columns, prefix: str) -> Columns:
    """Return figures as columns of their own types, null where undefined."""
    undefined: list[str] = columns["undefined"]
    found: Columns = {}
    for name in NAMES:
        values, word = columns[name], f'"{name}":'
        mask = np.array([word in reasons for reasons in undefined], dtype=np.bool_)
        kind = pa.int64() if name in WHOLE else pa.float64()
        if name in WHOLE:
            values = np.where(mask, 0, values).astype(np.int64)
        found[f"{prefix}{name}"] = pa.array(values, type=kind, mask=mask)
    return found


def _schema_of(columns: Columns) -> Schema:
    return pa.schema(
        [
            (name, values.type if isinstance(values, pa.Array) else pa.array(values).type)
            for name, values in columns.items()
        ]
    )
