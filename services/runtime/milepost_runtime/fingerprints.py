"""What must be equal for a resumed run to be exact: a job's fingerprint, compared with a checkpoint's.

Entries whose name begins with ``environment.`` (versions, device, instruction sets) say where it is computed; the
others (spec, data, engine, schema of the state) say what. The former may be accepted as different when the command
says so: the run then goes on, but equality is no longer promised. Of the latter only those that a fork has changed
on purpose may differ.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from milepost_runtime.errors import FingerprintMismatchError

ENVIRONMENT = "environment."


@dataclass(frozen=True, slots=True)
class FingerprintDifferences:
    """Every difference in words, by whether it could be accepted."""

    environment: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def environment_entries(entries: Mapping[str, str]) -> dict[str, str]:
    """Return the entries under the names that mark them as the environment's."""
    return {f"{ENVIRONMENT}{name}": value for name, value in entries.items()}


def compare_fingerprints(saved: Mapping[str, str], present: Mapping[str, str]) -> FingerprintDifferences:
    """Return what differs between a checkpoint's fingerprint and the present one."""
    differing = [
        name for name in sorted(saved.keys() | present.keys()) if saved.get(name) != present.get(name)
    ]
    words = {
        name: f"{name.removeprefix(ENVIRONMENT)} was {_value(saved, name)} and is {_value(present, name)}"
        for name in differing
    }
    return FingerprintDifferences(
        environment=tuple(words[name] for name in differing if name.startswith(ENVIRONMENT)),
        others=tuple(words[name] for name in differing if not name.startswith(ENVIRONMENT)),
    )


def accepted_differences(
    saved: Mapping[str, str],
    present: Mapping[str, str],
    *,
    accept_environment: bool,
    changed_entries: Iterable[str] = (),
) -> tuple[str, ...]:
    """Return the differences that a run goes on with; none unless ``accept_environment`` is set.

    ``changed_entries`` are those that a fork has changed: they are not compared.

    Raises:
        FingerprintMismatchError: there are others; every difference is named.
    """
    changed = frozenset(changed_entries)
    found = compare_fingerprints(_without(saved, changed), _without(present, changed))
    if found.others or (found.environment and not accept_environment):
        raise FingerprintMismatchError(
            "; ".join((*found.others, *found.environment)), environment_only=not found.others
        )
    return found.environment


def _without(fingerprint: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
    return {name: value for name, value in fingerprint.items() if name not in names}


def _value(fingerprint: Mapping[str, str], name: str) -> str:
    return repr(fingerprint[name]) if name in fingerprint else "absent"
