"""Which of an operation's checkpoints a cleanup removes, and why the others stay. The present is an argument."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from milepost_contracts.cleanup import CleanUpCheckpoints, KeepBest, KeptBecause
from milepost_contracts.events import CheckpointDeleted

from milepost_orchestrator.domain.checkpoint_decisions import why_in_use
from milepost_orchestrator.domain.operation import Checkpoint, CheckpointStatus, Facts, Operation

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


@dataclass(frozen=True, slots=True)
class Judged:
    """A checkpoint that the rules' age fits."""

    checkpoint: Checkpoint
    kept: KeptBecause | None
    """None for one that goes."""
    message: str
    """Why it goes or stays, in words."""


def judge_checkpoints(
    state: Operation, rules: CleanUpCheckpoints, *, live_descendant: str | None, now: datetime
) -> list[Judged]:
    """Judge every checkpoint that is there and old enough, in the order in which they were saved.

    ``live_descendant`` is an operation that goes on from this one and has not ended. Refused checkpoints are never
    among the newest or the best: nothing can go on from them.
    """
    facts = state.facts
    there = [each for each in facts.checkpoints.values() if each.status is not CheckpointStatus.DELETED]
    old = [each for each in there if _is_old_enough(each, rules, now)]
    protected = _why_none_goes(state, live_descendant)
    if protected is not None:
        return [Judged(each, *protected) for each in old]
    newest = {each.checkpoint_id for each in facts.kept_newest_first[: rules.keep_newest or 0]}
    best = _best(facts, rules.keep_best) if rules.keep_best is not None else {}
    return [_judge(each, rules, newest, best) for each in old]


def deletion_of(judged: Judged, *, reason: str | None, requested_by: str) -> CheckpointDeleted:
    """Return the event of one that goes; its reason is the rule that fits, after the command's own words."""
    checkpoint = judged.checkpoint
    return CheckpointDeleted(
        checkpoint_id=checkpoint.checkpoint_id,
        manifest_key=checkpoint.manifest_key,
        size_bytes=checkpoint.size_bytes,
        reason=f"{reason}: {judged.message}" if reason else judged.message,
        requested_by=requested_by,
    )


def _is_old_enough(checkpoint: Checkpoint, rules: CleanUpCheckpoints, now: datetime) -> bool:
    if rules.older_than_seconds is None:
        return True
    return now - checkpoint.saved_at >= timedelta(seconds=rules.older_than_seconds)


def _why_none_goes(state: Operation, live_descendant: str | None) -> tuple[KeptBecause, str] | None:
    if state.facts.imported_from is not None:
        return KeptBecause.IMPORTED, "it was imported for reading and lives where it was exported"
    in_use = why_in_use(state, live_descendant)
    return (KeptBecause.IN_USE, in_use.message) if in_use is not None else None


def _judge(
    checkpoint: Checkpoint, rules: CleanUpCheckpoints, newest: set[str], best: dict[str, str]
) -> Judged:
    if checkpoint.pinned:
        return Judged(checkpoint, KeptBecause.PINNED, "it is pinned")
    if checkpoint.checkpoint_id in newest:
        return Judged(checkpoint, KeptBecause.NEWEST, _among(rules.keep_newest or 0, "newest"))
    if checkpoint.checkpoint_id in best:
        return Judged(checkpoint, KeptBecause.BEST, best[checkpoint.checkpoint_id])
    return Judged(checkpoint, None, "; ".join(_words(checkpoint, rules)))


def _words(checkpoint: Checkpoint, rules: CleanUpCheckpoints) -> list[str]:
    """The same words whenever it is said: a dry run and what comes after it can be compared."""
    words = [f"older than {_age_words(rules.older_than_seconds)}"] if rules.older_than_seconds else []
    if not checkpoint.is_kept:
        return [*words, "nothing can go on from it"]
    if rules.keep_newest:
        words.append(f"not {_among(rules.keep_newest, 'newest')}")
    if rules.keep_best is not None:
        words.append(f"not {_among_best(rules.keep_best)}")
    return words or ["nothing needs it"]


def _best(facts: Facts, rule: KeepBest) -> dict[str, str]:
    """Return what is kept for its metric, with the words for it; everything when the metric is nowhere found.

    A metric that is misspelt must not be the end of every checkpoint.
    """
    valued = [(each, _value(each, rule.metric)) for each in facts.kept_newest_first]
    found = [(each, value) for each, value in valued if value is not None]
    if not found:
        words = f"none of the operation's checkpoints says its {rule.metric}"
        return {each.checkpoint_id: words for each, _ in valued}
    ranked = sorted(
        found, key=lambda pair: pair[1] if rule.lowest else -pair[1]
    )  # of equal ones the newest first
    return {each.checkpoint_id: _among_best(rule) for each, _ in ranked[: rule.count]}


def _value(checkpoint: Checkpoint, metric: str) -> float | None:
    value = checkpoint.summary.get(metric)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _among_best(rule: KeepBest) -> str:
    direction = "lowest" if rule.lowest else "highest"
    return _among(rule.count, f"{direction} {rule.metric}")


def _among(count: int, what: str) -> str:
    return f"the {what}" if count == 1 else f"among the {count} {what}"


def _age_words(seconds: float) -> str:
    sizes: Sequence[tuple[int, str]] = ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute"), (1, "second"))
    size, unit = next((pair for pair in sizes if seconds >= pair[0]), (1, "second"))
    return f"{seconds / size:g} {unit}{'' if seconds == size else 's'}"
