"""Threads that compute, of which one that hangs can be given up."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_STOP_SECONDS = 10.0


class Workers:
    """A fixed number of threads. To be used from one event loop alone, `run` only while one is idle."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._idle = [_thread() for _ in range(count)]
        self._running: dict[asyncio.Future[Any], ThreadPoolExecutor] = {}

    @property
    def idle(self) -> int:
        """How many of them have nothing to do."""
        return len(self._idle)

    def run(self, function: Callable[[], T], timeout: float) -> "asyncio.Future[T]":
        """Run a function in an idle thread.

        After `timeout` seconds the future fails with TimeoutError, and another thread takes the place of
        the one that hangs. What that one still does is dropped; it ends when it comes back.
        """
        loop = asyncio.get_running_loop()
        thread = self._idle.pop()
        outcome: asyncio.Future[T] = loop.create_future()
        call = loop.run_in_executor(thread, function)
        self._running[call] = thread

        def done(call: "asyncio.Future[T]") -> None:
            error = call.exception()
            if self._running.pop(call, None) is None:
                return
            watchdog.cancel()
            self._idle.append(thread)
            if error is None:
                outcome.set_result(call.result())
            else:
                outcome.set_exception(error)

        def give_up() -> None:
            del self._running[call]
            thread.shutdown(wait=False)
            self._idle.append(_thread())
            outcome.set_exception(TimeoutError())

        call.add_done_callback(done)
        watchdog = loop.call_later(timeout, give_up)
        return outcome

    async def stop(self) -> None:
        """End all threads. One that does not come back within some seconds is left behind."""
        if self._running:
            await asyncio.wait(self._running, timeout=_STOP_SECONDS)
        for thread in self._idle:
            thread.shutdown()
        for thread in self._running.values():
            thread.shutdown(wait=False)


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="inference")
