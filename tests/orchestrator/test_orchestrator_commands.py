"""The command handler over doubles: verdicts, what is in the log afterwards, and the work."""

import asyncio

import pytest
from milepost_contracts.commands import StartOperation
from milepost_contracts.envelope import Envelope
from milepost_contracts.events import Cancelled, CancelRequested, Requested, Resumed
from milepost_contracts.failures import RejectionCode
from milepost_contracts.ids import operation_id_of
from milepost_contracts.messages import encode, envelop_command
from milepost_contracts.verdicts import Accepted, Duplicate, Rejected
from milepost_orchestrator.application.entrance import CommandEntrance
from milepost_orchestrator.application.registrar import Registrar
from milepost_runtime.errors import StoreUnavailableError
from milepost_runtime.event_log import LogEntry
from milepost_runtime.testing.event_log import MemoryEventLog

from tests.orchestrator.stories import (
    EPOCH,
    attempt_lost,
    cancelled,
    claimed,
    completed,
    failed,
    progress,
    snapshot,
    started,
)
from tests.orchestrator.workshop import Workshop

pytestmark = pytest.mark.unit


def code(verdict: object) -> RejectionCode:
    assert isinstance(verdict, Rejected), verdict
    return verdict.code


async def start_and_end(workshop: Workshop) -> str:
    """A cancelled operation with one checkpoint whose artifact is in the store."""
    workshop.keep_state()
    verdict = await workshop.start()
    await workshop.happen(verdict.operation_id, claimed(), started(), snapshot(), cancelled())
    return verdict.operation_id


# --- start ----------------------------------------------------------------------------------------


async def test_start_is_requested_and_dispatched(workshop: Workshop) -> None:
    """An accepted start is in the log with its resolved spec, and there is work for it at once."""
    verdict = await workshop.start("cmd-1", name="first")
    assert isinstance(verdict, Accepted)
    assert verdict.operation_id == operation_id_of("cmd-1")
    (requested,) = workshop.events(verdict.operation_id, Requested)
    assert requested.spec == {"units": 100, "seconds": 0.5}
    assert requested.requested_by == "/test"
    assert await workshop.has_work(verdict.operation_id)


async def test_start_again_is_a_duplicate(workshop: Workshop) -> None:
    """The same command makes one operation, also when its dataset or kind has changed since."""
    first = await workshop.start("cmd-1")
    workshop.kinds._kinds.clear()
    again = await workshop.start("cmd-1")
    assert again == Duplicate(command_id="cmd-1", operation_id=first.operation_id)
    assert len(workshop.event_log.entries) == 1


async def test_start_with_a_used_id_is_refused(workshop: Workshop) -> None:
    """Another start under the same id is refused and nothing is written."""
    await workshop.start("cmd-1")
    assert code(await workshop.start("cmd-1", name="other")) is RejectionCode.COMMAND_ID_REUSED
    assert len(workshop.event_log.entries) == 1


async def test_duplicate_of_a_finished_operation_makes_no_work(workshop: Workshop) -> None:
    """A start that is sent again after its operation has ended does not queue it again."""
    verdict = await workshop.start("cmd-1")
    await workshop.happen(verdict.operation_id, claimed(), completed())
    await workshop.work_queue.remove(next(iter(workshop.work_queue._works)))
    assert isinstance(await workshop.start("cmd-1"), Duplicate)
    assert not await workshop.has_work(verdict.operation_id)


async def test_dry_run_says_the_same_and_does_nothing(workshop: Workshop) -> None:
    """A dry run gives the verdict and leaves log and queue as they are."""
    accepted = await workshop.start("cmd-1", dry_run=True)
    assert accepted == Accepted(command_id="cmd-1", operation_id=operation_id_of("cmd-1"), dry_run=True)
    assert code(await workshop.start(dry_run=True, spec={"units": "x"})) is RejectionCode.INVALID_SPEC
    operation_id = await start_and_end(workshop)
    before = len(workshop.event_log.entries)
    assert isinstance(await workshop.resume(operation_id, dry_run=True), Accepted)
    assert len(workshop.event_log.entries) == before


async def test_bus_away_is_a_verdict(workshop: Workshop) -> None:
    """A start that cannot be written is refused as unavailable, with what to do."""
    workshop.event_log.away = True
    verdict = await workshop.start()
    assert code(verdict) is RejectionCode.UNAVAILABLE
    assert "again" in verdict.fix


async def test_lost_answer_is_no_second_operation(workshop: Workshop) -> None:
    """When the log stored the request and its answer was lost, sending the command again finds it."""
    workshop.event_log.lose_next_answer()
    assert code(await workshop.start("cmd-1")) is RejectionCode.UNAVAILABLE
    assert isinstance(await workshop.start("cmd-1"), Duplicate)
    assert await workshop.has_work(operation_id_of("cmd-1"))


# --- cancel ---------------------------------------------------------------------------------------


async def test_cancel_of_a_queued_operation_ends_it(workshop: Workshop) -> None:
    """Nobody owns it, so it is cancelled at once and its work is gone."""
    operation_id = (await workshop.start()).operation_id
    assert isinstance(await workshop.cancel(operation_id, reason="no need"), Accepted)
    (event,) = workshop.events(operation_id, Cancelled)
    assert (event.attempt, event.unit, event.checkpoint_id, event.reason) == (0, 0, None, "no need")
    assert not await workshop.has_work(operation_id)


async def test_cancel_of_a_running_operation_is_left_to_its_owner(workshop: Workshop) -> None:
    """The owner is told to look, and nobody else ends the operation."""
    operation_id = (await workshop.start()).operation_id
    await workshop.happen(operation_id, claimed(), started(), progress(10))
    await workshop.cancel(operation_id)
    assert workshop.events(operation_id, CancelRequested)
    assert not workshop.events(operation_id, Cancelled)
    assert await workshop.has_work(operation_id)


async def test_cancel_at_a_later_unit_leaves_the_operation_queued(workshop: Workshop) -> None:
    """A queued operation that is to stop after unit 70 still has to do 70 units."""
    operation_id = (await workshop.start()).operation_id
    await workshop.cancel(operation_id, at_unit=70)
    assert await workshop.has_work(operation_id)
    assert not workshop.events(operation_id, Cancelled)


async def test_cancel_after_a_lost_attempt_keeps_the_newest_checkpoint(workshop: Workshop) -> None:
    """Ended between two attempts, it can be resumed from what the lost one saved."""
    operation_id = (await workshop.start()).operation_id
    await workshop.happen(operation_id, claimed(), started(), snapshot("cp-1", 50), attempt_lost())
    await workshop.cancel(operation_id)
    (event,) = workshop.events(operation_id, Cancelled)
    assert (event.attempt, event.unit, event.checkpoint_id) == (1, 50, "cp-1")


async def test_cancel_that_loses_to_a_claim_is_the_claimers(workshop: Workshop) -> None:
    """A claim between the look and the append wins; the operation is not ended over its owner's head."""
    operation_id = (await workshop.start()).operation_id
    state, expected = await workshop.operations.load_for_run_append(operation_id)
    await workshop.happen(operation_id, claimed())

    async def before_the_claim(_: str) -> tuple:
        return await workshop.operations.load(operation_id), expected

    workshop.operations.load_for_run_append = before_the_claim
    assert state is not None
    await workshop.cancel(operation_id)
    assert not workshop.events(operation_id, Cancelled)
    assert await workshop.has_work(operation_id)


# --- resume ---------------------------------------------------------------------------------------


async def test_resume_makes_a_linked_child_with_work(workshop: Workshop) -> None:
    """The child goes on from the checkpoint, and the parent remembers it."""
    parent_id = await start_and_end(workshop)
    verdict = await workshop.resume(parent_id, "cmd-r")
    assert verdict == Accepted(
        command_id="cmd-r",
        operation_id=operation_id_of("cmd-r"),
        parent_id=parent_id,
        checkpoint_id="cp-1",
        unit=50,
    )
    child = (await workshop.state(verdict.operation_id)).facts
    assert (child.requested.parent_id, child.unit, child.origin.checkpoint_id) == (parent_id, 50, "cp-1")
    assert (await workshop.state(parent_id)).facts.child_id == verdict.operation_id
    assert await workshop.has_work(verdict.operation_id)


async def test_resume_again_is_a_duplicate_with_one_child(workshop: Workshop) -> None:
    """The same resume names its child and makes no second one."""
    parent_id = await start_and_end(workshop)
    first = await workshop.resume(parent_id, "cmd-r")
    assert await workshop.resume(parent_id, "cmd-r") == Duplicate(
        command_id="cmd-r", operation_id=first.operation_id
    )
    assert len(workshop.events(parent_id, Resumed)) == 1


async def test_resume_that_was_cut_off_is_finished_when_sent_again(workshop: Workshop) -> None:
    """``resumed`` without its child: the same command sent again makes the child."""
    parent_id = await start_and_end(workshop)
    create_child, workshop.effects.create_child = workshop.effects.create_child, _nothing
    await workshop.resume(parent_id, "cmd-r")
    child_id = operation_id_of("cmd-r")
    assert not workshop.events(child_id)
    workshop.effects.create_child = create_child
    assert isinstance(await workshop.resume(parent_id, "cmd-r"), Duplicate)
    assert len(workshop.events(child_id, Requested)) == 1
    assert await workshop.has_work(child_id)


async def test_resume_that_was_cut_off_is_finished_by_the_reactor(workshop: Workshop) -> None:
    """``resumed`` without its child: whoever reads the event makes the child, once, however often."""
    parent_id = await start_and_end(workshop)
    create_child, workshop.effects.create_child = workshop.effects.create_child, _nothing
    await workshop.resume(parent_id, "cmd-r")
    workshop.effects.create_child = create_child
    entry = workshop.event_log.entries[-1]
    assert isinstance(entry.event, Resumed)
    await workshop.reactor.handle(entry)
    await workshop.reactor.handle(entry)
    assert len(workshop.events(operation_id_of("cmd-r"), Requested)) == 1
    assert await workshop.has_work(operation_id_of("cmd-r"))


async def test_resume_with_missing_artifacts_names_them(workshop: Workshop) -> None:
    """Nothing is written to the parent when its checkpoint has lost artifacts."""
    verdict = await workshop.start()
    await workshop.happen(verdict.operation_id, claimed(), snapshot(), failed())
    before = len(workshop.event_log.entries)
    refused = await workshop.resume(verdict.operation_id)
    assert code(refused) is RejectionCode.ARTIFACTS_MISSING
    assert [problem.field for problem in refused.problems] == ["state.json"]
    assert len(workshop.event_log.entries) == before


async def test_fifty_resumes_at_once_make_one_child(workshop: Workshop) -> None:
    """One is accepted; each of the others is told which child won."""
    parent_id = await start_and_end(workshop)
    verdicts = await asyncio.gather(*(workshop.resume(parent_id) for _ in range(50)))
    (winner,) = [verdict for verdict in verdicts if isinstance(verdict, Accepted)]
    refused = [verdict for verdict in verdicts if isinstance(verdict, Rejected)]
    assert len(refused) == 49
    assert {verdict.code for verdict in refused} == {RejectionCode.RESUME_IN_PROGRESS}
    assert {verdict.operation_id for verdict in refused} == {winner.operation_id}
    assert len(workshop.events(parent_id, Resumed)) == 1


async def test_resume_goes_on_when_another_event_was_first(workshop: Workshop) -> None:
    """A conflict with an event that changes nothing is decided again, and accepted."""
    parent_id = await start_and_end(workshop)
    log = workshop.event_log
    append, interrupted = log.append, []

    async def interrupted_append(envelope: Envelope, event: type, *, expected_sequence: int) -> int:
        if event is Resumed and not interrupted:
            interrupted.append(1)
            log.append = append
            (saved,) = [entry for entry in log.entries if entry.event.NAME == "state-snapshot"]
            await workshop.registrar.handle(saved)
        return await append(envelope, event, expected_sequence=expected_sequence)

    log.append = interrupted_append
    assert isinstance(await workshop.resume(parent_id), Accepted)
    assert interrupted


async def _nothing(*_: object, **__: object) -> None:
    """A crash: the effect never happens."""


# --- reactor and registrar ------------------------------------------------------------------------


async def test_reactor_dispatches_what_was_only_requested(workshop: Workshop) -> None:
    """A request whose dispatch was cut off has work as soon as it is read."""
    verdict = await workshop.start()
    await workshop.work_queue.remove(next(iter(workshop.work_queue._works)))
    await workshop.reactor.handle(workshop.event_log.entries[0])
    assert await workshop.has_work(verdict.operation_id)


async def test_reactor_does_not_queue_what_has_ended(workshop: Workshop) -> None:
    """Reading an old request again after its operation's end changes nothing."""
    verdict = await workshop.start()
    await workshop.happen(verdict.operation_id, claimed(), completed())
    await workshop.work_queue.remove(next(iter(workshop.work_queue._works)))
    await workshop.reactor.handle(workshop.event_log.entries[0])
    assert not await workshop.has_work(verdict.operation_id)


async def test_registrar_records_a_good_checkpoint_once(workshop: Workshop) -> None:
    """The manifest is in the store before the event says so; handling it again writes nothing."""
    workshop.keep_state()
    operation_id = (await workshop.start()).operation_id
    entry = await workshop.happen(operation_id, claimed(), snapshot())
    await workshop.registrar.handle(entry)
    await workshop.registrar.handle(entry)
    checkpoint = (await workshop.state(operation_id)).facts.checkpoints["cp-1"]
    assert checkpoint.status == "recorded"
    assert workshop.store.get_document(checkpoint.manifest_key) is not None
    assert len(workshop.events(operation_id)) == 4


async def test_registrar_refuses_a_checkpoint_that_lost_an_artifact(workshop: Workshop) -> None:
    """The bad artifact is named in the event, and no manifest is written."""
    operation_id = (await workshop.start()).operation_id
    await workshop.registrar.handle(await workshop.happen(operation_id, claimed(), snapshot()))
    checkpoint = (await workshop.state(operation_id)).facts.checkpoints["cp-1"]
    assert checkpoint.status == "refused"
    assert [problem.field for problem in checkpoint.problems] == ["state.json"]


async def test_registrar_leaves_the_checkpoint_while_the_store_is_away(workshop: Workshop) -> None:
    """An outage refuses nothing: the event is to be handled again."""

    class Away:
        def register(self, _: object) -> None:
            raise StoreUnavailableError("the test took it away")

    operation_id = (await workshop.start()).operation_id
    entry = await workshop.happen(operation_id, claimed(), snapshot())
    with pytest.raises(StoreUnavailableError):
        await Registrar(workshop.operations, workshop.appender, Away()).handle(entry)
    assert (await workshop.state(operation_id)).facts.checkpoints["cp-1"].status == "saved"


async def test_two_registrars_settle_a_checkpoint_once(workshop: Workshop) -> None:
    """The same event delivered to two orchestrators at once is recorded once."""
    workshop.keep_state()
    operation_id = (await workshop.start()).operation_id
    entry: LogEntry = await workshop.happen(operation_id, claimed(), snapshot())
    await asyncio.gather(*(workshop.registrar.handle(entry) for _ in range(5)))
    assert len(workshop.events(operation_id)) == 4


# --- the entrance ---------------------------------------------------------------------------------


def message(command_id: str = "cmd-1", **changes: object) -> bytes:
    command = StartOperation(kind="counter", spec={"units": 1})
    envelope = envelop_command(command, command_id=command_id, source="/test", time=EPOCH)
    return encode(envelope.model_copy(update=changes))


@pytest.mark.parametrize(
    ("payload", "command_id"),
    [
        (b"", "unidentified-7"),
        (b"not json", "unidentified-7"),
        (b'{"id": "has.dots"}', "unidentified-7"),
        (b'{"id": "cmd-9", "what": 1}', "cmd-9"),
        (message(id="has.dots"), "unidentified-7"),
        (message(type="milepost.command.cancel.v1"), "cmd-1"),
        (message(type="milepost.command.unknown.v1"), "cmd-1"),
        (message(data={"kind": "counter"}), "cmd-1"),
        (message(data={"kind": "counter", "spec": {}, "more": 1}), "cmd-1"),
    ],
)
async def test_malformed_message_is_answered(workshop: Workshop, payload: bytes, command_id: str) -> None:
    """Whatever comes is answered as an invalid command, under its own id where it has a usable one."""
    verdict = await CommandEntrance(workshop.handler).answer(
        payload, command_name="start", fallback_id="unidentified-7"
    )
    assert code(verdict) is RejectionCode.INVALID_COMMAND
    assert verdict.command_id == command_id
    assert not workshop.event_log.entries


async def test_unknown_command_is_answered(workshop: Workshop) -> None:
    """A subject that stands for no command is named with those there are."""
    verdict = await CommandEntrance(workshop.handler).answer(
        message(), command_name="explode", fallback_id="x"
    )
    assert code(verdict) is RejectionCode.INVALID_COMMAND
    assert "cancel, checkpoint-now, cleanup, delete-checkpoint" in verdict.message


async def test_good_message_is_handled(workshop: Workshop) -> None:
    """A well-formed command goes to the handler under its own id and source."""
    verdict = await CommandEntrance(workshop.handler).answer(message(), command_name="start", fallback_id="x")
    assert verdict == Accepted(command_id="cmd-1", operation_id=operation_id_of("cmd-1"))


async def test_endless_conflict_is_a_verdict(tmp_path: object, workshop: Workshop) -> None:
    """A command that always loses its race is refused as unavailable and not tried for ever."""
    from milepost_runtime.errors import SequenceConflictError

    class Contended(MemoryEventLog):
        async def append(self, *_: object, **__: object) -> int:
            raise SequenceConflictError("always")

    contended = await Workshop(tmp_path, Contended()).open()
    assert code(await contended.start()) is RejectionCode.UNAVAILABLE
