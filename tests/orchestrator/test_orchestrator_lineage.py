"""Forks and retries on real servers with a real worker."""

from pathlib import Path

import pytest
from milepost_contracts.commands import ForkOperation, RetryOperation
from milepost_contracts.events import Completed, Failed, Requested, Started, StateSnapshot
from milepost_contracts.lineage import Relation
from milepost_contracts.verdicts import Accepted
from milepost_infra.endpoints import StackEndpoints
from milepost_test_kinds.counter import expected_value

from tests.orchestrator.stories import claimed, completed, snapshot
from tests.orchestrator.workshop import Workshop
from tests.support.harness import accepted, open_harness


@pytest.mark.integration
async def test_a_completed_operation_forks_and_a_failed_one_is_retried(
    tenant: StackEndpoints, tmp_path: Path
) -> None:
    """The fork goes on with the changed setting from the chosen unit on; killed attempts and resumes of it too.

    The parent's result stays as it was, and the retry of what stumbled once ends as if it never had.
    """
    async with open_harness(tenant, tmp_path) as harness:
        await harness.services.orchestrator()
        await harness.services.worker()
        parent = await harness.start("counter", {"units": 120})
        assert (await harness.end(parent)).summary["value"] == expected_value(120)
        first, *_ = await harness.events(parent, StateSnapshot)

        verdict = await harness.client.request(
            ForkOperation(
                operation_id=parent,
                checkpoint_id=first.checkpoint_id,
                changes={"salt": "x", "units": 200},
                options={"stop_at_unit": 70},
            )
        )
        assert isinstance(verdict, Accepted), verdict
        assert [change.field for change in verdict.changes] == ["salt", "units"]
        await harness.end(verdict.operation_id)
        child = await harness.resume(verdict.operation_id)
        ended = await harness.end(child)
        assert isinstance(ended, Completed), ended
        assert ended.summary["value"] == expected_value(200, salted_from=first.unit, salt="x")
        (started,) = await harness.events(verdict.operation_id, Started)
        assert (started.unit, started.checkpoint_id) == (first.unit, first.checkpoint_id)

        short = await harness.client.request(ForkOperation(operation_id=parent, changes={"units": 40}))
        failed = await harness.end(short.operation_id)
        assert isinstance(failed, Failed), failed
        assert "beyond the last one (40)" in failed.failure.message

        once = {"units": 80, "at": 60, "once": str(tmp_path / "marker")}
        stumbling = await harness.start("counter", once)
        assert isinstance(await harness.end(stumbling), Failed)
        retried = accepted(await harness.client.request(RetryOperation(operation_id=stumbling)))
        assert (await harness.end(retried)).summary["value"] == expected_value(80)
        (began,) = await harness.events(retried, Started)
        assert (began.unit, began.checkpoint_id) == (0, None)


@pytest.mark.unit
async def test_a_fork_is_seen_in_its_events_and_made_once(workshop: Workshop) -> None:
    """The child's request holds the difference; the same command again is a duplicate; a dry run says the same."""
    workshop.keep_state()
    operation_id = (await workshop.start()).operation_id
    await workshop.happen(operation_id, claimed(), snapshot(), completed())
    would = await workshop.fork(operation_id, "cmd-f", dry_run=True)
    done = await workshop.fork(operation_id, "cmd-f")
    assert isinstance(done, Accepted)
    assert would == done.model_copy(update={"dry_run": True})
    again = await workshop.fork(operation_id, "cmd-f")
    assert (again.verdict, again.operation_id) == ("duplicate", done.operation_id)
    (request,) = workshop.events(done.operation_id, Requested)
    assert (request.relation, request.spec["seconds"]) == (Relation.FORK, 2.0)
    assert await workshop.has_work(done.operation_id)
    state = await workshop.state(operation_id)
    assert (state.facts.child_id, state.facts.children) == (None, (done.operation_id,))
