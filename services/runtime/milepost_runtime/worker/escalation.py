"""Ends a child that was asked to stop and does not, in time.

States: at rest -> armed (a time is set) -> the child was ended; or cancelled: the child has stopped by itself.
Without a deadline the child has the worker's own grace to reach the end of its unit, then SIGTERM, then SIGKILL; a
deadline takes the place of that grace, and is the end, with SIGKILL. Authority: the earlier of two deadlines.
Failures: a worker that cannot keep the deadline is fenced by the orchestrator.
"""

import asyncio
from datetime import datetime

import structlog

from milepost_runtime.clock import Clock
from milepost_runtime.worker.child_process import ChildProcess
from milepost_runtime.worker.settings import WorkerSettings

log = structlog.get_logger()


class Escalation:
    """Of one attempt."""

    def __init__(self, child: ChildProcess, clock: Clock, settings: WorkerSettings) -> None:
        self._child = child
        self._clock = clock
        self._settings = settings
        self._deadline_at: datetime | None = None
        self._task: asyncio.Task[None] | None = None
        self._armed_for: datetime | None = None
        self.ended_it = False
        """Whether the child was ended, rather than stopping by itself."""

    @property
    def armed(self) -> bool:
        """Whether the child was asked to stop, and watched since."""
        return self._task is not None

    def deadline(self, at: datetime | None) -> None:
        """Take note of a cancel's deadline; None is none."""
        if at is not None and (self._deadline_at is None or at < self._deadline_at):
            self._deadline_at = at

    def arm(self) -> None:
        """The child has been asked to stop: end it at the deadline, or when the worker's grace is over."""
        if self._task is not None:
            if self._deadline_at == self._armed_for:
                return
            self._task.cancel()
        self._armed_for = self._deadline_at
        self._task = asyncio.create_task(self._end(self._deadline_at))

    def cancel(self) -> None:
        """The child has ended."""
        if self._task is not None:
            self._task.cancel()

    def words_after(self, words: str | None) -> str | None:
        """Return why it was cancelled, and how if it was by force."""
        if not self.ended_it:
            return words
        how = "the computing process did not stop in time and was ended"
        return f"{words}; by force, {how}" if words else how

    async def _end(self, deadline_at: datetime | None) -> None:
        if deadline_at is None:
            await asyncio.sleep(self._settings.cancel_grace_seconds)
        else:
            # The clocks of two machines differ by a little; what that does to a deadline is no harm.
            await asyncio.sleep(max((deadline_at - self._clock.now()).total_seconds(), 0.0))
        log.warning("child did not stop in time", pid=self._child.pid)
        self.ended_it = True
        if deadline_at is None:
            await self._child.end(grace_seconds=self._settings.kill_grace_seconds)
        else:
            await self._child.kill()
