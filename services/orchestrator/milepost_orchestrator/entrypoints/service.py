"""The running orchestrator: all its loops, the bus and HTTP, until it is told to stop.

States: connected -> schema migrated (waited for while Postgres is away) -> serving -> stopping -> stopped.
Authority: ``stop`` ends it cleanly. Failures: a loop that dies takes the whole process down with a clear log, for
a supervisor to start it anew; half an orchestrator would answer commands that nobody carries out.
"""

import asyncio
import socket
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager

import structlog
import uvicorn
from milepost_runtime.bus.topology import ensure_topology
from milepost_runtime.clock import SystemClock

from milepost_orchestrator.adapters.database import migrate
from milepost_orchestrator.application.errors import DatabaseUnavailableError
from milepost_orchestrator.bootstrap import Orchestrator
from milepost_orchestrator.entrypoints.bus import create_broker, subscribe
from milepost_orchestrator.entrypoints.consumer_guard import guard_consumer
from milepost_orchestrator.entrypoints.http.application import create_app
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http_settings import HttpSettings

log = structlog.get_logger()
HTTP_STOP_SECONDS = 5
BUS_STOP_SECONDS = 5.0
MIGRATE_PAUSE_SECONDS = 1.0


class _Stop(Exception):  # noqa: N818 - not an error: the way out of a task group
    """Someone asked to stop."""


class HttpServer(uvicorn.Server):
    """Uvicorn without its own signal handling: the process has one place for that."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals alone."""
        yield


class Service:
    """One orchestrator process; ``run`` until ``stop``."""

    def __init__(self, orchestrator: Orchestrator, http: HttpSettings) -> None:
        self._orchestrator = orchestrator
        self._http = http
        self._stopping = asyncio.Event()
        self.http_port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The port, once it is open."""

    def stop(self) -> None:
        """End ``run``, cleanly."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until ``stop``; raise when a loop has died.

        The bus is served as soon as it answers; what needs the database begins when that is there.
        """
        parts = self._orchestrator
        async with AsyncExitStack() as resources:
            listener = resources.enter_context(listening(self._http))
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(parts.reactor.run(), name="reactor")
                    tasks.create_task(parts.sightings.run(), name="sightings")
                    tasks.create_task(parts.registrar.run(), name="registrar")
                    tasks.create_task(parts.alarms.run(parts.effects.enforce_deadline), name="alarms")
                    tasks.create_task(parts.timers.run(parts.timekeeper.ring), name="timers")
                    tasks.create_task(parts.timekeeper.keep(), name="timekeeper")
                    tasks.create_task(parts.dispatching.keep(), name="dispatching")
                    tasks.create_task(self._project(), name="projector")
                    tasks.create_task(self._serve_bus(), name="bus")
                    tasks.create_task(self._serve_http(listener), name="http")
                    tasks.create_task(self._watch_for_stop(), name="stop")
            except* _Stop:
                log.info("stopped")

    async def _watch_for_stop(self) -> None:
        await self._stopping.wait()
        raise _Stop

    async def _project(self) -> None:
        parts = self._orchestrator
        while True:
            try:
                await migrate(parts.engine, parts.settings.database)
                break
            except DatabaseUnavailableError as error:
                log.warning("waiting for the database", reason=str(error))
            await asyncio.sleep(MIGRATE_PAUSE_SECONDS)  # an outage has no event to await
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(parts.projector.run(), name="projector")
            tasks.create_task(parts.sweeper.run(), name="sweeper")
            tasks.create_task(parts.parking.run(), name="parking")
            tasks.create_task(parts.janitor.run(), name="janitor")

    async def _serve_bus(self) -> None:
        parts, settings = self._orchestrator, self._orchestrator.settings.bus
        await ensure_topology(parts.connection, settings)
        broker = create_broker(settings)
        subscribe(broker, settings, parts.entrance, parts.verdicts)
        starting = asyncio.ensure_future(broker.start())
        try:
            # Shielded: nats-py swallows a cancellation while it connects, and we would serve for ever.
            await asyncio.shield(starting)
            log.info("bus served", url=settings.shown_url, prefix=settings.prefix)
            await guard_consumer(broker, settings)
        finally:
            await asyncio.wait({starting}, timeout=BUS_STOP_SECONDS)
            starting.cancel()
            await broker.stop()

    async def _serve_http(self, listener: socket.socket) -> None:
        parts = self._orchestrator
        server = HttpServer(
            uvicorn.Config(
                create_app(http_ports(parts), self._http.access()),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=HTTP_STOP_SECONDS,
                server_header=False,
            )
        )
        port = listener.getsockname()[1]
        log.info("http served", host=self._http.host, port=port)
        self.http_port.set_result(port)
        if self._http.port_file is not None:
            self._http.port_file.write_text(f"{port}\n", encoding="utf-8")
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            parts.live.close()  # or uvicorn waits for its open streams, until it gives them up
            server.should_exit = True
            await serving
            raise
        raise RuntimeError("the HTTP server ended by itself")


def http_ports(parts: Orchestrator) -> HttpPorts:
    """Return what the HTTP entrance works with, of a composed orchestrator."""
    return HttpPorts(
        handler=parts.handler,
        queries=parts.queries,
        history=parts.history,
        readiness=parts.readiness,
        projector=parts.projector,
        live=parts.live,
        fleet=parts.fleet,
        dispatching=parts.dispatching,
        schedules=parts.schedules,
        clock=SystemClock(),
        curves=parts.curves,
        sparklines=parts.sparklines,
        store=parts.store,
        storage=parts.storage,
        orphans=parts.orphans,
        system=parts.system,
    )


@contextmanager
def listening(http: HttpSettings) -> Generator[socket.socket]:
    """Open the port before anything else runs, so that a taken one is known at once."""
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    # Named as TCP: asyncio turns Nagle's algorithm off only where it is, and with it each answer takes 40 ms more.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((http.host, http.port))
        listener.listen(128)
        listener.setblocking(False)
        yield listener
