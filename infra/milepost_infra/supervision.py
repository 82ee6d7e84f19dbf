"""Runs a whole stack: servers, orchestrator, workers.

States: starting (servers, then orchestrator, then workers) -> ready (``stack.json`` is there) -> stopping
(workers, so that they save what they have, then orchestrator, then servers) -> gone. Authority: one supervisor
for each directory, by lock; it alone starts and ends the processes in it. Failures: whatever dies while it is
running is started again; what does not come up at the start ends the whole start with the last log lines;
when the supervisor itself is killed, its guard ends everything with it.
"""

import asyncio
import http.client
import logging
import os
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress

from milepost_runtime.bus.connection import connect
from milepost_runtime.bus.fleet import NatsFleet
from milepost_runtime.clock import SystemClock
from milepost_runtime.errors import BusUnavailableError

from milepost_infra.directory_lock import DirectoryLock
from milepost_infra.embedded.child_process import Launch
from milepost_infra.embedded.guard import Guard, guard_for_this_thread
from milepost_infra.embedded.ports import HOST, free_ports, is_free
from milepost_infra.embedded.server import ServerName
from milepost_infra.embedded.stack import EmbeddedStack
from milepost_infra.errors import ServerStartError, SupervisorError
from milepost_infra.processes import mark_process
from milepost_infra.running import FILE_NAME, RunningStack
from milepost_infra.supervised import SupervisedService, backoff_seconds
from milepost_infra.supervisor_settings import SupervisorSettings, orchestrator_launch, worker_launches

READY_SECONDS_MAX = 90.0
READY_PROBE_SECONDS = 0.1
READY_DEATHS_MAX = 3
HTTP_SECONDS_MAX = 2.0
WORKER_STOP_SECONDS_MAX = 60.0
ORCHESTRATOR_STOP_SECONDS_MAX = 20.0
log = logging.getLogger(__name__)


class Supervision:
    """One run of a stack, from ``start`` to ``stop``."""

    def __init__(self, settings: SupervisorSettings) -> None:
        self._settings = settings
        self._directory = settings.directory.absolute()
        self._clock = SystemClock()
        self._stack = EmbeddedStack(self._directory, external=settings.external)
        self._guard = Guard(guard_for_this_thread())
        self._services: list[SupervisedService] = []
        self._http_url = ""
        self._ready = False
        self._exits = AsyncExitStack()

    async def start(self) -> RunningStack:
        """Start everything and wait until it is ready; what was started is stopped when something fails.

        Raises:
            StackInUseError: a stack runs in the directory already.
            ServerStartError, SupervisorError: something did not start; holds its last log lines.
        """
        try:
            return await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop everything in order; harmless when it is stopped."""
        await self._exits.aclose()

    async def _start(self) -> RunningStack:
        """Start everything in order; each step registers its end, and the ends run last in, first out."""
        lock = DirectoryLock(self._directory / "supervisor.lock")
        lock.take()
        self._exits.callback(lock.release)
        self._exits.callback(self._guard.close)
        self._exits.push_async_callback(self._stack.stop)
        await self._stack.start()
        keepers = [asyncio.create_task(self._keep_server(name)) for name in self._stack.embedded_servers]
        self._exits.push_async_callback(_cancel, keepers)
        await self._start_orchestrator()
        await self._start_workers()
        self._exits.callback(self._withdraw)
        self._ready = True
        return self._publish()

    async def _start_orchestrator(self) -> None:
        port = self._http_port()
        self._http_url = f"http://{HOST}:{port}"
        launch = orchestrator_launch(self._settings, self._stack.endpoints("orchestrator"), port)
        services = await self._start_services([launch], ORCHESTRATOR_STOP_SECONDS_MAX)
        await _until_ready(services, self._orchestrator_is_ready)

    async def _start_workers(self) -> None:
        shared_bus = "nats" not in self._stack.embedded_servers
        launches = worker_launches(self._settings, self._stack.endpoints("worker"), shared_bus=shared_bus)
        services = await self._start_services(launches, WORKER_STOP_SECONDS_MAX)
        if services:
            await _until_ready(services, self._workers_are_ready)

    async def _start_services(
        self, launches: Sequence[Launch], stop_seconds_max: float
    ) -> list[SupervisedService]:
        """Start services that are later stopped together, each within its time."""
        services = [
            SupervisedService(
                launch, self._guard, self._clock, stop_seconds_max=stop_seconds_max, on_change=self._publish
            )
            for launch in launches
        ]
        self._services += services
        self._exits.push_async_callback(_stop_together, services)
        for service in services:
            await service.start()
        return services

    async def _keep_server(self, name: ServerName) -> None:
        """Bring a server back whenever it dies, until cancelled."""
        deaths = 0
        while True:
            code = await self._stack.wait_server_ended(name)
            deaths += 1
            delay_seconds = backoff_seconds(deaths)
            log.warning("%s ended with code %s; starts again in %.1f s", name, code, delay_seconds)
            await asyncio.sleep(delay_seconds)
            try:
                await self._stack.restart(name)
            except ServerStartError:
                log.exception("%s did not come back", name)
            else:
                deaths = 0
                self._publish()

    async def _orchestrator_is_ready(self) -> bool:
        return await asyncio.to_thread(_answers, f"{self._http_url}/readyz")

    async def _workers_are_ready(self) -> bool:
        """Say whether every worker has joined the fleet."""
        bus = self._stack.endpoints().bus
        expected = {service.name for service in self._services} - {"orchestrator"}
        connection = await connect(bus, name="supervisor")
        try:
            found = await NatsFleet(connection, bus).workers()
        except BusUnavailableError:
            return False
        finally:
            await connection.close()
        return expected <= {worker.worker_id for worker in found}

    def _http_port(self) -> int:
        """Return the given port, else the last one if it is free, else a free one."""
        if self._settings.http_port is not None:
            return self._settings.http_port
        path = self._directory / "http-port"
        last = int(path.read_text(encoding="utf-8")) if path.exists() else 0
        port = last if last and is_free(last) else free_ports(1)[0]
        path.write_text(f"{port}\n", encoding="utf-8")
        return port

    def _publish(self) -> RunningStack:
        """Write ``stack.json`` once everything is ready, and again when a pid changes."""
        services = {service.name: service.pid for service in self._services}
        running = RunningStack(
            directory=self._directory,
            endpoints=self._stack.endpoints(),
            http_url=self._http_url,
            supervisor=mark_process(os.getpid()),
            processes=self._stack.pids() | {name: pid for name, pid in services.items() if pid is not None},
        )
        if self._ready:
            running.save()
        return running

    def _withdraw(self) -> None:
        """Nobody shall start using a stack that is about to stop."""
        self._ready = False
        (self._directory / FILE_NAME).unlink(missing_ok=True)


async def _until_ready(services: Sequence[SupervisedService], probe: Callable[[], Awaitable[bool]]) -> None:
    """Wait until ``probe`` says yes.

    Raises:
        SupervisorError: a service keeps dying, or the time is over; holds its last log lines.
    """
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            while not await probe():
                for service in services:
                    if service.deaths >= READY_DEATHS_MAX:
                        raise SupervisorError(f"{service.name} keeps ending:\n{service.last_log_lines()}")
                await asyncio.sleep(READY_PROBE_SECONDS)
    except TimeoutError as error:
        logs = "\n".join(f"{service.name}:\n{service.last_log_lines()}" for service in services)
        raise SupervisorError(f"not ready within {READY_SECONDS_MAX:g} s; {logs}") from error


async def _stop_together(services: Sequence[SupervisedService]) -> None:
    async with asyncio.TaskGroup() as group:
        for service in services:
            group.create_task(service.stop())


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task


def _answers(url: str) -> bool:
    """Say whether the URL answers 200. Blocking; never through a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=HTTP_SECONDS_MAX) as answer:
            return answer.status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
