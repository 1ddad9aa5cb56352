"""Audio messages pass what numbers and traces requests without being looked at."""

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from transcribed.http.request_ids import RequestIds
from transcribed.telemetry import _TracedRequests

SCOPE: dict[str, Any] = {
    "method": "POST",
    "path": "/",
    "scheme": "http",
    "http_version": "2",
    "headers": [],
    "client": ("192.0.2.7", 4000),
}


def traced(app: ASGIApp) -> ASGIApp:
    return _TracedRequests(app, TracerProvider(shutdown_on_exit=False).get_tracer(""))


@pytest.mark.parametrize("around", [RequestIds, traced])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_an_application_receives_by_the_servers_own_call(around: Any, kind: str) -> None:
    seen: list[tuple[Receive, Send]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((receive, send))

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    asyncio.run(around(app)(SCOPE | {"type": kind}, receive, send))
    ((received_by, sent_by),) = seen
    assert received_by is receive
    assert kind == "http" or sent_by is send
