"""What the orchestrator cleans up by itself, from the environment."""

from collections.abc import Mapping
from typing import Any

from milepost_contracts.cleanup import CleanUpCheckpoints, KeepBest
from milepost_runtime.errors import SettingsError
from pydantic import ValidationError

from milepost_orchestrator.application.janitor import REASON, JanitorSettings

PREFIX = "MILEPOST_"
GRACE_SECONDS = 86_400.0
GRACE_SECONDS_MIN = 3600.0
"""An upload that takes longer from its first byte to its event would be taken for an orphan."""


def janitor_settings(environment: Mapping[str, str]) -> JanitorSettings:
    """Read MILEPOST_RETENTION_DAYS, _KEEP_NEWEST, _KEEP_BEST, _SECONDS and MILEPOST_ORPHAN_SWEEP_SECONDS.

    Raises:
        SettingsError: one of them makes no sense.
    """
    days = _number(environment, "RETENTION_DAYS")
    newest = _number(environment, "RETENTION_KEEP_NEWEST")
    metric = environment.get(f"{PREFIX}RETENTION_KEEP_BEST", "")
    rules: dict[str, Any] = {}
    if days is not None:
        rules["older_than_seconds"] = days * 86_400
    if newest is not None:
        rules["keep_newest"] = newest
    try:
        if metric:
            rules["keep_best"] = KeepBest(metric=metric.removeprefix("-"), lowest=metric.startswith("-"))
        retention = CleanUpCheckpoints(**rules, reason=REASON) if rules else None
    except ValidationError as error:
        raise SettingsError(f"MILEPOST_RETENTION_*: {error.errors()[0]['msg']}") from error
    return JanitorSettings(
        retention=retention,
        retention_interval_seconds=_interval(environment, "RETENTION_SECONDS") or 3600.0,
        sweep_interval_seconds=_interval(environment, "ORPHAN_SWEEP_SECONDS"),
    )


def orphan_grace_seconds(environment: Mapping[str, str]) -> float:
    """Read MILEPOST_ORPHAN_GRACE_SECONDS, a day unless said otherwise.

    Raises:
        SettingsError: it is no number, or shorter than an hour.
    """
    given = _number(environment, "ORPHAN_GRACE_SECONDS")
    if given is not None and given < GRACE_SECONDS_MIN:
        raise SettingsError(
            f"MILEPOST_ORPHAN_GRACE_SECONDS must be at least {GRACE_SECONDS_MIN:g}, not {given:g}: what is being"
            " uploaded would be taken for an orphan"
        )
    return GRACE_SECONDS if given is None else given


def _interval(environment: Mapping[str, str], name: str) -> float | None:
    seconds = _number(environment, name)
    if seconds is not None and seconds <= 0:
        raise SettingsError(f"{PREFIX}{name} must be more than 0, not {seconds:g}")
    return seconds


def _number(environment: Mapping[str, str], name: str) -> float | None:
    text = environment.get(f"{PREFIX}{name}", "")
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise SettingsError(f"{PREFIX}{name} must be a number, not {text!r}") from error
