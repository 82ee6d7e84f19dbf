"""Where the stack is that a command talks to.

Authority: ``--directory`` on the command line, then MILEPOST_NATS_URL and its sisters in the environment, then the
stack file in MILEPOST_DIRECTORY, then the nearest ``.milepost`` here or in a parent directory.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from milepost_infra.endpoints import StackEndpoints
from milepost_infra.running import FILE_NAME, RunningStack, read_running
from milepost_runtime.settings import BusSettings, StoreSettings

from milepost_cli.api import OrchestratorApi
from milepost_cli.errors import UnreachableError

DIRECTORY_NAME = ".milepost"
HTTP_URL = "MILEPOST_HTTP_URL"
HTTP_TOKEN = "MILEPOST_HTTP_TOKEN"  # noqa: S105 - the name of a variable
HTTP_URL_DEFAULT = "http://127.0.0.1:8080"
START_IT = (
    "start one with `milepost up --detach`, or set MILEPOST_NATS_URL and MILEPOST_S3_* to the one you have"
)


@dataclass(frozen=True, slots=True, repr=False)
class StackLocation:
    """Addresses and credentials of one stack, and where they were found. Never printed: it holds secrets."""

    environment: Mapping[str, str]
    origin: str
    """Where this was found, in words."""
    directory: Path | None
    """The stack's directory, None when the environment says where everything is."""

    def bus(self) -> BusSettings:
        """Return where the bus is."""
        return BusSettings.from_environment(self.environment)

    def store(self) -> StoreSettings:
        """Return where the object store is."""
        return StoreSettings.from_environment(self.environment)

    def endpoints(self) -> StackEndpoints:
        """Return where all three servers are."""
        return StackEndpoints.from_environment(self.environment)

    @property
    def http_url(self) -> str:
        """Address of the orchestrator."""
        return self.environment.get(HTTP_URL) or HTTP_URL_DEFAULT

    def api(self) -> OrchestratorApi:
        """Return the orchestrator's HTTP interface."""
        return OrchestratorApi(self.http_url, self.environment.get(HTTP_TOKEN))


def stack_directory(option: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory that ``up`` and ``down`` mean: the option, MILEPOST_DIRECTORY, the nearest, or here."""
    named = option or _named(environment)
    return (named or _nearest(Path.cwd()) or Path.cwd() / DIRECTORY_NAME).absolute()


def locate(option: Path | None, environment: Mapping[str, str] = os.environ) -> StackLocation:
    """Return the stack to talk to.

    Raises:
        UnreachableError: none is named and none is found.
    """
    directory = stack_directory(option, environment)
    running = read_running(directory)
    if option is None and environment.get("MILEPOST_NATS_URL"):
        # `milepost up` on external servers runs an orchestrator of its own; only its file says where.
        own = {HTTP_URL: running.http_url} if running is not None else {}
        return StackLocation({**own, **environment}, "the MILEPOST_* environment", None)
    if running is None:
        raise UnreachableError(f"no stack runs in {directory}", code="no-stack", fix=START_IT)
    return location_of(running, environment)


def location_of(running: RunningStack, environment: Mapping[str, str] = os.environ) -> StackLocation:
    """Return where a running stack is; the token, which no file has, comes from the environment."""
    own = {HTTP_TOKEN: token} if (token := environment.get(HTTP_TOKEN)) else {}
    found = {**running.endpoints.environment(), HTTP_URL: running.http_url, **own}
    return StackLocation(found, str(running.directory / FILE_NAME), running.directory)


def _named(environment: Mapping[str, str]) -> Path | None:
    value = environment.get("MILEPOST_DIRECTORY")
    return Path(value) if value else None


def _nearest(start: Path) -> Path | None:
    for directory in (start, *start.parents):
        candidate = directory / DIRECTORY_NAME
        if (candidate / FILE_NAME).is_file():
            return candidate
    return None
