"""Logging of services: one line an event on stderr, readable in a terminal, JSON elsewhere; never secrets."""

import logging
import sys

import structlog


def configure_logging(service: str, *, level: int = logging.INFO) -> None:
    """Set up structlog for a process; call once, at the edge."""
    terminal = sys.stderr.isatty()
    structlog.contextvars.bind_contextvars(service=service)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
