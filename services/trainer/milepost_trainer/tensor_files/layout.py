"""Where each tensor of a safetensors file lies, and the check of a header that comes from outside.

The format (https://huggingface.co/docs/safetensors, "Format"): 8 bytes little endian with the header's length, the
header as a JSON object that may end in spaces, then the data without holes. Here the header is padded so that the
data begins at a multiple of the page size, and tensors lie by falling item size, so that each is aligned.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor

from milepost_trainer.tensor_files.pages import up_to_a_page

LENGTH_BYTES = 8
HEADER_BYTES_MAX = 100_000_000
"""The limit of the safetensors library."""
METADATA_KEY = "__metadata__"
"""Not used here, so it is refused like any other entry that is no tensor."""

DTYPES: Mapping[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
"""What a file may hold, by the name in its header."""
NAMES = {dtype: name for name, dtype in DTYPES.items()}

Form: TypeAlias = tuple[torch.Size, torch.dtype]
"""Shape and type of a tensor."""


class TensorFileError(ValueError):
    """The bytes are not a whole safetensors file of known types."""


@dataclass(frozen=True, slots=True)
class Place:
    """One tensor: what it is and where its bytes are, counted from the beginning of the file."""

    shape: torch.Size
    dtype: torch.dtype
    start: int
    stop: int


@dataclass(frozen=True)
class FileLayout:
    """A whole file; places are in the order of their bytes."""

    places: Mapping[str, Place]
    size_bytes: int
    data_start: int

    @cached_property
    def head(self) -> bytes:
        """The bytes before the data: length, header, spaces."""
        content = _header_json(self.places, self.data_start)
        padded = content.ljust(self.data_start - LENGTH_BYTES)
        return len(padded).to_bytes(LENGTH_BYTES, "little") + padded

    def forms(self) -> dict[str, Form]:
        """Return shape and type by name."""
        return {name: (place.shape, place.dtype) for name, place in self.places.items()}


Count: TypeAlias = Annotated[int, Field(ge=0, lt=2**63)]


class _Entry(BaseModel):
    """One tensor in a header."""

    model_config = ConfigDict(extra="forbid", strict=True)

    dtype: str
    shape: tuple[Count, ...]
    data_offsets: tuple[Count, Count]


_ENTRIES = TypeAdapter(dict[str, _Entry])


def forms_of(tensors: Mapping[str, Tensor]) -> dict[str, Form]:
    """Return shape and type by name."""
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def layout_of(forms: Mapping[str, Form]) -> FileLayout:
    """Lay the tensors out; equal forms give equal layouts, whatever their order.

    Raises:
        TensorFileError: a type has no name in the format, or a name is the format's own.
    """
    relative: dict[str, Place] = {}
    offset = 0
    for name, (shape, dtype) in sorted(forms.items(), key=lambda item: (-item[1][1].itemsize, item[0])):
        if dtype not in NAMES or name == METADATA_KEY:
            raise TensorFileError(f"{name} ({dtype}) cannot be saved")
        size_bytes = shape.numel() * dtype.itemsize
        relative[name] = Place(shape, dtype, offset, offset + size_bytes)
        offset += size_bytes
    data_start = up_to_a_page(LENGTH_BYTES + len(_header_json(relative, 0)))
    places = {
        name: Place(place.shape, place.dtype, place.start + data_start, place.stop + data_start)
        for name, place in relative.items()
    }
    return FileLayout(places, data_start + offset, data_start)


def parse_layout(length: bytes, header: bytes, size_bytes: int) -> FileLayout:
    """Return the layout that a file's first bytes describe; nothing in them is believed unchecked.

    Raises:
        TensorFileError: it is no safetensors file, or not of this size, or has holes, overlaps or unknown types.
    """
    data_start = LENGTH_BYTES + header_length(length, size_bytes)
    try:
        entries = _ENTRIES.validate_json(header)
    except ValidationError as error:
        first = error.errors()[0]
        where = " ".join(str(part) for part in first["loc"])
        raise TensorFileError(f"the header cannot be read: {where}: {first['msg']}") from error
    found = [(name, _place(name, entry, data_start)) for name, entry in entries.items()]
    # Empty tensors share their start with the next one, so the stop decides too.
    found.sort(key=lambda item: (item[1].start, item[1].stop))
    offset = data_start
    for name, place in found:
        if place.start != offset:
            raise TensorFileError(f"{name} begins at byte {place.start}, not at {offset}")
        offset = place.stop
    if offset != size_bytes:
        raise TensorFileError(f"the file has {size_bytes} bytes, its header says {offset}")
    return FileLayout(dict(found), size_bytes, data_start)


def header_length(length: bytes, size_bytes: int) -> int:
    """Return how long the header is that follows the first 8 bytes.

    Raises:
        TensorFileError: the file cannot hold such a header.
    """
    header_bytes = int.from_bytes(length, "little")
    if len(length) < LENGTH_BYTES or not 0 < header_bytes <= min(HEADER_BYTES_MAX, size_bytes - LENGTH_BYTES):
        raise TensorFileError(f"a file of {size_bytes} bytes has no header of {header_bytes} bytes")
    return header_bytes


def _place(name: str, entry: _Entry, data_start: int) -> Place:
    """Check one entry of a header."""
    start, stop = entry.data_offsets
    dtype = DTYPES.get(entry.dtype)
    if dtype is None:
        raise TensorFileError(f"{name} is of the unknown type {entry.dtype}")
    # Python's integers: a product that a machine word cannot hold is simply not the length.
    if stop - start != math.prod(entry.shape) * dtype.itemsize:
        raise TensorFileError(f"{name} has {stop - start} bytes, which is not {dtype} {entry.shape}")
    return Place(torch.Size(entry.shape), dtype, start + data_start, stop + data_start)


def _header_json(places: Mapping[str, Place], data_start: int) -> bytes:
    entries = {
        name: {
            "dtype": NAMES[place.dtype],
            "shape": list(place.shape),
            "data_offsets": [place.start - data_start, place.stop - data_start],
        }
        for name, place in places.items()
    }
    return json.dumps(entries, separators=(",", ":")).encode()
