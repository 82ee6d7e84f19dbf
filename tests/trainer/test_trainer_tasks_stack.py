"""A team's own training on the real stack: refused at command time, cancelled, resumed, failed with its reason."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_contracts.commands import StartOperation
from milepost_contracts.events import Cancelled, Completed, Failed
from milepost_contracts.failures import FailureCode, RejectionCode
from milepost_contracts.model import JsonObject
from milepost_contracts.verdicts import Rejected
from milepost_infra.endpoints import StackEndpoints

from tests.support.harness import Harness, open_harness
from tests.support.stack import fresh_tenant

pytestmark = pytest.mark.integration

SPEC = Path(__file__).parent.parent.parent / "examples/digits/spec.json"
EVERY_TWO = CheckpointPolicySpec(every_units=2, min_seconds=0).model_dump(mode="json")


@pytest.fixture(scope="module")
async def harness(
    stack: StackEndpoints, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Harness]:
    """An orchestrator and a worker that has announced its tasks, for all of this module: torch is slow to load."""
    directory = tmp_path_factory.mktemp("tasks")
    async with fresh_tenant(stack, template=template) as tenant, open_harness(tenant, directory) as opened:
        await opened.services.orchestrator()
        await opened.services.worker("w-1", "training")
        await opened.announced("training")
        yield opened


def spec(**fields: Any) -> JsonObject:
    return {**json.loads(SPEC.read_text()), "epochs": 6, "early_stopping": None, **fields}


async def results(harness: Harness, operation_id: str) -> dict[str, str]:
    completed = await harness.end(operation_id)
    assert isinstance(completed, Completed), completed
    return {artifact.name: artifact.digest for artifact in completed.artifacts}


async def test_digits_cancelled_and_resumed_elsewhere_end_the_same(harness: Harness) -> None:
    """The example's own spec, stopped at epoch 3 and gone on with by another worker, leaves the same files."""
    expected = await results(harness, await harness.start("training", spec()))
    operation_id = await harness.start("training", spec(), stop_at_unit=3, checkpoint=EVERY_TWO)
    assert isinstance(await harness.end(operation_id), Cancelled)
    await harness.services.running[-1].stop()
    await harness.services.worker("w-2", "training")
    assert await results(harness, await harness.resume(operation_id)) == expected


async def test_the_terminal_shows_what_a_team_announced(harness: Harness) -> None:
    """`milepost spec schema training` has the parameters of a task that is not installed where it is asked."""
    said = await asyncio.to_thread(milepost, harness, "spec", "schema", "training")
    schema = json.loads(said.stdout)
    assert schema["$parts"]["task"]["digits"]["properties"]["shift_pixels"]["maximum"] == 3
    example = await asyncio.to_thread(milepost, harness, "spec", "example", "training")
    accepted = {**json.loads(example.stdout), "data": [], "task": {"name": "digits"}}
    verdict = await harness.client.request(StartOperation(kind="training", spec=accepted, dry_run=True))
    assert not isinstance(verdict, Rejected), verdict


@pytest.mark.parametrize(("place", "code"), [("build", FailureCode.ERROR), ("loss", FailureCode.ERROR)])
async def test_a_task_that_raises_fails_with_its_words(
    harness: Harness, place: str, code: FailureCode
) -> None:
    """The exception's type, its message and the last lines of its traceback reach the user; the worker lives."""
    operation_id = await harness.start(
        "training", spec(task={"name": "faulty-digits", "parameters": {"raises_in": place}})
    )
    failed = await harness.end(operation_id)
    assert isinstance(failed, Failed)
    assert (failed.failure.code, failed.failure.error_type) == (code, "LookupError")
    assert f"a wrong line in {place}" in failed.failure.message
    assert f"in {place}" in (failed.failure.traceback_tail or "")
    assert (failed.checkpoint_id is not None) == (place == "loss")
    assert set(await results(harness, await harness.start("training", spec(epochs=1)))) >= {"model.json"}


async def test_wrong_specs_are_refused_while_no_worker_runs(harness: Harness) -> None:
    """What was announced is remembered: every problem of spec and task is named, also in the terminal."""
    # The last test of this module: the others need the worker.
    await harness.services.running[-1].stop()
    wrong = spec(task={"name": "digits", "parameters": {"width": 0, "colour": "red"}}, epochs=0)
    refused = await harness.client.request(StartOperation(kind="training", spec=wrong))
    assert isinstance(refused, Rejected)
    assert refused.code is RejectionCode.INVALID_SPEC
    fields = [problem.field for problem in refused.problems]
    assert fields == ["spec.epochs", "spec.task.parameters.colour", "spec.task.parameters.width"]

    said = await asyncio.to_thread(milepost, harness, "start", "training", json.dumps(wrong))
    assert said.returncode == 4
    assert all(field in said.stderr for field in fields)

    unknown = await asyncio.to_thread(
        milepost, harness, "start", "training", "--set", "task.name=poetry", "--set", "epochs=0"
    )
    assert unknown.returncode == 4
    assert "unknown task poetry; known: bars, digits" in unknown.stderr
    assert "spec.epochs" in unknown.stderr


def milepost(harness: Harness, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real command, without the tests' plugins on its path, against the tenant."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-m", "milepost_cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, **harness.services.endpoints.environment()},
    )
