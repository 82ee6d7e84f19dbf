"""The worker host: fetches work, claims it, and sees each attempt through.

States of the host: first child warms up -> its kind is announced -> in the fleet -> stopping -> left; in the fleet
it may be drained for a while, and then takes nothing new. Of a slot: warm child waiting -> work fetched -> claimed
-> computing -> warm child waiting. Authority: the host owns leases,
uploads and every word in the log; children only compute, and they alone import what computing needs. Failures:
a child that dies costs its attempt; a host that dies costs a lease; a host that is told to stop releases what it
runs.
"""

import asyncio
import os
import socket
from collections.abc import Coroutine
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeVar

import structlog
from milepost_contracts.fleet import WorkerHeartbeat
from milepost_contracts.kinds import KindDescription

from milepost_runtime.clock import random_id
from milepost_runtime.drains import Drains
from milepost_runtime.errors import BusUnavailableError
from milepost_runtime.fleet import Fleet, KindCatalogue
from milepost_runtime.work_queue import WorkItem, WorkQueue
from milepost_runtime.worker.attempt import Attempt
from milepost_runtime.worker.child_process import ChildPool, ChildProcess
from milepost_runtime.worker.claims import ClaimedOperation, Claimer
from milepost_runtime.worker.drain_watch import DrainWatch
from milepost_runtime.worker.kind import WorkerKind, preload_of
from milepost_runtime.worker.letting_go import let_go
from milepost_runtime.worker.ports import AttemptPorts
from milepost_runtime.worker.preparation import OperationDirectories

log = structlog.get_logger()
FETCH_SECONDS = 10.0
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class HostPorts:
    """What the host itself works with, beside what its attempts need."""

    work_queue: WorkQueue
    fleet: Fleet
    catalogue: KindCatalogue
    drains: Drains


class WorkerHost:
    """One worker of one kind; ``run`` until ``stop``."""

    def __init__(self, kind: WorkerKind, ports: HostPorts, attempt_ports: AttemptPorts) -> None:
        self._kind = kind
        self._ports = ports
        self._attempt_ports = attempt_ports
        self._settings = attempt_ports.settings
        self._claimer = Claimer(
            attempt_ports.event_log,
            attempt_ports.signals,
            attempt_ports.clock,
            attempt_ports.settings,
            instance_id=random_id("host"),
        )
        self._pool = ChildPool(
            kind.name, start_grace_seconds=self._settings.start_grace_seconds, preload=preload_of(kind)
        )
        self._stopping = asyncio.Event()
        self._watch = DrainWatch(ports.drains, attempt_ports.settings.worker_id)
        self._announced: KindDescription | None = None
        self._attempts: dict[str, Attempt] = {}
        self._started_at = attempt_ports.clock.now()

    async def run(self) -> None:
        """Announce the kind once a child can compute it, work until ``stop``, leave the fleet.

        Raises:
            ChildStartError: the kind cannot be loaded in a child; its last words are in the message.
            BusUnavailableError: the kind could not be announced.
        """
        try:
            first = await self._unless_stopping(self._first_child())
            await self._look()
            async with asyncio.TaskGroup() as tasks:
                heart = tasks.create_task(self._beat())
                children = [first, *(None for _ in range(self._settings.slots - 1))]
                slots = [tasks.create_task(self._serve_slot(child)) for child in children]
                await asyncio.wait(slots)
                heart.cancel()
        finally:
            await self._pool.close()
        await self._ports.fleet.leave(self._settings.worker_id)

    async def stop(self) -> None:
        """Fetch nothing more; release what runs, each with a checkpoint."""
        self._stopping.set()
        for attempt in list(self._attempts.values()):
            await attempt.shut_down()

    async def _first_child(self) -> ChildProcess:
        """Only a child knows the kind: describing it needs the imports that the host must not make."""
        child = await self._pool.take()
        try:
            await self._announce(child.kind)
        except BusUnavailableError:
            await child.kill()
            raise
        return child

    async def _announce(self, kind: KindDescription) -> None:
        """Say what specs must look like, when it is not what was said last: a team may have installed more."""
        if kind != self._announced:
            await self._ports.catalogue.announce(kind)
            self._announced = kind

    async def _serve_slot(self, child: ChildProcess | None) -> None:
        while not self._stopping.is_set():
            if self._watch.drain is not None:
                await self._unless_stopping(self._watch.takes())
                continue
            if child is not None and not child.alive:  # it died while it waited
                await child.close()
                child = None
            if child is None:
                child = await self._unless_stopping(self._pool.take())
                if child is None:
                    return
                await self._announce_again(child.kind)
            item = await self._fetch()
            if item is None:
                continue
            await self._look()
            if self._watch.drain is not None:
                await let_go(item.give_back(), item.key.operation_id)
                continue
            claimed = await self._claimer.claim(item)
            if claimed is not None:
                self._pool.warm()
                await self._compute(claimed, child)
                child = None
        if child is not None:
            await child.kill()

    async def _announce_again(self, kind: KindDescription) -> None:
        try:
            await self._announce(kind)
        except BusUnavailableError as error:  # the next child's turn
            log.warning("bus away", reason=str(error))

    async def _compute(self, claimed: ClaimedOperation, child: ChildProcess) -> None:
        operation_id = claimed.operation_id
        directories = OperationDirectories(self._settings.directory / "operations" / operation_id)
        attempt = Attempt(claimed, child, self._attempt_ports, directories)
        self._attempts[operation_id] = attempt
        try:
            if self._stopping.is_set() or self._watch.releases:
                await attempt.shut_down(self._watch.words)
            await self._beat_once()
            await attempt.run()
        finally:
            del self._attempts[operation_id]
        await self._beat_once()

    async def _fetch(self) -> WorkItem | None:
        """Return one piece of work; None when there is none, or when the host is to stop or to take none."""
        try:
            return await self._unless_stopping(
                self._ports.work_queue.fetch(self._kind.name, timeout_seconds=FETCH_SECONDS),
                self._watch.drained(),
            )
        except BusUnavailableError as error:
            log.warning("bus away", reason=str(error))
            return None

    async def _unless_stopping(
        self, work: Coroutine[Any, Any, ResultT], *others: Coroutine[Any, Any, object]
    ) -> ResultT | None:
        """Return what the work returns; None when the host is to stop before that: imports may take long.

        Or when one of the others ends before that.
        """
        working = asyncio.create_task(work)
        ending = {asyncio.create_task(each) for each in (self._stopping.wait(), *others)}
        await asyncio.wait({working, *ending}, return_when=asyncio.FIRST_COMPLETED)
        for each in ending:
            each.cancel()
        if not working.done():
            working.cancel()
        try:
            return await working
        except asyncio.CancelledError:
            return None

    # --- heartbeat --------------------------------------------------------------------------------

    async def _look(self) -> None:
        """See whether the worker is drained, and give back what it runs if that is wanted."""
        if await self._watch.look() and self._watch.releases:
            for attempt in list(self._attempts.values()):
                await attempt.shut_down(self._watch.words)

    async def _beat(self) -> None:
        while True:
            await self._look()
            await self._beat_once()
            await asyncio.sleep(self._settings.heartbeat_seconds)

    async def _beat_once(self) -> None:
        try:
            await self._ports.fleet.beat(
                WorkerHeartbeat(
                    worker_id=self._settings.worker_id,
                    kind=self._kind.name,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    slots=self._settings.slots,
                    device="cpu",
                    version=version("milepost-runtime"),
                    operations=tuple(sorted(self._attempts)),
                    started_at=self._started_at,
                    seen_at=self._attempt_ports.clock.now(),
                    capabilities=self._settings.capabilities,
                    drain=self._watch.drain,
                )
            )
        except BusUnavailableError as error:
            log.warning("bus away", reason=str(error))
