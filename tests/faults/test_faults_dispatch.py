"""Holds that outlive everybody who knew of them."""

import asyncio

import pytest
from milepost_contracts.commands import HoldDispatch, ReleaseDispatch
from milepost_contracts.events import Claimed, Completed
from milepost_contracts.verdicts import Accepted
from milepost_test_kinds.counter import expected_value

from tests.support.harness import Harness

pytestmark = pytest.mark.faults


async def test_a_hold_outlives_orchestrator_and_worker(harness: Harness) -> None:
    """Both are killed and started anew: nothing is claimed until it is released, then it is."""
    first, worker = await harness.services.orchestrator(), await harness.services.worker("w-1")
    await harness.announced("counter")
    assert isinstance(await harness.client.request(HoldDispatch(reason="repairs")), Accepted)
    await first.kill()
    await worker.kill()
    await harness.services.orchestrator("o-2")
    await harness.services.worker("w-2")
    operation_id = await harness.start("counter", {"units": 20})
    claiming = asyncio.create_task(harness.until(operation_id, lambda event: isinstance(event, Claimed)))
    await asyncio.wait({claiming}, timeout=2.0)
    assert not claiming.done(), "claimed though held"

    assert isinstance(await harness.client.request(ReleaseDispatch()), Accepted)

    await claiming
    completed = await harness.end(operation_id)
    assert isinstance(completed, Completed)
    assert completed.summary["value"] == expected_value(20)
