"""coroutine -> an event loop in a thread of its own -> its result. For a client that threads share."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

_T = TypeVar("_T")


class LoopThread:
    """An event loop in a daemon thread, started at the first use, and anew in a forked child."""

    def __init__(self) -> None:
        self._closed = False
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self.loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of `work`; `CancelledError` once this is closed."""
        if self._pid != os.getpid():
            self._reset()  # the parent's lock may have been held at the fork, and its thread is not here
        with self._lock:  # so that nothing is begun on a loop that is being closed
            if self._closed:
                work.close()
                raise CancelledError
            if self.loop is None:
                self.loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self.loop.run_forever, name="ghasi-handoff-calls", daemon=True)
                self._thread.start()
            future = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result()

    def close(self, last_work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancel what is under way, do `last_work` and end the thread."""
        with self._lock:
            self._closed = True
            loop, self.loop = self.loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None or self._pid != os.getpid():
            return

        async def end() -> None:
            # Whoever still waits for a call would wait for ever on a loop that has stopped.
            under_way = asyncio.all_tasks() - {asyncio.current_task()}
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            await last_work()

        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
