"""The spool: staged checkpoints are whole or absent."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
import xxhash
from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.checkpoints import CheckpointReason
from milepost_runtime.checkpoints import spool as spool_module
from milepost_runtime.checkpoints.data import CheckpointData, FileWriter
from milepost_runtime.checkpoints.spool import INDEX_FILE, Spool
from milepost_runtime.checksums import FileChecksum
from milepost_runtime.digests import FileDigest, digest_of_bytes
from milepost_runtime.errors import CheckpointDamagedError, CheckpointNotFoundError

from tests.runtime_checkpoints.samples import data_at, state_at, trades_at

pytestmark = pytest.mark.unit


class FullDisk(FileWriter):
    def write(self, path):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


def stage_only(spool, unit=10, name="000001", data=None):
    return spool.stage("op-1", name, data or data_at(unit), reason=CheckpointReason.PERIODIC, total_units=100)


def stage(spool, unit=10, name="000001", data=None):
    return spool.load(stage_only(spool, unit, name, data))


def everything(spool, tmp_path):
    return sorted(path.name for path in (tmp_path / "spool" / "op-1").iterdir())


def test_staged_checkpoint_comes_back(spool):
    """What was staged is what another process loads, files and all."""
    staged = stage(spool)
    assert Spool(staged.directory.parent.parent).load(staged.directory) == staged
    assert json.loads((staged.directory / "state.json").read_bytes()) == state_at(10)
    assert (staged.directory / "trades.parquet").read_bytes() == trades_at(10)
    assert [file.name for file in staged.files] == ["state.json", "trades.parquet", "equity.parquet"]
    assert staged.files[1].digest == digest_of_bytes(trades_at(10))
    assert [file.media_type for file in staged.files[:2]] == [
        "application/json",
        "application/vnd.apache.parquet",
    ]
    assert (staged.unit, staged.total_units, staged.reason) == (10, 100, CheckpointReason.PERIODIC)
    assert dict(staged.fingerprint) == dict(data_at(10).fingerprint)
    assert staged.summary == data_at(10).summary


def test_kept_artifacts_are_listed_and_not_copied(spool):
    """Artifacts of earlier checkpoints stay references."""
    kept = ArtifactReference(name="trades-000.parquet", digest=digest_of_bytes(b"x"), size_bytes=1)
    staged = stage(spool, data=CheckpointData(unit=3, state={}, kept=(kept,)))
    assert staged.kept == (kept,)
    assert spool.load(staged.directory).kept == (kept,)
    assert not (staged.directory / kept.name).exists()


def test_pending_lists_complete_ones_in_order(spool, tmp_path):
    """Only whole checkpoints are pending, by name."""
    second, first = stage(spool, 20, "000002"), stage(spool, 10, "000001")
    (tmp_path / "spool" / "op-1" / ".000003-torn").mkdir()
    assert spool.pending("op-1") == (first.directory, second.directory)
    assert spool.pending("op-2") == ()
    assert spool.directory("op-1", "000002") == second.directory


def test_discard(spool, tmp_path):
    """A discarded checkpoint is gone, and discarding it again is no error."""
    staged = stage(spool)
    spool.discard(staged.directory)
    spool.discard(staged.directory)
    assert everything(spool, tmp_path) == []
    with pytest.raises(CheckpointNotFoundError):
        spool.load(staged.directory)


def test_staging_again_replaces(spool, tmp_path):
    """A checkpoint of the same name is replaced whole."""
    stage(spool, 10)
    staged = stage(spool, 20)
    assert spool.load(staged.directory).unit == 20
    assert everything(spool, tmp_path) == ["000001"]


def test_torn_directories_are_removed(spool, tmp_path):
    """What a killed process left half written goes, what is whole stays."""
    staged = stage(spool)
    torn = tmp_path / "spool" / "op-1" / ".000002-abc"
    torn.mkdir()
    (torn / "state.json").write_bytes(b"{")
    assert spool.remove_torn() == 1
    assert everything(spool, tmp_path) == ["000001"]
    assert spool.load(staged.directory) == staged


def test_failing_writer_leaves_the_earlier_checkpoint(spool, tmp_path):
    """A full disk raises as it is, leaves nothing behind, and the good checkpoint stays."""
    good = stage(spool)
    with pytest.raises(OSError, match="No space left"):
        stage(spool, name="000002", data=CheckpointData(unit=20, state={}, files={"a.bin": FullDisk()}))
    assert everything(spool, tmp_path) == ["000001"]
    assert spool.load(good.directory) == good


def test_state_that_json_cannot_hold_is_refused(spool, tmp_path):
    """A NaN in the state is refused with its path, and nothing is staged."""
    with pytest.raises(ValueError, match=r"\$\.equity\[0\]"):
        stage(spool, data=CheckpointData(unit=1, state={"equity": [float("nan")]}))
    assert everything(spool, tmp_path) == []


@pytest.mark.parametrize("name", ["state.json", "checkpoint.json", "../x", "a/b", ".hidden", ""])
def test_unusable_file_names(spool, name):
    """A name that is taken or leads elsewhere is refused before anything is written."""
    with pytest.raises(ValueError, match="artifact"):
        stage(spool, data=CheckpointData(unit=1, state={}, files={name: FullDisk()}))


@pytest.mark.parametrize("name", ["..", "a/b", "", ".x"])
def test_unusable_ids(spool, name):
    """Ids are plain tokens: no path can be made of them."""
    with pytest.raises(ValueError, match="not an id"):
        stage(spool, name=name)
    with pytest.raises(ValueError, match="not an id"):
        spool.pending(name)


def test_every_damaged_file_is_named(spool):
    """Loading names each file that is missing, truncated or changed."""
    staged = stage(spool)
    (staged.directory / "state.json").unlink()
    (staged.directory / "trades.parquet").write_bytes(trades_at(10)[:-1])
    (staged.directory / "equity.parquet").write_bytes(b"\x00" + trades_at(11)[1:])
    with pytest.raises(CheckpointDamagedError) as caught:
        spool.load(staged.directory)
    assert [problem.field for problem in caught.value.problems] == [
        "state.json",
        "trades.parquet",
        "equity.parquet",
    ]


@pytest.mark.parametrize("index", [b"", b"{", b'{"unit":1}', b"\x00\xff"])
def test_damaged_index(spool, index):
    """An index that cannot be read is damage, named as such."""
    staged = stage(spool)
    (staged.directory / INDEX_FILE).write_bytes(index)
    with pytest.raises(CheckpointDamagedError, match="index"):
        spool.load(staged.directory)


@dataclass
class Measuring(FileWriter):
    """Says itself what it wrote."""

    said: Any

    def write(self, path):
        path.write_bytes(b"abc")
        return self.said


RIGHT = [
    FileDigest(digest_of_bytes(b"abc"), 3),
    FileChecksum(f"xxh3:{xxhash.xxh3_128_hexdigest(b'abc')}", 3),
]
WRONG = [
    FileDigest("sha256:" + "0" * 64, 3),
    FileChecksum("xxh3:" + "0" * 32, 3),
    FileChecksum(RIGHT[1].checksum, 4),
    FileDigest(RIGHT[0].digest, 2),
]


def staged_with(spool, said):
    return stage_only(spool, data=CheckpointData(unit=1, state={}, files={"a.bin": Measuring(said)}))


@pytest.mark.parametrize("said", RIGHT)
def test_digest_or_checksum_of_a_writer_is_enough(spool, said):
    """With either the artifact is named by its digest, which is computed when the checkpoint is loaded."""
    staged = spool.load(staged_with(spool, said))
    assert (staged.files[1].digest, staged.files[1].size_bytes) == (digest_of_bytes(b"abc"), 3)


@pytest.mark.parametrize("said", WRONG)
def test_a_writer_that_measured_is_believed_and_checked_on_load(spool, said):
    """The file is not read again while staging; what is not the file's is found when it is loaded."""
    with pytest.raises(CheckpointDamagedError, match=r"a\.bin"):
        spool.load(staged_with(spool, said))


@pytest.mark.parametrize("said", RIGHT)
@pytest.mark.parametrize("damaged", [b"ab", b"abcd", b"", b"abb", b"\x00bc", b"abc\x00"])
def test_damage_is_found_by_either(spool, said, damaged):
    """A file that is torn, longer or flipped is refused by its name, whatever its writer said of it."""
    directory = staged_with(spool, said)
    (directory / "a.bin").write_bytes(damaged)
    with pytest.raises(CheckpointDamagedError, match=r"a\.bin"):
        spool.load(directory)


def test_the_name_of_an_operation_is_durable_with_its_first_checkpoint(spool, tmp_path, monkeypatch):
    """What a directory lies in is fsynced with the files, also when a process that died made it; then no more."""
    together: list[list[str]] = []
    fsync = spool_module.fsync_together

    def noted(files, directories, threads):
        together.append([str(directory.relative_to(tmp_path)) for directory in directories[1:]])
        fsync(files, directories, threads)

    monkeypatch.setattr(spool_module, "fsync_together", noted)
    stage_only(spool)
    stage_only(spool, name="000002")
    another = Spool(tmp_path / "spool")
    stage_only(another, name="000003")
    spool.discard(spool.directory("op-1", "000001"))
    stage_only(another, name="000004")
    assert [sorted(above) for above in together] == [[".", "spool"], [], ["spool"], []]
