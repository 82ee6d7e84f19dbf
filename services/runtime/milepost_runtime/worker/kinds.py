"""Find the kinds of work that are installed, by entry point."""

from importlib.metadata import entry_points

from milepost_runtime.errors import UnknownKindError
from milepost_runtime.worker.kind import ENTRY_POINT_GROUP, WorkerKind


def load_kind(name: str) -> WorkerKind:
    """Return the registered kind called ``name``.

    Raises:
        UnknownKindError: none of that name is installed; the message lists those that are.
    """
    registered = entry_points(group=ENTRY_POINT_GROUP)
    if name not in registered.names:
        raise UnknownKindError(f"{name!r}; installed: {', '.join(sorted(registered.names)) or 'none'}")
    kind: WorkerKind = registered[name].load()()
    return kind
