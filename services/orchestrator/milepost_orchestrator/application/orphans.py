"""The sweep of orphans: removes from the store what nothing refers to, after a grace time.

States of an object: in flight (its event is not in the log yet) -> needed -> orphan (its checkpoint was deleted,
or its event never came) -> gone. Authority: what ``references`` says, read *after* the store was listed, so
whatever was referred to in between counts. An object in flight is young: its grace is counted by the store's own
clock, and whoever finds bytes there already that he is about to refer to makes them young again (``put_file``);
right before it is removed an object is looked at once more. Failures: cut off anywhere, the next sweep does the
rest; a store that holds what this stack does not know (another's, or of a log that was lost) is not touched.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from milepost_runtime.event_log import EventLog
from milepost_runtime.store.datasets import DatasetCatalogue
from milepost_runtime.store.port import ArtifactStore, StoredObject
from milepost_runtime.store.stopping import in_thread

from milepost_orchestrator.application.errors import StoreSharedError
from milepost_orchestrator.application.references import (
    REFERRING_EVENTS,
    Needed,
    RecordedReferences,
    digest_bytes,
    needed_by_events,
)

log = structlog.get_logger()
ARTIFACTS, MANIFESTS, TENANTS = "artifacts/sha256/", "checkpoints/", "tenants/"
NAMED_MAX = 1000
UNKNOWN_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class Amount:
    """How many objects, and how many bytes."""

    count: int = 0
    size_bytes: int = 0

    def plus(self, stored: StoredObject) -> "Amount":
        """Return it with one more object."""
        return Amount(self.count + 1, self.size_bytes + stored.size_bytes)


@dataclass(frozen=True, slots=True)
class OrphanReport:
    """What a sweep found, and what it did."""

    dry_run: bool
    grace_seconds: float
    needed: Amount
    young: Amount
    """Referred to by nothing, and too young to tell."""
    orphans: Amount
    removed: Amount
    abandoned_uploads: int
    """Uploads that broke off and left parts behind: removed, or found in a dry run."""
    named: tuple[StoredObject, ...]
    """The orphans, at most ``NAMED_MAX`` of them, the largest first."""


class OrphanSweep:
    """Sweeps one stack's store, one sweep at a time."""

    def __init__(
        self,
        store: ArtifactStore,
        event_log: EventLog,
        recorded: RecordedReferences,
        *,
        tenant: str,
        grace_seconds: float,
    ) -> None:
        """``grace_seconds``: the least that is ever waited; a sweep may wait longer."""
        self._store = store
        self._event_log = event_log
        self._recorded = recorded
        self._tenant = tenant
        self._grace_seconds = grace_seconds
        self._sweeping = asyncio.Lock()

    async def register(self) -> None:
        """Say in the store that this stack uses it, for the sweeps of others.

        Raises:
            StoreUnavailableError, StoreAccessError: not said.
        """
        key = f"{TENANTS}{self._tenant}.json"
        if await asyncio.to_thread(self._store.get_document, key) is None:
            await in_thread(self._store.put_document, key, b"{}")

    async def sweep(self, *, dry_run: bool, grace_seconds: float | None = None) -> OrphanReport:
        """Remove orphans; only count and name them in a dry run.

        Raises:
            StoreSharedError: the store holds what this stack does not know; nothing was removed.
            BusUnavailableError, DatabaseUnavailableError, StoreUnavailableError: cut off; repeating is safe.
            EventDamagedError, ArtifactDamagedError: what is needed cannot be told; nothing was removed.
        """
        grace = self._grace_seconds if grace_seconds is None else max(grace_seconds, self._grace_seconds)
        async with self._sweeping:
            await self.register()
            await asyncio.to_thread(self._refuse_other_tenants)
            before = await in_thread(self._store_time) - timedelta(seconds=grace)
            objects = await asyncio.to_thread(lambda: [*self._listed()])
            needed = await self._needed()
            _refuse_unknown(objects, needed)
            return await self._sweep(objects, needed, before, dry_run=dry_run, grace_seconds=grace)

    async def _sweep(
        self,
        objects: list[StoredObject],
        needed: Needed,
        before: datetime,
        *,
        dry_run: bool,
        grace_seconds: float,
    ) -> OrphanReport:
        kept, young, amount, orphans = Amount(), Amount(), Amount(), list[StoredObject]()
        for each in objects:
            if _is_needed(each.key, needed):
                kept = kept.plus(each)
            elif each.modified_at >= before:
                young = young.plus(each)
            else:
                amount = amount.plus(each)
                orphans.append(each)
        orphans.sort(key=lambda each: (-each.size_bytes, each.key))
        removed = Amount() if dry_run else await in_thread(self._remove, orphans)
        abandoned = await in_thread(self._store.remove_abandoned, before, dry_run=dry_run)
        report = OrphanReport(
            dry_run=dry_run,
            grace_seconds=grace_seconds,
            needed=kept,
            young=young,
            orphans=amount,
            removed=removed,
            abandoned_uploads=abandoned,
            named=tuple(orphans[:NAMED_MAX]),
        )
        log.info(
            "orphans swept",
            dry_run=dry_run,
            orphans=amount.count,
            removed=removed.count,
            removed_bytes=removed.size_bytes,
            abandoned_uploads=abandoned,
        )
        return report

    async def _needed(self) -> Needed:
        by_events = await needed_by_events(self._event_log.read_types(REFERRING_EVENTS))
        recorded = await self._recorded.needed()
        datasets = await asyncio.to_thread(DatasetCatalogue(self._store).digests)
        return Needed(
            digests=by_events.digests | recorded.digests | {digest_bytes(each) for each in datasets},
            manifests=by_events.manifests | recorded.manifests,
            operations=by_events.operations | recorded.operations,
        )

    def _listed(self) -> Iterator[StoredObject]:
        yield from self._store.list_objects(ARTIFACTS)
        yield from self._store.list_objects(MANIFESTS)

    def _store_time(self) -> datetime:
        """Return the present by the store's own clock, which is the one that dates its objects."""
        key = f"{TENANTS}{self._tenant}.time.json"
        self._store.put_document(key, b"{}")
        (written,) = self._store.list_objects(key)
        return written.modified_at

    def _refuse_other_tenants(self) -> None:
        own = {f"{TENANTS}{self._tenant}.json", f"{TENANTS}{self._tenant}.time.json"}
        others = [each.key for each in self._store.list_objects(TENANTS) if each.key not in own]
        if others:
            names = ", ".join(
                key.removeprefix(TENANTS).partition(".")[0] for key in others[:UNKNOWN_NAMED_MAX]
            )
            raise StoreSharedError(f"{names} use the same bucket")

    def _remove(self, orphans: list[StoredObject]) -> Amount:
        removed = Amount()
        for each in orphans:
            if any(
                now == each for now in self._store.list_objects(each.key)
            ):  # nobody has made it young again
                self._store.delete_document(each.key)
                removed = removed.plus(each)
        return removed


def _is_needed(key: str, needed: Needed) -> bool:
    if key.startswith(MANIFESTS):
        return key in needed.manifests
    digits = key.removeprefix(ARTIFACTS)
    return len(digits) != 64 or digest_bytes(digits) in needed.digests  # what is not ours by its name stays


def _refuse_unknown(objects: list[StoredObject], needed: Needed) -> None:
    """A manifest of an operation that nobody has heard of: the log was lost, or the store is another's, too."""
    manifests = (each.key.split("/") for each in objects if each.key.startswith(MANIFESTS))
    unknown = sorted({parts[1] for parts in manifests if len(parts) == 3} - needed.operations)
    if unknown:
        named = ", ".join(unknown[:UNKNOWN_NAMED_MAX])
        raise StoreSharedError(
            f"it holds checkpoints of {len(unknown)} operations that this stack does not know: {named}"
        )
