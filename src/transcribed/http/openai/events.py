"""The events of a transcription that answers one HTTP request, and its response as server-sent events."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from transcribed.errors import Disconnected, TranscribedError
from transcribed.event_queue import EventQueue
from transcribed.transcript import Done, LiveEvent, Segment


class RequestedEvents:
    """The final segments of a transcription, then Done, until the client has gone."""

    def __init__(self, request: Request, events: AsyncGenerator[LiveEvent, None]) -> None:
        self.request = request
        self._events = events
        self._queue = EventQueue[Segment | Done]()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["RequestedEvents"]:
        """Run the transcription, which ends on leaving the context. The request's body must be read."""
        tasks = [asyncio.create_task(self._fill()), asyncio.create_task(self._watch())]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def next(self, seconds: float | None = None) -> Segment | Done | None:
        """The next event; None if none comes within `seconds`. The last one is Done.

        Raises what the transcription raises, after the events before it, and Disconnected.
        """
        try:
            async with asyncio.timeout(seconds):
                while (event := self._queue.take()) is None and not self._queue.ended:
                    await self._queue.wait_for_event()
        except TimeoutError:
            return None
        if event is None:
            raise self._queue.failure or TranscribedError("The transcription has ended.")
        return event

    async def _fill(self) -> None:
        failure: Exception | None = None
        done: Done | None = None
        try:
            async with aclosing(self._events) as events:
                async for event in events:
                    if isinstance(event, Done):
                        # The reader goes with it, and would break off what is recorded of the session.
                        done = event
                    elif isinstance(event, Segment) and event.final:
                        self._queue.put(event)
                        await self._queue.wait_for_room()
                    if self._queue.ended:
                        return
            if done is not None:
                self._queue.put(done)
        except Exception as error:  # noqa: BLE001 - the reader raises it
            failure = error
        finally:
            self._queue.end(failure)

    async def _watch(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass
        self._queue.end(Disconnected("The client has gone."))


class EventStream(Response):
    """A response of server-sent events. Closes `opened` at its end, however it ends."""

    media_type = "text/event-stream"

    def __init__(self, content: AsyncGenerator[str, None], opened: AsyncExitStack) -> None:
        # Proxies such as nginx would otherwise gather events before they pass them on.
        super().__init__(headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._content = content
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI says
        """Send the events (ASGI)."""
        async with self._opened, aclosing(self._content) as content:
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            async for event in content:
                await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
