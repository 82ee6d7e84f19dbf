"""Kinds of work that workers of a stack have announced."""

from pathlib import Path

from milepost_contracts.kinds import KindDescription
from milepost_runtime.bus.fleet import NatsKindCatalogue
from milepost_runtime.errors import BusUnavailableError

from milepost_cli.bus import open_bus
from milepost_cli.errors import UnreachableError
from milepost_cli.location import locate


async def announced_kinds(directory: Path | None) -> list[KindDescription]:
    """Return the descriptions; none when no stack answers, for what is installed here needs no stack."""
    try:
        location = locate(directory)
        async with open_bus(location) as bus:
            return await NatsKindCatalogue(bus.connection, location.bus()).kinds()
    except (UnreachableError, BusUnavailableError):
        return []
