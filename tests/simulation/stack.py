"""A simulated stack with everything that can be done to it; each deed lets some time pass."""

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from milepost_contracts.cleanup import CleanUpCheckpoints
from milepost_contracts.commands import (
    CancelOperation,
    CheckpointNow,
    Command,
    DeleteCheckpoint,
    ForkOperation,
    HoldDispatch,
    PinCheckpoint,
    ReleaseDispatch,
    ResumeOperation,
    RetryOperation,
    RunOptions,
    StartOperation,
    UnpinCheckpoint,
)
from milepost_contracts.envelope import Envelope
from milepost_contracts.events import Requested, StateSnapshot
from milepost_contracts.messages import envelop_command
from milepost_orchestrator.application.projector import Projector

from tests.simulation.invariants import Watcher
from tests.simulation.loop import SimulationLoop
from tests.simulation.orchestrators import SimulatedOrchestrator
from tests.simulation.servers import ORPHAN_GRACE, Servers
from tests.simulation.workers import SimulatedWorker

PROCESSES_MAX = 3
HEALED_SECONDS_MAX = 900.0


class Stack:
    """Two orchestrators, two workers and a projector over simulated servers."""

    def __init__(self, seed: int) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self._loop = SimulationLoop()
        self._made = 0
        self._sent: list[Envelope] = []
        self.servers = Servers(Path(self._directory.name), self._loop, seed)
        self._watcher = Watcher(self.servers)
        self.orchestrators: list[SimulatedOrchestrator] = []
        self.workers: list[SimulatedWorker] = []
        self._run(self._open())

    async def _open(self) -> None:
        await self.servers.base.open()
        self.servers.deliver_new_events()
        for _ in range(2):
            self._add_orchestrator()
            self._add_worker()
        self._project()

    # --- clients -----------------------------------------------------------------------------------

    def start(self, units: int, pause: float, attempts_max: int = 5) -> None:
        """Start an operation."""
        options = RunOptions(max_attempts=attempts_max)
        self._send(StartOperation(kind="counter", spec={"units": units}, options=options), pause)

    def cancel(self, which: int, how: str, pause: float) -> None:
        """Cancel an operation in one of the ways."""
        fields: dict[str, dict[str, Any]] = {
            "": {},
            "at a unit": {"at_unit": 3},
            "too late": {"at_unit": 1000},
            "deadline": {"deadline_seconds": 5.0},
            "force": {"force": True},
        }
        if operation_id := self._operation(which):
            self._send(CancelOperation(operation_id=operation_id, **fields[how]), pause)

    def resume(self, which: int, twice: bool, pause: float) -> None:
        """Resume one, or have two people do so at once."""
        if operation_id := self._operation(which):
            if twice:
                self._send(ResumeOperation(operation_id=operation_id), 0.0)
            self._send(ResumeOperation(operation_id=operation_id), pause)

    def fork(self, which: int, seconds: float, pause: float) -> None:
        """Fork one with another setting."""
        if operation_id := self._operation(which):
            self._send(ForkOperation(operation_id=operation_id, changes={"seconds": seconds}), pause)

    def retry(self, which: int, pause: float) -> None:
        """Retry one."""
        if operation_id := self._operation(which):
            self._send(RetryOperation(operation_id=operation_id), pause)

    def checkpoint(self, which: int, what: str, pause: float) -> None:
        """Save, delete, pin or unpin a checkpoint."""
        if what == "checkpoint-now":
            if operation_id := self._operation(which):
                self._send(CheckpointNow(operation_id=operation_id), pause)
            return
        saved = [each for each in self.servers.entries if isinstance(each.event, StateSnapshot)]
        if not saved:
            return
        chosen = saved[which % len(saved)]
        assert isinstance(chosen.event, StateSnapshot)
        about = {"operation_id": chosen.operation_id, "checkpoint_id": chosen.event.checkpoint_id}
        kinds = {"delete": DeleteCheckpoint, "pin": PinCheckpoint, "unpin": UnpinCheckpoint}
        self._send(kinds[what].model_validate(about), pause)

    def clean_up(self, keep: int, pause: float) -> None:
        """Delete what the rule does not keep."""
        self._send(CleanUpCheckpoints(keep_newest=keep), pause)

    def hold(self, held: bool, pause: float) -> None:
        """Hold or release dispatch."""
        self._send(HoldDispatch(kind="counter") if held else ReleaseDispatch(kind="counter"), pause)

    def repeat(self, which: int, pause: float) -> None:
        """Send a command once more, as who has no answer does."""
        if self._sent:
            self.servers.commands.add(self._sent[which % len(self._sent)])
        self.wait(pause)

    # --- machines and networks -----------------------------------------------------------------------

    def orchestrator(self, which: int, what: str, seconds: float) -> None:
        """Kill one, put one to sleep, or let one come in the place of those that died."""
        if what == "replace":
            if len(self.orchestrators) < PROCESSES_MAX:
                self._run(self._call(self._add_orchestrator))
        elif self.orchestrators:
            chosen = self.orchestrators[which % len(self.orchestrators)]
            if what == "sleep":
                self._run(self._call(lambda: chosen.sleep(seconds)))
            else:
                self.orchestrators.remove(chosen)
                self._run(chosen.kill())
        self.wait(0.1)

    def worker(self, which: int, what: str, seconds: float) -> None:
        """The same for workers, which also shut down in order, or fail what they do."""
        if what == "replace":
            if len(self.workers) < PROCESSES_MAX:
                self._run(self._call(self._add_worker))
        elif self.workers:
            chosen = self.workers[which % len(self.workers)]
            match what:
                case "sleep":
                    self._run(self._call(lambda: chosen.sleep(seconds)))
                case "cut off":
                    self._run(self._call(lambda: chosen.cut_off(seconds)))
                case "fail":
                    chosen.fails_next = True
                case "shut down":
                    chosen.shuts_down = True
                case _:
                    self.workers.remove(chosen)
                    self._run(chosen.kill())
        self.wait(0.1)

    def busy_worker(self, which: int) -> int:
        """Return where one that is at work is found; any, when none is."""
        busy = [place for place, each in enumerate(self.workers) if each.is_busy]
        return busy[which % len(busy)] if busy else which

    def bus(self, what: str, seconds: float) -> None:
        """Take the bus away for a while, lose its answers, or lose a work message for good."""
        now, network = self._loop.time(), self.servers.network
        if what == "away":
            network.away_until = now + seconds
        elif what == "losing answers":
            network.losing_until = now + seconds
        elif lost := next(iter(self.servers.base.work_queue.priorities), None):
            self._run(self.servers.base.work_queue.remove(lost))
        self.wait(0.1)

    def restart_projector(self) -> None:
        """Let it go on from its cursor with nothing in memory."""
        self._run(self._call(self._project))

    def night(self) -> None:
        """Let more than the orphans' grace pass and sweep; only while nothing is being uploaded."""
        if self.servers.uploading == 0:
            self.servers.clock.skip(ORPHAN_GRACE.total_seconds() + 3600.0)
            self._run(self.servers.sweep_orphans())

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._run(asyncio.sleep(seconds))

    # --- what must hold --------------------------------------------------------------------------------

    def look(self) -> None:
        """Check what must hold at any moment; see ``Watcher``."""
        self._watcher.look()
        for process in (*self.orchestrators, *self.workers):
            process.check()

    def heal_and_end(self) -> None:
        """Take all faults away, let everything end, and check what must hold then."""
        try:
            self._heal()
            self.look()
            self.night()
            self._run(self._watcher.at_rest())
        finally:
            self._run(self._close())
            self._loop.close()
            self._directory.cleanup()

    def _heal(self) -> None:
        network = self.servers.network
        network.away_until = network.losing_until = self._loop.time()
        for _ in range(2):
            self._run(self._call(self._add_orchestrator))
            self._run(self._call(self._add_worker))
        deadline = self._loop.time() + HEALED_SECONDS_MAX
        while self._loop.time() < deadline and self.servers.commands.waiting:
            self.wait(10.0)  # a hold that was put off comes before its release
        self._send(ReleaseDispatch(kind="counter"), 0.0)
        while self._loop.time() < deadline and not self._is_at_rest():
            self.wait(10.0)

    def _is_at_rest(self) -> bool:
        servers = self.servers
        queues = (servers.commands, servers.reactor, servers.registrar)
        if any(queue.waiting for queue in queues) or servers.base.work_queue.priorities:
            return False
        return self._watcher.all_ended() and servers.rows.cursor_sequence == len(servers.entries)

    # --- inside ----------------------------------------------------------------------------------------

    def _run(self, deed: Awaitable[Any]) -> None:
        self._loop.run_until_complete(deed)

    @staticmethod
    async def _call(deed: Any) -> None:
        deed()

    def _send(self, command: Command, pause: float) -> None:
        command_id = f"cmd-{len(self._sent)}"
        envelope = envelop_command(
            command, command_id=command_id, source="/simulated", time=self.servers.clock.now()
        )
        self._sent.append(envelope)
        self.servers.commands.add(envelope)
        self.wait(pause)

    def _operation(self, which: int) -> str | None:
        """Return one of the operations, counted from the newest."""
        there = [each.operation_id for each in self.servers.entries if isinstance(each.event, Requested)]
        return there[-1 - which % len(there)] if there else None

    def _name(self, letter: str) -> str:
        self._made += 1
        return f"{letter}-{self._made}"

    def _add_orchestrator(self) -> None:
        self.orchestrators.append(SimulatedOrchestrator(self.servers, self._name("o")))

    def _add_worker(self) -> None:
        self.workers.append(SimulatedWorker(self.servers, self._name("w")))

    def _project(self) -> None:
        if (old := getattr(self, "_projecting", None)) is not None:
            old.cancel()
        projector = Projector(self.servers.base.event_log, self.servers.rows)  # pyright: ignore[reportArgumentType]
        self._projecting = asyncio.ensure_future(projector.run())

    async def _close(self) -> None:
        self._projecting.cancel()
        for process in (*self.orchestrators, *self.workers):
            await process.kill()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
