"""Archive everything of MILEPOST_* that has ended, and stand still before the given step until killed.

Steps are counted from 1: each write to the store, to the log, and each removal, before and after it is made.
"""

import asyncio
import os
import sys
import threading
from datetime import timedelta

from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.application.effects import Appender
from milepost_orchestrator.projections_bootstrap import ProjectionSettings, open_projections
from milepost_runtime.bus.archive_log import JetStreamArchiveLog
from milepost_runtime.clock import SystemClock
from milepost_runtime.logs import configure_logging
from milepost_runtime.store.s3 import S3ArtifactStore

from tests.orchestrator.running import settings_of


class Steps:
    """Counts steps, and stops for ever at one."""

    def __init__(self, stop_at: int) -> None:
        self.stop_at = stop_at
        self.count = 0

    def step(self, what: str) -> None:
        self.count += 1
        if self.count == self.stop_at:
            print(what, flush=True)
            threading.Event().wait()


def watch(steps: Steps) -> None:
    """Count a step before and after everything that leaves a trace."""
    put, append, remove = S3ArtifactStore.put_document, Appender.append, JetStreamArchiveLog.remove

    def put_document(self, *arguments, **named):
        steps.step("before the file")
        put(self, *arguments, **named)
        steps.step("after the file")

    async def append_event(self, *arguments, **named):
        steps.step("before the event")
        sequence = await append(self, *arguments, **named)
        steps.step("after the event")
        return sequence

    async def remove_events(self, *arguments):
        steps.step("before the removal")
        removed = await remove(self, *arguments)
        steps.step("after the removal")
        return removed

    S3ArtifactStore.put_document = put_document
    Appender.append = append_event
    JetStreamArchiveLog.remove = remove_events


async def main(stop_at: int) -> None:
    watch(Steps(stop_at))
    endpoints = StackEndpoints.from_environment(os.environ)
    settings = ProjectionSettings(endpoints.bus, endpoints.store, settings_of(endpoints).database)
    async with open_projections(settings) as projections:
        await projections.archive(SystemClock().now() + timedelta(days=1), requested_by="/test")
    print("done", flush=True)


if __name__ == "__main__":
    configure_logging("archive", level=50)
    asyncio.run(main(int(sys.argv[1])))
