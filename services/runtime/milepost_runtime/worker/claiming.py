"""Whether a worker may claim the operation whose work message it was given: a pure decision."""

from dataclasses import dataclass
from typing import TypeAlias

from milepost_runtime.worker.run_view import RunView


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim it as this attempt."""

    attempt: int


@dataclass(frozen=True, slots=True)
class AskOwner:
    """Somebody owned it; claim it only if they do not answer."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Too many attempts were lost: end it as failed."""

    attempts_lost: int


@dataclass(frozen=True, slots=True)
class AlreadyEnded:
    """Its terminal event is in the log; only the work message is left to remove."""


@dataclass(frozen=True, slots=True)
class NotRequested:
    """The log does not know it."""


ClaimDecision: TypeAlias = Claim | AskOwner | Exhausted | AlreadyEnded | NotRequested


def decide_claim(view: RunView) -> ClaimDecision:
    """Decide what to do with a delivered work message.

    The work message exists as long as the operation has not ended, so being given it while someone owns the
    operation means that their lease ran out: they may be gone, or only cut off from the bus for a while.
    """
    if view.request is None:
        return NotRequested()
    if view.ended:
        return AlreadyEnded()
    if view.owned:
        return AskOwner(attempt=view.attempt + 1)
    return claim_or_exhausted(view)


def claim_or_exhausted(view: RunView) -> Claim | Exhausted:
    """Decide for an operation that nobody owns (any more)."""
    lost = view.attempts_lost + (1 if view.owned else 0)
    if view.request is not None and lost >= view.request.options.max_attempts:
        return Exhausted(attempts_lost=lost)
    return Claim(attempt=view.attempt + 1)
