"""The event log on JetStream, where it differs from a list in memory: lost answers, cuts, quantity."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import pytest
from milepost_contracts.errors import UnknownEventError
from milepost_contracts.events import CheckpointRequested, Claimed, Completed, Event, Progress, Side
from milepost_contracts.messages import encode
from milepost_runtime.bus.event_log import JetStreamEventLog
from milepost_runtime.bus.moment import SIDE_BY_SIDE_MIN, MomentReader
from milepost_runtime.bus.pull import StreamReader
from milepost_runtime.errors import (
    BusRefusedError,
    BusUnavailableError,
    EventDamagedError,
    SequenceConflictError,
)

from tests.runtime_bus.bus_support import (
    CANCEL_REQUESTED,
    CLAIMED,
    COMPLETED,
    Bus,
    append,
    append_many,
    envelope,
    example,
    open_bus,
    progress,
    reconnecting,
)
from tests.runtime_bus.proxy import Proxy

pytestmark = pytest.mark.integration

MANY = 20_000
OPERATIONS = 40
EACH = 600
WAIT_SECONDS = 30.0


@pytest.fixture
def log(bus: Bus) -> JetStreamEventLog:
    return JetStreamEventLog(bus.connection, bus.settings)


async def next_entry(log: JetStreamEventLog):
    """Wait for the first event of the log."""
    async with asyncio.timeout(WAIT_SECONDS), aclosing(log.tail()) as entries:
        return await anext(entries)


async def consumers_of(bus: Bus) -> list[str]:
    return (await bus.jetstream.call(f"CONSUMER.NAMES.{bus.topology.events}"))["consumers"] or []


async def test_lost_answer(bus: Bus, log: JetStreamEventLog, proxy: Proxy) -> None:
    """An append whose answer the network swallowed is repeated by itself and is in the log once."""
    async with open_bus(proxy.settings) as cut_off:
        writer = JetStreamEventLog(cut_off.connection, cut_off.settings)
        await writer.last_sequence("op-1", Side.RUN)
        proxy.deaf = True
        appending = asyncio.create_task(append(writer, CLAIMED, "e1", expected=0))
        stored = await next_entry(log)
        assert not appending.done()
        proxy.deaf = False
        proxy.cut()
        async with asyncio.timeout(WAIT_SECONDS):
            assert await appending == stored.sequence
    assert len(await log.read_operation("op-1")) == 1


async def test_lost_answer_while_another_wrote(bus: Bus, log: JetStreamEventLog, proxy: Proxy) -> None:
    """A new owner that claimed before the old one's answer was repeated does not hide what was written."""
    async with open_bus(proxy.settings) as cut_off:
        writer = JetStreamEventLog(cut_off.connection, cut_off.settings)
        await writer.last_sequence("op-1", Side.RUN)
        proxy.deaf = True
        appending = asyncio.create_task(append(writer, CLAIMED, "e1", expected=0))
        stored = await next_entry(log)
        second = await append(log, CLAIMED, "e2", expected=stored.sequence)
        proxy.deaf = False
        proxy.cut()
        async with asyncio.timeout(WAIT_SECONDS):
            first = await appending
        assert first == stored.sequence
        with pytest.raises(SequenceConflictError):
            await append(writer, progress(1), "e3", expected=first)
    assert await log.last_sequence("op-1", Side.RUN) == second


async def test_append_gives_up_within_its_bound(proxy: Proxy) -> None:
    """Without answers an append ends after its patience; repeating it later finds what was written."""
    async with open_bus(proxy.settings) as bus:
        log = JetStreamEventLog(bus.connection, bus.settings, append_patience_seconds=0.5)
        await log.last_sequence("op-1", Side.RUN)
        proxy.deaf = True
        with pytest.raises(BusUnavailableError):
            async with asyncio.timeout(5):
                await append(log, CLAIMED, "e1", expected=0)
        proxy.deaf = False
        proxy.cut()
        patient = JetStreamEventLog(bus.connection, bus.settings, append_patience_seconds=WAIT_SECONDS)
        sequence = await append(patient, CLAIMED, "e1", expected=0)
        assert [entry.sequence for entry in await patient.read_operation("op-1")] == [sequence]


async def test_many_events_in_order_without_a_gap(bus: Bus, log: JetStreamEventLog) -> None:
    """Twenty thousand events of forty writers arrive in order, each once, while they are being written."""
    each = MANY // OPERATIONS

    async def follow() -> list[int]:
        seen: list[int] = []
        async with aclosing(log.tail_batches()) as batches:
            async for batch in batches:
                seen.extend(entry.sequence for entry in batch)
                if len(seen) >= MANY:
                    return seen
        raise AssertionError("a tail has no end")

    following = asyncio.create_task(follow())
    await asyncio.gather(
        *(append_many(log, each, operation_id=f"op-{number}") for number in range(OPERATIONS))
    )
    async with asyncio.timeout(WAIT_SECONDS):
        assert await following == list(range(1, MANY + 1))
    assert [entry.sequence async for entry in log.read_range(1)] == list(range(1, MANY + 1))
    units = [entry.event.unit for entry in await log.read_operation("op-7")]
    assert units == list(range(1, each + 1))


async def test_reading_without_progress_does_not_grow_with_it(bus: Bus, log: JetStreamEventLog) -> None:
    """What is left out is not sent: the reader's connection receives only what was asked for."""
    last = await append(log, CLAIMED, "e1", expected=0)
    last = await append_many(log, 2000, expected=last)
    await append(log, COMPLETED, "e2", expected=last)
    before = bus.connection.stats["in_msgs"]
    entries = await log.read_operation("op-1", without=(Progress,))
    assert [type(entry.event) for entry in entries] == [Claimed, Completed]
    assert bus.connection.stats["in_msgs"] - before < 10


async def test_what_is_read_while_others_write_has_no_gap(bus: Bus, log: JetStreamEventLog) -> None:
    """However many subjects an operation has, a reading is everything up to some moment."""
    written = 0

    async def write(events: list[Event]) -> None:
        nonlocal written
        expected = 0
        for number in range(EACH):
            event = events[number % len(events)]
            expected = await append(log, event, f"{event.SIDE}-{number}", expected=expected)
            written += 1

    async def read(without: tuple[type[Event], ...]) -> list[int]:
        return [entry.sequence for entry in await log.read_operation("op-1", without=without)]

    writing = asyncio.gather(
        write([CLAIMED, progress(1), COMPLETED]), write([CANCEL_REQUESTED, example(CheckpointRequested)])
    )
    readings = 0
    while not writing.done():
        before, found = written, await read(())
        assert found == list(range(1, len(found) + 1))
        assert len(found) >= before
        readings += 1
    await writing
    assert readings > 2
    assert len(await read(())) == 2 * EACH
    assert len(await read((Progress,))) == 2 * EACH - len(range(1, EACH, 3))


@pytest.mark.parametrize("units", [5, SIDE_BY_SIDE_MIN])
async def test_what_is_removed_while_it_is_read_is_counted_again(
    bus: Bus, log: JetStreamEventLog, monkeypatch: pytest.MonkeyPatch, units: int
) -> None:
    """Whoever reads an operation that is being archived gets what is left, never a part without a word.

    Also when as much came as was removed.
    """
    last = await append_many(log, units)
    subject = f"{bus.settings.prefix}.event.op-1.run.progress"
    count = MomentReader._count
    counted: list[int] = []

    async def counted_and_removed(reader: MomentReader, *arguments: Any) -> tuple[Mapping[str, int], int]:
        counts, sequence = await count(reader, *arguments)
        counted.append(sum(counts.values()))
        if len(counted) == 1:
            request = {"filter": subject, "seq": 2}
            await bus.jetstream.call(f"STREAM.PURGE.{bus.topology.events}", request)
            await append(log, progress(units + 1), "e1", expected=last)
        return counts, sequence

    monkeypatch.setattr(MomentReader, "_count", counted_and_removed)
    entries = await log.read_operation("op-1")
    assert counted == [units, units]
    assert [entry.sequence for entry in entries] == list(range(2, units + 2))


async def test_only_some_types_are_tailed(log: JetStreamEventLog) -> None:
    """A follower that waits for the end is sent the end and nothing else."""
    last = await append(log, CLAIMED, "e1", expected=0)
    last = await append_many(log, 20, expected=last)
    await append(log, COMPLETED, "e2", expected=last)
    async with aclosing(log.tail(operation_id="op-1", only=(Completed,))) as entries:
        assert isinstance((await anext(entries)).event, Completed)


async def test_tail_goes_on_after_a_cut(log: JetStreamEventLog, proxy: Proxy) -> None:
    """A reader whose connection breaks again and again misses nothing and repeats nothing."""
    rounds, each = 5, 300
    async with open_bus(proxy.settings) as cut_off:
        reader = JetStreamEventLog(cut_off.connection, cut_off.settings)
        seen: list[int] = []
        last = 0
        async with aclosing(reader.tail()) as entries:
            for number in range(rounds):
                last = await append_many(log, each, operation_id=f"op-{number}")
                async with asyncio.timeout(WAIT_SECONDS):
                    while len(seen) < number * each + each // 2:
                        seen.append((await anext(entries)).sequence)
                proxy.cut()
            async with asyncio.timeout(WAIT_SECONDS):
                while not seen or seen[-1] < last:
                    seen.append((await anext(entries)).sequence)
    assert seen == list(range(1, rounds * each + 1))


async def test_tail_goes_on_without_its_consumer(bus: Bus, log: JetStreamEventLog) -> None:
    """A reader whose consumer was deleted makes another and goes on where it was."""
    first = await append(log, CLAIMED, "e1", expected=0)
    async with aclosing(log.tail()) as entries:
        assert (await anext(entries)).sequence == first
        waiting = asyncio.create_task(anext(entries))
        await bus.connection.replies.round_trip(timeout_seconds=5)
        (name,) = await consumers_of(bus)
        await bus.jetstream.call(f"CONSUMER.DELETE.{bus.topology.events}.{name}")
        second = await append(log, progress(1), "e2", expected=first)
        async with asyncio.timeout(WAIT_SECONDS):
            assert (await waiting).sequence == second


async def test_gap_is_noticed_and_filled(log: JetStreamEventLog, proxy: Proxy) -> None:
    """A message that never arrived is missed with the next one, and both are delivered in order."""
    first = await append(log, CLAIMED, "e1", expected=0)
    async with open_bus(proxy.settings) as lossy:
        reader = JetStreamEventLog(lossy.connection, lossy.settings)
        async with aclosing(reader.tail()) as entries:
            assert (await anext(entries)).sequence == first
            waiting = asyncio.create_task(anext(entries))
            await lossy.connection.replies.round_trip(timeout_seconds=5)
            proxy.deaf = True
            second = await append(log, progress(1), "lost-event", expected=first)
            async with asyncio.timeout(WAIT_SECONDS):
                await proxy.swallowed(b"lost-event")
            proxy.deaf = False
            third = await append(log, progress(2), "e3", expected=second)
            async with asyncio.timeout(WAIT_SECONDS):
                assert (await waiting).sequence == second
                assert (await anext(entries)).sequence == third


async def test_silent_link_is_noticed(
    log: JetStreamEventLog, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that carries nothing any more, yet does not break, is made anew and the reader goes on."""
    monkeypatch.setattr("milepost_runtime.bus.connection.PING_INTERVAL_SECONDS", 1.0)
    async with open_bus(proxy.settings) as silent:
        reader = JetStreamEventLog(silent.connection, silent.settings)
        async with aclosing(reader.tail()) as entries:
            first = await append(log, CLAIMED, "seen-event", expected=0)
            assert (await anext(entries)).sequence == first  # the server knows what the reader waits for
            waiting = asyncio.create_task(anext(entries))
            async with reconnecting(silent.connection):
                proxy.deaf = True
                second = await append(log, CLAIMED, "lost-event", expected=first)
                async with asyncio.timeout(WAIT_SECONDS):
                    await proxy.swallowed(b"lost-event")
                    await proxy.lost_a_connection()
                proxy.deaf = False
            async with asyncio.timeout(WAIT_SECONDS):
                assert (await waiting).sequence == second


async def test_slow_reader_has_a_bounded_buffer(bus: Bus, log: JetStreamEventLog) -> None:
    """A reader that takes little holds little, and still gets everything in order."""
    await append_many(log, 500)
    reader = StreamReader(bus.connection, bus.topology.events, timeout_seconds=5, buffer_messages=20)
    seen: list[int] = []
    while len(seen) < 500:
        seen.extend(message.sequence for message in await reader.next_batch(3))
        assert len(reader._buffer) <= 20
    await reader.close()
    assert seen == list(range(1, 501))


async def test_range_survives_a_purge(bus: Bus, log: JetStreamEventLog) -> None:
    """A bounded reading ends although what it was to bring was removed meanwhile."""
    await append_many(log, 100)
    reader = StreamReader(bus.connection, bus.topology.events, timeout_seconds=5, buffer_messages=10)
    seen = await reader.next_batch_to_end(5)
    await bus.jetstream.call(f"STREAM.PURGE.{bus.topology.events}", {})
    async with asyncio.timeout(WAIT_SECONDS):
        while batch := await reader.next_batch_to_end(5):
            seen += batch
    await reader.close()
    assert [message.sequence for message in seen] == list(range(1, len(seen) + 1))
    assert len(seen) <= 20


async def test_closed_readers_leave_no_consumer(bus: Bus, log: JetStreamEventLog) -> None:
    """Reading leaves nothing behind on the server."""
    await append_many(log, 3)
    await log.read_operation("op-1")
    assert len([entry async for entry in log.read_range(1)]) == 3
    await next_entry(log)
    await bus.connection.replies.round_trip(timeout_seconds=5)
    assert await consumers_of(bus) == []


async def test_damaged_event_is_named(bus: Bus, log: JetStreamEventLog) -> None:
    """What is no event is an error with its position, and never passed over."""
    subject = f"{bus.settings.prefix}.event.op-1.run.claimed"
    await bus.jetstream.publish(subject, b"not json", headers={})
    with pytest.raises(EventDamagedError, match=r"sequence 1, .*op-1\.run\.claimed"):
        await log.read_operation("op-1")


async def test_event_of_a_newer_version_is_named(bus: Bus, log: JetStreamEventLog) -> None:
    """An event that this version does not know stops the reader, who says to upgrade."""
    newer = envelope(CLAIMED, "e1").model_copy(update={"type": "milepost.operation.claimed.v2"})
    await bus.jetstream.publish(f"{bus.settings.prefix}.event.op-1.run.claimed", encode(newer), headers={})
    with pytest.raises(EventDamagedError, match="may have written it") as raised:
        await log.read_operation("op-1")
    assert isinstance(raised.value.__cause__, UnknownEventError)


async def test_log_without_a_stream_is_refused(bus: Bus, log: JetStreamEventLog) -> None:
    """Reading before anyone made the streams is an error and not an endless wait."""
    await bus.jetstream.call(f"STREAM.DELETE.{bus.topology.events}")
    with pytest.raises(BusRefusedError, match="stream not found"):
        await anext(log.tail())
