"""Blocking calls in threads, outside the event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking call in a thread, and wait for its end even when cancelled.

    Resources that the call uses may therefore be closed as soon as this returns or raises.
    """
    return await _ended(asyncio.to_thread(function, *args, **kwargs))


class OwnThread:
    """A thread for calls that may block for long, so that they do not occupy asyncio's few threads.

    A context manager: leaving it, once no call runs, ends the thread.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in this thread, and wait for its end even when cancelled."""
        call = partial(function, *args, **kwargs)
        return await _ended(asyncio.get_running_loop().run_in_executor(self._pool, call))


async def _ended(awaited: Awaitable[T]) -> T:
    call = asyncio.ensure_future(awaited)
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        call.exception()  # Retrieved, so that asyncio does not log it.
        raise
