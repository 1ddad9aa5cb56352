"""Streams as Amazon's clients send them, and all that can be wrong with them.

What is wrong is put in either by a client that has the key, so that signatures and checksums are right and
the layers below them are reached, or on the way, by somebody who has not. A stream is made of a random
number generator alone: the same seed makes the same stream.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from amazon_client import Signer, audio_event, framed, header

MAX_MESSAGE = 1024 * 1024
BIG_SHARE = 0.002
_INNER = {
    ":message-type": "event",
    ":event-type": "AudioEvent",
    ":content-type": "application/octet-stream",
}
_WORDS = (
    b"",
    b"\x00",
    b"\xff\xff",
    b"AudioEvent",
    b":date",
    b":chunk-signature",
    b":message-type",
    b"event",
)
_LENGTHS = (0, 1, 15, 16, 17, 128 * 1024, 128 * 1024 + 1, MAX_MESSAGE, MAX_MESSAGE + 1, 2**31, 2**32 - 1)


@dataclass(frozen=True, slots=True)
class Stream:
    """The messages as they are sent; not `honest` where whoever has the key has sent something wrong."""

    messages: list[bytes]
    honest: bool


def stream(rng: Random, chunks: Sequence[bytes], signer: Signer | None, moment: datetime) -> Stream:
    """A stream of these chunks of audio, mutated; in one of eight it is as it should be."""
    plan = rng.choices(("none", "inside", "outside", "both"), (1, 3, 3, 1))[0]
    inners = [_event(rng, chunk) for chunk in chunks]
    if ending := rng.choice(([], [b""], [audio_event(b"")])):
        inners += ending
    guilty = rng.randrange(len(inners)) if plan in ("inside", "both") else -1
    messages = []
    for number, inner in enumerate(inners):
        wrong = number == guilty or (plan == "both" and rng.random() < 0.2)
        if signer is None:
            messages.append(warped(rng, inner) if wrong else inner)
        elif wrong:
            messages.append(rng.choice(_INSIDE)(rng, inner, signer, moment))
        else:
            messages.append(signer.signed(inner, moment))
    if plan in ("outside", "both"):
        for _ in range(rng.randint(1, 3)):
            messages = rng.choice(_OUTSIDE)(rng, messages)
    return Stream(messages, honest=plan in ("none", "outside"))


def pieces(rng: Random, data: bytes) -> list[bytes]:
    """The bytes cut anywhere, also to single ones; some pieces are empty."""
    count = rng.choice((0, 1, 3, 10, min(len(data), 200)))
    cuts = sorted(rng.randint(0, len(data)) for _ in range(count))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def warped(rng: Random, message: bytes) -> bytes:
    """A message in which one thing is wrong; mostly its checksums are right."""
    if len(message) < 16:
        return rng.randbytes(rng.randint(0, 40))
    return rng.choice(_WARPS)(rng, message)


# --- One message


def _event(rng: Random, chunk: bytes) -> bytes:
    if rng.random() < 0.8:
        return audio_event(chunk)
    block = [header(name, value) for name, value in _INNER.items()]
    if rng.random() < 0.5:
        block.append(_any_header(rng))
    rng.shuffle(block)
    return framed(b"".join(block), chunk)


def _any_header(rng: Random) -> bytes:
    kind, size = rng.choice(
        ((0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (6, -1), (7, -1), (8, 8), (9, 16))
    )
    name = f"x-{rng.randrange(1000)}".encode()
    if size < 0:
        text = "".join(rng.choices("aé\u4f60 \x00", k=rng.randint(0, 300))).encode()
        return bytes([len(name)]) + name + bytes([kind]) + struct.pack(">H", len(text)) + text
    return bytes([len(name)]) + name + bytes([kind]) + rng.randbytes(size)


def _taken_apart(message: bytes) -> tuple[bytearray, bytes]:
    """The encoded headers and the payload, as far as the lengths are believable."""
    headers = min(struct.unpack_from(">I", message, 4)[0], len(message) - 16)
    return bytearray(message[12 : 12 + headers]), message[12 + headers : -4]


def _flip(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _flip_anywhere(rng: Random, message: bytes) -> bytes:
    return _flip(rng, message)


def _flip_headers(rng: Random, message: bytes) -> bytes:
    block, payload = _taken_apart(message)
    return framed(_flip(rng, block), payload) if block else _flip(rng, message)


def _flip_payload(rng: Random, message: bytes) -> bytes:
    block, payload = _taken_apart(message)
    return framed(bytes(block), _flip(rng, payload) if payload else rng.randbytes(rng.randint(1, 50)))


def _change_type(rng: Random, message: bytes) -> bytes:
    block, payload = _taken_apart(message)
    if block and 1 + block[0] < len(block):
        block[1 + block[0]] = rng.choice((*range(12), 255))
    return framed(block, payload)


def _change_size(rng: Random, message: bytes) -> bytes:
    """Of a header's name, or of its value."""
    block, payload = _taken_apart(message)
    if block:
        at = rng.choice((0, min(2 + block[0], len(block) - 1), min(3 + block[0], len(block) - 1)))
        block[at] = rng.randrange(256)
    return framed(block, payload)


def _cut_headers(rng: Random, message: bytes) -> bytes:
    block, payload = _taken_apart(message)
    return framed(block[: rng.randint(0, len(block))], payload)


def _more_headers(rng: Random, message: bytes) -> bytes:
    block, payload = _taken_apart(message)
    more = rng.choice((block, rng.randbytes(rng.randint(1, 60)), rng.choice(_WORDS), _any_header(rng)))
    return framed(block + more, payload)


def _huge_headers(rng: Random, message: bytes) -> bytes:
    block, payload = _taken_apart(message)
    size = rng.choice((32 * 1024 - 1, 32 * 1024, 65_535))
    value = b"\x01b\x06" + struct.pack(">H", size) + bytes(size)
    return framed(block + value * rng.choice((1, 1, 1, 5)), payload)


def _lie(rng: Random, message: bytes) -> bytes:
    """About a length, near the truth or far from it."""
    block, payload = _taken_apart(message)
    total, headers = len(message), len(block)
    if rng.random() < 0.5:
        total = rng.choice((*_LENGTHS, max(0, total + rng.randint(-20, 20))))
    else:
        headers = rng.choice((*_LENGTHS, max(0, headers + rng.randint(-20, 20))))
    return framed(block, payload, total, headers)


def _cut(rng: Random, message: bytes) -> bytes:
    return message[: rng.randint(0, len(message) - 1)]


def _other_payload(rng: Random, message: bytes) -> bytes:
    block, payload = _taken_apart(message)
    sizes = (0, 1, 31_999, 32_000, 32_001, 32_002, 64_002)
    return framed(block, rng.choice((rng.randbytes(rng.choice(sizes)), payload * 2, message, bytes(block))))


def _other_event(rng: Random, message: bytes) -> bytes:
    _, payload = _taken_apart(message)
    named = dict(_INNER)
    named[rng.choice(list(named))] = rng.choice(("exception", "TranscriptEvent", "", "a" * 20_000))
    if rng.random() < 0.5:
        del named[rng.choice(list(named))]
    return framed(b"".join(header(name, value) for name, value in named.items()), payload)


def _garbage(rng: Random, message: bytes) -> bytes:
    return rng.randbytes(rng.choice((1, 12, 16, len(message))))


_WARPS: tuple[Callable[[Random, bytes], bytes], ...] = (
    _flip_anywhere,
    _flip_headers,
    _flip_payload,
    _change_type,
    _change_size,
    _cut_headers,
    _more_headers,
    _huge_headers,
    _lie,
    _cut,
    _other_payload,
    _other_event,
    _garbage,
)


# --- By a client that has the key: what it signs, and how


def _warp_inside(rng: Random, inner: bytes, signer: Signer, moment: datetime) -> bytes:
    return signer.signed(warped(rng, inner), moment)


def _signed_twice(rng: Random, inner: bytes, signer: Signer, moment: datetime) -> bytes:
    return signer.signed(signer.signed(inner, moment), moment)


def _another_time(rng: Random, inner: bytes, signer: Signer, moment: datetime) -> bytes:
    if rng.random() < 0.5:
        return signer.signed(
            inner, moment + timedelta(seconds=rng.choice((-301, -299, -1, 1, 299, 301, 10**8)))
        )
    date = header(":date", rng.choice((0, -1, 2**63 - 1, -(2**63), rng.randint(-(2**63), 2**63 - 1))))
    return framed(date + header(":chunk-signature", rng.randbytes(32)), inner)


def _more_signed_headers(rng: Random, inner: bytes, signer: Signer, moment: datetime) -> bytes:
    milliseconds = round(moment.timestamp() * 1000)
    headers = [header(":date", milliseconds), *(_any_header(rng) for _ in range(rng.randint(1, 3)))]
    rng.shuffle(headers)
    signature = signer.signature(milliseconds, b"".join(headers), inner)
    headers.insert(rng.randint(0, len(headers)), header(":chunk-signature", signature))
    return framed(b"".join(headers), inner)


def _badly_signed(rng: Random, inner: bytes, signer: Signer, moment: datetime) -> bytes:
    date = header(":date", round(moment.timestamp() * 1000))
    signature = rng.choice((b"", rng.randbytes(32), rng.randbytes(31), "a" * 64, 7, rng.randbytes(30_000)))
    signed = header(":chunk-signature", signature)
    return framed(rng.choice((date, signed, date + signed, b"", date + date + signed)), inner)


def _not_signed(rng: Random, inner: bytes, signer: Signer, moment: datetime) -> bytes:
    return inner


_INSIDE: tuple[Callable[[Random, bytes, Signer, datetime], bytes], ...] = (
    _warp_inside,
    _warp_inside,
    _warp_inside,
    _signed_twice,
    _another_time,
    _more_signed_headers,
    _badly_signed,
    _not_signed,
)


# --- On the way


def _double(rng: Random, messages: list[bytes]) -> list[bytes]:
    at = rng.randrange(len(messages) + 1)
    return messages[:at] + messages[at - 1 : at] + messages[at:]


def _remove(rng: Random, messages: list[bytes]) -> list[bytes]:
    at = rng.randrange(len(messages) + 1)
    return messages[:at] + messages[at + 1 :]


def _swap(rng: Random, messages: list[bytes]) -> list[bytes]:
    shuffled = list(messages)
    rng.shuffle(shuffled)
    return shuffled


def _change(rng: Random, messages: list[bytes]) -> list[bytes]:
    if not messages:
        return messages
    at = rng.randrange(len(messages))
    return [*messages[:at], warped(rng, messages[at]), *messages[at + 1 :]]


def _insert(rng: Random, messages: list[bytes]) -> list[bytes]:
    stranger = Signer("1" * 64, "the-secret-of-somebody-else")
    foreign = stranger.signed(audio_event(b"foreign!"), datetime(2026, 11, 25, 9, tzinfo=UTC))
    at = rng.randint(0, len(messages))
    return [*messages[:at], rng.choice((foreign, rng.randbytes(rng.randint(1, 100)))), *messages[at:]]


def _join(rng: Random, messages: list[bytes]) -> list[bytes]:
    """Two messages as one, or one as two: a WebSocket carries each by itself."""
    joined = b"".join(messages[:2])
    cut = rng.randint(0, len(joined))
    return [rng.choice((joined, joined[:cut])), *messages[2:]]


_OUTSIDE: tuple[Callable[[Random, list[bytes]], list[bytes]], ...] = (
    _double,
    _remove,
    _swap,
    _change,
    _change,
    _change,
    _insert,
    _join,
)
