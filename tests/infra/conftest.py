"""What the tests of the infrastructure share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import reachable_directory


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory for a stack of the test's own."""
    with reachable_directory() as directory:
        yield directory / "stack"
