import json
from dataclasses import replace

import pytest

from transcribed.errors import BadRequest, LimitExceeded, NotFound, UnreadableAudio
from transcribed.transcript import Done, Notice, Segment, SpeechEnded, SpeechStarted, Word
from transcribed.wire import native
from transcribed.wire.audio import AudioChunk, EndOfAudio, Flush

SEGMENT = Segment(
    "3f", 0, 0.0, 1.15, "Größe, 你好.", final=True, language="en-US", words=(Word("Größe,"), Word("你好."))
)
DONE = Done(session_id="3f", audio_seconds=1.1494375, processing_seconds=0.25)


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("test.wav", "test.wav"),
        ("  test.wav\r\n", "test.wav"),
        ("my talk.mp3", "my talk.mp3"),
        ("你", "你"),
    ],
)
def test_a_message_is_the_name_of_a_recording(message: str, name: str) -> None:
    assert native.decode(message) == native.TranscribeFile(name)


@pytest.mark.parametrize("message", ["", " ", "\n", "\t \r\n", "\u3000"])
def test_white_space_is_goodbye(message: str) -> None:
    assert native.decode(message) is None


def test_a_binary_message_is_audio_and_an_empty_one_its_end() -> None:
    assert native.decode(b"test.wav") == AudioChunk(b"test.wav")
    assert native.decode(b"") == EndOfAudio()


def test_a_binary_message_that_is_too_large_is_refused() -> None:
    assert native.decode(bytes(native.MAX_AUDIO_BYTES)) is not None
    with pytest.raises(
        BadRequest, match=f"has {native.MAX_AUDIO_BYTES + 1} bytes.* Send the audio as it is"
    ):
        native.decode(bytes(native.MAX_AUDIO_BYTES + 1))


def test_a_message_that_is_no_name_is_refused_and_not_repeated() -> None:
    assert native.decode("n" * native.MAX_MESSAGE_CHARACTERS) is not None
    with pytest.raises(BadRequest, match=f"{native.MAX_MESSAGE_CHARACTERS + 1} characters") as refused:
        native.decode("n" * (native.MAX_MESSAGE_CHARACTERS + 1))
    assert len(refused.value.message) < 300


def test_text_is_the_words_alone() -> None:
    assert native.encode(SEGMENT, "text") == "Größe, 你好."
    assert native.encode(DONE, "text") is None


def test_a_segment_that_lost_its_words_is_no_text() -> None:
    assert native.encode(Segment("3f", 0, 0, 1, "", final=True, language="en-US"), "text") is None


def test_json_names_the_model_that_made_the_result_if_it_has_a_name() -> None:
    (named,) = json.loads(native.encode(replace(SEGMENT, model="base-en"), "json") or "")["Transcript"][
        "Results"
    ]
    (unnamed,) = json.loads(native.encode(SEGMENT, "json") or "")["Transcript"]["Results"]
    assert named == unnamed | {"Model": "base-en"}
    assert "Model" not in unnamed


def test_json_is_the_event_on_one_line() -> None:
    assert native.encode(SEGMENT, "json") == (
        '{"Transcript":{"Results":[{"ResultId":"3f-0","StartTime":0.0,"EndTime":1.15,"IsPartial":false,'
        '"Alternatives":[{"Transcript":"Größe, 你好.","Items":['
        '{"Type":"pronunciation","Content":"Größe"},{"Type":"punctuation","Content":","},'
        '{"Type":"pronunciation","Content":"你好"},{"Type":"punctuation","Content":"."}]}],'
        '"LanguageCode":"en-US"}]}}'
    )


def test_json_tells_the_end_of_a_recording() -> None:
    assert native.encode(DONE, "json") == (
        '{"Done":{"SessionId":"3f","AudioSeconds":1.149,"ProcessingSeconds":0.25}}'
    )


def test_a_notice_is_a_warning_and_in_text_nothing_that_could_have_been_said() -> None:
    notice = Notice("InternalFailureException", "Größe.")
    assert native.encode(notice, "json") == (
        '{"Warning":{"Code":"InternalFailureException","Message":"Größe."}}'
    )
    assert native.encode(notice, "text") is None


def test_errors_say_what_to_do() -> None:
    error = NotFound('There is no "x". Upload it.')
    assert native.encode_error(error, "text") == 'error: There is no "x". Upload it.'
    assert native.encode_error(error, "json") == (
        '{"Error":{"Code":"NotFoundException","Message":"There is no \\"x\\". Upload it."}}'
    )
    assert (
        json.loads(native.encode_error(UnreadableAudio("no"), "json"))["Error"]["Code"]
        == "BadRequestException"
    )


def test_a_limit_says_when_to_come_back() -> None:
    error = LimitExceeded("Enough.", retry_after=60)
    assert native.encode_error(error, "text") == "error: Enough."
    assert native.encode_error(error, "json") == (
        '{"Error":{"Code":"LimitExceededException","Message":"Enough.","RetryAfter":60}}'
    )


@pytest.mark.parametrize("message", ['{"Flush":{}}', ' { "Flush" : { } }\n'])
def test_a_flush_is_one_to_a_client_of_json_alone(message: str) -> None:
    assert native.decode(message, "json") == Flush()
    assert native.decode(message, "text") == native.TranscribeFile(message.strip())
    assert native.decode('{"Flush":{"a":1}}', "json") == native.TranscribeFile('{"Flush":{"a":1}}')


def test_speech_events_are_told_in_json_alone() -> None:
    started, ended = SpeechStarted(0.0961), SpeechEnded(1.5, channel=1)
    assert native.encode(started, "json") == '{"SpeechStarted":{"Time":0.096}}'
    assert native.encode(ended, "json") == '{"SpeechEnded":{"Time":1.5,"ChannelId":"ch_1"}}'
    assert native.encode(started, "text") is None
