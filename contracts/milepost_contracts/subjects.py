"""The subject grammar: which message goes where on the bus.

One prefix (default ``milepost``) separates tenants; see design section 3 in ``docs/architecture.md``.
"""

import re
from dataclasses import dataclass

from milepost_contracts.errors import SubjectError
from milepost_contracts.events import Event, Side
from milepost_contracts.ids import TOKEN_PATTERN

_TOKEN = re.compile(TOKEN_PATTERN)


@dataclass(frozen=True, slots=True)
class EventSubject:
    """The parts of an event's subject."""

    operation_id: str
    side: Side
    event_name: str


@dataclass(frozen=True, slots=True)
class Subjects:
    """All subjects of one tenant."""

    prefix: str = "milepost"

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.prefix):
            raise SubjectError(self.prefix)

    def request(self, command: str) -> str:
        """Core request/reply: the verdict is the reply."""
        return f"{self.prefix}.request.{_token(command)}"

    def command(self, command: str) -> str:
        """Fire-and-forget: stored in the COMMANDS stream, the verdict comes on ``verdict``."""
        return f"{self.prefix}.command.{_token(command)}"

    def verdict(self, command_id: str) -> str:
        """Where the verdict of a fire-and-forget command is published and kept for a day."""
        return f"{self.prefix}.verdict.{_token(command_id)}"

    def event(self, operation_id: str, event: Event | type[Event]) -> str:
        """Subject of ``event`` of one operation."""
        return f"{self.prefix}.event.{_token(operation_id)}.{event.SIDE}.{event.NAME}"

    def events(self, operation_id: str = "*", side: Side | None = None) -> str:
        """Filter for all events of one operation (or of all), of one side or both."""
        tail = ">" if side is None else f"{side}.>"
        operation = operation_id if operation_id == "*" else _token(operation_id)
        return f"{self.prefix}.event.{operation}.{tail}"

    def events_of_type(self, event: type[Event], operation_id: str = "*") -> str:
        """Filter for one type of event."""
        operation = operation_id if operation_id == "*" else _token(operation_id)
        return f"{self.prefix}.event.{operation}.{event.SIDE}.{event.NAME}"

    def work(self, kind: str, queue: str, operation_id: str) -> str:
        """Work for whoever of ``kind`` is free; one message for each unfinished operation."""
        return f"{self.prefix}.work.{_token(kind)}.{_token(queue)}.{_token(operation_id)}"

    def works(self, kind: str | None = None) -> str:
        """Filter for all work, or the work of one kind."""
        return f"{self.prefix}.work.>" if kind is None else f"{self.prefix}.work.{_token(kind)}.>"

    def signal(self, operation_id: str) -> str:
        """Core message to the owning worker: look at your control events now."""
        return f"{self.prefix}.signal.{_token(operation_id)}"

    def dispatch_record(self, subject: str = "*") -> str:
        """Facts about dispatch, or about one schedule; filter for all of them."""
        return f"{self.prefix}.dispatch.record.{subject if subject == '*' else _token(subject)}"

    def parse_event(self, subject: str) -> EventSubject:
        """Return the parts of an event subject.

        Raises:
            SubjectError: it is not an event subject of this tenant.
        """
        parts = subject.split(".")
        if len(parts) != 5 or parts[:2] != [self.prefix, "event"] or parts[3] not in set(Side):
            raise SubjectError(subject)
        return EventSubject(operation_id=parts[2], side=Side(parts[3]), event_name=parts[4])


def _token(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise SubjectError(value)
    return value
