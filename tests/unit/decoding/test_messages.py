import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.audio.formats import AudioFormat
from transcribed.decoding import messages
from transcribed.decoding.messages import HEADER, MOST_READ, DecodeRequest, Failure, Kind, Reason
from transcribed.errors import EngineFailure
from transcribed.transcript import Track

names = st.none() | st.text(max_size=20)
formats = st.builds(
    AudioFormat,
    container=st.text(),
    codec=st.text(),
    sample_rate=st.integers(),
    channels=st.integers(),
    duration=st.none() | st.floats(0, 1e9),
    track=st.integers(1, 9),
    tracks=st.lists(
        st.builds(
            Track,
            number=st.integers(1, 9),
            codec=st.text(),
            sample_rate=st.integers(),
            channels=st.integers(),
            language=names,
            title=names,
            default=st.booleans(),
            decodable=st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
)


def _payload(message: bytes, kind: Kind) -> bytes:
    said, length = HEADER.unpack_from(message)
    assert Kind(said) is kind
    assert len(message) == HEADER.size + length
    return message[HEADER.size :]


@given(formats)
def test_a_format_comes_back(found: AudioFormat) -> None:
    assert messages.format_from_json(_payload(messages.pack_format(found), Kind.FORMAT)) == found


@given(st.integers(0, 4), st.integers(0, 50))
def test_samples_come_back(channels: int, length: int) -> None:
    shape = (channels, length) if channels else (length,)
    samples = np.random.default_rng(length).uniform(-1, 1, shape).astype(np.float32)
    found = messages.unpack_block(_payload(messages.pack_block(samples), Kind.BLOCK))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, samples)


def test_all_else_comes_back() -> None:
    job = DecodeRequest(probe=True, live=False, channels=2, track=None, size=7, memory=1, niceness=5)
    assert messages.unpack_request(_payload(messages.pack_request(job), Kind.REQUEST)) == job
    assert messages.unpack_read(_payload(messages.pack_read(1 << 40, 9), Kind.READ)) == (1 << 40, 9)
    assert messages.unpack_read(_payload(messages.pack_read(0, 1 << 31), Kind.READ)) == (0, MOST_READ)
    assert messages.unpack_end(_payload(messages.pack_end(("a", "b")), Kind.END)) == ("a", "b")
    packed = messages.pack_failure(Reason.MEMORY, "why")
    assert messages.unpack_failure(_payload(packed, Kind.FAILED)) == Failure(Reason.MEMORY, "why")
    assert messages.unpack_death(_payload(messages.pack_death(11), Kind.DIED)) == 11


@given(
    st.binary(max_size=40)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_what_is_no_message_is_the_decoders_failure_and_nothing_else(payload: bytes) -> None:
    """A process that a hostile file has taken over may send anything."""
    for read in (
        messages.format_from_json,
        messages.unpack_block,
        messages.unpack_end,
        messages.unpack_failure,
        messages.unpack_read,
        messages.unpack_death,
    ):
        with suppress(EngineFailure):
            read(payload)


@pytest.mark.parametrize("change", [{"codec": 1}, {"tracks": 1}, {"duration": "1"}, {"more": 1}])
def test_a_format_of_other_types_is_none(change: dict[str, object]) -> None:
    said = {
        "container": "wav",
        "codec": "pcm",
        "sample_rate": 1,
        "channels": 1,
        "duration": 1.0,
        "track": 1,
    }
    messages.format_from_json(json.dumps(said | {"tracks": []}).encode())
    with pytest.raises(EngineFailure):
        messages.format_from_json(json.dumps(said | {"tracks": []} | change).encode())
