"""The protocols of the measured servers.

The clients use only methods that cost nearly nothing for each message. The scoring uses `shown`, which
converts all messages of a stream to what a user saw.
"""

import json
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import av

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "clients"))
import numpy as np
import signing
from audio import RATE
from scoring import Shown

from transcribed.wire import eventstream, sigv4

Received = Iterable[tuple[float, str]]
"""Messages with seconds since the stream's start."""

TRY_AGAIN_LATER = 1013
"""The close code of a refusal."""
ACCESS_KEY, SECRET = "AKIABENCH", "a-secret-of-the-bench"
Wrap = Callable[[bytes], bytes | str]
"""Audio as a message; no audio is the end."""


class Dialect(Protocol):
    """A protocol. Audio is sent as signed 16-bit samples, 16 kHz, mono.

    `hello` is sent first, unless empty; `end` ends the audio. A server that does not report when it has
    finished is done after `patience` seconds without a message, or with `closes`, when it closes.
    """

    hello: str
    end: bytes
    patience: float | None
    closes: bool

    def connection(self, port: int) -> tuple[str, Wrap]:
        """Return the path of a WebSocket on a local port, and a function that encodes audio for it."""

    def text(self, message: str | bytes) -> str:
        """Return the text of a message."""

    def is_ready(self, message: str | None) -> bool:
        """Return whether audio may be sent after this message; None is before the first one."""

    def is_done(self, message: str) -> bool:
        """Return whether this is the last message of the stream."""

    def refusal(self, message: str) -> str | None:
        """Return why the stream was refused or failed, or None."""

    def shown(self, received: Received) -> Iterator[Shown]:
        """Return what the user saw after each message."""


class _Plain:
    """Messages are text, audio is sent as it is."""

    path: str
    closes = False

    def connection(self, port: int) -> tuple[str, Wrap]:  # noqa: ARG002
        """Return a fixed path."""
        return self.path, bytes

    def text(self, message: str | bytes) -> str:
        """Return the message itself."""
        return str(message)


class Transcribed(_Plain):
    """This server's native protocol (docs/protocols/native.md)."""

    path = "/stream?format=json&sample_rate=16000&encoding=pcm"
    hello = ""
    end = b""
    patience = None

    def is_ready(self, message: str | None) -> bool:  # noqa: ARG002
        """At once."""
        return True

    def is_done(self, message: str) -> bool:
        """Done follows the last result."""
        return message.startswith('{"Done"')

    def refusal(self, message: str) -> str | None:
        """An error ends the stream."""
        return str(json.loads(message)["Error"]["Message"]) if message.startswith('{"Error"') else None

    def shown(self, received: Received) -> Iterator[Shown]:
        """Each message has one segment, the one after the last final."""
        finals: tuple[str, ...] = ()
        for at, message in received:
            if not message.startswith('{"Transcript"'):
                continue
            for result in json.loads(message)["Transcript"]["Results"]:
                text = result["Alternatives"][0]["Transcript"]
                if result["IsPartial"]:
                    yield Shown(at, finals, text)
                else:
                    finals = (*finals, text)
                    yield Shown(at, finals, "", result["EndTime"])


class Settled(Transcribed):
    """The native protocol, of which the user sees only words that do not change any more."""

    def __init__(self, stability: str) -> None:
        self.path = f"{Transcribed.path}&stability={stability}"

    def shown(self, received: Received) -> Iterator[Shown]:
        """Return the stable items of each message, which come first."""
        finals: tuple[str, ...] = ()
        for at, message in received:
            if not message.startswith('{"Transcript"'):
                continue
            for result in json.loads(message)["Transcript"]["Results"]:
                best = result["Alternatives"][0]
                if result["IsPartial"]:
                    stable = (item["Content"] for item in best["Items"] if item["Stable"])
                    yield Shown(at, finals, " ".join(stable))
                else:
                    finals = (*finals, best["Transcript"])
                    yield Shown(at, finals, "", result["EndTime"])


class OpenAI(_Plain):
    """This server's front end for OpenAI's realtime API (docs/protocols/openai.md), which finds the turns.

    The API has no message for the end of the audio: a change of the settings lets the server finish what it
    has, before it confirms them.
    """

    path = "/v1/realtime?intent=transcription"
    end = b""
    patience = None
    _RATE = 24_000

    def __init__(self, delay: str | None = None) -> None:
        self._delay = {"delay": delay} if delay else {}
        self.hello = self._settings(500)

    def _settings(self, silence: int) -> str:
        turns = {"type": "server_vad", "silence_duration_ms": silence}
        transcription = {"model": "gpt-4o-transcribe"} | self._delay
        live = {"transcription": transcription, "turn_detection": turns}
        session = {"type": "transcription", "audio": {"input": live}}
        return json.dumps({"type": "session.update", "session": session})

    def connection(self, port: int) -> tuple[str, Wrap]:  # noqa: ARG002
        """Return the path, and an encoder that resamples to 24 kHz."""
        resampler = av.AudioResampler(format="s16", layout="mono", rate=self._RATE)

        def wrap(audio: bytes) -> str:
            if not audio:
                return self._settings(501)
            frame = av.AudioFrame.from_ndarray(np.frombuffer(audio, np.int16)[None], "s16", "mono")
            frame.sample_rate = RATE
            pieces = (piece.to_ndarray().tobytes() for piece in resampler.resample(frame))
            encoded = b64encode(b"".join(pieces)).decode()
            return f'{{"type":"input_audio_buffer.append","audio":"{encoded}"}}'

        return self.path, wrap

    def is_ready(self, message: str | None) -> bool:  # noqa: ARG002
        """At once."""
        return True

    def is_done(self, message: str) -> bool:
        """The last change of the settings is confirmed."""
        event = json.loads(message)
        if event["type"] != "session.updated":
            return False
        return bool(event["session"]["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 501)  # noqa: PLR2004

    def refusal(self, message: str) -> str | None:
        """Return the message of an error."""
        event = json.loads(message)
        return str(event["error"]["message"]) if event["type"] == "error" else None

    def shown(self, received: Received) -> Iterator[Shown]:
        """Return the transcripts of completed items, and the deltas of others."""
        prefix = "conversation.item.input_audio_transcription."
        finals: dict[str, str] = {}
        growing: dict[str, str] = {}
        for at, message in received:
            event = json.loads(message)
            if event["type"] == f"{prefix}delta":
                growing[event["item_id"]] = growing.get(event["item_id"], "") + event["delta"]
            elif event["type"] == f"{prefix}completed":
                growing.pop(event["item_id"], None)
                finals[event["item_id"]] = event["transcript"]
            else:
                continue
            yield Shown(at, tuple(finals.values()), " ".join(growing.values()))


class Amazon:
    """This server's front end for Amazon's protocol (docs/protocols/amazon.md), over a WebSocket.

    With `signed`, the URL and each message are signed, as by SDKs; else neither is.
    """

    hello = ""
    end = b""
    patience = None
    closes = True

    def __init__(self, *, signed: bool) -> None:
        self._signed = signed

    def connection(self, port: int) -> tuple[str, Wrap]:
        """Return a signed URL, and an encoder that continues its chain of signatures."""
        path = "/stream-transcription-websocket"
        query = "language-code=en-US&sample-rate=16000&media-encoding=pcm"
        if not self._signed:
            return f"{path}?{query}", _audio_event
        credentials, region = sigv4.Credentials(ACCESS_KEY, SECRET), "us-east-1"
        request = sigv4.Request("GET", path, query, (("host", f"127.0.0.1:{port}"),))
        query = signing.presign(request, credentials, region, _now()).query
        chain = signing.SigningChain(credentials, region, query.rpartition("=")[2], _now())
        return f"{path}?{query}", lambda audio: chain.seal(_audio_event(audio) if audio else b"", _now())

    def is_ready(self, message: str | None) -> bool:  # noqa: ARG002
        """At once."""
        return True

    def text(self, message: str | bytes) -> str:
        """Return the payload."""
        if isinstance(message, str):
            raise TypeError("text, where there are event-stream messages alone")
        return message[12 + int.from_bytes(message[4:8], "big") : -4].decode()

    def is_done(self, message: str) -> bool:  # noqa: ARG002
        """Never said."""
        return False

    def refusal(self, message: str) -> str | None:
        """An exception's payload is its message."""
        return str(json.loads(message)["Message"]) if message.startswith('{"Message"') else None

    def shown(self, received: Received) -> Iterator[Shown]:
        """The results are those of the native protocol."""
        return Transcribed().shown(received)


def _audio_event(audio: bytes) -> bytes:
    headers = {":message-type": "event", ":event-type": "AudioEvent"}
    return eventstream.encode(headers | {":content-type": "application/octet-stream"}, audio)


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - signatures are of dates


class WhisperLive(_Plain):
    """WhisperLive 0.10. Each message has its last ten segments, of which the last may be incomplete.

    It does not complete that segment at the end of the audio. Like its own client, this one waits until no
    more messages arrive, and takes the last state.
    """

    path = "/"
    hello = json.dumps(
        {
            "uid": "bench",
            "language": "en",
            "task": "transcribe",
            "model": "tiny.en",
            "use_vad": True,
            "audio_format": "int16",
        }
    )
    end = b"END_OF_AUDIO"
    patience = 15.0

    def is_ready(self, message: str | None) -> bool:
        """A message reports that the model is loaded."""
        return message is not None and "SERVER_READY" in message

    def is_done(self, message: str) -> bool:  # noqa: ARG002
        """Never said."""
        return False

    def refusal(self, message: str) -> str | None:
        """A full server reports WAIT, in minutes."""
        return message if '"WAIT"' in message or '"ERROR"' in message else None

    def shown(self, received: Received) -> Iterator[Shown]:
        """Segments are identified by their start."""
        finals: dict[str, str] = {}
        last = None
        for at, message in received:
            segments = json.loads(message).get("segments", [])
            partial, end = "", None
            for segment in segments:
                if not segment["completed"]:
                    partial = segment["text"]
                elif segment["start"] not in finals:
                    finals[segment["start"]] = segment["text"]
                    end = float(segment["end"])
            if segments:
                last = Shown(at, tuple(finals.values()), partial, end)
                yield last
        if last is not None and last.partial:
            yield Shown(last.at, (*last.finals, last.partial), "")


class WhisperLiveKit(_Plain):
    """WhisperLiveKit 0.2. Each message has all lines of settled words, and the words that may change."""

    path = "/asr"
    hello = ""
    end = b""
    patience = None

    def is_ready(self, message: str | None) -> bool:
        """The first message has the settings."""
        return message is not None

    def is_done(self, message: str) -> bool:
        """A message reports that the client may disconnect."""
        return '"ready_to_stop"' in message

    def refusal(self, message: str) -> str | None:
        """An error is a field of a message."""
        return message if '"error"' in message else None

    def shown(self, received: Received) -> Iterator[Shown]:
        """The lines together count as one growing final."""
        for at, message in received:
            parsed = json.loads(message)
            if "lines" in parsed:
                text = " ".join(line["text"] for line in parsed["lines"] if line.get("text"))
                yield Shown(at, (text,) if text else (), parsed.get("buffer_transcription", ""))


DIALECTS: dict[str, Dialect] = {
    "transcribed": Transcribed(),
    "settled-low": Settled("low"),
    "settled-high": Settled("high"),
    "openai": OpenAI(),
    "openai-minimal": OpenAI("minimal"),
    "amazon": Amazon(signed=False),
    "amazon-signed": Amazon(signed=True),
    "whisperlive": WhisperLive(),
    "whisperlivekit": WhisperLiveKit(),
}
