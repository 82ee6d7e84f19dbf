"""Servers that are away for half a minute: the run waits and goes on; nothing is lost, nothing is doubled."""

import asyncio
import os
from pathlib import Path

import pytest
from milepost_contracts.events import Claimed, Completed, Progress, StateSnapshot
from milepost_infra.embedded.server import ServerName
from milepost_infra.embedded.stack import EmbeddedStack
from milepost_test_kinds.counter import expected_value

from tests.support.harness import open_harness
from tests.support.stack import reachable_directory

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

AWAY_SECONDS = float(os.environ.get("MILEPOST_AWAY_SECONDS", "30"))
UNITS = 2000
PACE = 100.0


@pytest.mark.parametrize("server", ["s3", "nats"])
async def test_server_away_during_a_run(tmp_path: Path, server: ServerName) -> None:
    """After kill -9 of the server and its return half a minute later the operation ends with the same value."""
    with reachable_directory() as directory:
        stack = EmbeddedStack(directory)
        async with stack as endpoints, open_harness(endpoints, tmp_path) as harness:
            await harness.services.orchestrator()
            await harness.services.worker("w-1")
            await harness.services.worker("w-2")
            operation_id = await harness.start("counter", {"units": UNITS}, pace_units_per_second=PACE)
            before = await harness.until_unit(operation_id, 200)

            await stack.kill(server)
            await asyncio.sleep(AWAY_SECONDS)  # the outage itself is what is tested
            await stack.restart(server)

            completed = await harness.end(operation_id)
            entries = await harness.log(operation_id)
    assert isinstance(completed, Completed)
    assert completed.summary["value"] == expected_value(UNITS)
    assert before.sequence in {entry.sequence for entry in entries}, "an acknowledged event was lost"
    assert len({entry.envelope.id for entry in entries}) == len(entries), "an event was doubled"
    after = [entry.event for entry in entries if entry.sequence > before.sequence]
    assert any(isinstance(event, StateSnapshot) for event in after)
    assert any(isinstance(event, Progress) for event in after)
    assert len([entry for entry in entries if isinstance(entry.event, Claimed)]) <= 2
