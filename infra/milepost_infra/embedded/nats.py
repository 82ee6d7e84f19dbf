"""The bus: nats-server with JetStream on a port of this machine only."""

import shutil
import sysconfig
from pathlib import Path

import nats
import nats.errors
from nats.js import errors as jetstream_errors

from milepost_infra.embedded.child_process import Launch
from milepost_infra.embedded.credentials import Credentials
from milepost_infra.embedded.guard import Guard
from milepost_infra.embedded.nats_users import NatsUser, authorization
from milepost_infra.embedded.ports import HOST, accepts
from milepost_infra.embedded.server import EmbeddedServer, ServerName
from milepost_infra.errors import ServerStartError
from milepost_infra.private_files import write_private

PROBE_SECONDS_MAX = 2


class NatsServer(EmbeddedServer):
    """nats-server; the configuration with the passwords is a file of mode 0600."""

    name: ServerName = "nats"

    def __init__(
        self, directory: Path, log: Path, guard: Guard, *, port: int, credentials: Credentials, prefix: str
    ) -> None:
        super().__init__(directory, log, guard)
        self.port = port
        self._credentials = credentials
        self._prefix = prefix

    def url(self, user: NatsUser = "milepost") -> str:
        """Return the address for one of the users, with its password."""
        passwords: dict[NatsUser, str] = {
            "milepost": self._credentials.nats_milepost,
            "orchestrator": self._credentials.nats_orchestrator,
            "worker": self._credentials.nats_worker,
            "client": self._credentials.nats_client,
        }
        return f"nats://{user}:{passwords[user]}@{HOST}:{self.port}"

    def settings(self, user: NatsUser) -> dict[str, str]:
        """Return the address."""
        return {"MILEPOST_NATS_URL": self.url(user)}

    async def furnish(self) -> None:
        """Nothing: the orchestrator makes the JetStream streams."""

    async def prepare(self) -> None:
        """Write the configuration."""
        data = self.directory / "data"
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(
            self.directory / "nats.conf",
            f'listen: "{HOST}:{self.port}"\n'
            'server_name: "milepost"\n'
            f'jetstream {{ store_dir: "{data}" }}\n' + authorization(self._prefix, self._credentials),
        )

    def launch(self) -> Launch:
        """Return the command line; it holds no secret."""
        return Launch(
            name=self.name,
            command=[program("nats-server"), "-c", str(self.directory / "nats.conf")],
            directory=self.directory,
            log=self.log,
        )

    async def probe(self) -> bool:
        """Say whether JetStream answers."""
        if not await accepts(self.port):
            return False  # nats-py would wait for two seconds before it says so
        last_error: list[Exception] = []

        async def note(error: Exception) -> None:
            last_error[:] = [error]

        try:
            client = await nats.connect(
                self.url(), allow_reconnect=False, connect_timeout=PROBE_SECONDS_MAX, error_cb=note
            )
        except (OSError, nats.errors.Error, TimeoutError):
            return False
        try:
            await client.jetstream(timeout=PROBE_SECONDS_MAX).account_info()
        except (nats.errors.Error, jetstream_errors.Error, TimeoutError):
            return False
        finally:
            await client.close()
        return True


def program(name: str) -> str:
    """Return the path of a program that a wheel put beside our interpreter, or that is on the PATH.

    Raises:
        ServerStartError: it is nowhere.
    """
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ServerStartError(f"{name} is not installed; install milepost-infra again")
    return found
