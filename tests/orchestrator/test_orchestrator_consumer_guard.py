"""The guard of the commands' consumer ends when it is told to."""

import asyncio
from typing import Any, cast

import pytest
from milepost_orchestrator.entrypoints import consumer_guard
from milepost_runtime.settings import BusSettings


class Swallowing:
    """A broker whose answer comes in the moment of the cancellation, as ``wait_for`` of Python 3.11 has it."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()

    async def connect(self) -> "Swallowing":
        return self

    def jetstream(self, timeout: float) -> "Swallowing":
        return self

    async def consumer_info(self, stream: str, consumer: str) -> None:
        self.is_asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return


@pytest.mark.unit
async def test_it_ends_although_its_cancellation_was_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An orchestrator that is stopped in that moment stops all the same."""
    monkeypatch.setattr(consumer_guard, "LOOK_SECONDS", 0.0)
    broker = Swallowing()
    guarding = asyncio.create_task(
        consumer_guard.guard_consumer(cast("Any", broker), BusSettings("nats://127.0.0.1:1"))
    )
    await broker.is_asked.wait()
    guarding.cancel()
    done, _ = await asyncio.wait({guarding}, timeout=10)
    assert done
