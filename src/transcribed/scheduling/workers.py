"""Worker threads, of which one that hangs can be abandoned and replaced."""

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
    """A fixed number of threads, for use from one event loop. Call `run` only while a thread is idle."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._idle = [_ThreadExecutor() for _ in range(count)]
        self._running: dict[asyncio.Future[Any], _ThreadExecutor] = {}

    @property
    def idle(self) -> int:
        """How many threads are idle."""
        return len(self._idle)

    def run(self, function: Callable[[], T], timeout: float) -> "asyncio.Future[T]":
        """Run a function in an idle thread.

        After `timeout` seconds the future fails with TimeoutError, and a new thread replaces the one that
        hangs, whose result is discarded. It ends when the function returns.
        """
        loop = asyncio.get_running_loop()
        thread = self._idle.pop()
        outcome: asyncio.Future[T] = loop.create_future()
        call = loop.run_in_executor(thread, function)
        self._running[call] = thread

        def finish(call: "asyncio.Future[T]") -> None:
            error = call.exception()
            if self._running.pop(call, None) is None:
                return
            watchdog.cancel()
            self._idle.append(thread)
            if outcome.done():
                return  # It was cancelled.
            if error is None:
                outcome.set_result(call.result())
            else:
                outcome.set_exception(error)

        def abandon() -> None:
            del self._running[call]
            thread.shutdown(wait=False)
            self._idle.append(_ThreadExecutor())
            if not outcome.done():
                outcome.set_exception(TimeoutError())

        call.add_done_callback(finish)
        watchdog = loop.call_later(timeout, abandon)
        return outcome

    async def stop(self) -> None:
        """End all threads. One that does not finish within seconds is abandoned."""
        if self._running:
            await asyncio.wait(self._running, timeout=_STOP_SECONDS)
        for thread in self._idle:
            thread.shutdown()
        for thread in self._running.values():
            thread.shutdown(wait=False)


class _ThreadExecutor(Executor):
    """An executor with one daemon thread. Unlike with ThreadPoolExecutor, a process exits without it."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=_run_calls, args=(self._calls,), name="inference", daemon=True)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        if self._thread.ident is None:
            self._thread.start()
        future: Future[T] = Future()
        self._calls.put(partial(_set_outcome, future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        self._calls.put(None)
        if wait and self._thread.ident is not None:
            self._thread.join()


def _run_calls(calls: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (call := calls.get()) is not None:
        call()
        del call  # It would keep its stream alive until the next call.


def _set_outcome(future: "Future[T]", call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
        future.set_exception(error)
    else:
        future.set_result(result)
