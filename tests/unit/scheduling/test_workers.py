import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from transcribed.scheduling import workers as module
from transcribed.scheduling.workers import Workers

pytestmark = pytest.mark.anyio

TIMEOUT = 30
SOON = 0.05


class Call:
    """Something to run that takes as long as the test wants."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.thread: threading.Thread | None = None

    def __call__(self) -> str:
        self.thread = threading.current_thread()
        self.begun.set()
        assert self.go_on.wait(TIMEOUT)
        self.ended.set()
        return "done"

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, TIMEOUT)

    async def let_end(self) -> None:
        self.go_on.set()
        assert await asyncio.to_thread(self.ended.wait, TIMEOUT)


@pytest.fixture
def call() -> Iterator[Call]:
    call = Call()
    yield call
    call.go_on.set()


@pytest.fixture
async def unhandled() -> list[dict[str, Any]]:
    """What the event loop was told and nobody asked for."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    return found


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 - threads end without an event
            await asyncio.sleep(0.001)


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("inference")]


async def test_gives_what_the_call_gives_and_the_thread_back() -> None:
    workers = Workers(2)
    assert workers.idle == 2
    running = workers.run(threading.current_thread, TIMEOUT)
    assert workers.idle == 1
    assert (await running) in _threads()
    assert workers.idle == 2
    await workers.stop()
    assert _threads() == []


async def test_gives_what_the_call_raises_and_the_thread_back() -> None:
    workers = Workers(1)
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 // 0, TIMEOUT)
    assert workers.idle == 1
    assert await workers.run(lambda: "sound", TIMEOUT) == "sound"
    await workers.stop()


async def test_calls_run_beside_each_other() -> None:
    workers, calls = Workers(3), [Call() for _ in range(3)]
    running = [workers.run(call, TIMEOUT) for call in calls]
    for call in calls:
        await call.has_begun()
    for call in calls:
        call.go_on.set()
    assert await asyncio.gather(*running) == ["done"] * 3
    await workers.stop()


async def test_a_call_that_hangs_is_given_up_and_another_thread_takes_its_place(
    call: Call, unhandled: list[dict[str, Any]]
) -> None:
    workers = Workers(1)
    with pytest.raises(TimeoutError):
        await workers.run(call, SOON)
    assert workers.idle == 1
    assert await workers.run(threading.current_thread, TIMEOUT) is not call.thread
    assert call.thread is not None
    assert call.thread.is_alive()

    # Its late result is dropped, and its thread ends.
    await call.let_end()
    await _until(lambda: not call.thread.is_alive())
    await _settle()
    assert workers.idle == 1
    assert unhandled == []
    await workers.stop()
    assert _threads() == []


async def test_a_late_error_is_dropped_too(call: Call, unhandled: list[dict[str, Any]]) -> None:
    def fail() -> None:
        call()
        raise ValueError

    workers = Workers(1)
    with pytest.raises(TimeoutError):
        await workers.run(fail, SOON)
    await call.let_end()
    await _until(lambda: not call.thread.is_alive())
    await _settle()
    gc.collect()
    assert unhandled == []
    await workers.stop()


async def test_many_calls_that_hang_leave_as_many_threads_as_there_were() -> None:
    workers, calls = Workers(2), [Call() for _ in range(6)]
    for one, other in zip(calls[::2], calls[1::2], strict=True):
        outcomes = [workers.run(one, SOON), workers.run(other, SOON)]
        assert workers.idle == 0
        failed = await asyncio.gather(*outcomes, return_exceptions=True)
        assert [type(error) for error in failed] == [TimeoutError] * 2
        assert workers.idle == 2
    for call in calls:
        await call.let_end()
    await _until(lambda: not any(call.thread.is_alive() for call in calls if call.thread))
    assert workers.idle == workers.count == 2
    await workers.stop()


async def test_nobody_who_waits_need_wait_to_the_end(call: Call, unhandled: list[dict[str, Any]]) -> None:
    """The call cannot be stopped; it is as if it had not been asked for."""
    workers = Workers(1)
    running = workers.run(call, TIMEOUT)
    await call.has_begun()
    running.cancel()
    await _settle()
    assert workers.idle == 0
    await call.let_end()
    await _until(lambda: workers.idle == 1)
    hung = Call()
    running = workers.run(hung, SOON)
    running.cancel()
    await _until(lambda: workers.idle == 1)
    hung.go_on.set()
    await workers.stop()
    assert unhandled == []


async def test_to_stop_waits_for_what_runs(call: Call) -> None:
    workers = Workers(2)
    running = workers.run(call, TIMEOUT)
    await call.has_begun()
    stopping = asyncio.create_task(workers.stop())
    await _settle()
    assert not stopping.done()
    call.go_on.set()
    await stopping
    assert await running == "done"
    assert _threads() == []


async def test_to_stop_does_not_wait_for_ever(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STOP_SECONDS", SOON)
    workers = Workers(1)
    running = workers.run(call, TIMEOUT)
    await call.has_begun()
    async with asyncio.timeout(TIMEOUT / 2):
        await workers.stop()
    assert not running.done()
    await call.let_end()
    assert await running == "done"
    await _until(lambda: _threads() == [])


_HANGS = """
import asyncio, threading
from transcribed.scheduling.workers import Workers

async def main():
    workers = Workers(1)
    try:
        await workers.run(threading.Event().wait, 0.05)
    except TimeoutError:
        await workers.stop()
        print("stopped", flush=True)

asyncio.run(main())
"""


def test_a_process_ends_even_if_a_thread_of_it_hangs() -> None:
    begun = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", _HANGS], timeout=TIMEOUT, check=True, capture_output=True, text=True
    )
    assert (ended.stdout, ended.stderr) == ("stopped\n", "")
    assert time.monotonic() - begun < TIMEOUT / 2
