"""A cleanup as a person sees it: all its steps together, as a list, as sums, as a bar that grows."""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from milepost_contracts.cleanup import CleanedUp, CleanupEntry, KeptBecause
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from milepost_cli.formatting import format_count, format_size
from milepost_cli.output import notes, people
from milepost_cli.tables import print_table

KEPT_WORDS = {
    KeptBecause.NEWEST: "among the newest",
    KeptBecause.BEST: "among the best",
    KeptBecause.PINNED: "pinned",
    KeptBecause.IN_USE: "in use",
    KeptBecause.IMPORTED: "imported",
}


@dataclass(slots=True)
class Cleaning:
    """What all steps of a cleanup did, or would do."""

    dry_run: bool
    deleted: list[CleanupEntry] = field(default_factory=list[CleanupEntry])
    skipped: list[CleanupEntry] = field(default_factory=list[CleanupEntry])
    unreadable: list[str] = field(default_factory=list[str])
    """Operations of which everything was kept."""
    steps: int = 0

    def add(self, step: CleanedUp) -> None:
        """Take in one step's verdict."""
        self.deleted.extend(step.deleted)
        self.skipped.extend(step.skipped)
        self.unreadable.extend(step.unreadable)
        self.steps += 1

    @property
    def deleted_bytes(self) -> int:
        """Sum over what was deleted, shared artifacts counted each time."""
        return sum(entry.size_bytes for entry in self.deleted)

    def document(self) -> dict[str, object]:
        """Return the JSON form, every checkpoint by name."""
        return {
            "dry_run": self.dry_run,
            "deleted_count": len(self.deleted),
            "deleted_bytes": self.deleted_bytes,
            "skipped_count": len(self.skipped),
            "skipped_counts": dict(Counter(entry.kept.value for entry in self.skipped if entry.kept)),
            "unreadable": self.unreadable,
            "deleted": [entry.model_dump(mode="json") for entry in self.deleted],
            "skipped": [entry.model_dump(mode="json") for entry in self.skipped],
        }


def total_words(done: Cleaning) -> str:
    """Return how much it is, such as ``41 checkpoints, 1.2 GB``."""
    return f"{format_count(len(done.deleted), 'checkpoint')}, {format_size(done.deleted_bytes)}"


def print_cleaning(done: Cleaning) -> None:
    """Print every checkpoint with what becomes of it and why, then the sums."""
    rows = [_row("delete" if done.dry_run else "deleted", entry) for entry in done.deleted]
    rows += [_row("keep" if done.dry_run else "kept", entry) for entry in done.skipped]
    if rows:
        headings = ("", "CHECKPOINT", "OPERATION", "KIND", "AT", "SIZE", "WHY")
        print_table(headings, rows, right=("AT", "SIZE"), wrap=("WHY",))
        people().print()
    verb = "would be deleted" if done.dry_run else "deleted"
    people().print(f"{total_words(done)} {verb}", soft_wrap=True)
    counts = Counter(entry.kept for entry in done.skipped if entry.kept is not None)
    if counts:
        words = ", ".join(f"{count} {KEPT_WORDS[kept]}" for kept, count in counts.most_common())
        people().print(f"{format_count(len(done.skipped), 'checkpoint')} kept: {words}", soft_wrap=True)
    for operation_id in done.unreadable:
        notes().print(f"{operation_id} cannot be read by this version: all of its checkpoints are kept")
    if done.deleted and not done.dry_run:
        notes().print("their bytes go with the next `milepost storage sweep`, unless others share them")


@contextmanager
def progress_of(plan: Cleaning) -> Generator[Callable[[CleanedUp], None]]:
    """Yield what a step is told to; a bar on the terminal grows with what was looked at."""
    columns = (TextColumn("deleting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notes(), transient=True, disable=not notes().is_terminal) as progress:
        task = progress.add_task("", total=len(plan.deleted) + len(plan.skipped))

        def advance(step: CleanedUp) -> None:
            progress.advance(task, len(step.deleted) + len(step.skipped))

        yield advance


def _row(verb: str, entry: CleanupEntry) -> tuple[str | None, ...]:
    return (
        verb,
        entry.checkpoint_id,
        entry.operation_id,
        entry.kind,
        f"{entry.unit:,}",
        format_size(entry.size_bytes),
        entry.message,
    )
