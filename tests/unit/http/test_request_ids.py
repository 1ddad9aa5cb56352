"""The id of each request: where it comes from, and where it is told."""

import asyncio
import uuid
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from transcribed.http.request_ids import RequestIds
from transcribed.request_context import REQUEST, RequestContext

START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"x-request-id", b"another")]}


def asked(kind: str, *given: bytes) -> tuple[RequestContext, list[Message]]:
    """The context of a request with these X-Request-Id, and what was sent."""
    seen: list[RequestContext] = []
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        context = REQUEST.get()
        assert context is not None
        seen.append(context)
        await send(START | {"headers": list(START["headers"])})
        await send({"type": "anything.else", "headers": []})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    scope: dict[str, Any] = {
        "type": kind,
        "client": ("192.0.2.7", 4000),
        "headers": [(b"x-request-id", value) for value in given],
    }
    asyncio.run(RequestIds(app)(scope, receive, send))
    return seen[0], sent


def test_the_answer_has_it_once() -> None:
    context, (first, other) = asked("http")
    assert str(uuid.UUID(context.id)) == context.id
    assert [value for name, value in first["headers"] if name == b"x-request-id"] == [context.id.encode()]
    assert other["headers"] == []
    assert context.address == "192.0.2.7"


@pytest.mark.parametrize("given", [b"a", b"5f2c-91.B_z", b"x" * 64])
def test_a_clients_own_is_taken(given: bytes) -> None:
    assert asked("http", given)[0].id == given.decode()


@pytest.mark.parametrize(
    "given", [b"", b"x" * 65, b"two words", b"line\nbreak", b"\x1b[31m", "ü".encode(), b'"quoted"', b"a,b"]
)
def test_what_is_long_or_could_mean_something_in_a_log_is_not_taken(given: bytes) -> None:
    assert str(uuid.UUID(asked("websocket", given)[0].id))


def test_outside_of_requests_there_is_none() -> None:
    asked("http")
    assert REQUEST.get() is None
