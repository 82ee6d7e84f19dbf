"""A small real worker for tests of the supervisor: joins the fleet, and says goodbye in a file on SIGTERM."""

import argparse
import asyncio
import os
import signal
from pathlib import Path

from milepost_contracts.fleet import WorkerHeartbeat
from milepost_runtime.bus.connection import connect
from milepost_runtime.bus.fleet import NatsFleet
from milepost_runtime.clock import SystemClock
from milepost_runtime.settings import BusSettings


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", required=True)
    parser.add_argument("--worker-id", required=True)
    parser.add_argument("--directory", type=Path, required=True)
    given = parser.parse_args()
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    bus = BusSettings.from_environment()
    connection = await connect(bus, name=given.worker_id)
    now = SystemClock().now()
    await NatsFleet(connection, bus).beat(
        WorkerHeartbeat(
            worker_id=given.worker_id,
            kind=given.kind,
            host="here",
            pid=os.getpid(),
            slots=1,
            device="cpu",
            version="0",
            operations=(),
            started_at=now,
            seen_at=now,
        )
    )
    await asked.wait()
    # Only while the bus is there: the supervisor stops the workers first.
    await connection.flush()
    given.directory.mkdir(parents=True, exist_ok=True)
    (given.directory / "goodbye").write_text("the bus was still there")
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
