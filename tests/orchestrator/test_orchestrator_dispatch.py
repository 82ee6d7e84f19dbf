"""Hold, release and limit: the decisions, the records, and the same answers at every entrance."""

import asyncio

import pytest
from milepost_contracts.commands import DrainWorker, HoldDispatch, LimitKind, ReleaseDispatch, UndrainWorker
from milepost_contracts.dispatch import DispatchPolicy
from milepost_contracts.examples import HEARTBEAT_EXAMPLE
from milepost_contracts.failures import RejectionCode
from milepost_contracts.verdicts import Accepted, Duplicate, Rejected
from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.errors import BusUnavailableError

from tests.orchestrator.running import Running
from tests.orchestrator.workshop import Workshop


def code(answer: object) -> RejectionCode:
    assert isinstance(answer, Rejected), answer
    assert answer.fix
    return answer.code


@pytest.mark.unit
async def test_holds_are_kept_with_who_and_why_until_released(workshop: Workshop) -> None:
    """All and one kind are held apart; what is held twice, or released unheld, is refused by name."""
    assert isinstance(await workshop.send(HoldDispatch(kind="counter", reason="repairs")), Accepted)
    held = await workshop.send(HoldDispatch(kind="counter"))
    assert code(held) is RejectionCode.ALREADY_HELD
    assert isinstance(held, Rejected)
    assert "held by /test: repairs" in held.message
    assert code(await workshop.send(ReleaseDispatch())) is RejectionCode.NOT_HELD
    assert isinstance(await workshop.send(HoldDispatch()), Accepted)
    assert isinstance(await workshop.send(ReleaseDispatch(kind="counter")), Accepted)
    still = await workshop.send(ReleaseDispatch(kind="counter"))
    assert code(still) is RejectionCode.NOT_HELD
    policy = await workshop.dispatching.policy()
    assert policy.hold_on("counter") == policy.held
    assert workshop.gate.policy == policy
    assert isinstance(await workshop.send(ReleaseDispatch()), Accepted)
    assert (await workshop.dispatching.policy()).hold_on("counter") is None
    assert [record.envelope.data["requested_by"] for record in workshop.records.records] == ["/test"] * 4


@pytest.mark.unit
async def test_limits_say_what_was_before(workshop: Workshop) -> None:
    """A limit that is there already is refused; none takes it away."""
    assert isinstance(await workshop.send(LimitKind(kind="counter", limit=2)), Accepted)
    assert code(await workshop.send(LimitKind(kind="counter", limit=2))) is RejectionCode.LIMIT_UNCHANGED
    assert isinstance(await workshop.send(LimitKind(kind="counter", limit=3)), Accepted)
    assert isinstance(await workshop.send(LimitKind(kind="counter")), Accepted)
    assert code(await workshop.send(LimitKind(kind="counter"))) is RejectionCode.LIMIT_UNCHANGED
    changes = [
        (each.envelope.data["before"], each.envelope.data["limit"]) for each in workshop.records.records
    ]
    assert changes == [(None, 2), (2, 3), (3, None)]
    assert workshop.gate.policy == await workshop.dispatching.policy()


@pytest.mark.unit
async def test_drains_are_kept_with_who_and_why_until_undrained(workshop: Workshop) -> None:
    """Of live workers only; one that also releases may follow one that does not; it stays when the worker goes."""
    drain = DrainWorker(worker_id="w-1", reason="new disks")
    missing = await workshop.send(drain)
    assert code(missing) is RejectionCode.WORKER_NOT_FOUND
    await workshop.fleet.beat(HEARTBEAT_EXAMPLE.model_copy(update={"worker_id": "w-1"}))
    assert code(await workshop.send(UndrainWorker(worker_id="w-1"))) is RejectionCode.DRAIN_UNCHANGED
    assert isinstance(await workshop.send(drain, "cmd-drain"), Accepted)
    assert isinstance(await workshop.send(drain, "cmd-drain"), Duplicate)
    again = await workshop.send(drain)
    assert code(again) is RejectionCode.DRAIN_UNCHANGED
    assert isinstance(again, Rejected)
    assert "drained by /test: new disks" in again.message
    releasing = DrainWorker(worker_id="w-1", release=True)
    assert isinstance(await workshop.send(releasing), Accepted)
    assert code(await workshop.send(drain)) is RejectionCode.DRAIN_UNCHANGED
    policy = await workshop.dispatching.policy()
    assert policy.drained_workers["w-1"].release
    assert workshop.gate.policy == policy
    await workshop.fleet.leave("w-1")
    assert isinstance(await workshop.send(UndrainWorker(worker_id="w-1")), Accepted)
    assert (await workshop.dispatching.policy()).drained_workers == {}
    assert [record.envelope.data["worker_id"] for record in workshop.records.records] == ["w-1"] * 3


@pytest.mark.unit
async def test_the_same_command_takes_effect_once_and_a_dry_run_never(workshop: Workshop) -> None:
    """A used id with another content is refused; the dry run says the verdict of the real one."""
    command = HoldDispatch(reason="night")
    dry = await workshop.send(command.model_copy(update={"dry_run": True}), "cmd-1")
    assert isinstance(dry, Accepted)
    assert workshop.records.records == []
    assert isinstance(await workshop.send(command, "cmd-1"), Accepted)
    assert isinstance(await workshop.send(command, "cmd-1"), Duplicate)
    assert code(await workshop.send(ReleaseDispatch(), "cmd-1")) is RejectionCode.COMMAND_ID_REUSED
    assert len(workshop.records.records) == 1


@pytest.mark.unit
async def test_of_many_holds_at_once_one_wins(workshop: Workshop) -> None:
    """The others are told who holds."""
    answers = await asyncio.gather(*(workshop.send(HoldDispatch()) for _ in range(20)))
    assert sum(isinstance(answer, Accepted) for answer in answers) == 1
    assert {code(answer) for answer in answers if not isinstance(answer, Accepted)} == {
        RejectionCode.ALREADY_HELD
    }


@pytest.mark.unit
async def test_a_gate_that_was_away_is_kept_later(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record counts: the command is accepted, and whoever keeps the gate brings it to the policy."""

    async def away(policy: DispatchPolicy) -> None:
        raise BusUnavailableError("away")

    with monkeypatch.context() as patched:
        patched.setattr(workshop.gate, "apply", away)
        assert isinstance(await workshop.send(HoldDispatch()), Accepted)
    assert workshop.gate.policy is None
    keeping = asyncio.create_task(workshop.dispatching.keep())
    async with asyncio.timeout(10):
        await workshop.gate.applied.wait()
    keeping.cancel()
    assert workshop.gate.policy == await workshop.dispatching.policy()


async def test_http_and_bus_answer_the_same_and_waiting_says_who_holds(
    running: Running, tenant: StackEndpoints
) -> None:
    """Held over HTTP, refused over the bus, seen with the operation that waits, released over the bus."""
    operation_id = await running.start()
    body = {"kind": "counter", "reason": "the machine moves"}
    answer = await running.http.post("/dispatch/hold", json=body)
    assert (answer.status_code, answer.headers["location"]) == (200, "/dispatch")
    refused = await running.client.request(HoldDispatch(kind="counter"))
    problem = await running.http.post("/dispatch/hold", json=body)
    assert isinstance(refused, Rejected)
    assert (problem.status_code, problem.json()["code"]) == (409, refused.code.value)
    assert (problem.json()["detail"], problem.json()["fix"]) == (refused.message, refused.fix)
    policy = (await running.http.get("/dispatch")).json()
    assert policy["held_kinds"]["counter"]["reason"] == "the machine moves"
    await running.projected()
    document = (await running.http.get(f"/operations/{operation_id}")).json()
    assert document["waiting"] == {
        "code": "held",
        "message": "kind counter is held by /http: the machine moves",
    }
    (listed,) = (await running.http.get("/operations")).json()["operations"]
    assert listed["waiting"] == document["waiting"]
    assert (await running.client.dispatch()).held_words("counter") == document["waiting"]["message"]
    assert isinstance(await running.client.request(ReleaseDispatch(kind="counter")), Accepted)
    limit = await running.http.post("/dispatch/limit", json={"kind": "counter", "limit": 0})
    assert limit.status_code == 422
    assert (
        await running.http.post("/dispatch/limit", json={"kind": "counter", "limit": 1})
    ).status_code == 200
    document = (await running.http.get(f"/operations/{operation_id}")).json()
    assert document["waiting"]["code"] == "no-worker"
