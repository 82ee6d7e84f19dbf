"""Parquet files whose bytes follow from their content alone, so that digests can be compared."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow
import pyarrow.parquet

# pyarrow has no types; Any says so once, instead of an exemption at every use.
pa: Any = pyarrow
pq: Any = pyarrow.parquet
Schema: TypeAlias = Any
Table: TypeAlias = Any
Array: TypeAlias = Any

ROW_GROUP_ROWS = 1 << 20
MEDIA_TYPE = "application/vnd.apache.parquet"
TIMESTAMP = pa.timestamp("ns", tz="UTC")


def write_table(columns: Mapping[str, Any], schema: Schema, path: Path, *, quick: bool = False) -> None:
    """Write columns of ``schema``; no metadata that varies, fixed encodings and row groups.

    ``quick``: two thirds of the time for twice the bytes, for what somebody waits for and nobody keeps long. The
    bytes also depend on the pyarrow version, which names itself in the file.
    """
    arrays = [pa.array(columns[field.name], type=field.type, from_pandas=False) for field in schema]
    pq.write_table(
        pa.Table.from_arrays(arrays, schema=schema),
        path,
        row_group_size=ROW_GROUP_ROWS,
        compression="lz4" if quick else "zstd",
        write_statistics=not quick,
        use_dictionary=False,
        version="2.6",
        data_page_version="1.0",
        store_schema=False,
    )


def read_table(path: Path) -> Table:
    """Read a whole file.

    Raises:
        OSError, pyarrow.ArrowException: it is not there, or not Parquet.
    """
    # pyarrow's own read_table loads its datasets, and with them pandas where there is one.
    with pq.ParquetFile(path) as file:
        return file.read()
