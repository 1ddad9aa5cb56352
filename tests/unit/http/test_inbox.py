import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from transcribed.errors import BadRequest, Stopping
from transcribed.http.inbox import AUDIO_WAIT, REQUESTS_AHEAD, Inbox, LiveAudio
from transcribed.wire.audio import AudioChunk, EndOfAudio

InVirtualTime = Callable[[Coroutine[Any, Any, Any]], Any]


async def _filled(*items: Any) -> Inbox[str]:
    inbox: Inbox[str] = Inbox(1_000)
    for item in items:
        await inbox.put(item)
    return inbox


async def _taken(inbox: Inbox[str]) -> Any:
    item = await inbox.first()
    inbox.drop()
    return item


async def _chunks(inbox: Inbox[str]) -> list[bytes]:
    return [chunk async for chunk in LiveAudio(inbox)]


A, B, C = (AudioChunk(letter) for letter in (b"a", b"b", b"c"))


def test_everything_keeps_its_order(in_virtual_time: InVirtualTime) -> None:
    async def take() -> list[Any]:
        inbox = await _filled("x", A, None)
        return [await _taken(inbox) for _ in range(3)]

    assert in_virtual_time(take()) == ["x", A, None]


def test_what_comes_is_waited_for(in_virtual_time: InVirtualTime) -> None:
    async def take() -> Any:
        inbox = await _filled()
        asyncio.get_running_loop().call_later(5, lambda: asyncio.ensure_future(inbox.put("x")))
        return await _taken(inbox)

    assert in_virtual_time(take()) == "x"


@pytest.mark.parametrize("then", [["x"], [None]])
def test_live_audio_ends_in_front_of_what_is_none(in_virtual_time: InVirtualTime, then: list[Any]) -> None:
    async def take() -> list[Any]:
        inbox = await _filled(A, B, *then)
        return [await _chunks(inbox), await inbox.first()]

    assert in_virtual_time(take()) == [[b"a", b"b"], *then]


def test_live_audio_ends_with_its_end_and_another_may_follow(in_virtual_time: InVirtualTime) -> None:
    async def take() -> list[Any]:
        inbox = await _filled(A, EndOfAudio(), EndOfAudio(), B, C, EndOfAudio(), "x")
        return [await _chunks(inbox) for _ in range(3)] + [await inbox.first()]

    assert in_virtual_time(take()) == [[b"a"], [], [b"b", b"c"], "x"]


def test_an_error_among_the_audio_is_raised_in_its_place_and_the_rest_can_be_skipped(
    in_virtual_time: InVirtualTime,
) -> None:
    async def take() -> Any:
        refused = BadRequest("too much")
        inbox = await _filled(A, refused, B, refused, C, EndOfAudio(), "x")
        audio = LiveAudio(inbox)
        assert await anext(audio) == b"a"
        with pytest.raises(BadRequest, match="too much"):
            await anext(audio)
        await audio.skip()
        await audio.skip()
        return await inbox.first()

    assert in_virtual_time(take()) == "x"


def test_after_the_stop_nothing_begins_and_nothing_is_taken(in_virtual_time: InVirtualTime) -> None:
    async def take() -> None:
        for items in ([], ["x"], [A], [None]):
            inbox = await _filled(*items)
            inbox.stop(Stopping())
            await inbox.put("y")
            with pytest.raises(Stopping):
                await inbox.first()

    in_virtual_time(take())


def test_who_waits_for_something_to_begin_hears_of_the_stop(in_virtual_time: InVirtualTime) -> None:
    async def take() -> None:
        inbox = await _filled()
        asyncio.get_running_loop().call_later(5, inbox.stop, Stopping())
        with pytest.raises(Stopping):
            await inbox.first()

    in_virtual_time(take())


@pytest.mark.parametrize("waiting", [False, True])
def test_live_audio_that_has_begun_is_heard_up_to_the_stop(
    in_virtual_time: InVirtualTime, waiting: bool
) -> None:
    async def take() -> None:
        inbox = await _filled(A, B)
        audio = LiveAudio(inbox)
        assert await anext(audio) == b"a"
        if waiting:
            asyncio.get_running_loop().call_later(5, inbox.stop, Stopping())
        else:
            inbox.stop(Stopping())
        await inbox.put(C)
        assert await anext(audio) == b"b"
        if waiting:
            assert await anext(audio) == b"c"
        with pytest.raises(Stopping):
            await anext(audio)

    in_virtual_time(take())


def test_live_audio_that_had_ended_before_the_stop_is_whole(in_virtual_time: InVirtualTime) -> None:
    async def take() -> None:
        inbox = await _filled(A, EndOfAudio(), "x")
        inbox.stop(Stopping())
        assert await _chunks(inbox) == [b"a"]
        with pytest.raises(Stopping):
            await inbox.first()

    in_virtual_time(take())


def test_what_is_left_of_failed_audio_is_not_waited_for_at_the_stop(in_virtual_time: InVirtualTime) -> None:
    async def take() -> None:
        inbox = await _filled(A, BadRequest("too much"), B)
        audio = LiveAudio(inbox)
        inbox.stop(Stopping())
        with pytest.raises(Stopping):
            await audio.skip()

    in_virtual_time(take())


def test_audio_waits_for_room(in_virtual_time: InVirtualTime) -> None:
    async def fill() -> None:
        inbox = await _filled(AudioChunk(bytes(800)))
        putting = asyncio.create_task(inbox.put(AudioChunk(bytes(800))))
        await asyncio.sleep(1)
        assert not putting.done()
        await _taken(inbox)
        await putting
        await inbox.put("requests have room")

    in_virtual_time(fill())


def test_small_chunks_are_not_free(in_virtual_time: InVirtualTime) -> None:
    async def fill() -> int:
        inbox, put = await _filled(), 0
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                while True:
                    await inbox.put(AudioChunk(b"a"))
                    put += 1
        return put

    assert in_virtual_time(fill()) < 10


def test_audio_does_not_wait_for_ever(in_virtual_time: InVirtualTime) -> None:
    async def fill() -> float:
        inbox = await _filled()
        with pytest.raises(BadRequest, match="on a connection of its own"):
            await inbox.put(AudioChunk(bytes(2_000)))
        return asyncio.get_running_loop().time()

    assert in_virtual_time(fill()) == AUDIO_WAIT


@pytest.mark.parametrize("item", ["x", EndOfAudio()])
def test_no_more_requests_are_taken_than_may_wait(in_virtual_time: InVirtualTime, item: Any) -> None:
    async def fill() -> None:
        inbox = await _filled(*[item] * REQUESTS_AHEAD)
        with pytest.raises(BadRequest, match=f"More than {REQUESTS_AHEAD}"):
            await inbox.put("x")
        await _taken(inbox)
        await inbox.put("x")

    in_virtual_time(fill())
