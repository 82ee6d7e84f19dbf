"""The HTTP interface is what its OpenAPI document says, whatever is sent."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.entrypoints.roles import Role
from milepost_orchestrator.entrypoints.token_file import create_token

from tests.orchestrator.running import run_orchestrator
from tests.orchestrator.stories import claimed, progress, snapshot, started

IS_THOROUGH = int(os.environ.get("MILEPOST_FAULT_ROUNDS", "1")) > 1
PHASES = "examples,coverage,fuzzing,stateful" if IS_THOROUGH else "examples,fuzzing,stateful"
"""Coverage tries every limit of every field, which takes minutes."""
EXAMPLES = 20 if IS_THOROUGH else 3
"""Of each operation and phase."""
STREAMS = "/live"


@pytest.mark.integration
@pytest.mark.faults
@pytest.mark.timeout(900)
async def test_schemathesis_finds_nothing(tenant: StackEndpoints, tmp_path: Path) -> None:
    """Generated requests, right and wrong ones: every answer is documented, none is a fault of ours."""
    file = tmp_path / "tokens.json"
    token = create_token(file, "fuzz", Role.ADMIN)
    async with run_orchestrator(tenant, tmp_path, tokens_file=file) as running:
        await running.keep_state()
        operation_id = await running.start(name="nightly")
        await running.happen(operation_id, claimed(), started(), progress(10), snapshot("cp-1", 50))
        await running.projected()
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("schemathesis"),
            "run",
            f"{running.http.base_url}/openapi.json",
            f"--phases={PHASES}",
            "--checks=all",
            # Whether a cursor, a dataset or a rule of two fields is good is not for a schema to say.
            "--exclude-checks=positive_data_acceptance",
            f"--max-examples={EXAMPLES}",
            "--seed=1",
            "--header",
            f"Authorization: Bearer {token}",
            "--exclude-path",
            STREAMS,
            "--continue-on-failure",
            "--suppress-health-check=all",
            "--no-color",
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
