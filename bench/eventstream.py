"""The event-stream codec, beside botocore's, amazon-transcribe's and smithy's: MB a second.

    python bench/eventstream.py [--also PYTHON]

Messages of 3 KB of audio (94 ms at 16 kHz) come in pieces of 16 KB, as Granian hands them over. Each
codec that can be imported takes its turn in each round; the best round counts. `--also` runs the same with
another Python, which has smithy-aws-event-stream, as that needs Python 3.12:

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
    """Count the messages."""
    decoder = Decoder()
    return sum(
        1 for start in range(0, len(stream), PIECE) for _ in decoder.push(stream[start : start + PIECE])
    )


def buffered(buffer: Any) -> Decode:
    """A decoder of botocore's kind."""

    def decode(stream: bytes) -> int:
        decoder, count = buffer(), 0
        for start in range(0, len(stream), PIECE):
            decoder.add_data(stream[start : start + PIECE])
            count += sum(1 for _ in decoder)
        return count

    return decode


def codecs() -> dict[str, tuple[Decode, Encode | None]]:
    """What this Python can import: a decoder and an encoder each."""
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
    """Encode them, and count them."""
    return sum(1 for payload in payloads if write(payload))


def main() -> None:
    """Measure here, and with the other Python."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--also", type=Path, metavar="PYTHON")
    also = parser.parse_args().also
    print(f"Python {platform.python_version()}", flush=True)
    measure()
    if also is not None:
        subprocess.run([also, __file__], check=True, env=os.environ | {"PYTHONPATH": str(SOURCE)})


if __name__ == "__main__":
    main()
