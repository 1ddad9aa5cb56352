import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from transcribed.errors import BadRequest, Disconnected, Stopping
from transcribed.http.inbox import AUDIO_WAIT, REQUESTS_AHEAD, Inbox, LiveAudio, Spooled
from transcribed.http.spool import Spools
from transcribed.wire.audio import AudioChunk, EndOfAudio

InVirtualTime = Callable[[Coroutine[Any, Any, Any]], Any]


async def _filled(*items: Any, spooled: int = 0) -> Inbox[str]:
    """An inbox that takes about 1000 bytes of audio, and so many more in its spool."""
    inbox: Inbox[str] = Inbox(1_000, Spools(spooled).spool())
    for item in items:
        await inbox.put(item)
    return inbox


async def _taken(inbox: Inbox[str]) -> Any:
    item = await inbox.peek()
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
        return [await _chunks(inbox), await inbox.peek()]

    assert in_virtual_time(take()) == [[b"a", b"b"], *then]


def test_live_audio_ends_with_its_end_and_another_may_follow(in_virtual_time: InVirtualTime) -> None:
    async def take() -> list[Any]:
        inbox = await _filled(A, EndOfAudio(), EndOfAudio(), B, C, EndOfAudio(), "x")
        return [await _chunks(inbox) for _ in range(3)] + [await inbox.peek()]

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
        return await inbox.peek()

    assert in_virtual_time(take()) == "x"


def test_after_the_stop_nothing_begins_and_nothing_is_taken(in_virtual_time: InVirtualTime) -> None:
    async def take() -> None:
        for items in ([], ["x"], [A], [None]):
            inbox = await _filled(*items)
            inbox.stop(Stopping())
            await inbox.put("y")
            with pytest.raises(Stopping):
                await inbox.peek()

    in_virtual_time(take())


def test_who_waits_for_something_to_begin_hears_of_the_stop(in_virtual_time: InVirtualTime) -> None:
    async def take() -> None:
        inbox = await _filled()
        asyncio.get_running_loop().call_later(5, inbox.stop, Stopping())
        with pytest.raises(Stopping):
            await inbox.peek()

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
            await inbox.peek()

    in_virtual_time(take())


def test_what_is_left_of_failed_audio_is_not_waited_for_at_the_stop(in_virtual_time: InVirtualTime) -> None:
    async def take() -> None:
        inbox = await _filled(A, BadRequest("too much"), B)
        audio = LiveAudio(inbox)
        inbox.stop(Stopping())
        with pytest.raises(Stopping):
            await audio.skip()

    in_virtual_time(take())


LONG = [AudioChunk(bytes([number]) * 600) for number in range(10)]


def test_audio_that_has_no_room_in_memory_waits_in_the_spool_and_keeps_its_place(
    in_virtual_time: InVirtualTime,
) -> None:
    async def take() -> None:
        inbox = await _filled(*LONG[:5], EndOfAudio(), *LONG[5:], "x", spooled=100_000)
        assert b"".join(await _chunks(inbox)) == b"".join(chunk.data for chunk in LONG[:5])
        assert b"".join(await _chunks(inbox)) == b"".join(chunk.data for chunk in LONG[5:])
        assert await _taken(inbox) == "x"
        await inbox.aclose()

    in_virtual_time(take())


def test_a_large_chunk_waits_in_the_spool_but_for_its_beginning(in_virtual_time: InVirtualTime) -> None:
    large = AudioChunk(bytes(range(256)) * 4096 * 3 + b"end")

    async def take() -> tuple[list[int | type], bytes]:
        inbox = await _filled(large, "x", spooled=2**23)
        waiting = [len(each.data) if isinstance(each, AudioChunk) else type(each) for each in inbox._items]
        heard = b"".join(await _chunks(inbox))
        await inbox.aclose()
        return waiting, heard

    waiting, heard = in_virtual_time(take())
    assert waiting == [2**20, Spooled, str]
    assert heard == large.data


def test_what_comes_while_the_spool_is_read_keeps_its_place(in_virtual_time: InVirtualTime) -> None:
    async def take() -> None:
        inbox = await _filled(*LONG[:4], spooled=100_000)
        audio = LiveAudio(inbox)
        heard = b"".join([await anext(audio) for _ in range(2)])
        assert isinstance(await inbox.peek(), Spooled)
        heard += await anext(audio)
        for chunk in LONG[4:]:
            await inbox.put(chunk)
        await inbox.put(None)
        heard += b"".join([data async for data in audio])
        assert heard == b"".join(chunk.data for chunk in LONG)

    in_virtual_time(take())


def test_while_a_client_sends_as_fast_as_it_can_that_is_received_first(
    in_virtual_time: InVirtualTime,
) -> None:
    async def take() -> None:
        loop, piece = asyncio.get_running_loop(), AudioChunk(bytes(65_536))
        inbox = await _filled(*LONG[:2], spooled=2**24)
        audio = LiveAudio(inbox)

        async def flood() -> None:
            for _ in range(200):
                await inbox.put(piece)
                await asyncio.sleep(0.01)

        flooding, taken = asyncio.create_task(flood()), 0
        await asyncio.sleep(0)
        while not flooding.done():
            taken += len(await anext(audio))
        assert 7 <= taken // 65_536 <= 9, "a piece each quarter of the two seconds"
        ended = loop.time()
        for _ in range(100):
            await anext(audio)
        assert loop.time() - ended <= 0.25, "from then on as fast as it is recognised"
        await inbox.aclose()

    in_virtual_time(take())


def test_at_the_stop_what_waits_in_the_spool_is_left(in_virtual_time: InVirtualTime) -> None:
    async def take() -> None:
        inbox = await _filled(*LONG, EndOfAudio(), "x", spooled=100_000)
        audio = LiveAudio(inbox)
        assert await anext(audio) == LONG[0].data
        inbox.stop(Stopping())
        assert await anext(audio) == LONG[1].data
        for _ in range(2):
            with pytest.raises(Stopping):
                await anext(audio)

    in_virtual_time(take())


def test_what_a_client_sent_before_it_went_is_there_and_its_going_behind_it(
    in_virtual_time: InVirtualTime,
) -> None:
    async def take() -> None:
        inbox = await _filled(*LONG, EndOfAudio(), "x", A, spooled=100_000)
        gone = Disconnected("gone")
        inbox.abandon(gone)
        await inbox.put(B)
        await inbox.put("y")
        assert inbox.gone.is_set()
        assert b"".join(await _chunks(inbox)) == b"".join(chunk.data for chunk in LONG)
        assert await _taken(inbox) == "x"
        audio = LiveAudio(inbox)
        assert await anext(audio) == b"a"
        with pytest.raises(Disconnected):
            await anext(audio)
        with pytest.raises(Disconnected):
            await audio.skip()
        assert await _taken(inbox) is inbox.error is gone

    in_virtual_time(take())


def test_who_waits_for_room_need_not_when_nothing_is_taken_any_more(in_virtual_time: InVirtualTime) -> None:
    async def fill() -> None:
        inbox = await _filled(*LONG[:2])
        putting = asyncio.create_task(inbox.put(LONG[2]))
        await asyncio.sleep(1)
        assert not putting.done()
        inbox.end(Disconnected("gone"))
        await putting

    in_virtual_time(fill())


def test_audio_waits_for_room(in_virtual_time: InVirtualTime) -> None:
    async def fill() -> None:
        inbox = await _filled(AudioChunk(bytes(1_200)))
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
        inbox = await _filled(AudioChunk(bytes(2_000)))
        with pytest.raises(BadRequest, match="on a connection of its own"):
            await inbox.put(A)
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
