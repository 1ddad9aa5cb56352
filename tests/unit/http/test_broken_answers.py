"""Answers that break off after they have begun, as the server's log tells of them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse
from starlette.types import Message

from transcribed.errors import Disconnected, MediaChanged, StorageFailure
from transcribed.http import errors
from transcribed.http.timeouts import SEND_TIMEOUT, BoundedRequests, HttpRequests

InVirtualTime = Callable[[Coroutine[Any, Any, Any]], Any]
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.4"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/talk.wav",
    "raw_path": b"/talk.wav",
    "root_path": "",
    "query_string": b"",
    "headers": [],
}


def _app(failure: Exception | None) -> FastAPI:
    app = FastAPI()
    app.add_middleware(BoundedRequests, requests=HttpRequests())
    errors.install(app)

    @app.get("/{name}")
    async def download(name: str) -> StreamingResponse:
        async def content() -> AsyncIterator[bytes]:
            while True:
                yield bytes(1000)
                if failure is not None:
                    raise failure

        return StreamingResponse(content())

    return app


async def _downloaded(failure: Exception | None, *, read: bool) -> float:
    """Seconds until an answer has broken off."""

    async def receive() -> Message:
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if not read and message["type"] == "http.response.body":
            await asyncio.Event().wait()

    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever Starlette makes of it
        await _app(failure)(dict(SCOPE), receive, send)
    return asyncio.get_running_loop().time()


def test_one_that_nobody_reads_is_one_line(
    in_virtual_time: InVirtualTime, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert in_virtual_time(_downloaded(None, read=False)) == SEND_TIMEOUT
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert record.message == "GET /talk.wav broke off: The client does not read what is sent to it."
    assert record.exc_info is None


@pytest.mark.parametrize(
    ("failure", "level", "explained"),
    [
        (Disconnected("The client has gone."), logging.INFO, False),
        (MediaChanged("It was replaced."), logging.WARNING, False),
        (StorageFailure("The disk is broken."), logging.ERROR, True),
        (ValueError("a mistake of ours"), logging.ERROR, True),
    ],
)
def test_one_that_fails_is_logged_once_and_what_is_ours_is_explained(
    in_virtual_time: InVirtualTime,
    caplog: pytest.LogCaptureFixture,
    failure: Exception,
    level: int,
    explained: bool,
) -> None:
    with caplog.at_level(logging.INFO):
        in_virtual_time(_downloaded(failure, read=True))
    (record,) = caplog.records
    assert record.levelno == level
    assert "/talk.wav" in record.message
    assert (record.exc_info is not None and record.exc_info[1] is failure) == explained
