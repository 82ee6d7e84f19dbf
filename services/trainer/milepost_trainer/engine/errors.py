"""Errors of the engine; each docstring is the message."""


class TrainingError(Exception):
    """The training cannot go on."""

    def __init__(self, detail: str = "") -> None:
        words = (self.__doc__ or "").strip()
        super().__init__(f"{words} ({detail})" if detail else words)
        self.detail = detail


class DivergedError(TrainingError):
    """The training diverged: a value is not finite; try a smaller learning rate or gradient_clip."""


class StateMismatchError(TrainingError):
    """The state does not belong to this training."""


class TornStateError(TrainingError):
    """The last micro-batch was not finished, so there is no whole state; load one first."""
