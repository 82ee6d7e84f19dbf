"""Real orchestrators and workers as processes of their own, to be killed for real."""

import asyncio
import json
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.clock import SystemClock

from tests.support.preloaded import PLUGINS, PreloadedProcess, preloaded

EXIT_SECONDS = 30.0


@dataclass
class Service:
    """One running process."""

    name: str
    process: PreloadedProcess
    log_path: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    async def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(EXIT_SECONDS):
            return await self.process.wait()

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def log_lines(self) -> list[dict[str, Any]]:
        """What it said in structured form so far."""
        lines = [line for line in self.log().splitlines(keepends=True) if line.endswith("\n")]
        return [json.loads(line) for line in lines if line.startswith("{")]


@dataclass
class Services:
    """Starts services of one tenant and ends them all."""

    endpoints: StackEndpoints
    directory: Path
    running: list[Service] = field(default_factory=list)
    clock: SystemClock = field(default_factory=SystemClock)
    kinds: set[str] = field(default_factory=set)
    """Those of which a worker was started."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for service in self.running:
            await service.kill()
        for service in self.running:  # pytest shows it only when the test failed
            print(f"--- {service.name} ({service.process.returncode})\n{service.log()[-4000:]}")

    async def orchestrator(self, name: str = "o-1", **environment: str) -> Service:
        """Start an orchestrator; whoever sends it a request waits until it answers."""
        return await self._start(
            name,
            ["milepost_orchestrator.entrypoints.main"],
            {"MILEPOST_HTTP_HOST": "127.0.0.1", "MILEPOST_HTTP_PORT": "0", **environment},
        )

    async def worker(self, worker_id: str = "w-1", kind: str = "counter", **environment: str) -> Service:
        """Start a worker with a disk of its own; work waits in the queue until it is ready."""
        self.kinds.add(kind)
        arguments = ["milepost_runtime.worker", "--kind", kind, "--worker-id", worker_id]
        arguments += ["--directory", str(self.directory / worker_id)]
        return await self._start(worker_id, arguments, environment)

    async def _start(self, name: str, arguments: list[str], environment: dict[str, str]) -> Service:
        log_path = self.directory / f"{name}-{len(self.running)}.log"
        process = await asyncio.to_thread(self._process, log_path, arguments, environment)
        process.follow()
        service = Service(name, process, log_path)
        self.running.append(service)
        return service

    def _process(self, log_path: Path, arguments: list[str], environment: dict[str, str]) -> PreloadedProcess:
        with log_path.open("wb") as log, open(os.devnull, "rb") as nothing:
            return preloaded().start(
                arguments,
                files=(nothing, log, log),
                environment={
                    **os.environ,
                    **self.endpoints.environment(),
                    "PYTHONPATH": str(PLUGINS),
                    **environment,
                },
            )
