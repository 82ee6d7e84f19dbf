"""Artifacts into a directory: planned whole before the first byte, verified, never overwriting silently."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.failures import Problem
from milepost_runtime.digests import measure_file
from milepost_runtime.store.port import ArtifactStore
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from milepost_cli.errors import CommandError
from milepost_cli.output import notes

BAR_FROM_BYTES = 8 * 1024 * 1024
"""Smaller downloads are over before a bar could be read."""


@dataclass(frozen=True, slots=True)
class Download:
    """One file: what it must be, where it goes, and what became of it."""

    reference: ArtifactReference
    path: Path
    state: str
    """``to do``, then ``written``; or ``unchanged`` when the same bytes were there already."""

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {**self.reference.model_dump(mode="json"), "path": str(self.path), "state": self.state}


class WouldOverwriteError(CommandError):
    """Files with other content are there already."""

    default_code = "would-overwrite"


def plan(artifacts: Sequence[ArtifactReference], out: Path, *, force: bool) -> list[Download]:
    """Return what there is to do, making ``out`` but writing nothing into it.

    Raises:
        WouldOverwriteError: different files are in the way and ``force`` is not given; all are named.
    """
    if out.exists() and not out.is_dir():
        raise WouldOverwriteError(f"{out} is a file, not a directory", fix="choose another --out")
    downloads = [
        Download(artifact, out / artifact.name, _state(artifact, out / artifact.name))
        for artifact in artifacts
    ]
    in_the_way = [item for item in downloads if item.state == "different"]
    if in_the_way and (not force or any(item.path.is_dir() for item in in_the_way)):
        raise WouldOverwriteError(
            f"{len(in_the_way)} different file(s) are in {out} already; nothing was written",
            fix="choose another --out, or replace them with --force",
            problems=[Problem(field=item.reference.name, message="has other content") for item in in_the_way],
        )
    out.mkdir(parents=True, exist_ok=True)
    return downloads


def download(store: ArtifactStore, downloads: Sequence[Download], *, quiet: bool = False) -> list[Download]:
    """Fetch and verify every file that is not there yet; return all with what became of them.

    Raises:
        ArtifactMissingError, ArtifactDamagedError: the store has not what was promised.
    """
    missing_bytes = sum(item.reference.size_bytes for item in downloads if item.state != "unchanged")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    done: list[Download] = []
    hidden = quiet or missing_bytes < BAR_FROM_BYTES or not notes().is_terminal
    with Progress(*columns, console=notes(), disable=hidden, transient=True) as progress:
        task = progress.add_task("fetching", total=missing_bytes)
        for item in downloads:
            if item.state == "unchanged":
                done.append(item)
                continue
            progress.update(task, description=item.reference.name)
            store.get_file(item.reference, item.path)
            progress.advance(task, item.reference.size_bytes)
            done.append(replace(item, state="written"))
    return done


def _state(artifact: ArtifactReference, path: Path) -> str:
    if not path.exists():
        return "to do"
    if not path.is_file():
        return "different"
    found = measure_file(path)
    return "unchanged" if found.digest == artifact.digest else "different"
