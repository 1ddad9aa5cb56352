"""Mutated streams through the codec, the chain of signatures and the reader of audio, in this process.

What must hold of each: only BadRequest and InvalidSignature come of it, with a message that is short and
can be sent; it takes less than SECONDS; how its bytes are cut makes no difference; and where each message
must be signed, and whoever has the key was honest, the audio that comes out is that which went in, up to
some point, and the end that is heard is the end that was said.
"""

import re
import signal
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

import psutil
from amazon_client import KEY, REGION, SECRET, Signer, framed
from mutations import BIG_SHARE, MAX_MESSAGE, pieces, stream

from transcribed.errors import BadRequest, InvalidSignature
from transcribed.options import Capabilities
from transcribed.wire import amazon
from transcribed.wire.amazon import AudioReader
from transcribed.wire.amazon_parameters import stream_request
from transcribed.wire.audio import EndOfAudio
from transcribed.wire.eventstream import Decoder, Message, decode
from transcribed.wire.sigv4 import Credentials, SignatureChain

SECONDS = 5.0
MOST_MEMORY = 3 * MAX_MESSAGE
"""Bytes that reading one stream may need, beside the stream itself."""

SAID = "the end was said"
DOCUMENTED = (
    "An event-stream message has at least",
    "The message says that it has",
    "The stream ends in the middle of a message",
    "The checksum of a message's lengths is wrong",
    "Send audio in pieces",
    "The headers of a message have",
    "which a message of",
    "The checksum of a message is wrong",
    "A header of a message has no name",
    "A message has two headers of the name",
    "The headers of a message end in the middle of one",
    "A header of a message is not UTF",
    "A header's value has",
    "A header of a message has the type",
    "A message is not signed",
    "before its stream began, or later than now",
    "The signature of a message does not match",
    "A message is of the type",
    "It may hold a second of audio",
)
"""What every error says that codec, signatures and reader have; enough streams reach them all."""

_NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
_FIRST_SIGNATURE = "0" * 64
_REQUEST = stream_request(
    {"language-code": "en-US", "sample-rate": "16000", "media-encoding": "pcm"},
    Capabilities("any", ("en-US",)),
)
_TRACED_SHARE = 0.02
_NUMBERS = re.compile(r"-?\d+|(?<!\w)'[^']*'|\(.*?\)")
# Transport, whether its messages are signed, whether the server has keys.
_WAYS = (
    ("http2", True, True),
    ("http2", True, True),
    ("http2", True, False),
    ("http2", False, False),
    ("websocket", True, True),
    ("websocket", False, True),
    ("websocket", False, False),
)


class Hang(BaseException):
    """A stream that is not done in time: no handler of errors may catch it."""


class Broken(Exception):
    """Something that must hold did not."""


@dataclass
class Figures:
    """Of all streams: how they ended, the longest time (s) and the most memory (bytes) that one took."""

    ends: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    most_memory: int = 0

    @property
    def streams(self) -> int:
        return self.ends.total()


@dataclass(frozen=True)
class _Outcome:
    audio: list[bytes]
    end: str


def run(count: int, seed: int) -> Figures:
    """Try so many. Raises Broken, or what was not caught, with the number of the stream in a note."""
    figures = Figures()
    for number in range(count):
        try:
            one(number, seed, figures)
        except BaseException as error:
            error.add_note(f"stream {number} of seed {seed}")
            raise
    return figures


def grown(count: int, times: int, seed: int) -> int:
    """Bytes by which this process has grown when the same streams have been read `times` times more."""
    made = []
    for number in range(count):
        rng = Random(f"{seed}-{number}")
        sent = stream(rng, [rng.randbytes(50)] * 3, Signer(_FIRST_SIGNATURE), _NOW)
        made.append(pieces(rng, b"".join(sent.messages)))

    def read_all() -> None:
        for sent in made:
            chain = SignatureChain(Credentials(KEY, SECRET), REGION, _FIRST_SIGNATURE, _NOW)
            _read(_body(sent), AudioReader(_REQUEST, chain, unsigned=False))

    read_all()
    before: int = psutil.Process().memory_info().rss
    for _ in range(times):
        read_all()
    return int(psutil.Process().memory_info().rss) - before


def one(number: int, seed: int, figures: Figures) -> None:
    """Try the stream of this number."""
    rng = Random(f"{seed}-{number}")
    transport, signed, guarded = rng.choice(_WAYS)
    chunks = [rng.randbytes(2 * rng.randint(1, 60)) for _ in range(rng.randint(1, 6))]
    signer = Signer(_FIRST_SIGNATURE) if signed else None
    made = stream(rng, chunks, signer, _NOW)
    sent = made.messages
    if transport == "http2":
        sent = pieces(rng, b"".join(sent))
        if rng.random() < BIG_SHARE:
            # The beginning of a message as long as one may be, and more than that.
            sent = [
                *sent[:-1],
                framed(b"", b"", rng.choice((MAX_MESSAGE, 2**31)))[:12],
                *[bytes(16_384)] * rng.randint(60, 400),
            ]

    def read(sent: Iterable[bytes]) -> _Outcome:
        chain = (
            SignatureChain(Credentials(KEY, SECRET), REGION, _FIRST_SIGNATURE, _NOW) if guarded else None
        )
        reader = AudioReader(_REQUEST, chain, unsigned=transport == "websocket" or chain is None)
        return _read(_body(sent) if transport == "http2" else _socket(sent), reader)

    traced = rng.random() < _TRACED_SHARE or len(sent) > 60
    began = time.perf_counter()
    with _at_most(SECONDS):
        if traced:
            outcome, memory = _traced(lambda: read(sent))
            figures.most_memory = max(figures.most_memory, memory)
            if memory > MOST_MEMORY:
                raise Broken(f"it took {memory} bytes")
        else:
            outcome = read(sent)
    if not traced:
        figures.slowest = max(figures.slowest, time.perf_counter() - began)
    figures.ends[_NUMBERS.sub("…", outcome.end)] += 1
    if transport == "http2":
        if read([b"".join(sent)]) != outcome:
            raise Broken("it ends otherwise when it comes in one piece")
        if guarded and made.honest:
            if outcome.audio != chunks[: len(outcome.audio)]:
                raise Broken("audio comes out that did not go in")
            if outcome.end == SAID and outcome.audio != chunks:
                raise Broken("an end comes out that nobody has said")


def _body(sent: Iterable[bytes]) -> Iterator[Message]:
    decoder = Decoder()
    for data in sent:
        yield from decoder.push(data)
    decoder.finish()


def _socket(sent: Iterable[bytes]) -> Iterator[Message]:
    return (decode(data) if data else amazon.EMPTY for data in sent)


def _read(messages: Iterator[Message], reader: AudioReader) -> _Outcome:
    audio: list[bytes] = []
    try:
        for message in messages:
            item = reader.read(message, _NOW)
            if isinstance(item, EndOfAudio):
                return _Outcome(audio, SAID)
            audio.append(item.data)
    except (BadRequest, InvalidSignature) as error:
        if not 0 < len(error.message) < 400:
            raise Broken(f"its message has {len(error.message)} characters") from error
        decode(amazon.exception_message(error))
        return _Outcome(audio, f"{type(error).__name__}: {error.message}")
    return _Outcome(audio, "it just ended")


def _traced(work: Callable[[], _Outcome]) -> tuple[_Outcome, int]:
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    def late(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
