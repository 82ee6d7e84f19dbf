"""Parquet tables whose bytes follow from their content alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

# pyarrow has no types; Any says so once, instead of an exemption at every use.
pa: Any = pyarrow
pq: Any = pyarrow.parquet
MEDIA_TYPE = "application/vnd.apache.parquet"


def write_table(columns: Mapping[str, list[Any]], path: Path) -> None:
    """Write columns of whole numbers or floats; the bytes also depend on the pyarrow version."""
    arrays = [pa.array(values) for values in columns.values()]
    pq.write_table(
        pa.Table.from_arrays(arrays, names=list(columns)),
        path,
        compression="zstd",
        use_dictionary=False,
        version="2.6",
        data_page_version="1.0",
        store_schema=False,
    )
