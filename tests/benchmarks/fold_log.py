"""Fold a whole log in a process of its own, and say how long it took and how much memory: for ``bench_rebuild``.

``python -m tests.benchmarks.fold_log project`` fills the live read models, ``... rebuild`` makes them from nothing
beside those and compares them, ``... fill`` makes them where nothing was projected, without comparing.
All end at the last event that is in the log when they begin.
"""

import asyncio
import json
import resource
import sys
from contextlib import suppress

from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.adapters.projection_store import PostgresProjectionStore
from milepost_orchestrator.adapters.settings import DatabaseSettings
from milepost_orchestrator.application.projector import Projector
from milepost_orchestrator.application.rebuilding import RebuildProgress
from milepost_orchestrator.projections_bootstrap import Projections, ProjectionSettings, open_projections
from milepost_runtime.bus.connection import connect
from milepost_runtime.bus.jetstream import JetStream
from milepost_runtime.bus.topology import Topology
from milepost_runtime.clock import SystemClock


async def main(what: str) -> None:
    """Print one JSON object."""
    endpoints = StackEndpoints.from_environment()
    settings = ProjectionSettings(endpoints.bus, endpoints.store, DatabaseSettings(endpoints.database_url))
    clock = SystemClock()
    last_sequence = await _last_sequence(endpoints)
    async with open_projections(settings) as projections:
        begun, idle_bytes = clock.monotonic_seconds(), peak_bytes()
        filled_seconds = 0.0
        if what == "project":
            await _project(projections, last_sequence)
        elif what == "rebuild":

            def tell(progress: RebuildProgress) -> None:
                nonlocal filled_seconds
                if progress.stage == "filling":
                    filled_seconds = clock.monotonic_seconds() - begun

            report = await projections.rebuild(tell, swap=False)
            assert report.equal, report
        else:
            await _fill(projections, last_sequence)
        seconds = clock.monotonic_seconds() - begun
    found = {
        "events": last_sequence,
        "seconds": seconds,
        "filled_seconds": filled_seconds or seconds,
        "idle_bytes": idle_bytes,
        "peak_bytes": peak_bytes(),
    }
    print(json.dumps(found))


async def _project(projections: Projections, last_sequence: int) -> None:
    projector = Projector(projections.event_log, PostgresProjectionStore(projections.engine))
    running = asyncio.create_task(projector.run())
    reached = asyncio.create_task(projector.reached(last_sequence))
    await asyncio.wait({running, reached}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        await running
    running.cancel()
    await asyncio.wait({running})


class _FilledError(Exception):
    """The tables are full; there is nothing to compare them with."""


async def _fill(projections: Projections, last_sequence: int) -> None:
    await PostgresProjectionStore(projections.engine).advance(last_sequence)

    def tell(progress: RebuildProgress) -> None:
        if progress.stage == "comparing":
            assert (progress.sequence, progress.entries) == (last_sequence, last_sequence), progress
            raise _FilledError

    with suppress(_FilledError):
        await projections.rebuild(tell, swap=False)


async def _last_sequence(endpoints: StackEndpoints) -> int:
    connection = await connect(endpoints.bus, name="benchmark")
    try:
        jetstream = JetStream(connection, timeout_seconds=endpoints.bus.request_timeout_seconds)
        info = await jetstream.call(f"STREAM.INFO.{Topology(endpoints.bus).events}")
        return int(info["state"]["last_seq"])
    finally:
        await connection.close()


def peak_bytes() -> int:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
