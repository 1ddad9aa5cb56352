"""What a client of OpenAI's API gets while a transcription runs, and what it stops by going."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from transcribed.errors import Disconnected, EngineFailure
from transcribed.http.openai import transcriptions
from transcribed.http.openai.events import EventStream, RequestedEvents
from transcribed.transcript import Done, LiveEvent, Segment
from transcribed.wire.openai_request import file_request
from transcribed.wire.openai_transcripts import END, KEEP_ALIVE, FileTranscript

InVirtualTime = Callable[[Coroutine[Any, Any, Any]], Any]
FINAL = Segment("s", 0, 0, 1, "Yes.", final=True, language="en-US")
PARTIAL = Segment("s", 0, 0, 1, "Ye", final=False, language="en-US")
DONE = Done("s", 1.0, 0.1)
SCOPE = {"type": "http", "method": "POST", "path": "/v1/audio/transcriptions", "headers": []}


class Client:
    """A client that goes after some seconds, if at all; what it got, and when."""

    def __init__(self, *events: LiveEvent | float | Exception, goes: float | None = None) -> None:
        self._events = events
        self._goes = goes
        self.got: list[tuple[float, str]] = []
        self.closed = self.stopped = self.finished = False

    async def receive(self) -> Message:
        if self._goes is None:
            await asyncio.Event().wait()
        await asyncio.sleep(self._goes or 0)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message.get("body"):
            self.got.append((asyncio.get_running_loop().time(), message["body"].decode()))

    async def _transcription(self) -> AsyncGenerator[LiveEvent, None]:
        try:
            for event in self._events:
                if isinstance(event, float):
                    await asyncio.sleep(event)
                elif isinstance(event, Exception):
                    raise event
                else:
                    yield event
            self.finished = True
        finally:
            self.stopped = True

    def _close(self) -> None:
        self.closed = True

    async def ask(self) -> None:
        """Ask for a stream of events, and take it to its end."""
        async with AsyncExitStack() as opened:
            opened.callback(self._close)
            request = Request(SCOPE, self.receive)
            events = RequestedEvents(request, self._transcription())
            await opened.enter_async_context(events.running())
            transcript = FileTranscript(file_request([("model", "x")]), "en-US")
            first = await events.next(transcriptions.FIRST_SECONDS)
            response = EventStream(transcriptions._sent(transcript, first, events), opened.pop_all())
            assert response.headers["content-type"].startswith("text/event-stream")
            assert "content-length" not in response.headers
            await response(SCOPE, self.receive, self.send)


def test_silence_is_filled_with_comments(in_virtual_time: InVirtualTime) -> None:
    client = Client(12.0, PARTIAL, 8.0, PARTIAL, 18.0, FINAL, DONE)
    in_virtual_time(client.ask())
    assert client.got[:3] == [(10, KEEP_ALIVE), (25, KEEP_ALIVE), (38, client.got[2][1])]
    assert [time for time, _ in client.got] == [10, 25, 38, 38, 38]
    assert "Yes." in client.got[2][1]
    assert client.got[-1][1] == END
    assert client.finished
    assert client.closed


@pytest.mark.parametrize("after", [EngineFailure("It fell over."), 1.0])
def test_what_follows_the_end_of_the_transcript_is_not_broken_off(
    in_virtual_time: InVirtualTime, after: float | Exception
) -> None:
    client = Client(FINAL, DONE, after)
    in_virtual_time(client.ask())
    assert client.finished == (after == 1.0)
    assert (client.got[-1][1] == END) == client.finished


def test_a_failure_is_the_last_event(in_virtual_time: InVirtualTime) -> None:
    client = Client(FINAL, 1.0, EngineFailure("It fell over."))
    in_virtual_time(client.ask())
    assert [time for time, _ in client.got] == [0, 1]
    assert '{"error":{"message":"It fell over.' in client.got[1][1]
    assert client.stopped
    assert client.closed


@pytest.mark.parametrize("error", [EngineFailure("It fell over."), None])
def test_an_error_before_the_first_event_is_raised(
    in_virtual_time: InVirtualTime, error: Exception | None
) -> None:
    client = Client(1.0, *([error] if error else [FINAL]), goes=None if error else 0.5)
    with pytest.raises(EngineFailure if error else Disconnected):
        in_virtual_time(client.ask())
    assert client.got == []
    assert client.stopped
    assert client.closed


@pytest.mark.parametrize("left", [100.0, FINAL])
def test_recognition_stops_when_the_client_goes(
    in_virtual_time: InVirtualTime, left: float | LiveEvent
) -> None:
    client = Client(FINAL, 1.0, left, 100.0, *[FINAL] * 1000, DONE, goes=3.0)
    in_virtual_time(client.ask())
    assert client.stopped
    assert client.closed
    assert END not in [content for _, content in client.got]
