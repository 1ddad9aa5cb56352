"""Print the messages of eventstream.txt as the encoder of one of Amazon's packages writes them, as JSON.

Run it with the Python of an environment that holds amazon-transcribe or smithy-aws-event-stream.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from uuid import UUID

try:
    from amazon_transcribe import eventstream as awslabs
except ImportError:
    from smithy_aws_event_stream import events as smithy

    NAME = "smithy-aws-event-stream"
    BYTE, SHORT, LONG = smithy.Byte, smithy.Short, smithy.Long

    def encode(headers: dict[str, object], payload: bytes) -> bytes:
        return smithy.EventMessage(headers=headers, payload=payload).encode()
else:
    NAME = "amazon-transcribe"
    BYTE, SHORT, LONG = awslabs.Int8HeaderValue, awslabs.Int16HeaderValue, awslabs.Int64HeaderValue
    encode: Callable[[dict[str, object], bytes], bytes] = awslabs.EventStreamMessageSerializer().serialize


def typed(kind: str, name: str, content: str) -> dict[str, object]:
    return {":message-type": kind, f":{kind}-type": name, ":content-type": content}


AUDIO = typed("event", "AudioEvent", "application/octet-stream")
SAMPLES = encode(AUDIO, bytes.fromhex("0000ff7f0080ffff"))
SIGNED = {":date": datetime(2026, 11, 25, 9, tzinfo=UTC), ":chunk-signature": bytes(range(32))}
EVERY_TYPE = {
    "t": True,
    "f": False,
    "byte": BYTE(-(2**7)),
    "short": SHORT(2**15 - 1),
    "int": -1,
    "long": LONG(-(2**63)),
    "bytes": b"\x00\xff",
    "text": "Größe",
    "empty": "",
    "time": datetime(1970, 1, 1, tzinfo=UTC) - timedelta(milliseconds=1),
    "uuid": UUID("123e4567-e89b-12d3-a456-426614174000"),
}
MESSAGES = {
    "nothing": encode({}, b""),
    "audio": SAMPLES,
    "the last audio": encode(AUDIO, b""),
    "signed audio": encode(SIGNED, SAMPLES),
    "a transcript": encode(
        typed("event", "TranscriptEvent", "application/json"), b'{"Transcript":{"Results":[]}}'
    ),
    "an exception": encode(
        typed("exception", "BadRequestException", "application/json"), b'{"Message":"No."}'
    ),
    "every type": encode(EVERY_TYPE, b"p"),
}

print(json.dumps({f"{NAME} {version(NAME)}": {name: m.hex() for name, m in MESSAGES.items()}}, indent=1))
