"""Audio in and transcripts out, as amazon-transcribe reads and writes them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from amazon_transcribe import exceptions as awslabs_exceptions
from amazon_transcribe.deserialize import TranscribeStreamingEventParser
from amazon_transcribe.eventstream import EventStreamBuffer
from botocore.eventstream import EventStreamBuffer as BotocoreBuffer
from signing import SigningChain

from transcribed import errors
from transcribed.audio.formats import Encoding
from transcribed.errors import BadRequest, InvalidSignature, MalformedMessage, TranscribedError
from transcribed.options import Capabilities
from transcribed.transcript import Segment, Word
from transcribed.wire import amazon, sigv4
from transcribed.wire.amazon import AudioReader
from transcribed.wire.amazon_parameters import StreamRequest, stream_request
from transcribed.wire.audio import AudioChunk, EndOfAudio
from transcribed.wire.eventstream import HeaderValue, Message, decode, encode

MODEL = json.loads((Path(__file__).parents[2] / "vectors" / "recorded" / "model.json").read_text())
NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)
REQUEST = stream_request(
    {"language-code": "en-US", "sample-rate": "8000", "media-encoding": "pcm"},
    Capabilities("any", ("en-US",)),
)
AUDIO: dict[str, HeaderValue] = {":message-type": "event", ":event-type": "AudioEvent"}
SEGMENT = Segment(
    "3f",
    0,
    0.5,
    1.15,
    "Größe, 你好.",
    final=True,
    language="en-US",
    words=(Word("Größe,", 0.5, 0.8, 0.9, stable=True), Word("你好.")),
)


def chain() -> SigningChain:
    return SigningChain(sigv4.Credentials("key", "secret"), "eu-west-1", "0" * 64, NOW)


def event(audio: bytes) -> bytes:
    return encode(AUDIO, audio)


def reader(chain: sigv4.SignatureChain | None = None, *, unsigned: bool = False) -> AudioReader:
    return AudioReader(REQUEST, chain, unsigned=unsigned)


def test_signed_messages_are_checked_and_unwrapped() -> None:
    theirs, ours = chain(), reader(chain())
    assert [
        ours.read(decode(theirs.seal(wrapped, NOW)), NOW) for wrapped in (event(b"ab"), event(b"cd"), b"")
    ] == [AudioChunk(b"ab"), AudioChunk(b"cd"), EndOfAudio()]
    with pytest.raises(InvalidSignature, match="does not match"):
        ours.read(decode(chain().seal(event(b"ab"), NOW)), NOW)


def test_an_event_without_audio_is_the_end_too() -> None:
    assert reader(chain()).read(decode(chain().seal(event(b""), NOW)), NOW) == EndOfAudio()
    assert reader(unsigned=True).read(decode(event(b"")), NOW) == EndOfAudio()


def test_nothing_is_the_end_where_messages_may_be_unsigned() -> None:
    assert reader(unsigned=True).read(amazon.EMPTY, NOW) == EndOfAudio()
    assert reader(chain(), unsigned=True).read(amazon.EMPTY, NOW) == EndOfAudio()
    with pytest.raises(InvalidSignature, match="A message is not signed"):
        reader(chain()).read(amazon.EMPTY, NOW)


def test_unsigned_messages_come_where_they_may() -> None:
    assert reader(chain(), unsigned=True).read(decode(event(b"ab")), NOW) == AudioChunk(b"ab")
    with pytest.raises(InvalidSignature, match="A message is not signed"):
        reader(chain()).read(decode(event(b"ab")), NOW)


def test_signatures_count_where_unsigned_messages_may_come() -> None:
    sealed = decode(chain().seal(event(b"ab"), NOW))
    assert reader(chain(), unsigned=True).read(sealed, NOW) == AudioChunk(b"ab")
    with pytest.raises(InvalidSignature, match="does not match"):
        reader(chain(), unsigned=True).read(Message(sealed.headers, event(b"xy")), NOW)


@pytest.mark.parametrize("unsigned", [False, True])
def test_without_keys_nothing_is_checked(unsigned: bool) -> None:
    sealed = decode(chain().seal(event(b"ab"), NOW))
    forged = Message(sealed.headers, event(b"xy"))
    assert reader(unsigned=unsigned).read(forged, NOW) == AudioChunk(b"xy")


@pytest.mark.parametrize(
    "headers",
    [
        {"a": True},
        {":message-type": "event", ":event-type": "ConfigurationEvent"},
        {":message-type": "exception", ":exception-type": "AudioEvent"},
        {":message-type": "event", ":event-type": b"AudioEvent"},
        {":message-type": "event", ":event-type": "a" * 10_000},
    ],
)
def test_what_is_no_audio_event_is_refused(headers: dict[str, HeaderValue]) -> None:
    with pytest.raises(BadRequest, match=r"Send AudioEvents: \('event', 'AudioEvent'\)") as refused:
        reader(unsigned=True).read(Message(headers, b"ab"), NOW)
    assert len(refused.value.message) < 200


def test_what_is_wrapped_must_be_a_message() -> None:
    with pytest.raises(MalformedMessage):
        reader(chain()).read(decode(chain().seal(b"audio", NOW)), NOW)


def test_a_chunk_of_more_than_a_second_is_refused() -> None:
    assert reader(unsigned=True).read(decode(event(bytes(16000))), NOW) == AudioChunk(bytes(16000))
    with pytest.raises(BadRequest, match=r"has 16002 bytes\. .* here 16000 bytes; send 50 to 200 ms"):
        reader(unsigned=True).read(decode(event(bytes(16002))), NOW)


def test_a_chunk_of_a_container_has_no_length_of_its_own() -> None:
    request = stream_request({**REQUEST.echo, "media-encoding": "flac"}, Capabilities("any", ("en-US",)))
    assert request.format.encoding is Encoding.AUTO
    audio = bytes(100_000)
    assert AudioReader(request, None, unsigned=True).read(decode(event(audio)), NOW) == AudioChunk(audio)


def test_an_answer_repeats_what_was_asked_for() -> None:
    request = stream_request(
        {**REQUEST.echo, "show-speaker-label": "False", "session-resume-window": "5"},
        Capabilities("any", ("en-US",)),
    )
    assert dict(amazon.response_headers(request, "r", "s")) == {
        "content-type": "application/vnd.amazon.eventstream",
        "x-amzn-request-id": "r",
        "x-amzn-transcribe-session-id": "s",
        "x-amzn-transcribe-language-code": "en-US",
        "x-amzn-transcribe-sample-rate": "8000",
        "x-amzn-transcribe-media-encoding": "pcm",
        "x-amzn-transcribe-show-speaker-label": "false",
        "x-amzn-transcribe-session-resume-window": "5",
    }
    named = {name for name, _ in amazon.response_headers(request, "r", "s")} - {"content-type"}
    assert named <= set(MODEL["response"])


def test_an_answer_repeats_a_session_id_that_was_asked_for_once() -> None:
    request: StreamRequest = stream_request(
        {**REQUEST.echo, "session-id": "5289fbb7-e1d2-460e-942a-7c64fbf6fd9a"},
        Capabilities("any", ("en-US",)),
    )
    headers = amazon.response_headers(request, "r", request.session_id or "")
    assert [value for name, value in headers if name.endswith("session-id")] == [request.session_id]


def read_by_awslabs(content: bytes) -> Any:
    buffer = EventStreamBuffer()
    buffer.add_data(content)
    return TranscribeStreamingEventParser().parse(next(buffer))


def test_a_transcript_is_as_amazon_transcribe_reads_it() -> None:
    (result,) = read_by_awslabs(amazon.transcript_message(SEGMENT)).transcript.results
    assert (result.result_id, result.start_time, result.end_time) == (SEGMENT.id, 0.5, 1.15)
    assert (result.is_partial, result.language_code, result.channel_id) == (False, "en-US", None)
    (alternative,) = result.alternatives
    assert alternative.transcript == "Größe, 你好."
    assert [(i.item_type, i.content, i.start_time, i.confidence, i.stable) for i in alternative.items] == [
        ("pronunciation", "Größe", 0.5, 0.9, True),
        ("punctuation", ",", 0.8, None, True),
        ("pronunciation", "你好", None, None, None),
        ("punctuation", ".", None, None, None),
    ]


KINDS = {
    "string": str,
    "enum": str,
    "double": float,
    "boolean": bool,
    "list": list,
    "structure": dict,
}


def check_members(structure: str, value: dict[str, Any]) -> None:
    """Members have the types of the service model."""
    members = MODEL["structures"][structure]
    assert value.keys() <= members.keys()
    for name, member in value.items():
        assert isinstance(member, KINDS[members[name]]), (structure, name)


@pytest.mark.parametrize("words", [SEGMENT.words, ()])
def test_a_transcript_is_of_the_service_model(words: tuple[Word, ...]) -> None:
    segment = Segment(
        "3f",
        0,
        0.0,
        1.0,
        " ".join(w.text for w in words),
        final=False,
        language="en-US",
        words=words,
        model="base-en",
    )
    headers, payload = decode(amazon.transcript_message(segment))
    assert headers == {
        ":message-type": "event",
        ":event-type": "TranscriptEvent",
        ":content-type": "application/json",
    }
    event = json.loads(payload)
    check_members("TranscriptEvent", event)
    check_members("Transcript", event["Transcript"])
    for result in event["Transcript"]["Results"]:
        check_members("Result", result)
        for alternative in result["Alternatives"]:
            check_members("Alternative", alternative)
            assert alternative["Items"] is not None
            for item in alternative["Items"]:
                check_members("Item", item)
                assert item["Type"] in MODEL["enums"]["Item.Type"]


def kinds_of_errors(kind: type[TranscribedError] = TranscribedError) -> list[type[TranscribedError]]:
    return [kind, *(branch for child in kind.__subclasses__() for branch in kinds_of_errors(child))]


def test_the_exceptions_are_those_of_the_service_model() -> None:
    assert {*amazon.EXCEPTIONS, "TranscriptEvent"} == set(MODEL["events"])


@pytest.mark.parametrize("kind", kinds_of_errors())
def test_every_error_is_an_exception_that_the_sdks_have_a_type_for(kind: type[TranscribedError]) -> None:
    content = amazon.exception_message(kind("Log that.", client_message="Do “this”."))
    name = decode(content).headers[":exception-type"]
    with pytest.raises(getattr(awslabs_exceptions, str(name)), match=r"Do “this”\."):
        read_by_awslabs(content)
    buffer = BotocoreBuffer()
    buffer.add_data(content)
    assert next(buffer).to_response_dict()["status_code"] == 400


@pytest.mark.parametrize(
    ("error", "exception"),
    [
        (errors.BadRequest("m"), "BadRequestException"),
        (errors.MalformedMessage("m"), "BadRequestException"),
        (errors.UnreadableAudio("m"), "BadRequestException"),
        (errors.InvalidSignature("m"), "BadRequestException"),
        (errors.NotFound("m"), "BadRequestException"),
        (errors.MediaChanged("m"), "ConflictException"),
        (errors.LimitExceeded("m"), "LimitExceededException"),
        (errors.Stopping(), "ServiceUnavailableException"),
        (errors.EngineFailure("m"), "InternalFailureException"),
    ],
)
def test_an_error_in_mid_stream_is_one_message(error: TranscribedError, exception: str) -> None:
    headers, payload = decode(amazon.exception_message(error))
    assert headers == {
        ":message-type": "exception",
        ":exception-type": exception,
        ":content-type": "application/json",
    }
    assert json.loads(payload) == {"Message": error.message}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.BadRequest("m"), 400, "BadRequestException"),
        (errors.TooLarge("m"), 400, "BadRequestException"),
        (errors.NotFound("m"), 400, "BadRequestException"),
        (errors.IncompleteSignature("m"), 400, "IncompleteSignatureException"),
        (errors.UnknownClient("m"), 403, "UnrecognizedClientException"),
        (errors.InvalidSignature("m"), 403, "InvalidSignatureException"),
        (errors.MissingAuthentication("m"), 403, "MissingAuthenticationTokenException"),
        (errors.MediaChanged("m"), 409, "ConflictException"),
        (errors.LimitExceeded("m"), 429, "LimitExceededException"),
        (errors.StorageFull("/var/m", "m"), 500, "InternalFailureException"),
        (errors.Unavailable("m"), 503, "ServiceUnavailableException"),
    ],
)
def test_an_error_in_place_of_a_stream_is_a_status(error: TranscribedError, status: int, code: str) -> None:
    headers = [("content-type", "application/json"), ("x-amzn-errortype", code)]
    headers += [("retry-after", "5")] if status == 429 else []
    assert amazon.error_response(error) == (status, headers, b'{"Message":"m"}')


def test_every_error_can_be_in_place_of_a_stream() -> None:
    for kind in kinds_of_errors():
        status, headers, _ = amazon.error_response(kind("m"))
        assert 400 <= status < 600
        assert dict(headers)["x-amzn-errortype"].endswith("Exception")
