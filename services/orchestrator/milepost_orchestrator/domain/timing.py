"""When a schedule is due: pure functions of its timing and times. Cron by ``cronsim``, zones by ``zoneinfo``."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from milepost_contracts.failures import Problem
from milepost_contracts.schedules import Timing

_JUST_AFTER = timedelta(seconds=1)


def faults_of_timing(timing: Timing, now: datetime) -> tuple[Problem, ...]:
    """Return everything that is wrong with a timing, none when it will come."""
    if timing.at is not None:
        past = Problem(
            field="timing.at", message=f"{timing.at.isoformat()} has passed; it is {now.isoformat()}"
        )
        return () if timing.at > now else (past,)
    faults: list[Problem] = []
    try:
        ZoneInfo(timing.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        faults.append(Problem(field="timing.time_zone", message=f"there is no time zone {timing.time_zone}"))
    try:
        next(CronSim(timing.cron or "", now))
    except CronSimError as error:
        faults.append(Problem(field="timing.cron", message=f"it is no cron expression: {error}"))
    except StopIteration:
        faults.append(Problem(field="timing.cron", message="it never comes"))
    return tuple(faults)


def next_due(timing: Timing, after: datetime) -> datetime | None:
    """Return the first time after ``after``, None when there is none any more."""
    if timing.at is not None:
        return timing.at if timing.at > after else None
    return _in_utc(next(_cron(timing, after), None))


def newest_due(timing: Timing, after: datetime, until: datetime) -> datetime | None:
    """Return the newest time after ``after`` and not after ``until``, None when none came."""
    if timing.at is not None:
        return timing.at if after < timing.at <= until else None
    newest = _in_utc(next(_cron(timing, until + _JUST_AFTER, reverse=True), None))
    return newest if newest is not None and newest > after else None


def _in_utc(time: datetime | None) -> datetime | None:
    """In its own zone a time of an hour that comes twice is equal to no other (PEP 495)."""
    return None if time is None else time.astimezone(UTC)


def _cron(timing: Timing, start: datetime, *, reverse: bool = False) -> CronSim:
    return CronSim(timing.cron or "", start.astimezone(ZoneInfo(timing.time_zone)), reverse=reverse)
