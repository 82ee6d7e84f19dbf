"""A simulated worker: the real claims and fenced log, with a computation that takes no processor time."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.checkpoints import CheckpointReason
from milepost_contracts.events import (
    Cancelled,
    CheckpointRequested,
    Completed,
    Failed,
    Progress,
    Released,
    Started,
    StateSnapshot,
)
from milepost_contracts.failures import Failure, FailureCode
from milepost_runtime.errors import BusUnavailableError, RuntimeServiceError
from milepost_runtime.signals import Owner
from milepost_runtime.testing.kill_points import Killed
from milepost_runtime.testing.signals import MemorySubscription
from milepost_runtime.worker.claims import ClaimedOperation, Claimer
from milepost_runtime.worker.patience import patiently
from milepost_runtime.worker.run_log import FencedError
from milepost_runtime.worker.run_view import fold
from milepost_runtime.worker.settings import WorkerSettings

from tests.simulation.counting import content, next_state
from tests.simulation.lines import Line
from tests.simulation.servers import LEASE_SECONDS, Servers
from tests.simulation.tally import Seen

UNIT_SECONDS = 2.0
FETCH_SECONDS = 1.0
PATIENCE_SECONDS = 30.0
"""Shorter than a worker's own, so that runs also give up an attempt whose bus stays away."""


@dataclass
class _Run:
    """One attempt and where it is."""

    claimed: ClaimedOperation
    unit: int
    state: str
    total_units: int
    seconds: float
    checkpoint_id: str | None = None
    handled_sequence: int = 0


class SimulatedWorker:
    """One worker process, until it is killed."""

    def __init__(self, servers: Servers, name: str) -> None:
        self.name = name
        self.fails_next = False
        self.shuts_down = False
        self._servers = servers
        self._line = Line(servers.network)
        self._directory = servers.base.directory
        settings = WorkerSettings(
            name,
            "counter",
            self._directory,
            lease_seconds=LEASE_SECONDS,
            outage_patience_seconds=PATIENCE_SECONDS,
        )
        self._event_log = self._line.guard(servers.base.event_log)
        self._claimer = Claimer(
            self._event_log,
            self._line.guard(servers.base.signals),
            servers.clock,
            settings,
            instance_id=name,
        )
        self._saved = 0
        self._subscription: MemorySubscription | None = None
        self._task = asyncio.ensure_future(self._work())

    @property
    def is_busy(self) -> bool:
        """Whether it is at an operation."""
        return self._subscription is not None

    def sleep(self, seconds: float) -> None:
        """Freeze for a while, hearing nothing, and then come back late."""
        self._line.asleep_until = self._servers.network.seconds() + seconds
        if (subscription := self._subscription) is not None:
            asyncio.ensure_future(self._deaf(subscription, seconds))  # noqa: RUF006 - ends by itself

    def cut_off(self, seconds: float) -> None:
        """Go on without the bus for a while, and then come back with what was done meanwhile."""
        self._line.cut_until = self._servers.network.seconds() + seconds
        if (subscription := self._subscription) is not None:
            asyncio.ensure_future(self._deaf(subscription, seconds))  # noqa: RUF006 - ends by itself

    async def kill(self) -> None:
        """Die at once."""
        self._line.dead = True
        await self._hang_up()
        self._task.cancel()
        with suppress(Killed, asyncio.CancelledError):
            await self._task

    def check(self) -> None:
        """Raise what its work ended with, if it ended."""
        if self._task.done():
            self._task.result()

    async def _deaf(self, subscription: MemorySubscription, seconds: float) -> None:
        await subscription.close()
        await asyncio.sleep(seconds)
        hears = subscription in subscription.listeners  # it was deaf twice
        if self._subscription is subscription and not self._line.dead and not hears:
            subscription.listeners.append(subscription)

    async def _hang_up(self) -> None:
        if self._subscription is not None:
            await self._subscription.close()
            self._subscription = None

    async def _work(self) -> None:
        queue = self._line.guard(self._servers.base.work_queue)
        while not self.shuts_down:
            await self._line.live()
            try:
                if self._held():
                    await asyncio.sleep(FETCH_SECONDS)
                    continue
                item = await queue.fetch("counter", timeout_seconds=FETCH_SECONDS)
                if item is None:
                    continue
                claimed = await self._claimer.claim(self._line.guard(item))
                if claimed is not None:
                    await self._attempt(claimed)
            except RuntimeServiceError:
                await asyncio.sleep(FETCH_SECONDS)
            except FencedError:
                self._servers.seen[Seen.FENCED] += 1
            finally:
                await self._hang_up()

    def _held(self) -> bool:
        policy = self._servers.base.gate.policy
        return policy is not None and policy.hold_on("counter") is not None

    async def _attempt(self, claimed: ClaimedOperation) -> None:
        owner = Owner(self.name, claimed.attempt)
        self._subscription = await self._servers.base.signals.serve(owner, claimed.operation_id, _nothing)
        run = self._restored(claimed)
        await claimed.run_log.append(
            Started(
                attempt=claimed.attempt,
                unit=run.unit,
                total_units=run.total_units,
                unit_name="step",
                checkpoint_id=run.checkpoint_id,
            )
        )
        run.handled_sequence = claimed.view.manual_sequence
        while not await self._over(run):
            await self._line.live()
            await asyncio.sleep(UNIT_SECONDS)
            run.unit += 1
            run.state = next_state(run.state, run.unit, run.seconds)
            with suppress(BusUnavailableError):  # the lease goes on or runs out
                await claimed.item.renew()
            await self._report(run)

    def _restored(self, claimed: ClaimedOperation) -> _Run:
        request = claimed.request
        run = _Run(claimed, 0, "", int(request.spec["units"]), float(request.spec["seconds"]))
        for candidate in claimed.view.candidates:
            path = self._directory / f"{self.name}-restored.json"
            try:
                self._servers.base.store.get_file(candidate.artifacts[0], path)
            except RuntimeServiceError:
                continue  # an older one, then
            saved = json.loads(path.read_bytes())
            run.unit, run.state, run.checkpoint_id = saved["unit"], saved["state"], candidate.checkpoint_id
            break
        return run

    async def _over(self, run: _Run) -> bool:
        """End the attempt when it is time to; say whether it has ended."""
        claimed = run.claimed
        entries = await patiently(
            lambda: self._event_log.read_operation(claimed.operation_id, without=(Progress,)),
            what="read operation",
            clock=self._servers.clock,
            patience_seconds=PATIENCE_SECONDS,
        )
        cancel = fold(entries).cancel
        attempt, unit = claimed.attempt, run.unit
        if cancel is not None and (cancel.at_unit is None or unit >= cancel.at_unit):
            checkpoint_id = await self._save(run, CheckpointReason.CANCELLATION)
            await claimed.run_log.append(
                Cancelled(attempt=attempt, unit=unit, checkpoint_id=checkpoint_id, reason=cancel.reason)
            )
        elif unit >= run.total_units:
            with self._servers.upload():
                artifact = self._put(content(unit, run.state), "result.json")
                await claimed.run_log.append(
                    Completed(attempt=attempt, unit=unit, artifacts=(artifact,), summary={})
                )
        elif self.fails_next:
            self.fails_next = False
            checkpoint_id = await self._save(run, CheckpointReason.FAILURE)
            failure = Failure(code=FailureCode.ERROR, message="it stumbled")
            await claimed.run_log.append(
                Failed(attempt=attempt, unit=unit, failure=failure, checkpoint_id=checkpoint_id)
            )
        elif self.shuts_down:
            checkpoint_id = await self._save(run, CheckpointReason.SHUTDOWN)
            await claimed.run_log.append(
                Released(attempt=attempt, unit=unit, checkpoint_id=checkpoint_id, reason="it shuts down")
            )
            await claimed.item.give_back()
            return True
        else:
            asked = [e.sequence for e in entries if isinstance(e.event, CheckpointRequested)]
            if asked and asked[-1] > run.handled_sequence:
                run.handled_sequence = asked[-1]
                await self._save(run, CheckpointReason.MANUAL)
            return False
        await claimed.item.done()
        return True

    async def _report(self, run: _Run) -> None:
        await run.claimed.run_log.append(
            Progress(attempt=run.claimed.attempt, unit=run.unit, total_units=run.total_units)
        )
        if self._servers.network.random.random() < 0.3:
            await self._save(run, CheckpointReason.PERIODIC)

    async def _save(self, run: _Run, reason: CheckpointReason) -> str | None:
        if run.unit == 0:
            return None
        self._saved += 1
        checkpoint_id = f"cp-{self.name}-{self._saved}"
        with self._servers.upload():
            artifact = self._put(content(run.unit, run.state), "state.json")
            await run.claimed.run_log.append(
                StateSnapshot(
                    attempt=run.claimed.attempt,
                    checkpoint_id=checkpoint_id,
                    unit=run.unit,
                    total_units=run.total_units,
                    reason=reason,
                    artifacts=(artifact,),
                    fingerprint={"counter": "1"},
                )
            )
        return checkpoint_id

    def _put(self, data: bytes, name: str) -> ArtifactReference:
        path = Path(self._directory) / f"{self.name}-{name}"
        path.write_bytes(data)
        return self._servers.base.store.put_file(path, name=name, media_type="application/json")


async def _nothing() -> None:
    """The simulated worker looks after each unit anyway."""
