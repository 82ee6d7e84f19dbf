"""Commands that were stored on the bus: none is lost without a word, whatever it holds and whoever is away."""

import asyncio
import json
from pathlib import Path

import pytest
from milepost_contracts.commands import StartOperation
from milepost_contracts.events import CheckpointRecorded
from milepost_contracts.ids import operation_id_of
from milepost_contracts.messages import encode, envelop_command
from milepost_contracts.verdicts import Accepted, Duplicate, Rejected
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.entrypoints.bus import CONSUMER
from milepost_runtime.bus.jetstream import JetStream
from milepost_runtime.client import MilepostClient

from tests.orchestrator.running import WAIT_SECONDS, Running, run_orchestrator
from tests.orchestrator.stories import EPOCH, claimed, snapshot

pytestmark = pytest.mark.integration


async def publish_raw(running: Running, tenant: StackEndpoints, command: str, payload: bytes) -> int:
    jetstream = JetStream(running.orchestrator.connection, timeout_seconds=5.0)
    answer = await jetstream.publish(f"{tenant.bus.prefix}.command.{command}", payload, headers={})
    return int(answer["seq"])


async def waiting(running: Running, tenant: StackEndpoints) -> int:
    """How many commands are still in the COMMANDS JetStream stream."""
    jetstream = JetStream(running.orchestrator.connection, timeout_seconds=5.0)
    answer = await jetstream.call(f"STREAM.INFO.{tenant.bus.prefix}_COMMANDS")
    return int(answer["state"]["messages"])


async def test_malformed_stored_commands_are_answered_and_gone(
    running: Running, tenant: StackEndpoints
) -> None:
    """Garbage gets a verdict under its stream sequence, a readable id under itself; nothing goes round."""
    sequences = [await publish_raw(running, tenant, "start", each) for each in (b"", b"{", b'{"id": "a.b"}')]
    await publish_raw(running, tenant, "start", b'{"id": "cmd-known"}')
    await publish_raw(running, tenant, "explode", b'{"id": "cmd-explode"}')
    ids = [*(f"unidentified-{sequence}" for sequence in sequences), "cmd-known", "cmd-explode"]
    for command_id in ids:
        verdict = await running.client.verdict(command_id)
        assert isinstance(verdict, Rejected)
        assert (verdict.code, verdict.command_id) == ("invalid-command", command_id)
    async with asyncio.timeout(WAIT_SECONDS):
        while await waiting(running, tenant):
            pass


async def test_malformed_request_is_answered(running: Running, tenant: StackEndpoints) -> None:
    """A request that is no command gets a verdict as reply, and does not leave its sender waiting."""
    replies = running.orchestrator.connection.replies
    answer = await replies.ask(f"{tenant.bus.prefix}.request.start", b"garbage", timeout_seconds=WAIT_SECONDS)
    assert json.loads(answer.data)["code"] == "invalid-command"


async def test_stored_commands_wait_for_an_orchestrator(tenant: StackEndpoints, tmp_path: Path) -> None:
    """A command that was published while no orchestrator lived is answered by the next one."""
    command = StartOperation(kind="counter", spec={"units": 1})
    async with run_orchestrator(tenant, tmp_path) as running:
        assert isinstance(await running.client.request(command), Accepted)
    async with MilepostClient.connect(tenant.bus, source="/test") as client:
        await client.publish(command, command_id="cmd-late")
        async with run_orchestrator(tenant, tmp_path):
            verdict = await client.verdict("cmd-late")
    assert verdict == Accepted(command_id="cmd-late", operation_id=operation_id_of("cmd-late"))


async def test_deleted_consumer_is_made_anew(running: Running, tenant: StackEndpoints) -> None:
    """Stored commands and control events are handled also after someone deleted the consumers."""
    jetstream = JetStream(running.orchestrator.connection, timeout_seconds=5.0)
    prefix = tenant.bus.prefix
    command = StartOperation(kind="counter", spec={"units": 1})
    await running.client.publish(command, command_id="cmd-before")
    await running.client.verdict("cmd-before")
    for stream, consumer in (("COMMANDS", CONSUMER), ("EVENTS", "reactor"), ("EVENTS", "registrar")):
        await jetstream.call(f"CONSUMER.DELETE.{prefix}_{stream}.{consumer}")

    await running.client.publish(command, command_id="cmd-after")
    verdict = await running.client.verdict("cmd-after")
    assert isinstance(verdict, Accepted)
    await running.keep_state()
    await running.happen(verdict.operation_id, claimed(), snapshot())
    await running.until(verdict.operation_id, CheckpointRecorded)


async def test_verdict_comes_also_for_a_command_that_is_sent_twice(running: Running) -> None:
    """A stored command and the same as a request make one operation."""
    command = StartOperation(kind="counter", spec={"units": 1})
    await running.client.publish(command, command_id="cmd-1")
    await running.client.verdict("cmd-1")
    assert isinstance(await running.client.request(command, command_id="cmd-1"), Duplicate)
    payload = encode(envelop_command(command, command_id="cmd-1", source="/test", time=EPOCH))
    assert b'"id":"cmd-1"' in payload
    rows = await running.rows("SELECT operation_id FROM operations")
    assert rows == [{"operation_id": operation_id_of("cmd-1")}]
