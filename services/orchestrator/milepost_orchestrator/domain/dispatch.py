"""Holds, limits and drains of dispatch: the fold of their events, and what to do about commands that change them.

States of a kind: given out -> held (by itself, or with all) -> given out. Of a worker: takes work -> drained ->
takes work. Authority: only events. Nothing here looks at a clock or the bus.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import assert_never

from milepost_contracts.commands import (
    DispatchCommand,
    DrainWorker,
    HoldDispatch,
    LimitKind,
    ReleaseDispatch,
    UndrainWorker,
)
from milepost_contracts.dispatch import (
    DISPATCH,
    DispatchEvent,
    DispatchHeld,
    DispatchPolicy,
    DispatchReleased,
    Drain,
    Hold,
    KindLimited,
    WorkerDrained,
    WorkerUndrained,
)
from milepost_contracts.failures import RejectionCode

from milepost_orchestrator.domain.rejections import (
    CommandIdentity,
    Rejection,
    Repeated,
    command_id_reused,
)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What holds, and which commands led to it."""

    policy: DispatchPolicy = field(default_factory=DispatchPolicy)
    commands: Mapping[str, str] = field(default_factory=dict[str, str])
    """Accepted commands: the id of the event that each one led to, by the command's id."""


@dataclass(frozen=True, slots=True)
class RecordedDispatch:
    """One event with its place in the log."""

    sequence: int
    event: DispatchEvent
    event_id: str
    time: datetime
    causation_id: str | None


def evolve_dispatch(state: Dispatch, entry: RecordedDispatch) -> Dispatch:
    """Return the state after one more event; total."""
    policy = _policy_after(state.policy, entry.event, entry.time)
    commands = state.commands
    if entry.causation_id is not None:
        commands = {**commands, entry.causation_id: entry.event_id}
    return replace(state, policy=policy.model_copy(update={"sequence": entry.sequence}), commands=commands)


def _policy_after(policy: DispatchPolicy, event: DispatchEvent, time: datetime) -> DispatchPolicy:
    match event:
        case DispatchHeld(kind=kind):
            hold = Hold(requested_by=event.requested_by, reason=event.reason, since=time)
            if kind is None:
                return policy.model_copy(update={"held": hold})
            return policy.model_copy(update={"held_kinds": {**policy.held_kinds, kind: hold}})
        case DispatchReleased(kind=kind):
            if kind is None:
                return policy.model_copy(update={"held": None})
            return policy.model_copy(update={"held_kinds": _without(policy.held_kinds, kind)})
        case KindLimited(kind=kind, limit=limit):
            others = _without(policy.limits, kind)
            return policy.model_copy(update={"limits": others if limit is None else {**others, kind: limit}})
        case WorkerDrained(worker_id=worker_id, release=release):
            drain = Drain(requested_by=event.requested_by, reason=event.reason, since=time, release=release)
            return policy.model_copy(update={"drained_workers": {**policy.drained_workers, worker_id: drain}})
        case WorkerUndrained(worker_id=worker_id):
            return policy.model_copy(update={"drained_workers": _without(policy.drained_workers, worker_id)})
        case _:
            assert_never(event)


def decide_dispatch(
    state: Dispatch,
    command: DispatchCommand,
    identity: CommandIdentity,
    requested_by: str,
    *,
    live_workers: Collection[str] = (),
) -> DispatchEvent | Repeated | Rejection:
    """Decide a command about dispatch: an event, a repetition or a rejection."""
    event_id = state.commands.get(identity.command_id)
    if event_id is not None:
        return (
            Repeated(DISPATCH)
            if event_id == identity.event_id
            else command_id_reused(identity.command_id, DISPATCH)
        )
    policy, reason = state.policy, command.reason
    match command:
        case HoldDispatch(kind=kind):
            hold = policy.held if kind is None else policy.held_kinds.get(kind)
            if hold is not None:
                return _already_held(kind, hold)
            return DispatchHeld(kind=kind, requested_by=requested_by, reason=reason)
        case ReleaseDispatch(kind=kind):
            hold = policy.held if kind is None else policy.held_kinds.get(kind)
            if hold is None:
                return _not_held(policy, kind)
            return DispatchReleased(kind=kind, requested_by=requested_by, reason=reason)
        case LimitKind():
            before = policy.limits.get(command.kind)
            if before == command.limit:
                return _limit_unchanged(command.kind, before)
            return KindLimited(
                kind=command.kind,
                limit=command.limit,
                before=before,
                requested_by=requested_by,
                reason=reason,
            )
        case DrainWorker() | UndrainWorker():
            return _decide_drain(policy, command, requested_by, live_workers)
        case _:
            assert_never(command)


def _decide_drain(
    policy: DispatchPolicy,
    command: DrainWorker | UndrainWorker,
    requested_by: str,
    live_workers: Collection[str],
) -> WorkerDrained | WorkerUndrained | Rejection:
    worker_id, drain = command.worker_id, policy.drained_workers.get(command.worker_id)
    if drain is None and worker_id not in live_workers:
        return Rejection(
            RejectionCode.WORKER_NOT_FOUND,
            f"there is no live worker {worker_id}",
            "list the live workers with `milepost workers`",
        )
    if isinstance(command, UndrainWorker):
        if drain is None:
            message = f"worker {worker_id} is not drained"
            return Rejection(RejectionCode.DRAIN_UNCHANGED, message, "nothing needs to be done")
        return WorkerUndrained(worker_id=worker_id, requested_by=requested_by, reason=command.reason)
    if drain is not None and (drain.release or not command.release):
        return Rejection(
            RejectionCode.DRAIN_UNCHANGED,
            f"worker {worker_id} is {drain.in_words()}, since {drain.since:%Y-%m-%d %H:%M %Z}",
            f"nothing needs to be done; `milepost workers undrain {worker_id}` ends it",
        )
    return WorkerDrained(
        worker_id=worker_id, release=command.release, requested_by=requested_by, reason=command.reason
    )


def _already_held(kind: str | None, hold: Hold) -> Rejection:
    return Rejection(
        RejectionCode.ALREADY_HELD,
        f"{_noun(kind)} {_is(kind)} {hold.in_words()}, since {hold.since:%Y-%m-%d %H:%M %Z}",
        f"nothing needs to be done; `milepost dispatch release{_argument(kind)}` ends it",
    )


def _not_held(policy: DispatchPolicy, kind: str | None) -> Rejection:
    if kind is not None and policy.held is not None:
        return Rejection(
            RejectionCode.NOT_HELD,
            f"kind {kind} is not held by itself: all kinds are {policy.held.in_words()}",
            "release all: `milepost dispatch release`",
        )
    kinds = sorted(policy.held_kinds)
    if kind is None and kinds:
        fix = f"some kinds are held by themselves: `milepost dispatch release {kinds[0]}`"
    else:
        fix = "nothing needs to be done"
    return Rejection(RejectionCode.NOT_HELD, f"{_noun(kind)} {_is(kind)} not held", fix)


def _limit_unchanged(kind: str, limit: int | None) -> Rejection:
    words = "has no limit" if limit is None else f"is limited to {limit} at a time already"
    return Rejection(RejectionCode.LIMIT_UNCHANGED, f"kind {kind} {words}", "nothing needs to be done")


def _noun(kind: str | None) -> str:
    return "all kinds" if kind is None else f"kind {kind}"


def _is(kind: str | None) -> str:
    return "are" if kind is None else "is"


def _argument(kind: str | None) -> str:
    return "" if kind is None else f" {kind}"


def _without(values: Mapping[str, object], key: str) -> dict[str, object]:
    return {each: value for each, value in values.items() if each != key}
