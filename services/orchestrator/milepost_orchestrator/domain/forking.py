"""What a fork changes: the difference between two specs, and which differences a kind allows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.failures import Problem, RejectionCode
from milepost_contracts.lineage import SettingChange
from milepost_contracts.model import JsonObject
from pydantic import JsonValue

from milepost_orchestrator.domain.rejections import Rejection, listed


@dataclass(frozen=True, slots=True)
class Amended:
    """A parent's spec with a fork's changes."""

    spec: JsonObject
    inputs: tuple[ArtifactReference, ...]
    changes: tuple[SettingChange, ...]
    entries: tuple[str, ...]
    """Entries of the fingerprint that the changes are meant to change."""


def merged(spec: JsonObject, changes: JsonObject) -> JsonObject:
    """Return the spec with the changes, as RFC 7396 (JSON Merge Patch) has it: null removes a field."""
    result = dict(spec)
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            inner = result.get(name)
            result[name] = merged(inner if isinstance(inner, dict) else {}, value)
        else:
            result[name] = value
    return result


def amend(
    before: JsonObject,
    after: JsonObject,
    inputs: tuple[ArtifactReference, ...],
    changeable: Mapping[str, Sequence[str]],
    kind: str,
) -> Amended | Rejection:
    """Return the changed spec with its difference; both specs are resolved, so a default is no difference."""
    changes = tuple(_differences(before, after, ""))
    if not changes:
        return Rejection(
            RejectionCode.NOTHING_CHANGED,
            "the changes leave every setting as it is",
            "name another value; to go on with the same settings, resume it",
        )
    rules = {change.field: _rule(change.field, changeable) for change in changes}
    refused = [field for field, rule in rules.items() if rule is None]
    if refused:
        allowed = listed(sorted(changeable)) if changeable else "nothing"
        return Rejection(
            RejectionCode.NOT_CHANGEABLE,
            f"a fork of a {kind} cannot change {listed(refused)}: the checkpoint's state rests on it",
            f"what may change: {allowed}; for anything else start a new operation",
            tuple(
                Problem(field=f"changes.{field}", message="a fork cannot change this") for field in refused
            ),
        )
    entries = {entry for rule in rules.values() if rule is not None for entry in changeable[rule]}
    return Amended(after, inputs, changes, tuple(sorted(entries)))


def _differences(before: JsonValue, after: JsonValue, path: str) -> Iterator[SettingChange]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from _differences(before.get(name), after.get(name), f"{path}.{name}" if path else name)
    elif before != after or type(before) is not type(after):
        yield SettingChange(field=path, before=before, after=after)


def _rule(field: str, changeable: Mapping[str, Sequence[str]]) -> str | None:
    """Return the changeable field that this one is, or lies beneath."""
    return next((rule for rule in changeable if field == rule or field.startswith(f"{rule}.")), None)
