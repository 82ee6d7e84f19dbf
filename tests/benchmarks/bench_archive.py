"""Operations into the archive, and from there into read models that are made anew.

``--quick`` takes a tenth of the operations. One process; the projector that archiving waits for is in it too.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.adapters.projection_store import PostgresProjectionStore
from milepost_orchestrator.adapters.settings import DatabaseSettings
from milepost_orchestrator.application.projector import Projector
from milepost_orchestrator.application.rebuilding import RebuildProgress
from milepost_orchestrator.projections_bootstrap import Projections, ProjectionSettings, open_projections
from milepost_runtime.clock import SystemClock

from tests.benchmarks.fold_log import peak_bytes
from tests.support.generated_log import LogPlan, write_log

Row = tuple[str, float, str]
PLAN = LogPlan(finished=3_000, running=100, progress=20)
QUICK = LogPlan(finished=300, running=10, progress=20)


async def measure(tenant: StackEndpoints, quick: bool, say: Callable[[str], None]) -> list[Row]:
    """Measure archiving, and a rebuild before and after it."""
    plan = QUICK if quick else PLAN
    clock = SystemClock()
    settings = ProjectionSettings(tenant.bus, tenant.store, DatabaseSettings(tenant.database_url))
    say(f"writing {plan.events:,} events")
    await write_log(tenant.bus, plan)
    async with open_projections(settings) as projections, _projecting(projections) as projector:
        await projector.reached(plan.events)
        say("rebuilding from the log")
        _, filled = await _rebuild(projections)
        say("archiving")
        begun = clock.monotonic_seconds()
        done = await projections.archive(clock.now() + timedelta(days=1), requested_by="/bench")
        archived = clock.monotonic_seconds() - begun
        assert len(done.archived) == plan.finished, done.skipped
        say("rebuilding from the archive")
        restored, _ = await _rebuild(projections)
    count = sum(each.events for each in done.archived)
    size_bytes = sum(each.size_bytes for each in done.archived)
    return [
        ("operations archived", plan.finished / archived, "/s"),
        ("operations restored from the archive", plan.finished / restored, "/s"),
        ("events restored from the archive", count / restored, "/s"),
        ("events rebuilt from the log", plan.events / filled, "/s"),
        ("size of an archived event", size_bytes / count, "bytes"),
        ("memory, at most", peak_bytes() / 1e6, "MB"),
    ]


async def _rebuild(projections: Projections) -> tuple[float, float]:
    """Return the seconds until everything archived was restored, and until the tables were filled."""
    clock = SystemClock()
    begun = clock.monotonic_seconds()
    first: dict[str, float] = {}

    def tell(progress: RebuildProgress) -> None:
        first.setdefault(progress.stage, clock.monotonic_seconds() - begun)

    report = await projections.rebuild(tell, swap=False)
    assert report.equal, report
    return first["filling"], first["comparing"]


@asynccontextmanager
async def _projecting(projections: Projections) -> AsyncGenerator[Projector]:
    projector = Projector(
        projections.event_log,
        PostgresProjectionStore(projections.engine),
        archived=projections.archive_log,
    )
    running = asyncio.create_task(projector.run())
    try:
        yield projector
    finally:
        running.cancel()
        await asyncio.wait({running})
