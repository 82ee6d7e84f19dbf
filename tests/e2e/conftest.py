"""One stack for the journeys, started and stopped by the command itself."""

from collections.abc import Iterator

import pytest

from tests.e2e.command_line import CommandLine
from tests.e2e.market import bars, write_bars
from tests.support.stack import reachable_directory

BARS = 10_000


@pytest.fixture(scope="session")
def milepost() -> Iterator[CommandLine]:
    """The command, with a stack of two backtest workers and 10,000 bars called `walk`."""
    with reachable_directory() as place:
        command = CommandLine(place / "stack")
        command("up", "--detach")
        try:
            command("data", "add", "walk", str(write_bars(place / "walk.csv", bars(BARS))))
            yield command
        finally:
            command("down")
