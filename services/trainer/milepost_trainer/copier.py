"""The thread that copies states. Work is handed over at a boundary, where an executor's bookkeeping would show.

States: idle -> at work, one piece after the other -> closed, when all that was handed over is done. Authority: the
computing thread hands over and closes. Failures: what a piece of work raises is in its future.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue


class Copier:
    """One background thread, which begins with the first piece of work."""

    def __init__(self) -> None:
        self._work: SimpleQueue[tuple[Future[None], Callable[[], None]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="copier", daemon=True)
        self._began = self._closed = False

    def submit(self, work: Callable[[], None]) -> Future[None]:
        """Have it done after all that was handed over before."""
        if self._closed:
            raise RuntimeError("the captures are closed")
        if not self._began:
            self._began = True
            self._thread.start()
        future: Future[None] = Future()
        self._work.put((future, work))
        return future

    def close(self) -> None:
        """Return when everything is done and the thread has ended."""
        self._closed = True
        if self._began:
            self._work.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            future, work = item
            del item
            try:
                work()
            # Whoever waits for the future raises it.
            except BaseException as error:  # noqa: BLE001
                future.set_exception(error)
            else:
                future.set_result(None)
            del future, work
