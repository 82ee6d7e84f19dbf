"""Deaths at chosen moments: before or after any call of a port.

``KillPoints.guard`` puts itself around a double. Each call that goes through has two points at which a process can
die: before the port has done anything, and after it has done everything while the caller does not know yet. Run
something once to count its points, then once for each of them.
"""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar, cast

Port = TypeVar("Port")


class Killed(BaseException):
    """The process was killed here; nothing catches this."""


class KillPoints:
    """Counts the points that were passed and raises at one of them; after ``Killed`` at every later one too.

    Anything else that ``error`` makes, such as a ``CancelledError``, is raised once: whoever is cancelled may
    still tidy up.
    """

    def __init__(self, at: int | None = None, error: Callable[[], BaseException] = Killed) -> None:
        self.passed = 0
        self.reached = False
        """Whether it has died at its point."""
        self._at = at
        self._error = error
        self._dead = False

    def guard(self, port: Port) -> Port:
        """Return the port with points before and after each of its calls."""
        return cast(Port, _Guarded(port, self))

    def pass_by(self) -> None:
        """Go past one point, or die at it.

        Raises:
            Killed: this is the point, or it was passed in an earlier life.
        """
        if self._dead:
            raise Killed
        if self.passed == self._at and not self.reached:
            self.reached = True
            error = self._error()
            self._dead = isinstance(error, Killed)
            raise error
        self.passed += 1


class _Guarded:
    def __init__(self, port: object, points: KillPoints) -> None:
        self._port = port
        self._points = points

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        if inspect.iscoroutinefunction(value):
            return _guarded_coroutine(value, self._points)
        if inspect.isasyncgenfunction(value):
            return _guarded_generator(value, self._points)
        return _guarded_call(value, self._points) if callable(value) else value


def _guarded_coroutine(call: Callable[..., Awaitable[Any]], points: KillPoints) -> Callable[..., Any]:
    async def guarded(*values: Any, **named: Any) -> Any:
        points.pass_by()
        result = await call(*values, **named)
        points.pass_by()
        return result

    return guarded


def _guarded_generator(
    call: Callable[..., AsyncGenerator[Any]], points: KillPoints
) -> Callable[..., AsyncGenerator[Any]]:
    async def guarded(*values: Any, **named: Any) -> AsyncGenerator[Any]:
        points.pass_by()
        async for each in call(*values, **named):
            yield each
            points.pass_by()

    return guarded


def _guarded_call(call: Callable[..., Any], points: KillPoints) -> Callable[..., Any]:
    """Blocking ports are called in a thread that somebody awaits."""

    def guarded(*values: Any, **named: Any) -> Any:
        points.pass_by()
        result = call(*values, **named)
        points.pass_by()
        return result

    return guarded
