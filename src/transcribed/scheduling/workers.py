"""Threads that compute, of which one that hangs can be given up."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_STOP_SECONDS = 10.0


class Workers:
    """A fixed number of threads. To be used from one event loop alone, `run` only while one is idle."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._idle = [_Thread() for _ in range(count)]
        self._running: dict[asyncio.Future[Any], _Thread] = {}

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
            if outcome.done():
                return  # Nobody waits for it any more.
            if error is None:
                outcome.set_result(call.result())
            else:
                outcome.set_exception(error)

        def give_up() -> None:
            del self._running[call]
            thread.shutdown(wait=False)
            self._idle.append(_Thread())
            if not outcome.done():
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


class _Thread(Executor):
    """One thread. At its end the process does not wait for it, as it would for a ThreadPoolExecutor's."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=_work, args=(self._calls,), name="inference", daemon=True)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        if self._thread.ident is None:
            self._thread.start()
        future: Future[T] = Future()
        self._calls.put(partial(_settle, future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        self._calls.put(None)
        if wait and self._thread.ident is not None:
            self._thread.join()


def _work(calls: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (call := calls.get()) is not None:
        call()
        del call  # It holds a stream, which may be the last that this thread ever runs.


def _settle(future: "Future[T]", call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
        future.set_exception(error)
    else:
        future.set_result(result)
