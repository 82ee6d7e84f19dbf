"""The orchestrator as a process: clean stops, and servers that are away."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from milepost_contracts.commands import CancelOperation, StartOperation
from milepost_infra.embedded.stack import EmbeddedStack
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.application.answers import Sender
from milepost_orchestrator.bootstrap import open_orchestrator
from milepost_orchestrator.entrypoints.http_settings import HttpSettings
from milepost_orchestrator.entrypoints.service import Service, listening
from milepost_runtime.bus.fleet import NatsKindCatalogue

from tests.orchestrator.running import WAIT_SECONDS, run_orchestrator, settings_of
from tests.orchestrator.stories import claimed, completed, progress, started
from tests.orchestrator.workshop import COUNTER
from tests.support.stack import reachable_directory


@asynccontextmanager
async def orchestrator_process(
    endpoints: StackEndpoints, directory: Path, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    log_path = directory / "orchestrator.log"
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "milepost_orchestrator",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**endpoints.environment(), "MILEPOST_HTTP_PORT": "0", **environment},
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def port_in(path: Path, process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(WAIT_SECONDS):
        while not (written := _content(path)):
            assert process.returncode is None, _content(path.parent / "orchestrator.log")
            await asyncio.sleep(0.02)
    return int(written)


def _content(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


async def until_ready(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while (await http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - another process gets ready
            await asyncio.sleep(0.02)


@pytest.mark.integration
async def test_sigterm_stops_it_with_exit_code_zero(tenant: StackEndpoints, tmp_path: Path) -> None:
    """It writes its port, becomes ready, and ends cleanly when it is told to."""
    port_file = tmp_path / "port"
    async with orchestrator_process(tenant, tmp_path, MILEPOST_HTTP_PORT_FILE=str(port_file)) as process:
        url = f"http://127.0.0.1:{await port_in(port_file, process)}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            await until_ready(http)
        process.terminate()
        async with asyncio.timeout(WAIT_SECONDS):
            assert await process.wait() == 0
    assert "Traceback" not in (tmp_path / "orchestrator.log").read_text()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"MILEPOST_HTTP_HOST": "0.0.0.0"}, "set MILEPOST_HTTP_TOKEN"),
        ({"MILEPOST_DATABASE_URL": ""}, "MILEPOST_DATABASE_URL is empty"),
        ({"MILEPOST_NATS_URL": "nats://127.0.0.1:1"}, "127.0.0.1:1"),
    ],
)
async def test_refuses_to_start_in_one_line(
    tenant: StackEndpoints, tmp_path: Path, environment: dict[str, str], words: str
) -> None:
    """A wrong setting or an absent bus ends it with a code other than 0 and a sentence, not a traceback."""
    async with orchestrator_process(tenant, tmp_path, **environment) as process:
        async with asyncio.timeout(WAIT_SECONDS):
            assert await process.wait() == 1
    log = (tmp_path / "orchestrator.log").read_text()
    assert words in log
    assert "Traceback" not in log


@pytest.mark.unit
async def test_answers_do_not_wait_for_each_other() -> None:
    """Connections to the HTTP port send what there is at once: Nagle's algorithm is off."""
    off: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def accepted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        off.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with listening(HttpSettings(port=0)) as listener:
        async with await asyncio.start_server(accepted, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            assert await asyncio.wait_for(off, WAIT_SECONDS) == 1
            writer.close()


@pytest.mark.integration
async def test_loop_that_dies_takes_the_process_down(tenant: StackEndpoints) -> None:
    """A bug in a background loop is not survived half alive: ``run`` ends and raises it."""

    async def die(*_: object, **__: object) -> bool:
        raise ZeroDivisionError("a bug")

    async with open_orchestrator(settings_of(tenant)) as orchestrator:
        orchestrator.projector._store.apply = die
        await NatsKindCatalogue(orchestrator.connection, tenant.bus).announce(COUNTER)
        running = asyncio.create_task(Service(orchestrator, HttpSettings(port=0)).run())
        command = StartOperation(kind="counter", spec={"units": 1})
        await orchestrator.handler.handle(command, Sender("cmd-1", "/test"))
        await asyncio.wait({running}, timeout=WAIT_SECONDS)
        error = running.exception()
    assert isinstance(error, ExceptionGroup)
    assert error.subgroup(ZeroDivisionError) is not None


@pytest.mark.faults
@pytest.mark.timeout(240)
async def test_database_away_costs_nothing_but_lists(tmp_path: Path) -> None:
    """Without Postgres commands are handled and operations shown from the log; lists come back with it."""
    with reachable_directory() as directory:
        stack = EmbeddedStack(directory)
        async with stack as endpoints, run_orchestrator(endpoints, tmp_path, sweep_seconds=0.5) as running:
            before = await running.start()
            await running.happen(before, claimed(), started(), progress(10))
            await running.projected()

            await stack.kill("postgres")

            during = await running.start()
            await running.happen(before, progress(60))
            shown = (await running.http.get(f"/operations/{before}")).json()
            assert (shown["status"], shown["unit"]) == ("running", 60)
            assert (await running.http.get(f"/operations/{during}")).json()["status"] == "queued"
            listed = await running.http.get("/operations")
            assert (listed.status_code, listed.json()["code"]) == (503, "unavailable")
            ready = await running.http.get("/readyz")
            assert (ready.status_code, list(ready.json()["down"])) == (503, ["database"])
            verdict = await running.client.request(CancelOperation(operation_id=during))
            assert verdict.verdict == "accepted"
            await running.happen(before, completed())

            await stack.restart("postgres")

            async with asyncio.timeout(WAIT_SECONDS):
                while not (await running.orchestrator.readiness.check()).ready:
                    pass
            rows = await running.rows(
                "SELECT operation_id, status FROM operations ORDER BY requested_sequence"
            )
    assert [tuple(row.values()) for row in rows] == [(before, "completed"), (during, "cancelled")]


@pytest.mark.faults
@pytest.mark.timeout(240)
async def test_bus_away_is_waited_for(tmp_path: Path) -> None:
    """After the bus was away every loop goes on: commands, projection, reactor."""
    with reachable_directory() as directory:
        stack = EmbeddedStack(directory)
        async with stack as endpoints, run_orchestrator(endpoints, tmp_path, sweep_seconds=0.5) as running:
            await running.start()
            await running.projected()

            await stack.kill("nats")
            away = await running.http.post("/operations", json={"kind": "counter", "spec": {"units": 1}})
            assert (away.status_code, away.json()["code"]) == (503, "unavailable")
            await stack.restart("nats")

            command = StartOperation(kind="counter", spec={"units": 1})
            await running.client.publish(command, command_id="cmd-after")
            verdict = await running.client.verdict("cmd-after")
            assert verdict.verdict == "accepted"
            rows = await running.rows("SELECT operation_id FROM operations")
    assert len(rows) == 2
