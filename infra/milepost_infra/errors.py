"""Errors of the stack; each docstring is the message. Causes are kept with ``raise ... from``."""

from milepost_runtime.errors import RuntimeServiceError


class StackError(RuntimeServiceError):
    """The stack did not do its part."""


class StackInUseError(StackError):
    """Another stack runs in this directory; stop it with `milepost down`, or choose another directory."""


class ServerStartError(StackError):
    """A server of the stack did not start; its last log lines say why."""


class UnreachableDirectoryError(StackError):
    """Postgres does not run as root, and the user it runs as cannot reach its files."""


class SupervisorError(StackError):
    """The supervisor of the stack did not start; its last log lines say why."""
