"""The throughput of the event-stream codec and of those of botocore, amazon-transcribe and smithy, in MB/s.

    python bench/eventstream.py [--also PYTHON]

Messages with 3 KB of audio (94 ms at 16 kHz) arrive in pieces of 16 KB, like those from Granian. The codecs
that can be imported take turns, and the best round counts. `--also` repeats this with another Python, for
smithy-aws-event-stream, which needs Python 3.12:

    python3.12 -m venv bench/.peers/smithy && bench/.peers/smithy/bin/pip install smithy-aws-event-stream
"""

import argparse
import io
import os
import platform
import random
import subprocess
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from transcribed.wire.eventstream import Decoder, encode

PAYLOAD, PIECE, COUNT, ROUNDS = 3000, 16_384, 3000, 15
HEADERS = {
    ":message-type": "event",
    ":event-type": "AudioEvent",
    ":content-type": "application/octet-stream",
}
SOURCE = Path(__file__).resolve().parents[1] / "src"

Decode = Callable[[bytes], int]
Encode = Callable[[bytes], bytes]


def ours(stream: bytes) -> int:
    """Decode with this project's codec, and count the messages."""
    decoder = Decoder()
    return sum(
        1 for start in range(0, len(stream), PIECE) for _ in decoder.push(stream[start : start + PIECE])
    )


def buffered(buffer: Any) -> Decode:
    """Return a decoding function for a buffer with botocore's interface."""

    def decode(stream: bytes) -> int:
        decoder, count = buffer(), 0
        for start in range(0, len(stream), PIECE):
            decoder.add_data(stream[start : start + PIECE])
            count += sum(1 for _ in decoder)
        return count

    return decode


def codecs() -> dict[str, tuple[Decode, Encode | None]]:
    """Return a decoder and an encoder for each codec that this Python can import."""
    found: dict[str, tuple[Decode, Encode | None]] = {
        "transcribed": (ours, lambda payload: encode(HEADERS, payload))
    }
    try:
        from botocore.eventstream import EventStreamBuffer  # noqa: PLC0415 - where there is one

        found[f"botocore {version('botocore')}"] = (buffered(EventStreamBuffer), None)
    except ImportError:
        pass
    try:
        from amazon_transcribe import eventstream as awslabs  # noqa: PLC0415 - where there is one

        write = awslabs.EventStreamMessageSerializer().serialize
        found[f"amazon-transcribe {version('amazon-transcribe')}"] = (
            buffered(awslabs.EventStreamBuffer),
            lambda payload: write(HEADERS, payload),
        )
    except ImportError:
        pass
    try:
        from smithy_aws_event_stream.events import Event, EventMessage  # noqa: PLC0415 - where there is one

        def smithy(stream: bytes) -> int:
            source = io.BytesIO(stream)
            return sum(1 for _ in iter(lambda: Event.decode(source), None))

        found[f"smithy-aws-event-stream {version('smithy-aws-event-stream')}"] = (
            smithy,
            lambda payload: EventMessage(headers=HEADERS, payload=payload).encode(),
        )
    except (ImportError, PackageNotFoundError):
        pass
    return found


def measure() -> None:
    """Print two lines for each codec."""
    payloads = [random.Random(n).randbytes(PAYLOAD) for n in range(COUNT)]
    stream = b"".join(encode(HEADERS, payload) for payload in payloads)
    best: dict[tuple[str, str], float] = {}

    def timed(name: str, what: str, work: Callable[[], int]) -> None:
        start = time.perf_counter()
        count = work()
        taken = time.perf_counter() - start
        if count != COUNT:
            raise SystemExit(f"{name} {what} {count} of {COUNT} messages")
        best[name, what] = min(best.get((name, what), taken), taken)

    for _ in range(ROUNDS):
        for name, (decode, write) in codecs().items():
            timed(name, "decodes", partial(decode, stream))
            if write is not None:
                timed(name, "encodes", partial(written, write, payloads))
    for (name, what), taken in best.items():
        speed, each = len(stream) / taken / 1e6, taken / COUNT * 1e6
        print(f"{name:32} {what} {speed:6.0f} MB/s, {each:5.1f} µs a message")


def written(write: Encode, payloads: list[bytes]) -> int:
    """Encode and count the messages."""
    return sum(1 for payload in payloads if write(payload))


def main() -> None:
    """Measure with this Python and the other one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--also", type=Path, metavar="PYTHON")
    also = parser.parse_args().also
    print(f"Python {platform.python_version()}", flush=True)
    measure()
    if also is not None:
        subprocess.run([also, __file__], check=True, env=os.environ | {"PYTHONPATH": str(SOURCE)})


if __name__ == "__main__":
    main()
