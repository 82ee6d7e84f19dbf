"""Damaged checkpoints of a training: whatever was changed is refused, by the name of its file."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from milepost_contracts.artifacts import ArtifactReference
from milepost_runtime.checkpoints.data import LoadedCheckpoint
from milepost_runtime.checkpoints.service import CheckpointService
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.checksums import measure_both
from milepost_runtime.errors import CheckpointDamagedError
from milepost_runtime.store.directory import DirectoryArtifactStore

from tests.support.bridge import host_of
from tests.trainer.trainer_doubles import Workplace, cancel_after

pytestmark = pytest.mark.unit

ATTEMPTS = 1000
WAYS = ("flip", "truncate", "remove", "lengthen", "empty")
SHARES = (0.8, 0.05, 0.05, 0.05, 0.05)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("damage"))


@pytest.fixture(scope="module")
def saved(place: Workplace) -> LoadedCheckpoint:
    """A real checkpoint with every part but a frozen one, in the middle of an epoch."""
    job, sink = place.job(**SPEC), place.sink()
    assert job.run(host_of(sink, job.total_units, token=cancel_after(23))) is False
    checkpoint = sink.checkpoints[-1]
    names = {reference.name for reference in checkpoint.artifacts}
    parts = ("model", "optimizer", "average", "best", "rest")
    assert names == {"state.json", *(f"{part}.safetensors" for part in parts)}
    return checkpoint


SPEC = {
    "model": {"hidden_size": 8, "layers": 2, "normalization": "batch"},
    "averaging": {"decay": 0.9},
    "checkpoint": {"unit": "step"},
    "epochs": 12,
}


def damage(path: Path, way: str, generator: np.random.Generator) -> None:
    """Change a file in one way."""
    size_bytes = path.stat().st_size
    place = int(generator.integers(size_bytes))
    match way:
        case "flip":
            with path.open("r+b") as file:
                file.seek(place)
                byte = file.read(1)[0]
                file.seek(place)
                file.write(bytes([byte ^ 1 << int(generator.integers(8))]))
        case "truncate":
            os.truncate(path, place)
        case "remove":
            path.unlink()
        case "lengthen":
            with path.open("ab") as file:
                file.write(bytes(1 + place % 4096))
        case _:
            path.write_bytes(b"")


def chosen(
    generator: np.random.Generator, artifacts: tuple[ArtifactReference, ...]
) -> tuple[ArtifactReference, str]:
    """A file, and what happens to it."""
    return artifacts[int(generator.integers(len(artifacts)))], str(generator.choice(WAYS, p=SHARES))


def refused_by_name(load: Callable[[], object], name: str) -> bool:
    """Say whether the checkpoint is refused for exactly this file."""
    try:
        load()
    except CheckpointDamagedError as error:
        return [problem.field for problem in error.problems] == [name]
    return False


def test_a_thousand_damages_in_the_store_are_a_thousand_refusals(
    tmp_path: Path, saved: LoadedCheckpoint
) -> None:
    """Flipped bits, truncated, longer, empty and missing objects: each load names the file and leaves nothing."""
    store = DirectoryArtifactStore(tmp_path / "store")
    service = CheckpointService(store, Spool(tmp_path / "spool"))
    for reference in saved.artifacts:
        store.put_file(saved.path(reference.name), name=reference.name, media_type=reference.media_type)
    generator, target, refusals = np.random.default_rng(1), tmp_path / "loaded", 0
    for _ in range(ATTEMPTS):
        reference, way = chosen(generator, saved.artifacts)
        stored = tmp_path / "store" / reference.key
        whole = stored.read_bytes()
        damage(stored, way, generator)
        refusals += refused_by_name(
            lambda: service.load_checkpoint(saved.artifacts, target, unit=saved.unit), reference.name
        )
        assert list(target.iterdir()) == []
        stored.write_bytes(whole)
    assert refusals == ATTEMPTS
    assert service.load_checkpoint(saved.artifacts, target, unit=saved.unit).unit == saved.unit


def checksums_of(checkpoint: LoadedCheckpoint) -> dict[str, str]:
    return {
        reference.name: measure_both(checkpoint.path(reference.name))[1].checksum
        for reference in checkpoint.artifacts
    }


@pytest.mark.parametrize("compared", ["checksum", "digest"])
def test_damage_after_the_download_is_refused_too(
    tmp_path: Path, place: Workplace, saved: LoadedCheckpoint, compared: str
) -> None:
    """The job compares every byte of the tensors again as it reads them; a tensor file that changed is named."""
    generator, refusals, attempts = np.random.default_rng(2), 0, 200
    checksums = checksums_of(saved) if compared == "checksum" else {}
    tensors = tuple(reference for reference in saved.artifacts if reference.name != "state.json")
    job = place.job(**SPEC)
    for number in range(attempts):
        directory = tmp_path / str(number)
        shutil.copytree(saved.directory, directory)
        reference, way = chosen(generator, tensors)
        damage(directory / reference.name, way, generator)
        copy = LoadedCheckpoint(saved.unit, directory, saved.artifacts, saved.fingerprint, checksums)
        refusals += refused_by_name(partial(job.restore_from_checkpoint, copy), reference.name)
        shutil.rmtree(directory)
    job.restore_from_checkpoint(saved)
    assert refusals == attempts
