"""The libraries' log lines stay out of what a person reads."""

import logging

import structlog


def silence_logs() -> None:
    """A person is told by words and exit codes; log lines would only come between."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
