"""The JetStream streams: made once, by many, mended where possible, and never bent silently."""

import asyncio

import pytest
from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.bus.connection import connect
from milepost_runtime.bus.jetstream import NANOSECONDS
from milepost_runtime.bus.topology import Topology, ensure_topology
from milepost_runtime.bus.work_consumer import ensure_work_consumer, work_lease
from milepost_runtime.errors import BusRefusedError, TopologyError

from tests.runtime_bus.bus_support import FLEET_TTL_SECONDS, Bus

pytestmark = pytest.mark.integration


async def config_of(bus: Bus, stream: str) -> dict:
    return (await bus.jetstream.call(f"STREAM.INFO.{stream}"))["config"]


async def ensure(bus: Bus) -> None:
    await ensure_topology(bus.connection, bus.settings, fleet_ttl_seconds=FLEET_TTL_SECONDS)


async def test_streams_are_as_designed(bus: Bus) -> None:
    """Events stay for ever on disk, work is one message an operation, verdicts stay a day, heartbeats a moment."""
    topology, prefix = bus.topology, bus.settings.prefix
    events = await config_of(bus, topology.events)
    assert (events["storage"], events["retention"], events["subjects"]) == (
        "file",
        "limits",
        [f"{prefix}.event.>"],
    )
    assert (events["max_age"], events["discard"], events["allow_direct"]) == (0, "new", True)
    assert events["duplicate_window"] == 120 * NANOSECONDS
    work = await config_of(bus, topology.work)
    assert (work["retention"], work["max_msgs_per_subject"], work["discard"]) == ("workqueue", 1, "new")
    assert work["discard_new_per_subject"]
    assert (await config_of(bus, topology.commands))["retention"] == "workqueue"
    assert (await config_of(bus, topology.verdicts))["max_age"] == 86_400 * NANOSECONDS
    assert (await config_of(bus, f"KV_{topology.fleet}"))["max_age"] == FLEET_TTL_SECONDS * NANOSECONDS
    assert (await config_of(bus, f"KV_{topology.kinds}"))["max_age"] == 0


async def test_many_at_once(tenant: StackEndpoints) -> None:
    """Processes that start at the same moment all find the streams there."""
    connections = await asyncio.gather(*(connect(tenant.bus, name=f"test {n}") for n in range(4)))
    try:
        await asyncio.gather(*(ensure_topology(connection, tenant.bus) for connection in connections))
        await ensure_topology(connections[0], tenant.bus)
        bus = Bus(connections[0], tenant.bus)
        assert (await config_of(bus, Topology(tenant.bus).events))["name"] == Topology(tenant.bus).events
    finally:
        for connection in connections:
            await connection.close()


async def test_again_changes_nothing(bus: Bus) -> None:
    """A second call leaves every stream as it is, messages included."""
    before = await config_of(bus, bus.topology.work)
    await bus.jetstream.publish(f"{bus.settings.prefix}.work.counter.default.op-1", b"", headers={})
    await ensure(bus)
    assert await config_of(bus, bus.topology.work) == before
    state = (await bus.jetstream.call(f"STREAM.INFO.{bus.topology.work}"))["state"]
    assert state["messages"] == 1


async def test_difference_is_mended(bus: Bus) -> None:
    """A setting that someone has changed is changed back, and what else they set stays."""
    name = bus.topology.verdicts
    changed = {
        **await config_of(bus, name),
        "max_age": 60 * NANOSECONDS,
        "duplicate_window": 60 * NANOSECONDS,
        "description": "ours",
    }
    await bus.jetstream.call(f"STREAM.UPDATE.{name}", changed)
    await ensure(bus)
    mended = await config_of(bus, name)
    assert mended["max_age"] == 86_400 * NANOSECONDS
    assert mended["description"] == "ours"


async def test_difference_that_cannot_be_mended_is_named(tenant: StackEndpoints) -> None:
    """A stream in memory is refused by name: what must not be lost does not go there."""
    connection = await connect(tenant.bus, name="test")
    bus = Bus(connection, tenant.bus)
    try:
        name = bus.topology.events
        wrong = {"name": name, "subjects": [f"{tenant.bus.prefix}.event.>"], "storage": "memory"}
        await bus.jetstream.call(f"STREAM.CREATE.{name}", wrong)
        with pytest.raises(TopologyError, match=f"{name}.*storage is 'memory' and should be 'file'"):
            await ensure(bus)
    finally:
        await connection.close()


async def test_subjects_that_belong_to_another_stream_are_named(tenant: StackEndpoints) -> None:
    """Where a foreign stream takes our subjects, ours cannot be made, and the reason is given."""
    connection = await connect(tenant.bus, name="test")
    bus = Bus(connection, tenant.bus)
    foreign = f"{tenant.bus.prefix}_FOREIGN"
    try:
        await bus.jetstream.call(
            f"STREAM.CREATE.{foreign}", {"name": foreign, "subjects": [f"{tenant.bus.prefix}.work.>"]}
        )
        with pytest.raises(TopologyError, match=r"_WORK cannot be created: subjects overlap"):
            await ensure(bus)
    finally:
        await connection.close()


async def test_longest_lease_wins(bus: Bus) -> None:
    """Workers of one kind with different leases get the longest, whoever comes first."""
    leases = [5.0, 30.0, 10.0]
    given = await asyncio.gather(
        *(
            ensure_work_consumer(bus.connection, bus.settings, "counter", lease_seconds=lease)
            for lease in leases
        )
    )
    assert all(got >= wanted for got, wanted in zip(given, leases, strict=True))
    assert await work_lease(bus.connection, bus.settings, "counter") == 30.0
    assert await ensure_work_consumer(bus.connection, bus.settings, "counter", lease_seconds=1.0) == 30.0


async def test_kinds_have_leases_of_their_own(bus: Bus) -> None:
    """One kind's lease says nothing of another's."""
    await ensure_work_consumer(bus.connection, bus.settings, "counter", lease_seconds=5.0)
    await ensure_work_consumer(bus.connection, bus.settings, "trainer", lease_seconds=60.0)
    assert await work_lease(bus.connection, bus.settings, "counter") == 5.0
    assert await work_lease(bus.connection, bus.settings, "trainer") == 60.0
    assert await work_lease(bus.connection, bus.settings, "unknown") is None


async def test_foreign_consumer_is_named(bus: Bus) -> None:
    """A consumer of our name that gives out other work is an error and not used."""
    stream, name = bus.topology.work, bus.topology.work_consumer("counter")
    other = f"{bus.settings.prefix}.work.trainer.>"
    await bus.jetstream.call(
        f"CONSUMER.CREATE.{stream}.{name}.{other}",
        {
            "stream_name": stream,
            "config": {
                "name": name,
                "durable_name": name,
                "filter_subject": other,
                "ack_policy": "explicit",
            },
        },
    )
    with pytest.raises(TopologyError, match="filter_subject"):
        await ensure_work_consumer(bus.connection, bus.settings, "counter", lease_seconds=5.0)


async def test_refusal_keeps_its_code(bus: Bus) -> None:
    """What JetStream refuses can be told apart by its code."""
    with pytest.raises(BusRefusedError, match="stream not found") as refused:
        await bus.jetstream.call(f"STREAM.INFO.{bus.settings.prefix}_NONE")
    assert refused.value.error_code == 10059
