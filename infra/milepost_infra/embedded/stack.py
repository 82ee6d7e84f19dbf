"""The embedded stack: NATS, Postgres and an S3 server in one directory, as children of this process.

States: stopped -> starting -> running -> stopped. Authority: whoever holds the lock on ``lock`` owns the
directory and everything that runs in it; there is one owner at a time. Failures: when the owner dies, its
guard ends the servers, and what is left over is ended by the next owner before it starts its own; when a
server does not start, those that did are stopped again. Ports stay the same from start to start as long as
nobody else has taken them, so clients reconnect.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType

from milepost_infra.directory_lock import DirectoryLock
from milepost_infra.embedded.credentials import Credentials, load_or_make_credentials
from milepost_infra.embedded.guard import Guard, GuardName, guard_for_this_thread
from milepost_infra.embedded.nats import NatsServer
from milepost_infra.embedded.nats_users import NatsUser
from milepost_infra.embedded.ports import free_ports, is_free
from milepost_infra.embedded.postgres import PostgresServer
from milepost_infra.embedded.seaweed import PORT_OPTIONS, SeaweedServer
from milepost_infra.embedded.server import EmbeddedServer, ServerName
from milepost_infra.endpoints import StackEndpoints
from milepost_infra.errors import ServerStartError, StackError
from milepost_infra.private_files import write_private
from milepost_infra.processes import ProcessMark, end_processes

DATABASE = "milepost"
EXTERNAL_VARIABLES: dict[ServerName, str] = {
    "nats": "MILEPOST_NATS_URL",
    "postgres": "MILEPOST_DATABASE_URL",
    "s3": "MILEPOST_S3_ENDPOINT",
}
"""The variable that names an external server; the embedded one is not started then."""
STOP_ORDER: tuple[ServerName, ...] = ("s3", "nats", "postgres")
STARTS_MAX = 3
LEFTOVER_GRACE_SECONDS = 10.0


class EmbeddedStack:
    """Real servers with data, credentials and logs in ``directory``. Use it in one event loop.

    ``async with EmbeddedStack(directory) as endpoints: ...`` or ``start`` and ``stop``. ``external`` holds
    settings as in the environment: a server whose address it names is used and not started.
    """

    def __init__(
        self,
        directory: Path,
        *,
        prefix: str = "milepost",
        external: Mapping[str, str] | None = None,
        guard: GuardName | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self._external = dict(external or {})
        self._prefix = self._external.get("MILEPOST_PREFIX") or prefix
        self._bucket = self._external.get("MILEPOST_S3_BUCKET") or "milepost"
        self._embedded: tuple[ServerName, ...] = tuple(
            name for name in STOP_ORDER if not self._external.get(EXTERNAL_VARIABLES[name])
        )
        self._guard_name: GuardName | None = guard
        self._guard: Guard | None = None
        self._lock = DirectoryLock(self.directory / "lock")
        self._servers: dict[ServerName, EmbeddedServer] = {}

    @property
    def embedded_servers(self) -> tuple[ServerName, ...]:
        """The servers that this stack starts itself, in the order in which it stops them."""
        return self._embedded

    async def __aenter__(self) -> StackEndpoints:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> StackEndpoints:
        """Start the servers, all at once, and wait until all are ready.

        Raises:
            StackInUseError: another stack runs in the directory, or this one runs already.
            ServerStartError: a server did not start; holds its last log lines.
            UnreachableDirectoryError: Postgres' user cannot reach its files; says what to do.
            SettingsError: the settings of an external server are incomplete.
        """
        self._lock.take()
        try:
            (self.directory / "logs").mkdir(mode=0o700, exist_ok=True)
            await self._end_leftovers()
            await self._start_servers()
            return self.endpoints()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the servers in order (S3, NATS, Postgres) and let go of the directory; harmless when stopped."""
        try:
            async with AsyncExitStack() as stops:  # last in, first out; one that fails stops no other
                for server in reversed(self._servers.values()):
                    stops.push_async_callback(server.stop)
            if self._servers:
                (self.directory / "servers.json").unlink(missing_ok=True)
        finally:
            if self._guard is not None:
                await asyncio.to_thread(self._guard.close)
            self._guard = None
            self._servers = {}
            self._lock.release()

    async def kill(self, server: ServerName) -> None:
        """Kill one server as ``kill -9`` does and wait until it is gone. For fault tests."""
        await self._server(server).kill()

    async def restart(self, server: ServerName) -> None:
        """Stop a server if it runs, and start it on the same port with the same data."""
        await self._server(server).stop()
        await self._server(server).start()
        self._note_pids()

    async def wait_server_ended(self, server: ServerName) -> int:
        """Wait until a server's process has ended, by whomever; return its exit code."""
        child = self._server(server).child
        if child is None:
            raise StackError(f"{server} was not started")
        return await child.wait_ended()

    def endpoints(self, user: NatsUser = "milepost") -> StackEndpoints:
        """Return where the servers are, with the bus credentials of ``user`` where the bus is ours."""
        values = {**self._external, "MILEPOST_PREFIX": self._prefix, "MILEPOST_S3_BUCKET": self._bucket}
        for server in self._servers.values():
            values |= server.settings(user)
        return StackEndpoints.from_environment(values)

    def pids(self) -> dict[str, int]:
        """Return the pid of each running server, and of the watchdog where there is one."""
        found: dict[str, int] = {
            name: server.child.pid
            for name, server in self._servers.items()
            if server.child is not None and server.child.exit_code is None
        }
        watchdog = self._guard.watchdog_pid if self._guard is not None else None
        return found if watchdog is None else {**found, "watchdog": watchdog}

    async def _end_leftovers(self) -> None:
        """End servers of an owner that was killed; we hold its lock, so nobody else wants them."""
        path = self.directory / "servers.json"
        if path.exists():
            marks = [ProcessMark(**mark) for mark in json.loads(path.read_text(encoding="utf-8"))]
            await asyncio.to_thread(end_processes, marks, grace_seconds=LEFTOVER_GRACE_SECONDS)

    async def _start_servers(self) -> None:
        """Start all; when somebody took a port between our look and the server's, look again."""
        self._guard = Guard(self._guard_name or guard_for_this_thread())
        credentials = load_or_make_credentials(self.directory / "credentials.json")
        for start in range(1, STARTS_MAX + 1):
            self._servers = self._make_servers(self._choose_ports(), credentials, self._guard)
            try:
                await self._start_together()
            except* ServerStartError as group:
                error = _first(group)
                for server in self._servers.values():
                    await server.stop()
                if start == STARTS_MAX or "address already in use" not in str(error).lower():
                    raise error from None
            else:
                return

    async def _start_together(self) -> None:
        async with asyncio.TaskGroup() as group:
            for server in self._servers.values():
                group.create_task(_start_and_furnish(server))
        self._note_pids()

    def _make_servers(
        self, ports: Mapping[str, int], credentials: Credentials, guard: Guard
    ) -> dict[ServerName, EmbeddedServer]:
        servers: dict[ServerName, EmbeddedServer] = {}
        for name in self._embedded:
            place, log = self.directory / name, self.directory / "logs" / f"{name}.log"
            match name:
                case "nats":
                    servers[name] = NatsServer(
                        place, log, guard, port=ports[name], credentials=credentials, prefix=self._prefix
                    )
                case "postgres":
                    servers[name] = PostgresServer(
                        place, log, guard, port=ports[name], credentials=credentials, database=DATABASE
                    )
                case "s3":
                    own = {option: ports[option] for option in PORT_OPTIONS}
                    servers[name] = SeaweedServer(
                        place, log, guard, ports=own, credentials=credentials, bucket=self._bucket
                    )
        return servers

    def _choose_ports(self) -> dict[str, int]:
        """Return the ports of the last start, with new ones for those that are taken now."""
        path = self.directory / "ports.json"
        last: dict[str, int] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        names = ("nats", "postgres", *PORT_OPTIONS)
        chosen = {name: last[name] for name in names if name in last and is_free(last[name])}
        missing = [name for name in names if name not in chosen]
        chosen |= dict(zip(missing, free_ports(len(missing), taken=chosen.values()), strict=True))
        if chosen != last:
            write_private(path, json.dumps(chosen, indent=2) + "\n")
        return chosen

    def _note_pids(self) -> None:
        """Leave word of what runs, for the next owner should we be killed."""
        marks = [
            {"pid": server.child.mark.pid, "start": server.child.mark.start}
            for server in self._servers.values()
            if server.child is not None
        ]
        write_private(self.directory / "servers.json", json.dumps(marks) + "\n")

    def _server(self, name: ServerName) -> EmbeddedServer:
        server = self._servers.get(name)
        if server is None:
            raise StackError(f"{name} does not run here; start the stack first, or it is an external server")
        return server


async def _start_and_furnish(server: EmbeddedServer) -> None:
    await server.start()
    await server.furnish()


def _first(group: BaseExceptionGroup[ServerStartError]) -> ServerStartError:
    """Return one error of a group; the others are its consequences or its equals."""
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise StackError("a server did not start")
