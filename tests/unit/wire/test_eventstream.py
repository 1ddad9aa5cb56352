"""Our codec, beside the bytes of tests/vectors, botocore's decoder and amazon-transcribe's codec."""

import json
import struct
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from pathlib import Path
from uuid import UUID
from zlib import crc32

import pytest
from amazon_transcribe import eventstream as awslabs
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from transcribed.errors import MalformedMessage
from transcribed.wire import eventstream
from transcribed.wire.eventstream import Byte, Decoder, HeaderValue, Long, Message, Short, Timestamp

VECTORS = Path(__file__).parents[2] / "vectors"


@dataclass
class Vector:
    """A message of eventstream.txt, and how it is refused."""

    content: bytes = b""
    refused: str = ""


def read_vectors() -> dict[str, Vector]:
    vectors: dict[str, Vector] = {}
    for line in (VECTORS / "eventstream.txt").read_text().splitlines():
        if line.startswith("== "):
            vector = vectors[line[3:]] = Vector()
        elif line.startswith("! "):
            vector.refused = line[2:]
        elif line and not line.startswith("#"):
            vector.content += bytes.fromhex(line.partition("|")[0])
    return vectors


ALL = read_vectors()
BROKEN = {name: vector for name, vector in ALL.items() if vector.refused}

AUDIO: dict[str, HeaderValue] = {
    ":message-type": "event",
    ":event-type": "AudioEvent",
    ":content-type": "application/octet-stream",
}
SOUND = {
    "nothing": Message({}, b""),
    "audio": Message(AUDIO, struct.pack("<4h", 0, 32767, -32768, -1)),
    "the last audio": Message(AUDIO, b""),
    "signed audio": Message(
        {
            ":date": Timestamp(datetime(2026, 11, 25, 9, tzinfo=UTC).timestamp() * 1000),
            ":chunk-signature": bytes(range(32)),
        },
        ALL["audio"].content,
    ),
    "a transcript": Message(
        {":message-type": "event", ":event-type": "TranscriptEvent", ":content-type": "application/json"},
        b'{"Transcript":{"Results":[]}}',
    ),
    "an exception": Message(
        {
            ":message-type": "exception",
            ":exception-type": "BadRequestException",
            ":content-type": "application/json",
        },
        b'{"Message":"No."}',
    ),
    "every type": Message(
        {
            "t": True,
            "f": False,
            "byte": Byte(-(2**7)),
            "short": Short(2**15 - 1),
            "int": -1,
            "long": Long(-(2**63)),
            "bytes": b"\x00\xff",
            "text": "Größe",
            "empty": "",
            "time": Timestamp(-1),
            "uuid": UUID("123e4567-e89b-12d3-a456-426614174000"),
        },
        b"p",
    ),
}


def integers(kind: type[int], bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).map(kind)


names = st.text(min_size=1, max_size=60).filter(lambda name: len(name.encode()) <= 255)
untimed = st.one_of(
    st.booleans(),
    integers(Byte, 8),
    integers(Short, 16),
    integers(int, 32),
    integers(Long, 64),
    st.binary(max_size=200),
    st.text(max_size=200),
    st.uuids(),
)
payloads = st.binary(max_size=300)


def with_headers(values: st.SearchStrategy[HeaderValue]) -> st.SearchStrategy[Message]:
    return st.builds(Message, st.dictionaries(names, values, max_size=6), payloads)


messages = with_headers(untimed | integers(Timestamp, 64))


def typed(message: Message) -> tuple[list[tuple[str, type, HeaderValue]], bytes]:
    """A message as something that tells 1, True and Short(1) apart, and minds the order."""
    return [(name, type(value), value) for name, value in message.headers.items()], message.payload


def framed(headers: bytes, payload: bytes = b"") -> bytes:
    """A message around a block of headers, whatever that is, with right lengths and checksums."""
    lengths = struct.pack(">II", len(headers) + len(payload) + 16, len(headers))
    message = lengths + struct.pack(">I", crc32(lengths)) + headers + payload
    return message + struct.pack(">I", crc32(message))


def cut(content: bytes, places: list[int]) -> Iterator[bytes]:
    bounds = sorted({place % (len(content) + 1) for place in places} | {0, len(content)})
    return (content[start:end] for start, end in pairwise(bounds))


def outcome(content: bytes, places: list[int]) -> tuple[list[Message], str | None]:
    """The messages of a stream that comes in such pieces, and the error at its end."""
    decoder, found = Decoder(), []
    try:
        for piece in cut(content, places):
            found.extend(decoder.push(piece))
        decoder.finish()
    except MalformedMessage as error:
        return found, error.message
    return found, None


def test_every_vector_is_tried() -> None:
    assert ALL.keys() == SOUND.keys() | BROKEN.keys()


@pytest.mark.parametrize("name", SOUND)
def test_the_bytes_of_a_vector_are_its_message(name: str) -> None:
    content = ALL[name].content
    assert typed(eventstream.decode(content)) == typed(SOUND[name])
    assert eventstream.encode(*SOUND[name]) == content


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_vector_is_refused(name: str) -> None:
    found, error = outcome(ALL["audio"].content + BROKEN[name].content, [])
    assert found == [SOUND["audio"]]
    assert (error or "").startswith(BROKEN[name].refused)


@pytest.mark.parametrize(
    "package", json.loads((VECTORS / "recorded" / "encodings.json").read_text()).items()
)
def test_amazons_packages_write_the_same_bytes(package: tuple[str, dict[str, str]]) -> None:
    _, encodings = package
    assert {name: bytes.fromhex(content) for name, content in encodings.items()} == {
        name: ALL[name].content for name in SOUND
    }


@given(messages)
def test_what_is_encoded_is_decoded(message: Message) -> None:
    assert typed(eventstream.decode(eventstream.encode(*message))) == typed(message)


@given(messages)
def test_botocore_reads_what_we_write(message: Message) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(eventstream.encode(*message))
    read = buffer.next()
    headers = {name: v.bytes if isinstance(v, UUID) else v for name, v in message.headers.items()}
    assert (read.headers, read.payload) == (headers, message.payload)


_AWSLABS = {Byte: awslabs.Int8HeaderValue, Short: awslabs.Int16HeaderValue, Long: awslabs.Int64HeaderValue}


def for_awslabs(value: HeaderValue) -> object:
    if isinstance(value, Timestamp):
        return datetime.fromtimestamp(value // 1000, UTC)
    kind = _AWSLABS.get(type(value))
    return value if kind is None else kind(value)


# It takes dates, through floating point; whole seconds survive that.
@given(with_headers(untimed | st.integers(0, 2**31).map(lambda second: Timestamp(second * 1000))))
def test_amazon_transcribe_writes_the_same(message: Message) -> None:
    headers = {name: for_awslabs(value) for name, value in message.headers.items()}
    written = awslabs.EventStreamMessageSerializer().serialize(headers, message.payload)
    assert eventstream.encode(*message) == written


@given(st.lists(messages, max_size=5), st.lists(st.integers(0, 5000), max_size=30))
def test_a_stream_may_be_cut_anywhere(sent: list[Message], places: list[int]) -> None:
    content = b"".join(eventstream.encode(*message) for message in sent)
    found, error = outcome(content, places)
    assert error is None
    assert list(map(typed, found)) == list(map(typed, sent))


def test_a_stream_may_come_byte_by_byte() -> None:
    content = b"".join(ALL[name].content for name in SOUND)
    assert outcome(content, list(range(len(content)))) == (list(SOUND.values()), None)


@given(
    st.lists(messages, min_size=1, max_size=4),
    st.data(),
    st.lists(st.integers(0, 5000), max_size=10),
)
def test_a_stream_that_was_changed_gives_what_is_in_front_of_the_change_and_an_error(
    sent: list[Message], data: st.DataObject, places: list[int]
) -> None:
    encoded = [eventstream.encode(*message) for message in sent]
    content = b"".join(encoded)
    at = data.draw(st.integers(0, len(content) - 1))
    replaced = data.draw(st.integers(0, 3))
    instead = data.draw(st.binary(max_size=3))
    changed = content[:at] + instead + content[at + replaced :]
    found, error = outcome(changed, places)
    assert (found, error) == outcome(changed, []), "it must not matter how it is cut"
    if changed != content:
        assert error is not None
        untouched = sum(end <= at for end in accumulate(map(len, encoded)))
        assert list(map(typed, found[:untouched])) == list(map(typed, sent[:untouched]))


@given(messages, st.data())
def test_no_changed_byte_goes_unnoticed(message: Message, data: st.DataObject) -> None:
    content = bytearray(eventstream.encode(*message))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MalformedMessage):
        eventstream.decode(bytes(content))


@given(st.binary(max_size=100), st.binary(max_size=20))
def test_any_headers_are_read_or_refused(headers: bytes, payload: bytes) -> None:
    content = framed(headers, payload)
    try:
        message = eventstream.decode(content)
    except MalformedMessage:
        return
    assert eventstream.encode(*message) == content
    buffer = EventStreamBuffer()
    buffer.add_data(content)
    assert buffer.next().payload == message.payload


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=10))
def test_any_bytes_are_refused_or_not_whole(content: bytes, places: list[int]) -> None:
    found, error = outcome(content, places)
    assert found == []
    assert (error is None) == (content == b"")


def test_one_message_must_be_one() -> None:
    content = ALL["audio"].content
    with pytest.raises(MalformedMessage, match="says that it has 112 bytes, and has 113"):
        eventstream.decode(content + b"\0")
    with pytest.raises(MalformedMessage, match="says that it has 112 bytes, and has 111"):
        eventstream.decode(content[:-1])
    with pytest.raises(MalformedMessage, match="at least 16 bytes, not 15"):
        eventstream.decode(content[:15])
    with pytest.raises(MalformedMessage, match="at least 16 bytes, not 0"):
        eventstream.decode(b"")


def test_a_stream_that_ends_inside_a_message_is_refused() -> None:
    decoder = Decoder()
    assert list(decoder.push(ALL["audio"].content + b"\0")) == [SOUND["audio"]]
    with pytest.raises(MalformedMessage, match="in the middle of a message"):
        decoder.finish()


def test_what_was_not_taken_comes_with_the_next_push() -> None:
    decoder = Decoder()
    assert next(decoder.push(ALL["audio"].content * 3)) == SOUND["audio"]
    decoder.push(ALL["nothing"].content)
    assert list(decoder.push(b"")) == [SOUND["audio"], SOUND["audio"], SOUND["nothing"]]
    decoder.finish()


def test_after_an_error_nothing_is_read_any_more() -> None:
    decoder = Decoder()
    broken = BROKEN["lengths changed on the way"]
    for content in (broken.content, ALL["audio"].content):
        with pytest.raises(MalformedMessage, match=broken.refused):
            list(decoder.push(content))
    with pytest.raises(MalformedMessage, match=broken.refused):
        decoder.finish()


def test_limits_are_those_of_the_whole_message() -> None:
    largest = eventstream.MAX_MESSAGE_BYTES - 16
    assert len(eventstream.decode(eventstream.encode({}, bytes(largest))).payload) == largest
    with pytest.raises(ValueError, match=f"{eventstream.MAX_MESSAGE_BYTES} are the limit"):
        eventstream.encode({}, bytes(largest + 1))
    with pytest.raises(MalformedMessage, match="may have 1048576"):
        eventstream.decode(framed(b"", bytes(largest + 1)))


def test_limits_are_those_of_a_value() -> None:
    longest = eventstream.MAX_VALUE_BYTES
    for value in (bytes(longest), "a" * longest):
        message = Message({"a": value}, b"")
        assert eventstream.decode(eventstream.encode(*message)) == message
    for value in (bytes(longest + 1), "ä" * (longest // 2 + 1)):
        with pytest.raises(ValueError, match=f"{longest} are the limit"):
            eventstream.encode({"a": value})
    with pytest.raises(MalformedMessage, match="has 32768 bytes, and may have 32767"):
        eventstream.decode(framed(b"\x01a\x06" + struct.pack(">H", longest + 1) + bytes(longest + 1)))


def test_limits_are_those_of_the_headers() -> None:
    value = bytes(eventstream.MAX_VALUE_BYTES)
    assert eventstream.encode({str(n): value for n in range(3)})
    with pytest.raises(ValueError, match="headers of"):
        eventstream.encode({str(n): value for n in range(4)})


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"": True}, "a name of 0 bytes"),
        ({"n" * 256: True}, "a name of 256 bytes"),
        ({"a": Byte(128)}, "128 does not fit"),
        ({"a": 2**31}, "2147483648 does not fit"),
        ({"a": Long(2**63)}, "does not fit"),
    ],
)
def test_what_has_no_encoding_is_not_encoded(headers: dict[str, HeaderValue], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        eventstream.encode(headers)


def test_memory_is_bounded_by_one_message() -> None:
    largest = eventstream.encode({}, bytes(eventstream.MAX_MESSAGE_BYTES - 16))
    pieces = [largest[start : start + 65536] for start in range(0, len(largest), 65536)]
    decoder = Decoder()
    tracemalloc.start()
    try:
        count = sum(1 for piece in pieces * 40 for _ in decoder.push(piece))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 40
    assert peak < 5 * eventstream.MAX_MESSAGE_BYTES


def test_a_broken_stream_holds_nothing() -> None:
    decoder = Decoder()
    tracemalloc.start()
    try:
        for _ in range(100):
            with pytest.raises(MalformedMessage):
                list(decoder.push(bytes(65536)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20
