"""Upcasters: pure conversions of an old event version, applied on read.

A published event is never edited. When its shape must change, a new version is added to ``events`` and a
function from the old ``data`` to the new one is registered here; every reader then sees new versions only.
"""

from collections.abc import Callable
from typing import TypeAlias

from milepost_contracts.envelope import Envelope
from milepost_contracts.errors import UnknownEventError, UpcastLoopError
from milepost_contracts.events import EVENTS, Event
from milepost_contracts.model import JsonObject

Upcaster: TypeAlias = Callable[[JsonObject], JsonObject]
STEPS_MAX = 32


class UpcasterRegistry:
    """Upcasters by the type they start from; each leads to exactly one newer type."""

    def __init__(self) -> None:
        self._steps: dict[str, tuple[str, Upcaster]] = {}

    def register(self, old_type: str, new_type: str, upcaster: Upcaster) -> None:
        """Convert events of ``old_type`` to ``new_type`` on read.

        Raises:
            ValueError: ``old_type`` has an upcaster already.
        """
        if old_type in self._steps:
            raise ValueError(f"{old_type} has an upcaster already")
        self._steps[old_type] = (new_type, upcaster)

    def knows(self, type_name: str) -> bool:
        """Say whether there is an upcaster for events of that type."""
        return type_name in self._steps

    def upcast(self, type_name: str, data: JsonObject) -> tuple[str, JsonObject]:
        """Return the newest type and data that ``data`` can be converted to.

        Raises:
            UpcastLoopError: the registered upcasters lead in a circle.
        """
        for _ in range(STEPS_MAX):
            step = self._steps.get(type_name)
            if step is None:
                return type_name, data
            type_name, upcaster = step
            data = upcaster(data)
        raise UpcastLoopError(type_name)


REGISTRY = UpcasterRegistry()
"""The upcasters of every released event version. None yet: all events are at version 1."""


def decode_event(envelope: Envelope, registry: UpcasterRegistry = REGISTRY) -> Event:
    """Return the typed event of an envelope, in its newest version.

    Raises:
        UnknownEventError: no event of that type exists, not even in an older version.
        pydantic.ValidationError: the data does not fit the type.
    """
    type_name, data = registry.upcast(envelope.type, envelope.data)
    event_class = EVENTS.get(type_name)
    if event_class is None:
        raise UnknownEventError(envelope.type)
    return event_class.model_validate(data)
