"""The reactor: reads control events and ends, and makes sure that what they ask for happens.

States of an event: delivered -> carried out -> acknowledged; or given back with a delay, for as long as the bus is
away. Authority: ``Effects``, which look at the log first. Failures: everything here has usually been done already
by whoever appended the event; doing it again changes nothing.
"""

from milepost_contracts.events import (
    TERMINAL_EVENTS,
    CancelRequested,
    CheckpointDeleted,
    CheckpointRequested,
    Event,
    Prioritized,
    Requested,
    Resumed,
)
from milepost_runtime.event_log import LogEntry

from milepost_orchestrator.application.effects import Effects

REACTOR_EVENTS: tuple[type[Event], ...] = (
    Requested,
    Resumed,
    CancelRequested,
    CheckpointRequested,
    Prioritized,
    CheckpointDeleted,
    *TERMINAL_EVENTS,
)


class Reactor:
    """Handles one event at a time; several may be handled at once."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    async def handle(self, entry: LogEntry) -> None:
        """Carry out what the event asks for.

        Raises:
            BusUnavailableError: not carried out, or not known whether; repeating is safe.
        """
        match entry.event:
            case Resumed():
                await self._effects.create_child(
                    entry.event, resumed_event_id=entry.envelope.id, command_id=entry.envelope.causationid
                )
            case _:
                await self._effects.follow(entry.operation_id, entry.event)
