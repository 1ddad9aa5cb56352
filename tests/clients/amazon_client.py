"""A client of Amazon's streaming protocol, the test's own: HTTP/2 by h2, WebSocket by websockets.

Requests are signed by botocore, messages are read by botocore. What is written here is how they are put on
the wire, so that a test can also put them there wrongly.
"""

import contextlib
import hmac
import json
import socket
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from types import TracebackType
from typing import Any, Self
from unittest import mock
from urllib.parse import urlencode

import h2.config
import h2.connection
import h2.events
import h2.settings
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.eventstream import EventStreamBuffer
from h2.errors import ErrorCodes
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

WAIT = 20
KEY, SECRET = "AKIATEST", "a-secret-of-the-tests"
REGION = "us-east-1"
PCM = {"language-code": "en-US", "sample-rate": "16000", "media-encoding": "pcm"}

Event = tuple[dict[str, Any], dict[str, Any]]
"""Headers and the JSON of a message."""


# --- Messages


def header(name: str, value: str | bytes | int) -> bytes:
    start = bytes([len(name)]) + name.encode()
    if isinstance(value, int):
        return start + b"\x08" + value.to_bytes(8, "big", signed=True)
    data = value.encode() if isinstance(value, str) else value
    return start + (b"\x07" if isinstance(value, str) else b"\x06") + len(data).to_bytes(2, "big") + data


def framed(block: bytes, payload: bytes, total: int | None = None, headers: int | None = None) -> bytes:
    """A message of encoded headers and a payload. It may lie about its lengths; its checksums are right."""
    start = struct.pack(
        ">II",
        len(block) + len(payload) + 16 if total is None else total,
        len(block) if headers is None else headers,
    )
    start += struct.pack(">I", zlib.crc32(start))
    return start + block + payload + struct.pack(">I", zlib.crc32(start + block + payload))


def message(headers: Mapping[str, str | bytes | int], payload: bytes) -> bytes:
    return framed(b"".join(header(name, value) for name, value in headers.items()), payload)


def audio_event(audio: bytes) -> bytes:
    headers = {
        ":message-type": "event",
        ":event-type": "AudioEvent",
        ":content-type": "application/octet-stream",
    }
    return message(headers, audio)


class Signer:
    """The chain of a stream's signatures, by the documents."""

    def __init__(self, signature: str, secret: str = SECRET) -> None:
        self._last = signature
        self._secret = secret

    def signed(self, inner: bytes, moment: datetime | None = None) -> bytes:
        milliseconds = round((moment or now()).timestamp() * 1000)
        date = header(":date", milliseconds)
        signature = self.signature(milliseconds, date, inner)
        return framed(date + header(":chunk-signature", signature), inner)

    def signature(self, milliseconds: int, headers: bytes, payload: bytes) -> bytes:
        """Of the next message, by its date and its encoded headers without the signature."""
        stamp = datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{stamp[:8]}/{REGION}/transcribe/aws4_request"
        lines = ("AWS4-HMAC-SHA256-PAYLOAD", stamp, scope, self._last)
        text = "\n".join((*lines, sha256(headers).hexdigest(), sha256(payload).hexdigest()))
        key = f"AWS4{self._secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256")
        self._last = signature.hex()
        return signature


def events(data: Iterable[bytes]) -> Iterator[Event]:
    buffer = EventStreamBuffer()
    for piece in data:
        buffer.add_data(piece)
        for found in buffer:
            yield found.headers, json.loads(found.payload)


class Refused(Exception):
    """An answer that is not 200, or an exception message."""

    def __init__(self, name: str, text: str, status: int | None = None) -> None:
        super().__init__(name, text)
        self.name, self.text, self.status = name, text, status


def results(found: Iterable[Event]) -> Iterator[dict[str, Any]]:
    """The results, to the end. Raises Refused for an exception message."""
    for headers, body in found:
        if headers[":message-type"] == "exception":
            raise Refused(headers[":exception-type"], body["Message"])
        assert headers[":event-type"] == "TranscriptEvent"
        yield from body["Transcript"]["Results"]


def finals(found: Iterable[Event]) -> list[str]:
    return [result["Alternatives"][0]["Transcript"] for result in results(found) if not result["IsPartial"]]


@contextlib.contextmanager
def _at(moment: datetime | None) -> Iterator[None]:
    """botocore signs with its clock."""
    if moment is None:
        yield
        return
    with mock.patch("botocore.auth.get_current_datetime", return_value=moment.replace(tzinfo=None)):
        yield


def _behind(proxied: str | None) -> dict[str, str]:
    """What a proxy says of a client that knows it by this name."""
    return {} if proxied is None else {"x-forwarded-host": proxied, "x-forwarded-for": "203.0.113.7"}


# --- HTTP/2


class Http2:
    """One stream on a connection of its own.

    `proxied` is the name by which it knows the server: a proxy's before it, which this plays too.
    """

    def __init__(
        self,
        address: tuple[str, int],
        parameters: Mapping[str, str],
        *,
        secret: str = SECRET,
        key: str = KEY,
        moment: datetime | None = None,
        signed: bool = True,
        content: str = "STREAMING-AWS4-HMAC-SHA256-EVENTS",
        proxied: str | None = None,
    ) -> None:
        host = proxied or f"{address[0]}:{address[1]}"
        request = AWSRequest("POST", f"http://{host}/stream-transcription")
        request.headers["host"] = host
        request.headers["x-amz-content-sha256"] = content
        for name, value in parameters.items():
            request.headers[f"x-amzn-transcribe-{name}"] = value
        if signed:
            with _at(moment):
                SigV4Auth(Credentials(key, secret), "transcribe", REGION).add_auth(request)
        authorization = request.headers.get("authorization", "Signature=")
        self.signer = Signer(authorization.rpartition("Signature=")[2], secret)
        self.socket = socket.create_connection(address, WAIT)
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._held = b""
        self._body: list[bytes] = []
        self.headers: dict[str, str] = {}
        self.ended = False
        self._reluctant = False
        fields = [(":method", "POST"), (":scheme", "http"), (":path", "/stream-transcription")]
        fields += [(":authority", f"{address[0]}:{address[1]}" if proxied else host)]
        fields += _behind(proxied).items()
        fields += [(name.lower(), value) for name, value in request.headers.items() if name != "host"]
        self._h2.send_headers(1, fields)
        self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def _flush(self) -> None:
        self.socket.sendall(self._h2.data_to_send())

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError
        self._held += data
        # Frame by frame: h2 takes no more when the server has said that it will stop, and what came with it
        # would be lost.
        while len(self._held) >= 9 and not self.ended:
            size = 9 + int.from_bytes(self._held[:3], "big")
            if len(self._held) < size:
                break
            frame, self._held = self._held[:size], self._held[size:]
            self._take(self._h2.receive_data(frame))
        self._flush()

    def _take(self, events: Iterable[h2.events.Event]) -> None:
        for event in events:
            match event:
                case h2.events.ResponseReceived():
                    self.headers = dict(event.headers)
                case h2.events.DataReceived():
                    self._body.append(event.data)
                    if not self._reluctant:
                        self._h2.acknowledge_received_data(event.flow_controlled_length, 1)
                case h2.events.StreamEnded() | h2.events.StreamReset():
                    self.ended = True

    def make_no_room(self) -> None:
        """Never enlarge the window of the answer."""
        self._reluctant = True

    def wait_for_headers(self) -> dict[str, str]:
        while not self.headers:
            self._receive()
        return self.headers

    def raw(self, data: bytes, *, end: bool = False) -> None:
        """Bytes into the body."""
        while data or end:
            room = min(self._h2.local_flow_control_window(1), self._h2.max_outbound_frame_size, len(data))
            if data and not room:
                self._receive()
                continue
            piece, data = data[:room], data[room:]
            self._h2.send_data(1, piece, end_stream=end and not data)
            self._flush()
            if not data:
                return

    def send(self, audio: bytes) -> None:
        self.raw(self.signer.signed(audio_event(audio)))

    def end(self) -> None:
        self.raw(self.signer.signed(b""), end=True)

    def reset(self, code: ErrorCodes) -> None:
        self._h2.reset_stream(1, code)
        self._flush()

    def _pieces(self) -> Iterator[bytes]:
        while True:
            while self._body:
                yield self._body.pop(0)
            if self.ended:
                return
            self._receive()

    def events(self) -> Iterator[Event]:
        """To the end of the answer. Raises Refused where it is not 200."""
        headers = self.wait_for_headers()
        if headers[":status"] != "200":
            body = json.loads(b"".join(self._pieces()))
            raise Refused(headers["x-amzn-errortype"], body["Message"], int(headers[":status"]))
        yield from events(self._pieces())


# --- WebSocket


class Ws:
    """The same over a WebSocket."""

    def __init__(
        self,
        address: tuple[str, int],
        parameters: Mapping[str, str],
        *,
        secret: str = SECRET,
        key: str = KEY,
        moment: datetime | None = None,
        signed: bool = False,
        expires: int = 300,
        proxied: str | None = None,
    ) -> None:
        host = proxied or f"{address[0]}:{address[1]}"
        url = f"http://{host}/stream-transcription-websocket?{urlencode(parameters)}"
        request = AWSRequest("GET", url)
        with _at(moment):
            SigV4QueryAuth(Credentials(key, secret), "transcribe", REGION, expires).add_auth(request)
        assert request.url is not None
        self.url = request.url.replace("http", "ws", 1)
        self.signer = Signer(self.url.rpartition("X-Amz-Signature=")[2].partition("&")[0], secret)
        self._signed = signed
        self.socket: ClientConnection = connect(
            self.url.replace(host, f"{address[0]}:{address[1]}", 1),
            additional_headers=_behind(proxied),
            open_timeout=WAIT,
            close_timeout=WAIT,
            max_size=None,
            legacy=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    @property
    def headers(self) -> Mapping[str, str]:
        assert self.socket.response is not None
        return {name.lower(): value for name, value in self.socket.response.headers.raw_items()}

    def make_no_room(self) -> None:
        """Take little of what comes before somebody reads it; of the rest the kernel does not either."""
        self.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def wait_for_headers(self) -> Mapping[str, str]:
        return self.headers

    def raw(self, data: bytes) -> None:
        # The server may have ended the stream: why, its last message says.
        with contextlib.suppress(ConnectionClosed):
            self.socket.send(data)

    def send(self, audio: bytes) -> None:
        inner = audio_event(audio)
        self.raw(self.signer.signed(inner) if self._signed else inner)

    def end(self) -> None:
        if self._signed:
            self.raw(self.signer.signed(b""))
        else:
            self.send(b"")

    def _pieces(self) -> Iterator[bytes]:
        while True:
            try:
                received = self.socket.recv(WAIT)
            except ConnectionClosed as closed:
                if closed.rcvd is None or closed.rcvd.code != 1000:
                    raise
                return
            assert isinstance(received, bytes)
            yield received

    def events(self) -> Iterator[Event]:
        """To the close, which must be 1000."""
        return events(self._pieces())


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - signatures are of dates


def long_ago() -> datetime:
    return now() - timedelta(minutes=10)
