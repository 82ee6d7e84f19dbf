"""Rebuild the read models of MILEPOST_*, and stand still at a stage until killed."""

import asyncio
import os
import sys
import threading

from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.application.rebuilding import RebuildProgress
from milepost_orchestrator.projections_bootstrap import ProjectionSettings, open_projections
from milepost_runtime.logs import configure_logging

from tests.orchestrator.running import settings_of


async def main(stage: str) -> None:
    endpoints = StackEndpoints.from_environment(os.environ)
    settings = ProjectionSettings(endpoints.bus, endpoints.store, settings_of(endpoints).database)

    def tell(progress: RebuildProgress) -> None:
        if progress.stage == stage:
            print(stage, flush=True)
            threading.Event().wait()

    async with open_projections(settings) as projections:
        await projections.rebuild(tell, swap=True)


if __name__ == "__main__":
    configure_logging("rebuild", level=50)
    asyncio.run(main(sys.argv[1]))
