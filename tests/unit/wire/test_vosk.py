import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.errors import BadRequest, LimitExceeded
from transcribed.transcript import Segment, Word
from transcribed.wire.audio import AudioChunk, EndOfAudio
from transcribed.wire.vosk import Config, decode, encode_error, result

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["config", "eof"]), inner),
)


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ('{ "config" : { "sample_rate" : 16000.000000 } }', Config(sample_rate=16_000)),
        ('{"config": {"phrase_list": ["a"], "words": 0}}', Config(words=False)),
        ('{"eof" : 1}', EndOfAudio()),
        (b"\0\0", AudioChunk(b"\0\0")),
        (b"", AudioChunk(b"")),
    ],
)
def test_messages_mean_what_they_mean_to_vosk(message: str | bytes, meaning: object) -> None:
    assert decode(message) == meaning


@given(st.text() | st.binary() | ANY_JSON.map(json.dumps))
def test_any_message_is_one_or_a_bad_request(message: str | bytes) -> None:
    with suppress(BadRequest):
        decode(message)


def test_words_without_times_are_in_the_text_alone() -> None:
    timed, other = Word("one", 0.25, 0.5, 0.75), Word("two")
    segment = Segment("s", 0, 0.25, 1.0, "one two", True, "en-US", (timed, other))
    word = {"conf": 0.75, "start": 0.25, "end": 0.5, "word": "one"}
    assert json.loads(result([segment], Config())) == {"result": [word], "text": "one two"}
    assert json.loads(result([], Config())) == {"text": ""}


def test_errors_say_what_to_do_and_limits_when_to_come_back() -> None:
    assert encode_error(BadRequest("Mend it.")) == '{"error": "Mend it."}'
    assert (
        encode_error(LimitExceeded("Enough.", retry_after=60)) == '{"error": "Enough.", "retry_after": 60}'
    )
