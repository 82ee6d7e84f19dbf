"""Run one worker: ``python -m milepost_runtime.worker --kind backtest --worker-id w-1 --directory DIR``."""

import argparse
import asyncio
import signal
import socket
from pathlib import Path

from milepost_runtime.clock import random_id
from milepost_runtime.logs import configure_logging
from milepost_runtime.settings import BusSettings, StoreSettings
from milepost_runtime.worker.bootstrap import open_worker
from milepost_runtime.worker.host import WorkerHost
from milepost_runtime.worker.settings import WorkerSettings
from milepost_runtime.worker.workspace import own_directory


def main() -> None:
    """Work until SIGTERM or SIGINT, then release what runs and exit with 0."""
    parser = argparse.ArgumentParser(prog="python -m milepost_runtime.worker", description=__doc__)
    parser.add_argument("--kind", required=True, help="a kind registered under milepost.kinds")
    parser.add_argument("--worker-id", default=None, help="default: host name and a random part")
    parser.add_argument("--directory", type=Path, required=True, help="spool and caches; may be empty")
    arguments = parser.parse_args()
    worker_id = arguments.worker_id or f"{socket.gethostname().split('.')[0]}-{random_id('w')[-8:]}"
    settings = WorkerSettings.from_environment(worker_id, arguments.kind, arguments.directory)
    configure_logging(f"worker {worker_id}")
    with own_directory(settings.directory):
        asyncio.run(_serve(settings))


async def _serve(settings: WorkerSettings) -> None:
    async with open_worker(
        settings, BusSettings.from_environment(), StoreSettings.from_environment()
    ) as host:
        stops: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _stop, host, stops)
        await host.run()
        await asyncio.gather(*stops)


def _stop(host: WorkerHost, stops: set[asyncio.Task[None]]) -> None:
    stops.add(asyncio.get_running_loop().create_task(host.stop()))


if __name__ == "__main__":
    main()
