"""Errors of the engine; each docstring is the message."""


class EngineError(Exception):
    """The engine cannot do that."""

    def __init__(self, detail: str = "") -> None:
        words = (self.__doc__ or "").strip()
        super().__init__(f"{words} ({detail})" if detail else words)


class BarsError(EngineError, ValueError):
    """These arrays are not bars: they differ in length or type."""


class OrderError(EngineError, ValueError):
    """The order is impossible."""


class TornBarError(EngineError):
    """The strategy failed in the middle of a bar; load a state before going on."""


class StateError(EngineError, ValueError):
    """This is not a state of this engine."""


class CompiledCodeError(EngineError, TypeError):
    """The function cannot be compiled."""
