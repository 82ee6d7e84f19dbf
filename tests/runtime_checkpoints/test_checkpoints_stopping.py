"""Work on the store whose request has no answer, when nobody waits for it any more."""

import asyncio
import threading

import pytest
from milepost_runtime.errors import StoreStoppedError
from milepost_runtime.store import stopping
from milepost_runtime.store.stopping import in_thread, require_wanted

from tests.support.log_lines import log_lines

pytestmark = pytest.mark.unit
WAIT_SECONDS = 30.0


async def test_a_request_without_an_answer_is_left_behind_and_begins_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever stops waits no longer than the bound and says so; the answer that comes late is the last."""
    monkeypatch.setattr(stopping, "STOP_SECONDS", 0.01)
    said = log_lines(monkeypatch, stopping)
    loop, asked, answered, refused = (
        asyncio.get_running_loop(),
        asyncio.Event(),
        threading.Event(),
        asyncio.Event(),
    )

    def work() -> None:
        loop.call_soon_threadsafe(asked.set)
        answered.wait(WAIT_SECONDS)
        try:
            require_wanted()
        except StoreStoppedError:
            loop.call_soon_threadsafe(refused.set)
            raise

    working = asyncio.create_task(in_thread(work))
    await asked.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert [line["event"] for line in said] == ["a request to the store is left behind"]
    answered.set()
    async with asyncio.timeout(WAIT_SECONDS):
        await refused.wait()


async def test_work_that_is_waited_for_returns_or_raises_what_it_does() -> None:
    """As if it were called here."""
    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 7, 0)
