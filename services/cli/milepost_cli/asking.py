"""What every command that asks for a change can be told beside its own arguments, said once."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, TypeVar

from milepost_contracts.commands import DispatchCommand, OperationCommand
from milepost_contracts.model import ContractModel
from milepost_contracts.schedules import ScheduleCommand

from milepost_cli import running
from milepost_cli.options import (
    CommandIdOption,
    DirectoryOption,
    DryRunOption,
    FollowOption,
    JsonOption,
    ReasonOption,
)
from milepost_cli.run_options import command_of
from milepost_cli.sending import send, send_and_say

CommandT = TypeVar("CommandT", bound=ContractModel)


@dataclass(frozen=True, slots=True)
class Asked:
    """Why, under which key, for real or not, of which stack, and how to print."""

    reason: ReasonOption = None
    command_id: CommandIdOption = None
    dry_run: DryRunOption = False
    directory: DirectoryOption = None
    as_json: JsonOption = False

    def command(self, command_type: type[CommandT], **fields: Any) -> CommandT:
        """Return the command; raises as ``command_of`` does."""
        return command_of(command_type, **fields, reason=self.reason, dry_run=self.dry_run)

    def send(self, command: OperationCommand) -> None:
        """Send a command about an operation and say its verdict; raises as ``sending.send`` does."""
        asyncio.run(
            send(command, self.directory, command_id=self.command_id, follow=False, as_json=self.as_json)
        )

    def send_and_say(self, command: DispatchCommand | ScheduleCommand, done: str) -> None:
        """Send another command and say ``done``; see ``sending.send_and_say``."""
        send_and_say(command, done, self.directory, command_id=self.command_id, as_json=self.as_json)


@dataclass(frozen=True, slots=True)
class AskedToFollow:
    """The same of what goes on after it was accepted, and whether to watch that."""

    command_id: CommandIdOption = None
    dry_run: DryRunOption = False
    follow: FollowOption = False
    directory: DirectoryOption = None
    as_json: JsonOption = False

    def command(self, command_type: type[CommandT], **fields: Any) -> CommandT:
        """Return the command; raises as ``command_of`` does."""
        return command_of(command_type, **fields, dry_run=self.dry_run)

    def send(self, command: OperationCommand, *, cancel_wanted: bool = False) -> None:
        """Send a command about an operation, and watch it if that is wanted; raises as ``sending.send`` does."""
        running.run(
            send(
                command,
                self.directory,
                command_id=self.command_id,
                follow=self.follow,
                as_json=self.as_json,
                cancel_wanted=cancel_wanted,
            )
        )


def asking(function: Callable[..., None]) -> Callable[..., None]:
    """Add options to a command's own: those of ``Asked`` or ``AskedToFollow``, which it is given as ``asked``."""
    own = dict(signature(function).parameters)
    asked_type = own.pop("asked").annotation
    added = signature(asked_type).parameters

    @wraps(function)
    def told(**given: Any) -> None:
        asked = asked_type(**{name: given.pop(name) for name in added})
        function(**given, asked=asked)

    _show(told, [*own.values(), *added.values()])
    return told


def _show(function: Any, parameters: list[Parameter]) -> None:
    """Let a function look as if it had these parameters: typer makes arguments and options of what it sees."""
    function.__signature__ = Signature(parameters)
    function.__annotations__ = {each.name: each.annotation for each in parameters}
