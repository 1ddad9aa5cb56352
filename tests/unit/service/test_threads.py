import asyncio
import gc
import threading
from typing import Any

import pytest

from transcribed.service.threads import OwnThread, in_thread

pytestmark = pytest.mark.anyio


async def test_gives_what_the_call_gives() -> None:
    assert await in_thread(max, [1, 3, 2], key=lambda number: -number) == 1
    assert await in_thread(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 1, 0)


async def test_does_not_leave_before_the_call_has_ended_not_even_when_cancelled() -> None:
    started, release = threading.Event(), threading.Event()
    ended = []

    def call() -> None:
        started.set()
        assert release.wait(30)
        ended.append(True)

    task = asyncio.create_task(in_thread(call))
    assert await asyncio.to_thread(started.wait, 30)
    task.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


async def test_a_call_that_fails_when_nobody_waits_for_it_any_more_is_no_error() -> None:
    started, release = threading.Event(), threading.Event()

    def call() -> None:
        started.set()
        assert release.wait(30)
        raise OSError

    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    task = asyncio.create_task(in_thread(call))
    assert await asyncio.to_thread(started.wait, 30)
    task.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    gc.collect()
    await asyncio.sleep(0)
    assert unhandled == []


async def test_a_thread_of_its_own_runs_every_call_and_ends() -> None:
    with OwnThread("own") as thread:
        names = {await thread.run(lambda: threading.current_thread().name) for _ in range(3)}
        (own,) = [each for each in threading.enumerate() if each.name in names]
        with pytest.raises(ZeroDivisionError):
            await thread.run(divmod, 1, 0)
    await asyncio.to_thread(own.join, 30)
    assert not own.is_alive()


async def test_many_calls_that_block_do_not_keep_others_waiting() -> None:
    release = threading.Event()
    threads = [OwnThread("blocked") for _ in range(50)]
    calls = [asyncio.create_task(thread.run(release.wait, 30)) for thread in threads]
    async with asyncio.timeout(30):
        assert await in_thread(max, [1, 2]) == 2
    assert not any(call.done() for call in calls)
    release.set()
    assert await asyncio.gather(*calls) == [True] * 50
    for thread in threads:
        with thread:
            pass
