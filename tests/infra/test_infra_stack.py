"""The embedded stack: it keeps its data, its secrets and its ports, and leaves nothing running."""

import asyncio
import json
import os
import socket
import stat
import sys
from pathlib import Path

import psutil
import pytest
from milepost_infra.directories import make_passable
from milepost_infra.embedded import postgres_home
from milepost_infra.embedded.stack import EmbeddedStack
from milepost_infra.endpoints import StackEndpoints
from milepost_infra.errors import ServerStartError, StackInUseError
from milepost_infra.processes import wait_ended
from milepost_infra.removal import remove_data

from tests.infra.stack_data import WORDS, read_everywhere, write_everywhere
from tests.support.stack import reachable_directory

OWNER = Path(__file__).with_name("stand_in_owner.py")
SECONDS_MAX = 20.0


async def start_owner(
    place: Path, guard: str
) -> tuple[asyncio.subprocess.Process, dict[str, psutil.Process]]:
    """Start a stack in a process of its own; return that process, and its servers by name."""
    owner = await asyncio.create_subprocess_exec(
        sys.executable, str(OWNER), str(place), guard, stdout=asyncio.subprocess.PIPE
    )
    line = await asyncio.wait_for(owner.stdout.readline(), SECONDS_MAX)
    pids: dict[str, int] = json.loads(line)
    return owner, {name: psutil.Process(pid) for name, pid in pids.items()}


def with_families(processes: dict[str, psutil.Process]) -> list[psutil.Process]:
    """Return the processes and everything they have started."""
    families = [process.children(recursive=True) for process in processes.values()]
    return [*processes.values(), *(child for family in families for child in family)]


def plain_files(place: Path) -> list[Path]:
    """Return the files of a stack that are not a server's data."""
    return [path for path in place.rglob("*") if path.is_file() and "data" not in path.parts]


async def still_there(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Wait for the ends of the processes; return those that do not come."""
    return await asyncio.to_thread(wait_ended, processes, seconds_max=SECONDS_MAX)


@pytest.mark.integration
async def test_stop_and_start_keep_data_and_addresses(place: Path) -> None:
    """What was written to the three servers is there after a stop and a start, at the same addresses."""
    stack = EmbeddedStack(place)
    first = await stack.start()
    await write_everywhere(first)
    pids = [psutil.Process(pid) for pid in stack.pids().values()]
    await stack.stop()
    assert await still_there(pids) == []
    second = await stack.start()
    try:
        assert second.environment() == first.environment()
        assert await read_everywhere(second) == [WORDS] * 3
    finally:
        await stack.stop()


@pytest.mark.faults
async def test_killed_servers_come_back_with_their_data(place: Path) -> None:
    """Each server is killed with -9 and restarted: same address, nothing lost."""
    stack = EmbeddedStack(place)
    async with stack as endpoints:
        await write_everywhere(endpoints)
        before = stack.pids()
        for server in ("nats", "postgres", "s3"):
            await stack.kill(server)
            assert server not in stack.pids()
        for server in ("nats", "postgres", "s3"):
            await stack.restart(server)
        assert stack.endpoints().environment() == endpoints.environment()
        assert not set(before.values()) & set(stack.pids().values())
        assert await read_everywhere(endpoints) == [WORDS] * 3


@pytest.mark.faults
@pytest.mark.parametrize("guard", ["kernel" if sys.platform == "linux" else "watchdog", "watchdog"])
async def test_servers_end_with_their_killed_owner(place: Path, guard: str) -> None:
    """The owner is killed with -9: no server and no watchdog stays."""
    owner, servers = await start_owner(place, guard)
    assert set(servers) - {"watchdog"} == {"nats", "postgres", "s3"}
    assert ("watchdog" in servers) is (guard == "watchdog")
    processes = with_families(servers)
    owner.kill()
    await owner.wait()
    assert await still_there(processes) == []


@pytest.mark.faults
async def test_next_owner_finds_the_data_of_a_killed_one(place: Path) -> None:
    """Everything is killed with -9, the owner too, and the next start finds all data at the same addresses."""
    async with EmbeddedStack(place) as endpoints:
        await write_everywhere(endpoints)
    owner, _ = await start_owner(place, "kernel" if sys.platform == "linux" else "watchdog")
    owner.kill()
    await owner.wait()
    # No waiting for the servers: the next start ends what is left over.
    async with EmbeddedStack(place) as again:
        assert await read_everywhere(again) == [WORDS] * 3
        assert again.environment() == endpoints.environment()


@pytest.mark.faults
async def test_orphans_are_ended_by_the_next_start(place: Path) -> None:
    """Servers that outlived their owner (no guard could end them) are ended before new ones start."""
    owner, servers = await start_owner(place, "watchdog")
    orphans = with_families({name: process for name, process in servers.items() if name != "watchdog"})
    servers["watchdog"].kill()
    owner.kill()
    await owner.wait()
    assert all(orphan.is_running() for orphan in orphans)
    async with EmbeddedStack(place) as endpoints:
        assert await still_there(orphans) == []
        await write_everywhere(endpoints)


@pytest.mark.integration
async def test_second_stack_in_a_directory_is_refused(place: Path) -> None:
    """A directory has one stack at a time; the refusal names it, and the first one goes on."""
    async with EmbeddedStack(place) as endpoints:
        with pytest.raises(StackInUseError, match=str(place)):
            await EmbeddedStack(place).start()
        with pytest.raises(StackInUseError):
            remove_data(place)
        await write_everywhere(endpoints)


@pytest.mark.integration
async def test_secrets_are_for_their_owner_only(place: Path) -> None:
    """Every file that holds a password has mode 0600, and no command line shows one."""
    stack = EmbeddedStack(place)
    async with stack as endpoints:
        secrets = list(json.loads((place / "credentials.json").read_text()).values())
        files = plain_files(place)
        holders = [path for path in files if any(secret.encode() in path.read_bytes() for secret in secrets)]
        assert {path.name for path in holders} >= {"credentials.json", "nats.conf"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o600}
        shown = [word for pid in stack.pids().values() for word in psutil.Process(pid).cmdline()]
        assert not [secret for secret in secrets if any(secret in word for word in shown)]
        assert not [secret for secret in secrets if secret in repr(endpoints)]


@pytest.mark.integration
async def test_external_servers_are_used_and_not_started(place: Path, stack: StackEndpoints) -> None:
    """With an address in the settings that server is used as it is, and only the others are started."""
    names = ("MILEPOST_NATS_URL", "MILEPOST_DATABASE_URL")
    external = {name: stack.environment()[name] for name in names} | {"MILEPOST_PREFIX": "elsewhere"}
    mine = EmbeddedStack(place, external=external)
    async with mine as endpoints:
        assert set(mine.pids()) - {"watchdog"} == {"s3"}
        assert endpoints.bus.url == stack.bus.url
        assert endpoints.bus.prefix == "elsewhere"
        assert endpoints.database_url == stack.database_url
        assert endpoints.store.endpoint != stack.store.endpoint


@pytest.mark.integration
async def test_a_port_taken_by_others_is_left_to_them(place: Path, stack: StackEndpoints) -> None:
    """When someone has taken a server's port since the last start, the server gets another one."""
    external = {name: value for name, value in stack.environment().items() if "NATS" not in name}
    mine = EmbeddedStack(place, external=external)
    async with mine as endpoints:
        port = int(endpoints.bus.url.rpartition(":")[2])
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        async with mine as endpoints:
            assert int(endpoints.bus.url.rpartition(":")[2]) != port


@pytest.mark.integration
async def test_a_failed_start_says_why_and_leaves_nothing(place: Path) -> None:
    """A server that cannot start is named with its last log lines; the others are stopped again."""
    (place / "postgres" / "data").mkdir(parents=True)
    mine = EmbeddedStack(place)
    with pytest.raises(ServerStartError, match=r"(?s)postgres.*PG_VERSION|postgresql\.conf"):
        await mine.start()
    me = psutil.Process(os.getpid())
    assert not [child for child in me.children(recursive=True) if str(place) in " ".join(child.cmdline())]
    (place / "postgres" / "data").rmdir()
    async with mine as endpoints:
        await write_everywhere(endpoints)


@pytest.mark.integration
async def test_a_closed_directory_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below a directory closed to others (pytest's are), Postgres keeps its data elsewhere and finds it again."""
    assert stat.S_IMODE(tmp_path.parent.stat().st_mode) == 0o700
    with reachable_directory() as outside:
        monkeypatch.setattr(postgres_home, "OUTSIDE", outside)
        place = tmp_path / "stack"
        async with EmbeddedStack(place) as endpoints:
            await write_everywhere(endpoints)
        async with EmbeddedStack(place) as endpoints:
            assert await read_everywhere(endpoints) == [WORDS] * 3
        remove_data(place)
        assert {path.name for path in place.iterdir()} == {"lock", "supervisor.lock"}
        assert list(outside.iterdir()) == []


def test_a_strict_umask_is_no_obstacle(tmp_path: Path) -> None:
    """Directories that Postgres' user must pass are made passable under umask 077 too."""
    before = os.umask(0o077)
    try:
        make_passable(tmp_path / "stack" / "postgres")
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("stack", "stack/postgres")]
    assert modes == [0o755, 0o755]
