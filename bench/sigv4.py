"""The cost of signatures of messages and of requests.

    python bench/sigv4.py

A message contains an AudioEvent with 100 ms of 16 kHz audio. The best of many rounds counts, on one core.
"""

import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "clients"))
import signing

from running import machine
from transcribed.wire import sigv4
from transcribed.wire.eventstream import Decoder, encode
from transcribed.wire.sigv4 import Credentials, Request

PAYLOAD, COUNT, ROUNDS = 3200, 2000, 15
CREDENTIALS = Credentials("AKIDEXAMPLE", "secret")
NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
HEADERS = {
    ":message-type": "event",
    ":event-type": "AudioEvent",
    ":content-type": "application/octet-stream",
}
REQUEST = Request(
    "POST",
    "/stream-transcription",
    headers=(
        ("host", "localhost:8443"),
        ("content-type", "application/vnd.amazon.eventstream"),
        ("x-amz-content-sha256", sigv4.EVENTS_PAYLOAD),
        ("x-amzn-transcribe-language-code", "en-US"),
        ("x-amzn-transcribe-sample-rate", "16000"),
        ("x-amzn-transcribe-media-encoding", "pcm"),
    ),
)


def best(work: Callable[[], int]) -> float:
    """Return the best time in microseconds for one of the items that `work` counts."""
    fastest = 1e9
    for _ in range(ROUNDS):
        start = time.perf_counter()
        count = work()
        fastest = min(fastest, (time.perf_counter() - start) / count)
    return fastest * 1e6


def main() -> None:
    """Measure and print."""
    signed = signing.sign(REQUEST, CREDENTIALS, "eu-west-1", NOW, "token")
    presigned = signing.presign(REQUEST, CREDENTIALS, "eu-west-1", NOW, "token")
    secret_of = {CREDENTIALS.access_key: CREDENTIALS.secret}.get
    verified = sigv4.verify(signed, secret_of, NOW)
    events = [encode(HEADERS, random.Random(n).randbytes(PAYLOAD)) for n in range(COUNT)]

    def signer() -> signing.SigningChain:
        return signing.SigningChain(CREDENTIALS, "eu-west-1", verified.signature, NOW)

    chain = signer()
    stream = [chain.seal(event, NOW) for event in events]
    messages = list(Decoder().push(b"".join(stream)))

    def check() -> int:
        chain = sigv4.verify(signed, secret_of, NOW).chain()
        return sum(1 for message in messages if chain.open(message, NOW))

    def read() -> int:
        chain, outer, inner = sigv4.verify(signed, secret_of, NOW).chain(), Decoder(), Decoder()
        return sum(
            1
            for piece in stream
            for message in outer.push(piece)
            for _ in inner.push(chain.open(message, NOW))
        )

    def make() -> int:
        chain = signer()
        return sum(1 for event in events if chain.seal(event, NOW))

    def headers() -> int:
        return sum(1 for _ in range(COUNT) if sigv4.verify(signed, secret_of, NOW))

    def query() -> int:
        return sum(1 for _ in range(COUNT) if sigv4.verify(presigned, secret_of, NOW))

    print(machine())
    print(f"check a message's signature              {best(check):6.1f} µs")
    print(f"decode it, check it, decode what it wraps {best(read):5.1f} µs")
    print(f"sign and encode a message                {best(make):6.1f} µs")
    print(f"check a request's headers                {best(headers):6.1f} µs")
    print(f"check a request's query                  {best(query):6.1f} µs")


if __name__ == "__main__":
    main()
