"""One training in the computing child: the pure engine, its bridge, and what a checkpoint puts back."""

from collections.abc import Mapping
from pathlib import Path

from milepost_contracts.model import ContractModel, JsonObject
from milepost_contracts.problems import problems_of
from milepost_contracts.specs.training import TrainingSpec
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.checkpoints.data import LoadedCheckpoint
from milepost_runtime.digests import canonical_json
from milepost_runtime.errors import CheckpointDamagedError
from milepost_runtime.worker.kind import JobContext, JobResult
from pydantic import ValidationError

from milepost_trainer.bridge import TrainingProgressBridge
from milepost_trainer.captures import Captures
from milepost_trainer.engine.devices import resolve_device
from milepost_trainer.engine.errors import StateMismatchError, TrainingError
from milepost_trainer.engine.trainer import ModelTrainer
from milepost_trainer.fingerprint import fingerprint_of
from milepost_trainer.kept_parts import KeptParts
from milepost_trainer.results import RESULT_FILES, write_results
from milepost_trainer.specs import training_settings
from milepost_trainer.state_files import CheckpointTensors, read_values
from milepost_trainer.task import TaskContext
from milepost_trainer.tasks import load_tasks
from milepost_trainer.write_pace import WriteSettings


class TrainingJob:
    """Implements ``Job`` for trainings; the unit is an epoch, or an optimizer step when the spec says so."""

    def __init__(
        self,
        trainer: ModelTrainer,
        *,
        spec: TrainingSpec,
        card: JsonObject,
        fingerprint: Mapping[str, str],
        write: WriteSettings | None = None,
    ) -> None:
        self._trainer = trainer
        self._write = write or WriteSettings()
        self._kept = KeptParts()
        self._spec = spec
        self._card = card
        self.fingerprint: Mapping[str, str] = dict(fingerprint)
        """What must be equal for a resumed run to be exact."""
        self.total_units = trainer.total_units
        """Fewer after a run that stopped early."""
        self.unit_name: str = spec.checkpoint.unit

    def restore_from_checkpoint(self, checkpoint: LoadedCheckpoint) -> None:
        """Put weights, optimizer, best model, history and random state back; the run goes on with the next unit.

        Raises:
            CheckpointDamagedError: a file or a tensor is missing, or is not what it should be.
        """
        values, source = read_values(checkpoint), CheckpointTensors(checkpoint)
        try:
            self._trainer.restore(values, source)
        except StateMismatchError as error:
            changed = source.changed_files()
            words = [error.detail, *(f"{problem.field}: {problem.message}" for problem in changed)]
            raise CheckpointDamagedError("; ".join(words), changed) from error
        if self._trainer.unit != checkpoint.unit:
            raise CheckpointDamagedError(f"the state is of unit {self._trainer.unit}, not {checkpoint.unit}")
        source.remember_in(self._kept, values)

    def run(self, host: BridgeHost) -> bool:
        """Do units until all are done; False when the bridge said stop before that."""
        trainer = self._trainer
        with trainer.entered(), self._bridge(host) as bridge:
            going_on = bridge.begin()
            while going_on and not trainer.finished:
                self._advance(bridge)
                going_on = bridge.reach()
        if going_on:
            self.total_units = trainer.unit
        return going_on

    def write_results(self, directory: Path) -> JobResult:
        """Write the result files."""
        summary = write_results(self._trainer, self._spec, self._card, directory)
        return JobResult(files=dict(RESULT_FILES), summary=summary)

    def _advance(self, bridge: TrainingProgressBridge) -> None:
        trainer = self._trainer
        try:
            trainer.advance(bridge.next_boundary(trainer.unit))
        except (Exception, SystemExit) as error:  # a team's code may exit: for the job that is a failure
            try:
                self._return_to_last_good_unit(bridge)
            # The first error is the one to report; it must not be hidden by one of going back.
            except Exception as second:  # noqa: BLE001
                error.add_note(f"and there was nothing to go back to: {second}")
            raise

    def _return_to_last_good_unit(self, bridge: TrainingProgressBridge) -> None:
        """The failure checkpoint must be of the last whole unit, which lies somewhere after the newest capture."""
        trainer = self._trainer
        last_good = trainer.unit
        bridge.return_to_capture()
        try:
            trainer.advance(last_good)
        # Not repeatable (memory, say), so the capture must do. The first error is raised.
        except (Exception, SystemExit):  # noqa: BLE001
            bridge.return_to_capture()
        bridge.fall_back(trainer.unit, trainer)

    def _bridge(self, host: BridgeHost) -> TrainingProgressBridge:
        return TrainingProgressBridge(
            host,
            self._trainer,
            fingerprint=self.fingerprint,
            kept=self._kept,
            captures=Captures(self._trainer, host.clock),
            write=self._write,
        )


def create_training_job(context: JobContext, write: WriteSettings | None = None) -> TrainingJob:
    """Build the job of a spec.

    Raises:
        ValueError: the spec, the data or what the task built is unusable; every problem of the spec is named.
    """
    spec = _spec_of(context.spec)
    device = resolve_device(spec.device)
    tasks = load_tasks()
    task = tasks.get(spec.task.name)
    if task is None:
        raise ValueError(f"spec.task.name: unknown task {spec.task.name}; known: {', '.join(sorted(tasks))}")
    missing = [found for found in spec.datasets if found.digest not in context.inputs]
    if missing:
        words = ", ".join(str(found.name or found.digest) for found in missing)
        raise ValueError(f"spec.data: {words} not among the inputs")
    built = task.build(
        TaskContext(
            parameters=_parameters_of(task.parameters, spec.task.parameters),
            inputs=tuple(context.inputs[str(found.digest)] for found in spec.datasets),
            names=tuple(str(found.name or found.digest) for found in spec.datasets),
            seed=spec.seed,
            scratch_directory=context.scratch_directory,
        )
    )
    _refuse_unwritable(built.card)
    try:
        trainer = ModelTrainer(built.parts, training_settings(spec, device=device))
    except TrainingError as error:
        raise ValueError(str(error)) from error
    fingerprint = fingerprint_of(spec, task_version=task.version, device=device, versions=built.versions)
    return TrainingJob(trainer, spec=spec, card=built.card, fingerprint=fingerprint, write=write)


def _refuse_unwritable(card: JsonObject) -> None:
    """It is written when the training is done; what JSON cannot hold must not come up only then."""
    try:
        canonical_json(card)
    except ValueError as error:
        raise ValueError(f"the task's card cannot be written to model.json: {error}") from error


def _parameters_of(model: type[ContractModel], content: JsonObject) -> ContractModel:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = problems_of(error, "spec.task.parameters", content)
        raise ValueError("; ".join(f"{fault.field}: {fault.message}" for fault in faults)) from error


def _spec_of(content: JsonObject) -> TrainingSpec:
    try:
        return TrainingSpec.model_validate(content)
    except ValidationError as error:
        faults = problems_of(error, "spec", content)
        raise ValueError("; ".join(f"{fault.field}: {fault.message}" for fault in faults)) from error
