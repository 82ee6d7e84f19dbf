"""Run one orchestrator: ``python -m milepost_orchestrator``."""

import asyncio
import logging
import signal
import sys
from typing import cast

import structlog
from milepost_runtime.errors import RuntimeServiceError
from milepost_runtime.logs import configure_logging

from milepost_orchestrator.bootstrap import OrchestratorSettings, open_orchestrator
from milepost_orchestrator.entrypoints.http_settings import HttpSettings
from milepost_orchestrator.entrypoints.service import Service

log = structlog.get_logger()


def main() -> None:
    """Serve until SIGTERM or SIGINT, then stop cleanly and exit with 0; exit with 1 when a part has died."""
    try:
        settings, http = OrchestratorSettings.from_environment(), HttpSettings.from_environment()
    except RuntimeServiceError as error:
        sys.exit(str(error))
    configure_logging(f"orchestrator {settings.orchestrator_id}")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)  # uvicorn, FastStream, asyncio
    try:
        asyncio.run(_serve(settings, http))
    except RuntimeServiceError as error:
        sys.exit(str(error))
    except ExceptionGroup as group:
        for error in _leaves(group):
            log.exception("orchestrator died", error_type=type(error).__name__, exc_info=error)
        sys.exit(1)


async def _serve(settings: OrchestratorSettings, http: HttpSettings) -> None:
    async with open_orchestrator(settings) as orchestrator:
        service = Service(orchestrator, http)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, service.stop)
        await service.run()


def _leaves(error: Exception) -> list[Exception]:
    if not isinstance(error, ExceptionGroup):
        return [error]
    group = cast("ExceptionGroup[Exception]", error)
    return [leaf for each in group.exceptions for leaf in _leaves(each)]


if __name__ == "__main__":
    main()
