"""Follow an operation until it has ended, and say how it ended."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from milepost_contracts.events import TERMINAL_EVENTS

from milepost_cli.errors import CommandError, OperationEndedBadlyError
from milepost_cli.live import Display
from milepost_cli.operation_view import OperationView, fold

if TYPE_CHECKING:  # `milepost ps` reads over HTTP only and does not wait for the bus's client to be imported
    from milepost_cli.bus import Bus


class WaitTimeoutError(CommandError):
    """The operation has not ended in the time given."""

    default_code = "timeout"


async def watch(
    bus: "Bus", operation_id: str, display: Display, timeout_seconds: float | None = None
) -> OperationView:
    """Show the operation until it has ended and return its last state.

    Raises:
        NotFoundError: there is no such operation.
        WaitTimeoutError: it has not ended in time; it goes on all the same.
    """
    known = await bus.view(operation_id)
    view = OperationView(operation_id, waiting=await _held(bus, known))
    try:
        with display:
            display.show(view)
            async with asyncio.timeout(timeout_seconds):
                async for entry in bus.follow(operation_id):
                    view = fold(view, entry)
                    display.show(view, entry)
                    if isinstance(entry.event, TERMINAL_EVENTS):
                        break
    except TimeoutError as error:
        raise WaitTimeoutError(
            f"{operation_id} has not ended after {timeout_seconds:g} s; it is {view.status} at {view.unit:,}",
            fix=f"it goes on; watch it with `milepost follow {operation_id}`",
            details=view.document(),
        ) from error
    # What came after the end is not followed, but was there before.
    return replace(view, child_id=known.child_id)


async def _held(bus: "Bus", view: OperationView) -> str | None:
    """Say what keeps it from workers when somebody does, or one would wait for a release without knowing."""
    if view.status != "queued":
        return None
    return (await bus.client.dispatch()).held_words(view.kind)


def ended_badly(view: OperationView) -> OperationEndedBadlyError:
    """Return the error for an operation that failed or was cancelled, with the command to go on."""
    words = f"{view.operation_id} {'failed' if view.status == 'failed' else 'was cancelled'} at {view.unit:,}"
    why = view.failure_words or view.reason
    fix = f"go on from there with `{resume_command(view)}`"
    if view.child_id is not None:
        fix = f"it was resumed as {view.child_id}: `milepost follow {view.child_id}`"
    return OperationEndedBadlyError(
        f"{words}: {why}" if why else words,
        fix=fix,
        code=f"operation-{view.status}",
        details=view.document(),
    )


def resume_command(view: OperationView) -> str:
    """Return the command to type."""
    return f"milepost resume {view.operation_id}"
