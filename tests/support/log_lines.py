"""What one module says in its log, whatever the rest of this process has made of logging."""

import logging
from collections.abc import Sequence
from types import ModuleType

import pytest
import structlog


def log_lines(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> Sequence[structlog.typing.EventDict]:
    """Return the lines that the module's ``log`` is given from now on; they come as they are said."""
    said = structlog.testing.LogCapture()
    levels = structlog.make_filtering_bound_logger(logging.INFO)
    monkeypatch.setattr(module, "log", structlog.wrap_logger(None, processors=[said], wrapper_class=levels))
    return said.entries
