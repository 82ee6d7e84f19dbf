"""The janitor: carries out the stack's own retention policy and sweeps orphans, now and then.

Authority: none of its own; it sends the same command that a person would and runs the same sweep. Failures:
something needed is away, or the store is shared: said in the log, and tried again next time. Several orchestrators
with the same policy do the same work at worst.
"""

import asyncio
from dataclasses import dataclass

import structlog
from milepost_contracts.cleanup import CleanUpCheckpoints
from milepost_contracts.verdicts import Rejected
from milepost_runtime.clock import random_id
from milepost_runtime.errors import RuntimeServiceError

from milepost_orchestrator.application.answers import Sender
from milepost_orchestrator.application.commands import CommandHandler
from milepost_orchestrator.application.orphans import OrphanSweep

log = structlog.get_logger()
SOURCE = "/orchestrator/retention"
REASON = "retention policy"
REGISTER_PAUSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class JanitorSettings:
    """What is done without being asked for."""

    retention: CleanUpCheckpoints | None = None
    """The rules; None for none."""
    retention_interval_seconds: float = 3600.0
    sweep_interval_seconds: float | None = None
    """How often orphans are swept; None for never."""


class Janitor:
    """Cleans up; ``run`` for ever."""

    def __init__(self, handler: CommandHandler, orphans: OrphanSweep, settings: JanitorSettings) -> None:
        self._handler = handler
        self._orphans = orphans
        self._settings = settings

    async def run(self) -> None:
        """Work until cancelled; the first time after one interval, so a restart never begins with a deletion."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._register(), name="register in the store")
            if self._settings.retention is not None:
                tasks.create_task(self._keep_retention(self._settings.retention), name="retention")
            if self._settings.sweep_interval_seconds is not None:
                tasks.create_task(self._keep_sweeping(self._settings.sweep_interval_seconds), name="orphans")

    async def clean_up(self, rules: CleanUpCheckpoints) -> int:
        """Carry out the policy once, in as many steps as it takes; return how many checkpoints went."""
        deleted = 0
        while True:
            verdict = await self._handler.handle(rules, Sender(random_id("cmd"), SOURCE))
            if isinstance(verdict, Rejected):
                log.warning("retention put off", reason=verdict.message)
                return deleted
            deleted += len(verdict.deleted)
            if verdict.next_after is None:
                log.info("retention kept", deleted=deleted)
                return deleted
            rules = rules.model_copy(update={"after": verdict.next_after})

    async def _register(self) -> None:
        while True:
            try:
                await self._orphans.register()
            except RuntimeServiceError as error:
                log.warning("not registered in the store", reason=str(error))
                await asyncio.sleep(REGISTER_PAUSE_SECONDS)  # an outage has no event to await
                continue
            return

    async def _keep_retention(self, rules: CleanUpCheckpoints) -> None:
        while True:
            await asyncio.sleep(self._settings.retention_interval_seconds)
            await self.clean_up(rules)

    async def _keep_sweeping(self, interval_seconds: float) -> None:
        while True:
            await asyncio.sleep(interval_seconds)
            try:
                await self._orphans.sweep(dry_run=False)
            except RuntimeServiceError as error:
                log.warning("sweep of orphans put off", reason=str(error))
