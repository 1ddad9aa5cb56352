"""Write down what a client sends, as Granian hands it over: one file for each request.

RECORD=FILE granian --interface asgi --http auto --port 8443 server:app
"""

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from transcribed.wire import eventstream

NOTHING_SAID = eventstream.encode(
    {":message-type": "event", ":event-type": "TranscriptEvent", ":content-type": "application/json"},
    b'{"Transcript":{"Results":[]}}',
)
SHORTEST_AUDIO = 128
"""Bytes of a message; a shorter one is the end."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Take all that is sent, answer with an event, end."""
    if scope["type"] == "http":
        await _http(scope, receive, send)
    elif scope["type"] == "websocket":
        await _websocket(scope, receive, send)


async def _http(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    body, more = b"", True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    _write(scope, [body])
    await send({"type": "http.response.body", "body": NOTHING_SAID, "more_body": False})


async def _websocket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    messages = [b"-" * SHORTEST_AUDIO]
    while len(messages[-1]) >= SHORTEST_AUDIO:
        messages.append((await receive())["bytes"])
    _write(scope, messages[1:])
    await send({"type": "websocket.send", "bytes": NOTHING_SAID})
    await send({"type": "websocket.close", "code": 1000})


def _write(scope: Scope, messages: list[bytes]) -> None:
    request = {
        "method": scope.get("method", "GET"),
        "path": scope["raw_path"].decode(),
        "query": scope["query_string"].decode(),
        "headers": [[name.decode(), value.decode()] for name, value in scope["headers"]],
        "body": [message.hex() for message in messages],
    }
    Path(os.environ["RECORD"]).write_text(json.dumps(request, indent=1) + "\n")
