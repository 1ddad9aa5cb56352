"""Client events of OpenAI's realtime transcription, and what they make of a session's configuration."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.audio.formats import Encoding, InputFormat
from transcribed.errors import InvalidField
from transcribed.options import Stability
from transcribed.wire.openai import openai_error
from transcribed.wire.openai_realtime import (
    MOST_UPDATE,
    Append,
    BadEvent,
    Clear,
    Commit,
    SessionConfig,
    Update,
    decode,
    speech_threshold,
)

DEFAULT = SessionConfig()


def _input(**fields: Any) -> dict[str, Any]:
    return {"type": "transcription", "audio": {"input": fields}}


def _vad(**fields: Any) -> dict[str, Any]:
    return {"type": "server_vad", **fields}


def test_by_default_the_engine_decides_when_speech_ends() -> None:
    assert DEFAULT.has_turns
    assert (DEFAULT.endpoint_silence, DEFAULT.speech_threshold) == (None, None)
    assert DEFAULT.input_format == InputFormat(Encoding.PCM, 24_000)
    assert DEFAULT.stability is Stability.LOW
    assert not DEFAULT.logprobs


FORMATS = [
    ({"type": "audio/pcm", "rate": 24000}, "pcm16", InputFormat(Encoding.PCM, 24_000)),
    ({"type": "audio/pcmu"}, "g711_ulaw", InputFormat(Encoding.MULAW, 8_000)),
    ({"type": "audio/pcma"}, "g711_alaw", InputFormat(Encoding.ALAW, 8_000)),
]


@pytest.mark.parametrize(("ga", "beta", "expected"), FORMATS)
def test_the_formats_of_both_shapes(ga: dict[str, Any], beta: str, expected: InputFormat) -> None:
    one, other = DEFAULT.updated(_input(format=ga)), DEFAULT.updated({"input_audio_format": beta})
    assert one == other
    assert one.input_format == expected
    assert one.shown("sess_1", None, beta=False)["audio"]["input"]["format"] == ga
    assert one.shown("sess_1", None, beta=True)["input_audio_format"] == beta
    assert one.updated(_input(format=FORMATS[0][0])).input_format == FORMATS[0][2]


def test_another_rate_may_be_said() -> None:
    config = DEFAULT.updated(_input(format={"type": "audio/pcm", "rate": 16000}))
    assert config.input_format == InputFormat(Encoding.PCM, 16_000)


def test_omitted_fields_keep_their_value_and_null_is_one() -> None:
    config = DEFAULT.updated(_input(turn_detection=_vad(silence_duration_ms=700, threshold=0.6)))
    config = config.updated(_input(transcription={"model": "whisper-1", "prompt": "Siobhan"}))
    config = config.updated(_input(transcription={"language": "en"}, turn_detection={"threshold": 0.5}))
    assert config.audio.input.transcription.model_dump(exclude_none=True) == {
        "model": "whisper-1",
        "prompt": "Siobhan",
        "language": "en",
    }
    assert (config.endpoint_silence, config.speech_threshold) == (0.7, 0.8)
    manual = config.updated(_input(turn_detection=None))
    assert not manual.has_turns
    assert manual.updated({"type": "transcription"}) == manual
    assert manual.updated({"turn_detection": {"type": "server_vad"}}).has_turns


def test_null_where_nothing_can_be_off_is_the_default() -> None:
    changed = DEFAULT.updated(_input(format={"type": "audio/pcma"}, transcription={"language": "en"}))
    assert changed.updated(_input(format=None, transcription=None)) == DEFAULT
    assert changed.updated({"audio": None}) == DEFAULT
    assert changed.updated({"input_audio_format": None, "input_audio_transcription": None}) == DEFAULT


def test_what_is_not_known_is_ignored() -> None:
    assert DEFAULT.updated({"tracing": "auto", "audio": {"output": {"voice": "x"}}}) == DEFAULT
    config = DEFAULT.updated(
        _input(transcription={"model": "any", "seed": 1}, turn_detection=_vad(create_response=False))
    )
    assert config.audio.input.transcription.model == "any"


@pytest.mark.parametrize(
    ("silence", "seconds"), [(500, 0.5), (0, 0.2), (100, 0.2), (10_000, 5), (700.0, 0.7)]
)
def test_the_silence_of_a_turn_is_within_what_engines_take(silence: float, seconds: float) -> None:
    assert (
        DEFAULT.updated({"turn_detection": _vad(silence_duration_ms=silence)}).endpoint_silence == seconds
    )


@pytest.mark.parametrize(("eagerness", "seconds"), [("low", 1.2), ("medium", 0.6), ("high", 0.3)])
def test_the_eagerness_of_a_turn_is_a_silence(eagerness: str, seconds: float) -> None:
    config = DEFAULT.updated(_input(turn_detection={"type": "semantic_vad", "eagerness": eagerness}))
    assert config.endpoint_silence == seconds
    assert config.speech_threshold is None
    assert config.updated(_input(turn_detection=_vad())).endpoint_silence is None


@pytest.mark.parametrize(
    ("delay", "stability"),
    [("minimal", Stability.HIGH), ("medium", Stability.MEDIUM), ("xhigh", Stability.OFF)],
)
def test_a_longer_delay_tells_words_later(delay: str, stability: Stability) -> None:
    assert DEFAULT.updated(_input(transcription={"delay": delay})).stability is stability


def test_the_threshold_means_the_engines_own_in_the_middle() -> None:
    assert [speech_threshold(each) for each in (0, 0.5, 1)] == [0.5, 0.8, pytest.approx(0.98)]


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_is_never_a_lower_one_here(one: float, other: float) -> None:
    assert (one <= other) == (speech_threshold(one) <= speech_threshold(other)) or one != other


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (_input(format={"type": "audio/opus"}), "session.audio.input.format"),
        (_input(format={"rate": 1}), "session.audio.input.format.rate"),
        (_input(format="pcm16"), "session.audio.input.format"),
        (_input(turn_detection={"type": "some_vad"}), "session.audio.input.turn_detection"),
        (_input(turn_detection=_vad(threshold=2)), "session.audio.input.turn_detection.threshold"),
        (
            _input(turn_detection=_vad(threshold=float("nan"))),
            "session.audio.input.turn_detection.threshold",
        ),
        (_input(transcription={"delay": "long"}), "session.audio.input.transcription.delay"),
        (_input(transcription="whisper-1"), "session.audio.input.transcription"),
        ({"audio": 1}, "session.audio"),
        ({"include": "logprobs"}, "session.include"),
        ({"input_audio_format": "mp3"}, "session.input_audio_format"),
        ({"input_audio_format": ["pcm16"]}, "session.input_audio_format"),
        ({"turn_detection": 5}, "session.audio.input.turn_detection"),
    ],
)
def test_a_field_that_is_not_valid_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        DEFAULT.updated(changes)
    assert refused.value.field == field
    assert field.removeprefix("session.") in refused.value.message


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda each: st.dictionaries(
            st.sampled_from(["audio", "input", "format", "type", "turn_detection", "rate", "include"]), each
        ),
    )
)
def test_whatever_changes_are_sent_they_are_made_or_refused(changes: Any) -> None:
    event = json.dumps({"type": "session.update", "session": changes})
    try:
        update = decode(event)
        assert isinstance(update, Update)
        config = DEFAULT.updated(update.changes)
    except (BadEvent, InvalidField):
        return
    assert type(config).model_validate_json(config.model_dump_json()) == config
    json.dumps(config.shown("sess_1", 1, beta=True))


def test_client_events() -> None:
    audio = base64.b64encode(b"\1\2\3\4").decode()
    assert decode(json.dumps({"type": "input_audio_buffer.append", "audio": audio})) == Append(b"\1\2\3\4")
    assert decode('{"type": "input_audio_buffer.commit", "event_id": "a"}') == Commit("a")
    assert decode('{"type": "input_audio_buffer.clear"}') == Clear(None)
    assert decode('{"type": "session.update", "session": {}, "event_id": 5}') == Update({})
    wrapped = '{"type": "transcription_session.update", "session": {"include": null}}'
    assert decode(wrapped) == Update({"include": None}, beta=True)
    bare = '{"type": "transcription_session.update", "event_id": "a", "include": null}'
    assert decode(bare) == Update({"include": None}, "a", beta=True)


@pytest.mark.parametrize(
    ("message", "code", "param", "says"),
    [
        (b"\0\0", None, None, "Send audio as JSON"),
        ("hello", None, None, "not valid JSON"),
        ("[" * 100_000, None, None, "not valid JSON"),
        ("[]", None, None, "not a JSON object"),
        ("{}", "missing_required_parameter", "type", "no type"),
        ('{"type": "response.create"}', "invalid_value", "type", "makes no responses"),
        ('{"type": ["x"]}', "invalid_value", "type", "not known here"),
        ('{"type": "input_audio_buffer.append"}', "missing_required_parameter", "audio", "Base64"),
        ('{"type": "input_audio_buffer.append", "audio": "?!"}', "invalid_value", "audio", "Base64"),
        ('{"type": "input_audio_buffer.append", "audio": "AAA"}', "invalid_value", "audio", "Base64"),
        ('{"type": "input_audio_buffer.append", "audio": 5}', "invalid_value", "audio", "Base64"),
        ('{"type": "input_audio_buffer.append", "audio": "é"}', "invalid_value", "audio", "Base64"),
        ('{"type": "session.update"}', "missing_required_parameter", "session", "no session"),
        ('{"type": "session.update", "session": []}', "invalid_value", "session", "not an object"),
        (
            '{"type": "session.update", "session": {"type": "realtime"}}',
            "invalid_value",
            "session.type",
            "transcription",
        ),
        (
            json.dumps({"type": "session.update", "session": {"include": ["x" * MOST_UPDATE]}}),
            "invalid_value",
            "session",
            "at most",
        ),
    ],
)
def test_an_event_that_is_not_valid_says_why(
    message: str | bytes, code: str | None, param: str | None, says: str
) -> None:
    with pytest.raises(BadEvent, match=says) as refused:
        decode(message)
    told = openai_error(refused.value.error)
    assert (told.type, told.code, told.param) == ("invalid_request_error", code, param)


def test_an_error_has_the_id_of_its_event() -> None:
    with pytest.raises(BadEvent) as refused:
        decode('{"type": "nothing", "event_id": "event_1"}')
    assert refused.value.event_id == "event_1"
