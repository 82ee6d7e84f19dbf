"""The client: verdicts asked for and waited for, operations followed to their end."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from milepost_contracts.commands import CancelOperation, ResumeOperation, StartOperation
from milepost_contracts.examples import VERDICT_EXAMPLES
from milepost_contracts.ids import operation_id_of
from milepost_contracts.messages import decode, decode_command
from milepost_contracts.verdicts import VERDICT, Accepted, Rejected
from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.bus.topology import Topology
from milepost_runtime.client import MilepostClient
from milepost_runtime.errors import (
    ArchivedEndUnknownError,
    BusRefusedError,
    BusUnavailableError,
    OrchestratorUnavailableError,
)
from milepost_runtime.settings import BusSettings
from milepost_runtime.testing.clock import FixedClock

from tests.orchestrator.stories import archived
from tests.runtime_bus.bus_support import CLAIMED, COMPLETED, Bus, append, append_many

pytestmark = pytest.mark.integration

START = StartOperation(kind="counter", spec={"units": 3})
WAIT_SECONDS = 15.0


@pytest.fixture
def client(bus: Bus) -> MilepostClient:
    return MilepostClient(bus.connection, bus.settings, FixedClock(), source="/test")


class Orchestrator:
    """Answers requests with an acceptance; the first ``deaf`` ones not at all."""

    def __init__(self, bus: Bus, deaf: int = 0) -> None:
        self._bus = bus
        self._deaf = deaf
        self.asked: list[str] = []

    async def serve(self, command: str = "start") -> None:
        await self._bus.connection.listen(
            f"{self._bus.settings.prefix}.request.{command}", self._answer, timeout_seconds=5
        )

    async def _answer(self, msg) -> None:
        envelope = decode(msg.data)
        self.asked.append(envelope.id)
        if len(self.asked) > self._deaf:
            await msg.respond(VERDICT.dump_json(verdict_on(envelope.id)))


def verdict_on(command_id: str) -> Accepted:
    return Accepted(command_id=command_id, operation_id=operation_id_of(command_id))


async def test_request_brings_the_verdict(bus: Bus, client: MilepostClient) -> None:
    """The orchestrator's answer comes back typed, for the id that was sent."""
    await Orchestrator(bus).serve()
    assert await client.request(START, command_id="cmd-1") == verdict_on("cmd-1")


async def test_refusal_is_a_verdict(bus: Bus, client: MilepostClient) -> None:
    """A refused command is data: nothing is raised."""

    async def refuse(msg) -> None:
        await msg.respond(VERDICT.dump_json(VERDICT_EXAMPLES["rejected"]))

    await bus.connection.listen(f"{bus.settings.prefix}.request.cancel", refuse, timeout_seconds=5)
    verdict = await client.request(CancelOperation(operation_id="op-1"))
    assert isinstance(verdict, Rejected)
    assert verdict.problems


async def test_request_is_repeated_with_the_same_id(bus: Bus) -> None:
    """An orchestrator that loses the first question is asked again, and cannot take it for another."""
    orchestrator = Orchestrator(bus, deaf=2)
    await orchestrator.serve()
    settings = BusSettings(url=bus.settings.url, prefix=bus.settings.prefix, request_timeout_seconds=0.2)
    impatient = MilepostClient(bus.connection, settings, FixedClock())
    verdict = await impatient.request(START)
    assert len(orchestrator.asked) == 3
    assert set(orchestrator.asked) == {verdict.command_id}


async def test_request_waits_for_an_orchestrator(bus: Bus, client: MilepostClient) -> None:
    """A command sent before any orchestrator runs is answered by the first one that starts."""
    asking = asyncio.create_task(client.request(START, command_id="cmd-1"))
    await bus.connection.replies.round_trip(timeout_seconds=5)
    await Orchestrator(bus).serve()
    async with asyncio.timeout(WAIT_SECONDS):
        assert await asking == verdict_on("cmd-1")


async def test_no_orchestrator_is_said(client: MilepostClient) -> None:
    """Without an orchestrator the error comes within the bound and says so, not that the bus is away."""
    with pytest.raises(OrchestratorUnavailableError, match=r"No orchestrator answered.*cmd-1"):
        await client.request(START, command_id="cmd-1", timeout_seconds=0.3)


async def test_answer_that_is_no_verdict(bus: Bus, client: MilepostClient) -> None:
    """An answer of a newer version is named as one and not guessed at."""

    async def babble(msg) -> None:
        await msg.respond(b'{"verdict": "perhaps"}')

    await bus.connection.listen(f"{bus.settings.prefix}.request.start", babble, timeout_seconds=5)
    with pytest.raises(BusRefusedError, match="no verdict of this version"):
        await client.request(START)


async def test_published_command_is_stored_once(bus: Bus, client: MilepostClient) -> None:
    """Publishing twice with the same id stores one command, readable as what it was."""
    command = ResumeOperation(operation_id="op-1")
    assert await client.publish(command, command_id="cmd-1") == "cmd-1"
    assert await client.publish(command, command_id="cmd-1") == "cmd-1"
    assert await client.publish(command) not in ("cmd-1", "")
    state = (await bus.jetstream.call(f"STREAM.INFO.{bus.topology.commands}"))["state"]
    assert state["messages"] == 2
    stored = await stored_message(bus)
    assert stored.id == "cmd-1"
    assert decode_command(stored) == command


async def stored_message(bus: Bus):
    import base64

    answer = await bus.jetstream.call(f"STREAM.MSG.GET.{bus.topology.commands}", {"seq": 1})
    return decode(base64.b64decode(answer["message"]["data"]))


async def publish_verdict(bus: Bus, command_id: str) -> None:
    await bus.jetstream.publish(
        f"{bus.settings.prefix}.verdict.{command_id}", VERDICT.dump_json(verdict_on(command_id)), headers={}
    )


async def test_verdict_that_is_there(bus: Bus, client: MilepostClient) -> None:
    """The verdict on a command given long ago is found, and not another's."""
    await publish_verdict(bus, "cmd-1")
    await publish_verdict(bus, "cmd-2")
    assert await client.verdict("cmd-1") == verdict_on("cmd-1")


async def test_verdict_is_waited_for(bus: Bus, client: MilepostClient) -> None:
    """Whoever waits for a verdict gets it when it comes."""
    waiting = asyncio.create_task(client.verdict("cmd-1"))
    await bus.connection.replies.round_trip(timeout_seconds=5)
    await publish_verdict(bus, "cmd-1")
    async with asyncio.timeout(WAIT_SECONDS):
        assert await waiting == verdict_on("cmd-1")


async def test_verdict_that_does_not_come(client: MilepostClient) -> None:
    """Waiting for a verdict ends within its time and says what was waited for."""
    with pytest.raises(OrchestratorUnavailableError, match="no verdict on cmd-9"):
        await client.verdict("cmd-9", timeout_seconds=0.2)


async def test_follow_ends_with_the_operation(client: MilepostClient) -> None:
    """A follower sees every event from the first, of its operation, and ends after the last."""

    async def compute() -> None:
        last = await append(client.event_log, CLAIMED, "e1", expected=0)
        await append(client.event_log, CLAIMED, "other", expected=0, operation_id="op-2")
        last = await append_many(client.event_log, 5, expected=last)
        last = await append(client.event_log, COMPLETED, "e2", expected=last)

    async def follow() -> AsyncIterator[str]:
        async for entry in client.follow("op-1"):
            yield entry.event.NAME

    computing = asyncio.create_task(compute())
    async with asyncio.timeout(WAIT_SECONDS):
        names = [name async for name in follow()]
    await computing
    assert names == ["claimed", *["progress"] * 5, "completed"]


async def test_wait_brings_the_end(bus: Bus, client: MilepostClient) -> None:
    """Waiting for an operation returns its terminal event, and is sent nothing before it."""
    waiting = asyncio.create_task(client.wait("op-1"))
    last = await append_many(client.event_log, 50)
    await append(client.event_log, COMPLETED, "e2", expected=last)
    async with asyncio.timeout(WAIT_SECONDS):
        entry = await waiting
    assert entry.event == COMPLETED
    before = bus.connection.stats["in_msgs"]
    assert (await client.wait("op-1")).sequence == entry.sequence
    assert bus.connection.stats["in_msgs"] - before < 10


async def test_archived_operation_is_at_its_end_at_once(bus: Bus, client: MilepostClient) -> None:
    """Waiting and following return how it ended, though its terminal event is in the log no more."""
    before = await append(client.event_log, COMPLETED, "e1", expected=0)
    end = await client.wait("op-1")
    await append(client.event_log, archived(end.envelope, before), "e2", expected=0)
    purged = {"filter": f"{bus.settings.prefix}.event.op-1.>", "seq": before + 1}
    await bus.jetstream.call(f"STREAM.PURGE.{Topology(bus.settings).events}", purged)
    async with asyncio.timeout(WAIT_SECONDS):
        assert await client.wait("op-1") == end
        assert [entry async for entry in client.follow("op-1")] == [end]


async def test_archived_operation_whose_end_is_only_in_its_file(client: MilepostClient) -> None:
    """Waiting says at once where it is, and following ends."""
    await append(client.event_log, archived(), "e1", expected=0)
    async with asyncio.timeout(WAIT_SECONDS):
        with pytest.raises(ArchivedEndUnknownError, match="archive/op-"):
            await client.wait("op-1")
        assert [entry.event.NAME async for entry in client.follow("op-1")] == ["archived"]


async def test_client_connects_and_closes(tenant: StackEndpoints, bus: Bus) -> None:
    """As a context manager the client has a connection of its own, closed at the end."""
    await publish_verdict(bus, "cmd-1")
    async with MilepostClient.connect(tenant.bus, source="/shell") as client:
        assert await client.verdict("cmd-1") == verdict_on("cmd-1")
    with pytest.raises(BusUnavailableError):
        await client.publish(START)


async def test_client_without_a_bus() -> None:
    """Where no bus is the client says so within its patience."""
    with pytest.raises(BusUnavailableError, match=r"127\.0\.0\.1:9"):
        async with MilepostClient.connect(BusSettings(url="nats://127.0.0.1:9"), patience_seconds=0.3):
            pass
