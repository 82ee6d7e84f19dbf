"""Columns of the list: their names in an address."""

import pytest
from milepost_orchestrator.entrypoints.dashboard.columns import COLUMNS, DEFAULT, columns_of, told_of

pytestmark = pytest.mark.unit


def test_an_address_names_columns_in_any_order_and_unknown_ones_count_for_nothing() -> None:
    """The fixed ones are always there, the others in the order of the page; nothing told means the usual ones."""
    shown = [column.name for column in columns_of("ended.nonsense.progress")]
    assert shown == ["status", "name", "progress", "ended"]
    assert [column.name for column in columns_of("none")] == ["status", "name"]
    assert [column.name for column in columns_of(None)] == ["status", "name", *DEFAULT]
    assert (told_of(["ended", "progress", "status", "x"]), told_of([])) == ("progress.ended", "none")
    every = told_of(column.name for column in COLUMNS)
    assert columns_of(every) == COLUMNS
