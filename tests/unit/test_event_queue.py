"""What a stream says and nobody has taken yet."""

import asyncio
from dataclasses import dataclass

import pytest

from transcribed.event_queue import EventQueue

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Said:
    text: str
    final: bool = False


async def _all(queue: EventQueue[object]) -> list[object]:
    return [event async for event in queue]


async def test_events_come_in_their_order_and_then_the_end() -> None:
    queue: EventQueue[object] = EventQueue()
    reading = asyncio.create_task(_all(queue))
    for event in ("a", "b"):
        queue.put(event)
        await asyncio.sleep(0)
    queue.end()
    queue.end(ValueError("the first end counts"))
    assert await reading == ["a", "b"]
    assert (queue.ended, queue.failure) == (True, None)


async def test_a_failure_is_raised_behind_what_was_said_before() -> None:
    queue: EventQueue[object] = EventQueue()
    queue.put("a")
    queue.end(ValueError("too bad"))
    events = aiter(queue)
    assert await anext(events) == "a"
    with pytest.raises(ValueError, match="too bad"):
        await anext(events)


@pytest.mark.parametrize(
    ("newest", "texts"), [(True, ["ab", "abc", "n", "e"]), (False, ["a", "ab", "abc", "n", "d", "e"])]
)
async def test_a_newer_partial_takes_the_place_of_an_older_one_and_of_nothing_else(
    newest: bool, texts: list[str]
) -> None:
    queue: EventQueue[object] = EventQueue(latest_partial=newest)
    for event in (Said("a"), Said("ab"), Said("abc", final=True), "n", Said("d"), Said("e")):
        queue.put(event)
    queue.end()
    assert [event.text if isinstance(event, Said) else event for event in await _all(queue)] == texts


async def test_whoever_says_more_than_is_read_waits_for_room() -> None:
    drained: list[int] = []
    queue: EventQueue[object] = EventQueue(2, on_room=lambda: drained.append(1))

    async def say() -> None:
        for number in range(5):
            await queue.wait_for_room()
            queue.put(number)
        queue.end()

    saying = asyncio.create_task(say())
    await asyncio.sleep(0)
    assert queue.full
    assert not saying.done()
    assert await _all(queue) == list(range(5))
    assert drained
    await saying


async def test_the_end_lets_go_whoever_waits_for_room() -> None:
    queue: EventQueue[object] = EventQueue(1)
    queue.put("a")
    waiting = asyncio.create_task(queue.wait_for_room())
    await asyncio.sleep(0)
    queue.end()
    await waiting


async def test_what_is_put_back_comes_first() -> None:
    queue: EventQueue[object] = EventQueue()
    queue.put("c")
    queue.put_back(["a", "b"])
    assert [queue.take() for _ in range(4)] == ["a", "b", "c", None]


async def test_who_waits_for_news_can_be_woken_without_any() -> None:
    queue: EventQueue[object] = EventQueue()
    waiting = asyncio.create_task(queue.wait_for_event())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.wake_waiters()
    await waiting
