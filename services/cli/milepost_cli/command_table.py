"""Every command with its line of help. A command's module is imported when it is called, so help comes at once."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

MARKUP_MODE = "rich"
STACK = "The stack"
OPERATIONS = "Operations"
LOOKING = "Looking"
DATA = "Data and specs"


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """One line of ``milepost --help``."""

    name: str
    module: str
    """Module under ``milepost_cli.commands``; its ``app`` is the command or the group of commands."""
    panel: str
    help: str


COMMANDS: tuple[CommandEntry, ...] = (
    CommandEntry(
        "demo", "demo", STACK, "Show the main job in a minute: backtest, cancel, resume elsewhere, compare."
    ),
    CommandEntry("up", "up", STACK, "Start the embedded servers, the orchestrator and workers."),
    CommandEntry("down", "down", STACK, "Stop what `milepost up` started; the data stays."),
    CommandEntry("worker", "worker", STACK, "Run one more worker here, in the foreground."),
    CommandEntry("workers", "workers", STACK, "List the live workers, drain one."),
    CommandEntry("tokens", "tokens", STACK, "Say who may use the HTTP API and the dashboard."),
    CommandEntry(
        "doctor", "doctor", STACK, "Check everything that is needed and say how to fix what is wrong."
    ),
    CommandEntry("start", "start", OPERATIONS, "Start an operation."),
    CommandEntry("cancel", "cancel", OPERATIONS, "Cancel an operation; it saves a checkpoint first."),
    CommandEntry(
        "resume", "resume", OPERATIONS, "Go on with a cancelled or failed operation from a checkpoint."
    ),
    CommandEntry("fork", "fork", OPERATIONS, "Go on from a checkpoint with changed settings."),
    CommandEntry("retry", "retry", OPERATIONS, "Do a failed operation again, from where it began itself."),
    CommandEntry(
        "dispatch",
        "dispatch",
        OPERATIONS,
        "Hold work back, release it, limit how much of a kind runs at a time.",
    ),
    CommandEntry(
        "bulk", "bulk", OPERATIONS, "Cancel, resume or delete checkpoints by filter, many at a time."
    ),
    CommandEntry("schedule", "schedule", OPERATIONS, "Start operations at a time, or again and again."),
    CommandEntry(
        "prioritize", "prioritize", OPERATIONS, "Give an operation that waits another place in the queue."
    ),
    CommandEntry("wait", "wait", OPERATIONS, "Wait until an operation has ended."),
    CommandEntry("results", "results", OPERATIONS, "Fetch the result files of a completed operation."),
    CommandEntry("ps", "ps", LOOKING, "List operations."),
    CommandEntry("show", "show", LOOKING, "Show one operation."),
    CommandEntry("follow", "follow", LOOKING, "Watch an operation until it has ended."),
    CommandEntry("checkpoints", "checkpoints", LOOKING, "List checkpoints, show, save, pin and delete one."),
    CommandEntry(
        "cleanup", "cleanup", OPERATIONS, "Delete the checkpoints that nothing needs and no rule keeps."
    ),
    CommandEntry(
        "storage", "storage", LOOKING, "Show how much is kept, find what nothing refers to, and remove it."
    ),
    CommandEntry("events", "events", LOOKING, "Show, step through, export, import and compare events."),
    CommandEntry(
        "projections",
        "projections",
        STACK,
        "Rebuild and verify the read models; see what could not be applied.",
    ),
    CommandEntry(
        "archive", "archive", STACK, "Move events of operations that ended long ago to the object store."
    ),
    CommandEntry("data", "data", DATA, "Add and list market data."),
    CommandEntry("spec", "spec", DATA, "Print example specs and their schemas."),
)
_ENTRIES = {entry.name: entry for entry in COMMANDS}


def load_command(name: str) -> Any:  # typer does not export the type of its commands
    """Return the command, its module imported."""
    module = import_module(f"milepost_cli.commands.{_ENTRIES[name].module}")
    command = typer.main.get_command(module.app)
    command.name = name
    return command


class LazyGroup(TyperGroup):
    """Knows its commands by the table and loads the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for entry in COMMANDS:
            self.add_command(
                TyperCommand(
                    entry.name, help=entry.help, rich_help_panel=entry.panel, rich_markup_mode=MARKUP_MODE
                )
            )

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the called command, loaded; an unknown one is refused with names that are alike."""
        name, _, rest = super().resolve_command(ctx, args)
        return (name, None, rest) if name is None else (name, load_command(name), rest)
