"""A client of OpenAI's realtime transcription, message by message. It checks the order of the events."""

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from realtime_contract import Contract
from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from tests.conftest import Server

WAIT = 8
COMPLETED = "conversation.item.input_audio_transcription.completed"
DELTA = "conversation.item.input_audio_transcription.delta"
FAILED = "conversation.item.input_audio_transcription.failed"
BY_COMMIT = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}
AT_16_KHZ = {"type": "transcription", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}}


class RealtimeClient:
    """One session."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.contract = Contract()

    def send(self, kind: str, **fields: Any) -> None:
        self.ws.send(json.dumps({"type": kind, **fields}))

    def update(self, *sessions: dict[str, Any]) -> dict[str, Any]:
        """Change the configuration. Returns what it is afterwards."""
        for session in sessions:
            self.send("session.update", session=session)
        found = [self.until("session.updated")[-1]["session"] for _ in sessions]
        return found[-1]

    def append(self, audio: bytes, chunk: int = 4_800) -> None:
        for start in range(0, len(audio), chunk):
            part = base64.b64encode(audio[start : start + chunk]).decode()
            self.send("input_audio_buffer.append", audio=part)

    def commit(self, **fields: Any) -> None:
        self.send("input_audio_buffer.commit", **fields)

    def clear(self) -> None:
        self.send("input_audio_buffer.clear")

    def next(self, wait: float = WAIT) -> dict[str, Any]:
        message = self.ws.recv(wait)
        assert isinstance(message, str)
        return self.contract.read(message)

    def until(self, *kinds: str) -> list[dict[str, Any]]:
        """The events up to the first of a kind."""
        events = [self.next()]
        while events[-1]["type"] not in kinds:
            events.append(self.next())
        return events

    def error(self) -> dict[str, Any]:
        """The next error."""
        found: dict[str, Any] = self.until("error")[-1]["error"]
        return found

    def completed(self, count: int = 1) -> list[str]:
        """The transcripts of the next items that are completed."""
        return [self.until(COMPLETED)[-1]["transcript"] for _ in range(count)]


@contextmanager
def realtime(
    server: "Server",
    query: str = "?intent=transcription",
    *,
    headers: dict[str, str] | None = None,
    subprotocols: Sequence[Any] | None = None,
) -> Iterator[RealtimeClient]:
    """A session with a server, once it is created."""
    url = f"{server.url.replace('http', 'ws', 1)}/v1/realtime{query}"
    with connect(
        url,
        additional_headers=headers,
        subprotocols=subprotocols,
        open_timeout=WAIT,
        close_timeout=WAIT,
        max_size=None,
    ) as ws:
        yield RealtimeClient(ws)
