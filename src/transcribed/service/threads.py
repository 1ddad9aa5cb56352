"""Blocking calls beside the event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking call in a thread, and do not leave before it has: not when cancelled, either.

    What the call works on may therefore be closed as soon as this has returned or raised.
    """
    return await _ended(asyncio.to_thread(function, *args, **kwargs))


class OwnThread:
    """A thread for calls that may block for long: those in asyncio's few threads do not wait for them.

    A context manager, to be left when no call runs; the thread then ends.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As `in_thread`."""
        call = partial(function, *args, **kwargs)
        return await _ended(asyncio.get_running_loop().run_in_executor(self._pool, call))


async def _ended(awaited: Awaitable[T]) -> T:
    call = asyncio.ensure_future(awaited)
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        call.exception()  # Nobody waits for it any more; unasked, asyncio would log it as an error.
        raise
