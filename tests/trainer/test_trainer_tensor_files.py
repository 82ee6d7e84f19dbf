"""Tensor files: the safetensors format, direct writes, reading into tensors that are there, untrusted headers."""

import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from milepost_runtime.digests import measure_file
from milepost_trainer.tensor_files import writing
from milepost_trainer.tensor_files.arena import TensorArena
from milepost_trainer.tensor_files.layout import DTYPES, TensorFileError, forms_of, layout_of
from milepost_trainer.tensor_files.pages import BLOCK_BYTES, PAGE_BYTES
from milepost_trainer.tensor_files.reading import TensorFile
from milepost_trainer.tensor_files.writing import write_blocks, write_tensors
from safetensors.torch import load_file, save_file
from torch import Tensor

pytestmark = pytest.mark.unit


def some_tensors(large: int = 3) -> dict[str, Tensor]:
    """Every type, scalars, an empty one, a channels-last one, and some of more than a block."""
    generator = torch.Generator().manual_seed(1)
    small = {
        f"every.{name}": torch.randint(0, 2, (3, 5), generator=generator).to(dtype)
        for name, dtype in DTYPES.items()
    }
    floats = {f"large.{n}": torch.randn(1_300_001, generator=generator) for n in range(large)}
    return {
        **small,
        **floats,
        "scalar": torch.tensor(7.0),
        "empty": torch.empty(0, 4),
        "turned": torch.randn(2, 3, 4, 5, generator=generator).to(memory_format=torch.channels_last),
        'Ünïcode "name"': torch.ones(3, dtype=torch.float64),
    }


def equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    """Same names, forms and bits."""
    return forms_of(found) == forms_of(expected) and all(
        torch.equal(
            found[name].contiguous().view(-1).view(torch.uint8),
            tensor.contiguous().view(-1).view(torch.uint8),
        )
        for name, tensor in expected.items()
    )


def arena_of(tensors: dict[str, Tensor]) -> TensorArena:
    arena = TensorArena()
    arena.prepare(forms_of(tensors))
    arena.copy_in(tensors)
    return arena


def write_arena(path: Path, tensors: dict[str, Tensor]) -> Any:
    return write_blocks(path, blocks_of(arena_of(tensors)), layout_of(forms_of(tensors)).size_bytes)


def blocks_of(arena: TensorArena) -> Iterator[memoryview]:
    return (block for _, block in arena.blocks())


WRITERS: dict[str, Callable[[Path, dict[str, Tensor]], Any]] = {"arena": write_arena, "live": write_tensors}


@pytest.mark.parametrize("way", WRITERS)
@pytest.mark.parametrize("large", [0, 3, 7])
def test_the_safetensors_library_reads_what_was_written(tmp_path: Path, way: str, large: int) -> None:
    """Files of less than a block and of several are valid, and hold the same bits; the digest is the file's."""
    tensors = some_tensors(large)
    path = tmp_path / "file"
    measured = WRITERS[way](path, tensors)
    assert equal(load_file(path), tensors)
    assert measured == measure_file(path)


def test_both_ways_write_the_same_bytes(tmp_path: Path) -> None:
    """A copy in an arena and the live tensors give one digest, and the order of the names does not matter."""
    tensors = some_tensors()
    backwards = dict(reversed(tensors.items()))
    assert write_arena(tmp_path / "one", tensors) == write_tensors(tmp_path / "other", backwards)


def test_data_begins_at_a_page_and_every_tensor_is_aligned() -> None:
    """No tensor lies at an address that its type could not be read at."""
    layout = layout_of(forms_of(some_tensors()))
    assert layout.data_start == len(layout.head)
    assert layout.data_start % PAGE_BYTES == 0
    assert all(place.start % place.dtype.itemsize == 0 for place in layout.places.values())


def test_without_direct_writes_the_same_bytes_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that refuses them when opening, or in the middle, or writes less than asked: equal files."""
    tensors = some_tensors(7)
    expected = write_tensors(tmp_path / "direct", tensors)
    real_open, real_pwrite = os.open, os.pwrite
    refused: list[int] = []

    def open_refusing(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if flags & os.O_DIRECT:
            raise OSError(22, "Invalid argument")
        return real_open(path, flags, *rest, **options)

    def pwrite_refusing(descriptor: int, block: Any, offset: int) -> int:
        if offset == BLOCK_BYTES and not refused:
            refused.append(offset)
            raise OSError(22, "Invalid argument")
        return real_pwrite(descriptor, block, offset)

    with monkeypatch.context() as patch:
        patch.setattr(writing.os, "open", open_refusing)
        assert write_tensors(tmp_path / "opened", tensors) == expected
    with monkeypatch.context() as patch:
        patch.setattr(writing.os, "pwrite", pwrite_refusing)
        assert write_tensors(tmp_path / "written", tensors) == expected
    with monkeypatch.context() as patch:
        patch.setattr(writing.os, "pwrite", lambda d, b, o: real_pwrite(d, b[:100_000], o))
        assert write_tensors(tmp_path / "short", tensors) == expected
    assert refused
    for name in ("opened", "written", "short"):
        assert measure_file(tmp_path / name) == expected


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer raises what the system says, and leaves no thread behind that goes on."""
    monkeypatch.setattr(writing.os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space left"):
        write_tensors(tmp_path / "file", some_tensors())


def test_an_arena_is_used_again_for_other_forms(tmp_path: Path) -> None:
    """Smaller, larger and equal states go through the same arena one after the other."""
    arena = TensorArena()
    for number, large in enumerate((2, 0, 4, 4)):
        tensors = some_tensors(large)
        arena.prepare(forms_of(tensors))
        arena.copy_in(tensors)
        path = tmp_path / str(number)
        write_blocks(path, blocks_of(arena), layout_of(forms_of(tensors)).size_bytes)
        assert equal(load_file(path), tensors)
        assert equal(dict(arena.tensors), tensors)


def read_back(path: Path) -> tuple[dict[str, Tensor], Any]:
    file = TensorFile.open(path)
    targets = {name: torch.full(shape, 1).to(dtype) for name, (shape, dtype) in file.layout.forms().items()}
    return targets, file.read_into(targets)


def test_reading_fills_tensors_and_measures_the_file(tmp_path: Path) -> None:
    """All bits come back, from our files and from those of the library, and the digest is that of the bytes."""
    tensors = some_tensors(4)
    write_tensors(tmp_path / "ours", tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "theirs")
    for name in ("ours", "theirs"):
        found, measured = read_back(tmp_path / name)
        assert equal(found, tensors)
        assert measured == measure_file(tmp_path / name)


def test_reads_that_come_in_pieces_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that gives fewer bytes than asked is asked again."""
    tensors = {f"t{n}": torch.randn(n) for n in range(700)}
    measured = write_tensors(tmp_path / "file", tensors)
    real = os.preadv
    monkeypatch.setattr(
        "milepost_trainer.tensor_files.block_reading.os.preadv",
        lambda descriptor, targets, *rest: real(descriptor, [targets[0][:4096]], *rest),
    )
    found, seen = read_back(tmp_path / "file")
    assert equal(found, tensors)
    assert seen == measured


def test_a_file_that_shrinks_after_its_header_was_read_is_refused(tmp_path: Path) -> None:
    """The end of the file comes as an error, never as old memory."""
    path = tmp_path / "file"
    write_tensors(path, some_tensors(1))
    file = TensorFile.open(path)
    os.truncate(path, path.stat().st_size - 1)
    targets = {name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in file.layout.forms().items()}
    with pytest.raises(TensorFileError, match="the file ends at byte"):
        file.read_into(targets)


def test_tensors_of_other_forms_are_not_filled(tmp_path: Path) -> None:
    """Other names, shapes, types and layouts in memory are each refused by name."""
    path = tmp_path / "file"
    write_tensors(path, {"a": torch.zeros(2, 3)})
    file = TensorFile.open(path)
    for targets, words in (
        ({"b": torch.zeros(2, 3)}, "does not hold the tensors asked for: a, b"),
        ({"a": torch.zeros(3, 2)}, "a is torch.float32"),
        ({"a": torch.zeros(2, 3, dtype=torch.int32)}, "a is torch.float32"),
        ({"a": torch.zeros(3, 2).T}, "a cannot be read into"),
    ):
        with pytest.raises(TensorFileError, match=words):
            file.read_into(targets)


def raw(header: object, data: int = 0, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(data)


def entry(
    dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8), **more: object
) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "has no header"),
    "seven bytes": (bytes(7), "has no header"),
    "header of no bytes": (raw(b""), "has no header"),
    "header longer than the file": (raw({}, length=1000), "has no header of 1000 bytes"),
    "header of all the memory": (raw({}, length=2**64 - 1), "has no header"),
    "a pickle": (b"\x80\x04K\x01.", "has no header"),
    "no JSON": (raw(b"{nonsense}"), "the header cannot be read"),
    "not UTF-8": (raw(b"\xff\xfe{}"), "the header cannot be read"),
    "deep": (raw(b'{"a":' * 5000), "the header cannot be read"),
    "a list": (raw([1]), "the header cannot be read"),
    "no entry": (raw({"a": 3}), "the header cannot be read: a"),
    "metadata": (raw({"__metadata__": {"a": "b"}}), "the header cannot be read: __metadata__"),
    "more than there is to say": (raw({"a": entry(more=1)}, 8), "the header cannot be read: a more"),
    "type that is none": (raw({"a": entry("F12")}, 8), "unknown type F12"),
    "shape as text": (raw({"a": entry(shape="2")}, 8), "the header cannot be read: a shape"),
    "negative shape": (raw({"a": entry(shape=[-2])}, 8), "the header cannot be read: a shape"),
    "shape that is true": (raw({"a": entry(shape=[True])}, 8), "the header cannot be read: a shape"),
    "huge shape": (raw({"a": entry(shape=[2**62, 4], offsets=[0, 0])}, 8), "a has 0 bytes, which is not"),
    "larger than a machine word": (
        raw({"a": entry(shape=[0, 2**64], offsets=[0, 0])}),
        "cannot be read: a shape",
    ),
    "offsets backwards": (raw({"a": entry(offsets=[8, 0])}, 8), "a has -8 bytes"),
    "negative offsets": (raw({"a": entry(offsets=[-8, 0])}, 8), "the header cannot be read: a data_offsets"),
    "too few bytes": (raw({"a": entry(offsets=[0, 4])}, 4), "a has 4 bytes, which is not torch.float32"),
    "a hole": (raw({"a": entry(offsets=[4, 12])}, 12), "a begins at byte"),
    "overlapping": (raw({"a": entry(), "b": entry(offsets=[4, 12])}, 12), "b begins at byte"),
    "the same place twice": (raw({"a": entry(), "b": entry()}, 8), "b begins at byte"),
    "cut": (raw({"a": entry()}, 7), "its header says"),
    "more behind": (raw({"a": entry()}, 9), "its header says"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_untrusted_bytes_are_refused_in_words(tmp_path: Path, kind: str) -> None:
    """Whatever is wrong with a header is a refusal that says what, before any memory is taken."""
    content, words = BAD_FILES[kind]
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(TensorFileError, match=words):
        TensorFile.open(path)


def test_what_has_no_form_in_the_format_is_not_written(tmp_path: Path) -> None:
    """A complex tensor, or one with the format's own name, is refused before anything is written."""
    for name, tensor in (("a", torch.zeros(2, dtype=torch.complex64)), ("__metadata__", torch.zeros(2))):
        with pytest.raises(TensorFileError, match="cannot be saved"):
            write_tensors(tmp_path / "file", {name: tensor})
    assert not list(tmp_path.iterdir())
