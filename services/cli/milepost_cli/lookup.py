"""From what a person types to the one operation or checkpoint that is meant."""

import re
from collections.abc import Iterable

from milepost_cli import reader
from milepost_cli.api import PAGE_ITEMS, OrchestratorApi
from milepost_cli.errors import NotFoundError, UsageFaultError

_FULL_ID = re.compile(r"^(op|cp)-[a-z2-7]{16}$")
MATCHES_SHOWN_MAX = 5


def operation_id_of(api: OrchestratorApi, typed: str) -> str:
    """Return the full id of the operation that ``typed`` is, or begins.

    Raises:
        NotFoundError: none begins so.
        UsageFaultError: several do; they are named.
    """
    if _FULL_ID.match(typed):
        return typed
    page = api.get("/operations", {"id_begins": _whole_beginning(typed, "op-"), "limit": PAGE_ITEMS})
    found = (reader.text(item, "operation_id") for item in reader.objects(page, "operations"))
    return _only(typed, "op-", found, "operation", "`milepost ps --all` lists them")


def checkpoint_id_of(api: OrchestratorApi, typed: str, operation_id: str | None = None) -> str:
    """Return the full id of the checkpoint that ``typed`` is, or begins.

    Raises:
        NotFoundError: none begins so.
        UsageFaultError: several do; they are named.
    """
    if _FULL_ID.match(typed):
        return typed
    beginning = _whole_beginning(typed, "cp-")
    page = api.get(
        "/checkpoints", {"operation_id": operation_id, "id_begins": beginning, "limit": PAGE_ITEMS}
    )
    found = (reader.text(item, "checkpoint_id") for item in reader.objects(page, "checkpoints"))
    return _only(typed, "cp-", found, "checkpoint", "`milepost checkpoints list` lists them")


def _only(typed: str, prefix: str, ids: Iterable[str | None], noun: str, fix: str) -> str:
    wanted = _whole_beginning(typed, prefix)
    matches: list[str] = []
    for candidate in ids:
        if candidate is None:
            continue
        if candidate in (typed, wanted):
            return candidate
        if candidate.startswith(wanted):
            matches.append(candidate)
    if not matches:
        raise NotFoundError(f"there is no {noun} {typed}", fix=fix, code=f"{noun}-not-found")
    if len(matches) > 1:
        names = ", ".join(matches[:MATCHES_SHOWN_MAX]) + (", ..." if len(matches) > MATCHES_SHOWN_MAX else "")
        raise UsageFaultError(
            f"{typed} is the beginning of {len(matches)} {noun}s: {names}",
            fix="type more of it",
            code="ambiguous",
        )
    return matches[0]


def _whole_beginning(typed: str, prefix: str) -> str:
    return typed if typed.startswith(prefix) else prefix + typed
