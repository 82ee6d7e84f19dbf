"""The thread that copies states. Work is handed over at a boundary, where an executor's bookkeeping would show.

States of a piece of work: made -> handed over, once, by whoever comes first -> done. Whoever waits for it hands it
over. States of the copier: idle -> at work, one piece after the other -> closed, when all that was handed over is
done. Authority: the computing thread makes pieces and closes; any thread hands over. Failures: what a piece raises
comes up for everyone who waits for it.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Piece:
    """Work for a copier, and what became of it."""

    def __init__(self, copier: "Copier", work: Callable[[], None], before: Callable[[], None]) -> None:
        self._copier = copier
        self._work: Callable[[], None] | None = work
        self._before = before
        self.handed_over = False
        self._over = False
        self._done = threading.Lock()
        """Let go of when it is over; a lock is made and looked at in less time than an event."""
        self._done.acquire()
        self._error: BaseException | None = None

    def begin(self) -> None:
        """Hand it over if nobody has; ``before`` was called when this returns, by this thread or another."""
        if not self.handed_over:
            self._copier.hand_over(self)

    def prepare(self) -> None:
        """Do what comes before: what the copier calls when it takes the piece over."""
        self._before()
        self.handed_over = True

    def done(self) -> bool:
        """Say whether it is over."""
        return self._over

    def exception(self) -> BaseException | None:
        """Return what it raised, when it is over."""
        self.begin()
        with self._done:
            return self._error

    def result(self) -> None:
        """Return when it is over; raises what it raised."""
        error = self.exception()
        if error is not None:
            raise error

    def run(self) -> None:
        """Do it: what the copier calls."""
        work, self._work = self._work, None  # it holds memory
        try:
            if work is not None:
                work()
        # Whoever waits for the piece raises it.
        except BaseException as error:  # noqa: BLE001
            self._error = error
        finally:
            del work
            self._over = True
            self._done.release()


class Copier:
    """One background thread, which begins with the first piece of work."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Piece | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="copier", daemon=True)
        self._lock = threading.Lock()
        self._began = self._closed = False

    def piece(self, work: Callable[[], None], before: Callable[[], None]) -> Piece:
        """Return work that is to be done when somebody says ``begin``, and waits for ``before`` to be called."""
        return Piece(self, work, before)

    def submit(self, work: Callable[[], None]) -> Piece:
        """Have it done after all that was handed over before."""
        piece = Piece(self, work, _nothing)
        piece.begin()
        return piece

    def hand_over(self, piece: Piece) -> None:
        """Put it into the queue, once: what a piece calls."""
        with self._lock:
            if piece.handed_over:
                return
            if self._closed:
                raise RuntimeError("the captures are closed")
            if not self._began:
                self._began = True
                self._thread.start()
            piece.prepare()
            self._work.put(piece)

    def close(self) -> None:
        """Return when everything that was handed over is done and the thread has ended."""
        with self._lock:
            self._closed = True
        if self._began:
            self._work.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (piece := self._work.get()) is not None:
            piece.run()
            del piece


def _nothing() -> None:
    """Nothing has to be done before."""
