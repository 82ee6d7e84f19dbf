"""The order of the tests loses none of them, and begins with what takes long."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.order import HEAVY_SECONDS, dealt

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_every_test_is_dealt_once_to_parts_of_equal_number(parts: int) -> None:
    """Each part begins with its heavy modules; a directory that shares a stack stays in one."""
    counts = {**dict.fromkeys(HEAVY_SECONDS, 4), "tests/light/test_a.py": 150, "tests/light/test_b.py": 151}
    items: list[Any] = [
        SimpleNamespace(nodeid=f"{name if name.endswith('.py') else f'{name}/test_x.py'}::{number}")
        for name, count in counts.items()
        for number in range(count)
    ]
    found = dealt(items, parts)
    assert sorted(item.nodeid for item in found) == sorted(item.nodeid for item in items)
    edges = [len(items) * number // parts for number in range(parts + 1)]
    shared = {
        number
        for number in range(parts)
        for item in found[edges[number] : edges[number + 1]]
        if item.nodeid.startswith("tests/e2e/")
    }
    assert len(shared) == 1
    firsts = [found[edge].nodeid.partition("::")[0] for edge in edges[:-1]]
    heavy = tuple(HEAVY_SECONDS)
    assert all(name.startswith(heavy) for name in firsts)
