"""What a person waits for: start to first unit, cancel to cancelled, kill -9 to the next claim."""

import asyncio
import os
import signal
import statistics
import tempfile
from pathlib import Path

from milepost_contracts.events import Cancelled, CancelRequested, Claimed, Requested, Started
from milepost_infra.endpoints import StackEndpoints

from tests.support.harness import Harness, child_pid, open_harness

Row = tuple[str, float, str]
ROUNDS = 15
KILLS = 3
WARM_UP_SECONDS = 1.0


async def measure(endpoints: StackEndpoints) -> list[Row]:
    """Measure on one orchestrator and one worker (two for the kills), by the events' own times."""
    with tempfile.TemporaryDirectory() as directory:
        async with open_harness(endpoints, Path(directory)) as harness:
            await harness.services.orchestrator()
            await harness.services.worker("w-1", MILEPOST_WORKER_LEASE_SECONDS="3")
            await harness.end(await harness.start("counter", {"units": 10}))  # everything is warm after this
            starts = [await _start_to_first_unit(harness) for _ in range(ROUNDS)]
            cancels = [await _cancel_to_cancelled(harness) for _ in range(ROUNDS)]
            children = [await _child_kill_to_claim(harness) for _ in range(KILLS)]
            await harness.services.worker("w-2", MILEPOST_WORKER_LEASE_SECONDS="3")
            host = await _host_kill_to_claim(harness)
    return [
        ("start command to first unit, warm child, p50", _p50(starts) * 1000, "ms"),
        ("start command to first unit, warm child, p95", _p95(starts) * 1000, "ms"),
        ("cancel command to cancelled event, p50", _p50(cancels) * 1000, "ms"),
        ("cancel command to cancelled event, p95", _p95(cancels) * 1000, "ms"),
        ("kill -9 of the child to the next claim, p50", _p50(children), "s"),
        ("kill -9 of the host to the next claim (lease 3 s)", host, "s"),
    ]


async def _start_to_first_unit(harness: Harness) -> float:
    await asyncio.sleep(WARM_UP_SECONDS)  # the next child does its imports; nothing tells when it waits
    operation_id = await harness.start("counter", {"units": 20})
    await harness.end(operation_id)
    times = await _times(harness, operation_id)
    return times[Started] - times[Requested]


async def _cancel_to_cancelled(harness: Harness) -> float:
    operation_id = await harness.start("counter", {"units": 100_000}, pace_units_per_second=200)
    await harness.until_unit(operation_id, 5)
    await harness.cancel(operation_id)
    await harness.end(operation_id)
    times = await _times(harness, operation_id)
    return times[Cancelled] - times[CancelRequested]


async def _child_kill_to_claim(harness: Harness) -> float:
    operation_id = await harness.start("counter", {"units": 1_000}, pace_units_per_second=200)
    before = await harness.until_unit(operation_id, 60)
    os.kill(child_pid(harness.services.running[1]), signal.SIGKILL)
    killed = harness.services.clock.now()
    claim = await harness.until(
        operation_id, lambda event: isinstance(event, Claimed), after_sequence=before.sequence
    )
    await harness.cancel(operation_id)
    await harness.end(operation_id)
    return (claim.envelope.time - killed).total_seconds()


async def _host_kill_to_claim(harness: Harness) -> float:
    operation_id = await harness.start("counter", {"units": 2_000}, pace_units_per_second=200)
    before = await harness.until_unit(operation_id, 60)
    claims = await harness.events(operation_id, Claimed)
    owner = next(service for service in harness.services.running if service.name == claims[0].worker_id)
    await owner.kill()
    killed = harness.services.clock.now()
    claim = await harness.until(
        operation_id, lambda event: isinstance(event, Claimed), after_sequence=before.sequence
    )
    await harness.cancel(operation_id)
    await harness.end(operation_id)
    return (claim.envelope.time - killed).total_seconds()


async def _times(harness: Harness, operation_id: str) -> dict[type, float]:
    """When the first event of each type happened, seconds since the epoch."""
    times: dict[type, float] = {}
    for entry in await harness.log(operation_id):
        times.setdefault(type(entry.event), entry.envelope.time.timestamp())
    return times


def _p50(values: list[float]) -> float:
    return statistics.median(values)


def _p95(values: list[float]) -> float:
    return sorted(values)[round(0.95 * (len(values) - 1))]
