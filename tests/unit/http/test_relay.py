"""Conversations whose client goes, does not read, or sends what cannot be read."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from transcribed.errors import (
    BadRequest,
    Disconnected,
    LimitExceeded,
    Stopping,
    StorageFailure,
    TooLarge,
    TranscribedError,
    Unread,
    UnreadableAudio,
)
from transcribed.http.relay import DRAIN_SECONDS, REVOKED_SECONDS, Relays, Reply, code_and_reason
from transcribed.transcript import LiveEvent, Notice
from transcribed.wire.audio import AudioChunk, EndOfAudio

InVirtualTime = Callable[[Coroutine[Any, Any, Any]], Any]
GONE = Disconnected("gone")


class Line:
    """A connection from which messages come, one a second, and at last an error."""

    def __init__(self, *messages: str | bytes, last: Exception = GONE, unread: bool = False) -> None:
        self._messages = list(messages)
        self._last = last
        self._unread = unread
        self.sent: list[str | bytes] = []
        self.closed: list[tuple[float, int, str]] = []

    async def receive(self) -> str | bytes:
        await asyncio.sleep(1)
        if not self._messages:
            raise self._last
        return self._messages.pop(0)

    async def send(self, message: str | bytes) -> None:
        if self._unread:
            raise Unread("not read")
        self.sent.append(message)

    async def close(self, code: int, reason: str) -> None:
        self.closed.append((asyncio.get_running_loop().time(), code, reason))


class Talk:
    """Tells after each chunk what it has heard; audio takes `slow` seconds a chunk, a name for ever."""

    audio_ahead = 1000

    def __init__(self, slow: float = 0) -> None:
        self.heard: list[str] = []
        self._slow = slow

    def decode(self, message: str | bytes) -> str | AudioChunk | EndOfAudio | Reply | None:
        if isinstance(message, bytes):
            return AudioChunk(message) if message else EndOfAudio()
        return Reply(message) if message.startswith("!") else message or None

    async def answer(self, request: str) -> AsyncGenerator[LiveEvent, None]:
        self.heard.append(f"{request} begun")
        try:
            yield Notice("", request)
            await asyncio.Event().wait()
        finally:
            self.heard.append(f"{request} broke off")

    async def listen(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[LiveEvent, None]:
        said = ""
        try:
            async for chunk in chunks:
                await asyncio.sleep(self._slow)
                said += chunk.decode()
                yield Notice("", said)
        finally:
            self.heard.append(said)

    def encode(self, event: LiveEvent) -> str:
        assert isinstance(event, Notice)
        return event.message

    def encode_error(self, error: TranscribedError) -> str:
        return f"error: {error.message}"


async def _run(line: Line, talk: Talk) -> float:
    await Relays().run(line, talk, asyncio.Event())
    return asyncio.get_running_loop().time()


async def _run_until_revoked(line: Line, talk: Talk, seconds: float) -> float:
    revoked = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, revoked.set)
    await Relays().run(line, talk, revoked)
    return asyncio.get_running_loop().time()


def test_whose_key_is_revoked_gets_the_last_words_and_an_error(in_virtual_time: InVirtualTime) -> None:
    line, talk = Line(*[b"a"] * 100), Talk()
    assert in_virtual_time(_run_until_revoked(line, talk, 3.5)) < 3.5 + REVOKED_SECONDS
    assert talk.heard == ["aaa"]
    assert line.sent[-2] == "aaa"
    assert "removed or rotated" in str(line.sent[-1])
    assert line.closed[-1][1] == 1008


def test_what_takes_too_long_breaks_off_when_a_key_is_revoked(in_virtual_time: InVirtualTime) -> None:
    line, talk = Line("x", *[b"a"] * 100), Talk()
    assert in_virtual_time(_run_until_revoked(line, talk, 3.5)) == 3.5 + REVOKED_SECONDS
    assert talk.heard == ["x begun", "x broke off"]
    assert line.closed[-1][1] == 1008


def test_what_a_client_said_before_it_went_is_heard_and_it_is_let_go_at_once(
    in_virtual_time: InVirtualTime,
) -> None:
    line, talk = Line(b"a", b"b", b"c"), Talk(slow=10)
    assert in_virtual_time(_run(line, talk)) == 1 + 3 * 10
    assert talk.heard == ["abc"]
    assert line.sent == []
    assert line.closed[0][0] == 4


def test_a_client_that_goes_takes_its_names_along_and_leaves_its_audio(
    in_virtual_time: InVirtualTime,
) -> None:
    line, talk = Line("x", b"a", b"", "y", b"b", "z"), Talk()
    assert in_virtual_time(_run(line, talk)) == 7
    assert talk.heard == ["x begun", "x broke off", "a", "b"]
    assert line.sent == ["x"]


def test_the_last_words_of_a_client_that_is_gone_do_not_take_for_ever(
    in_virtual_time: InVirtualTime,
) -> None:
    line, talk = Line(b"a", b"b"), Talk(slow=DRAIN_SECONDS)
    assert in_virtual_time(_run(line, talk)) == 3 + DRAIN_SECONDS
    assert talk.heard == ["a"]


def test_who_does_not_read_has_been_heard_up_to_when_it_is_given_up(in_virtual_time: InVirtualTime) -> None:
    line, talk = Line(b"a", b"b", b"c", unread=True), Talk(slow=2.5)
    assert in_virtual_time(_run(line, talk)) == 1 + 3 * 2.5
    assert talk.heard == ["abc"]
    assert line.closed[-1][1:] == (1008, "nothing was read for too long")


def test_who_does_not_read_of_a_recording_ends_it(in_virtual_time: InVirtualTime) -> None:
    line, talk = Line("x", b"a", unread=True), Talk()
    assert in_virtual_time(_run(line, talk)) == 1
    assert talk.heard == ["x begun", "x broke off"]


def test_behind_a_message_that_cannot_be_read_all_before_it_is_told_and_then_the_error(
    in_virtual_time: InVirtualTime,
) -> None:
    line, talk = Line(b"a", b"b", last=TooLarge("too large")), Talk(slow=10)
    assert in_virtual_time(_run(line, talk)) == 1 + 2 * 10
    assert line.sent == ["a", "ab", "error: too large"]
    assert line.closed == [(21, 1009, "too large")]


def test_a_reply_waits_for_nothing_and_the_stream_goes_on(in_virtual_time: InVirtualTime) -> None:
    line, talk = Line(b"a", "!one", b"b", "!two", b"c", b"", ""), Talk(slow=1.5)
    in_virtual_time(_run(line, talk))
    assert line.sent == ["!one", "a", "!two", "ab", "abc"]
    assert talk.heard == ["abc"]
    assert line.closed[-1][1] == 1000


def test_who_does_not_read_a_reply_has_been_heard_up_to_it(in_virtual_time: InVirtualTime) -> None:
    line, talk = Line(b"a", b"b", "!one", b"c", unread=True), Talk(slow=10)
    assert in_virtual_time(_run(line, talk)) == 1 + 2 * 10
    assert talk.heard == ["ab"]
    assert line.closed[-1][1:] == (1008, "nothing was read for too long")


class _FailingTalk(Talk):
    def __init__(self, failure: BaseException) -> None:
        super().__init__()
        self._failure = failure

    async def listen(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[LiveEvent, None]:
        async for chunk in chunks:
            yield Notice("", chunk.decode())
            raise self._failure


@pytest.mark.parametrize("failure", [ValueError("a fault"), asyncio.CancelledError()])
def test_a_conversation_that_fails_is_answered_and_the_log_says_why(
    in_virtual_time: InVirtualTime, failure: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    line, talk = Line(b"a", b"b"), _FailingTalk(failure)
    in_virtual_time(_run(line, talk))
    assert line.sent == ["a", "error: The server failed; its log has the cause."]
    assert line.closed == [(1, 1011, "internal error")]
    assert type(failure).__name__ in caplog.text


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Stopping(), (1001, "the server is stopping")),
        (Disconnected("gone"), (1002, "what arrived is no valid WebSocket message, or too large for one")),
        (Unread("unread"), (1008, "nothing was read for too long")),
        (BadRequest("More than 4096 names are waiting."), (1008, "More than 4096 names are waiting.")),
        (UnreadableAudio("é" * 100), (1008, "é" * 61)),
        (TooLarge("much"), (1009, "too large")),
        (StorageFailure("/secret/path"), (1011, "internal error")),
        (LimitExceeded("full"), (1013, "try again later")),
    ],
)
def test_each_error_has_its_close_code(error: TranscribedError, expected: tuple[int, str]) -> None:
    code, reason = code_and_reason(error)
    assert (code, reason) == expected
    assert len(reason.encode()) <= 123
