"""What the application needs beside the runtime's ports: small protocols, implemented by adapters."""

from collections.abc import Sequence
from typing import Protocol

from milepost_contracts.datasets import Dataset


class Datasets(Protocol):
    """The catalogue of datasets. Blocking, like the artifact store."""

    def get(self, name: str) -> Dataset | None:
        """Return the newest dataset of that name, None when there is none."""
        ...

    def by_digest(self, digest: str) -> Dataset | None:
        """Return the dataset with these bytes, None when there is none."""
        ...

    def list(self) -> Sequence[Dataset]:
        """Return the newest dataset of each name, sorted by name."""
        ...
