"""Datasets: market data checked once, then known by digest."""

from typing import Annotated, Self

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from milepost_contracts.artifacts import ArtifactReference, Digest
from milepost_contracts.model import ContractModel

DatasetName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class DatasetReference(ContractModel):
    """How a spec names its data: by name when written by a person, by digest once the command is accepted."""

    name: DatasetName | None = None
    """Name given with ``milepost data add``; its newest dataset is pinned when the command is made."""
    digest: Digest | None = None
    """Exact bytes; wins over the name."""

    @model_validator(mode="after")
    def _one_is_given(self) -> Self:
        if self.name is None and self.digest is None:
            raise ValueError("give the dataset's name or its digest")
        return self


class Dataset(ContractModel):
    """Catalogue entry of a dataset: bars of one symbol, oldest first."""

    name: DatasetName
    artifact: ArtifactReference
    """Parquet with the columns timestamp (UTC, ns), open, high, low, close, volume (float64)."""
    rows: int = Field(ge=1)
    first: AwareDatetime
    last: AwareDatetime
    added_at: AwareDatetime
    source: str = ""
    """Where the data came from, in the words of whoever added it."""
