"""The supervisor: starts everything, brings back what dies, stops in order, leaves nothing."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from milepost_infra.errors import StackInUseError, SupervisorError
from milepost_infra.processes import wait_ended
from milepost_infra.supervisor import RunningStack, read_running, start_detached, stop

from tests.infra.stack_data import WORDS, read_everywhere, write_everywhere

HERE = Path(__file__).parent
ORCHESTRATOR = (sys.executable, str(HERE / "stand_in_orchestrator.py"))
WORKER = (sys.executable, str(HERE / "stand_in_worker.py"))
SECONDS_MAX = 30.0


@pytest.fixture
def start(place: Path) -> Iterator[Callable[[], RunningStack]]:
    """Start a stack of stand-ins with two workers; it is stopped after the test."""

    def start_here() -> RunningStack:
        return start_detached(place, {"counter": 2}, orchestrator_command=ORCHESTRATOR, worker_command=WORKER)

    yield start_here
    stop(place)


async def changed(running: RunningStack, name: str) -> int:
    """Wait until ``stack.json`` names another pid for a process; return it."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            now = read_running(running.directory)
            if (
                now is not None
                and now.processes.get(name, running.processes[name]) != running.processes[name]
            ):
                return now.processes[name]
            await asyncio.sleep(0.02)


@pytest.mark.integration
async def test_start_and_stop(place: Path, start: Callable[[], RunningStack]) -> None:
    """A started stack answers, is found by others, and after ``stop`` no process of it is left."""
    running = await asyncio.to_thread(start)
    assert set(running.processes) == {"nats", "postgres", "s3", "orchestrator", "counter-1", "counter-2"}
    assert read_running(place) == running
    assert stat.S_IMODE(os.stat(place / "stack.json").st_mode) == 0o600
    answer = await asyncio.to_thread(urllib.request.urlopen, f"{running.http_url}/readyz")
    with answer:
        assert answer.status == 200
    await write_everywhere(running.endpoints)
    processes = [psutil.Process(pid) for pid in (running.supervisor.pid, *running.processes.values())]
    assert await asyncio.to_thread(stop, place)
    assert wait_ended(processes, seconds_max=0.0) == []
    assert read_running(place) is None
    assert not await asyncio.to_thread(stop, place)


@pytest.mark.integration
async def test_workers_are_stopped_while_the_bus_is_there(
    place: Path, start: Callable[[], RunningStack]
) -> None:
    """On a stop the workers can still use the bus for their last words."""
    await asyncio.to_thread(start)
    await asyncio.to_thread(stop, place)
    for worker in ("counter-1", "counter-2"):
        assert (place / "workers" / worker / "goodbye").read_text() == "the bus was still there"


@pytest.mark.long
@pytest.mark.integration
async def test_a_second_start_has_the_same_data_and_addresses(
    place: Path, start: Callable[[], RunningStack]
) -> None:
    """Stop and start again: the same addresses, and nothing is lost."""
    first = await asyncio.to_thread(start)
    await write_everywhere(first.endpoints)
    await asyncio.to_thread(stop, place)
    second = await asyncio.to_thread(start)
    assert (second.http_url, second.endpoints) == (first.http_url, first.endpoints)
    assert await read_everywhere(second.endpoints) == [WORDS] * 3


@pytest.mark.integration
async def test_one_supervisor_for_a_directory(start: Callable[[], RunningStack]) -> None:
    """A second start in the same directory is refused and does the first one no harm."""
    running = await asyncio.to_thread(start)
    with pytest.raises(StackInUseError):
        await asyncio.to_thread(start)
    assert read_running(running.directory) == running


@pytest.mark.faults
async def test_what_dies_comes_back(place: Path, start: Callable[[], RunningStack]) -> None:
    """A killed worker, orchestrator or server is started again, and ``stack.json`` names the new pid."""
    await asyncio.to_thread(start)
    for name in ("counter-1", "orchestrator", "nats", "postgres", "s3"):
        running = read_running(place)
        assert running is not None, name
        psutil.Process(running.processes[name]).kill()
        pid = await changed(running, name)
        assert psutil.Process(pid).is_running(), name


@pytest.mark.faults
async def test_everything_ends_with_a_killed_supervisor(
    place: Path, start: Callable[[], RunningStack]
) -> None:
    """kill -9 of the supervisor ends all its processes, and the stack can be started again at once."""
    running = await asyncio.to_thread(start)
    await write_everywhere(running.endpoints)
    processes = [psutil.Process(pid) for pid in running.processes.values()]
    os.kill(running.supervisor.pid, signal.SIGKILL)
    await asyncio.to_thread(
        os.waitpid, running.supervisor.pid, 0
    )  # it is this process's child, and nobody else waits for it
    assert await asyncio.to_thread(wait_ended, processes, seconds_max=SECONDS_MAX) == []
    assert read_running(place) is None
    again = await asyncio.to_thread(start)
    assert await read_everywhere(again.endpoints) == [WORDS] * 3


@pytest.mark.integration
async def test_a_failed_start_says_why(place: Path) -> None:
    """When the orchestrator does not come up, the error holds its last log lines and nothing is left."""
    broken = (sys.executable, "-c", "raise SystemExit('no such setting')")
    with pytest.raises(SupervisorError, match=r"(?s)orchestrator keeps ending.*no such setting"):
        await asyncio.to_thread(start_detached, place, {}, orchestrator_command=broken)
    assert read_running(place) is None
    left = [child for child in psutil.Process().children(recursive=True) if child.status() != "zombie"]
    assert not [child for child in left if str(place) in " ".join(child.cmdline())]


@pytest.mark.integration
async def test_ctrl_c_in_the_foreground_stops_in_order(place: Path) -> None:
    """SIGINT to a supervisor in the foreground stops everything, with exit code 0."""
    reader, writer = os.pipe()
    supervisor = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "milepost_infra.supervisor", "--directory", str(place)),
        *("--workers", "counter=1", "--ready-fd", str(writer)),
        *("--orchestrator-command", " ".join(ORCHESTRATOR), "--worker-command", " ".join(WORKER)),
        pass_fds=[writer],
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert await asyncio.wait_for(asyncio.to_thread(pipe.read), SECONDS_MAX) == "ready"
    running = read_running(place)
    processes = [psutil.Process(pid) for pid in running.processes.values()]
    supervisor.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(supervisor.wait(), SECONDS_MAX) == 0
    assert wait_ended(processes, seconds_max=0.0) == []
    assert (place / "workers" / "counter-1" / "goodbye").exists()
