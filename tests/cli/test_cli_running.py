"""Ctrl-C ends what watches, whatever is in the way."""

import asyncio
import contextlib
import signal

import pytest
from milepost_cli import running

pytestmark = pytest.mark.unit


async def test_it_returns_what_came_of_it() -> None:
    async def main() -> int:
        return 7

    assert await running._insistently(main()) == 7


def test_it_raises_what_went_wrong() -> None:
    """An error is no interruption."""

    async def main() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        running.run(main())


def test_one_interruption_is_enough_where_a_cancellation_is_swallowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As Python 3.11 does with one that comes in the moment of an answer."""
    monkeypatch.setattr(running, "AGAIN_SECONDS", 0.01)
    heard: list[str] = []

    async def main() -> None:
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        heard.append("swallowed")
        try:
            await asyncio.Event().wait()
        finally:
            heard.append("ended")

    with pytest.raises(KeyboardInterrupt):
        running.run(main())
    assert heard == ["swallowed", "ended"]
