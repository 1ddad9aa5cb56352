"""What can be asked for, beside Amazon's service model and what its packages send."""

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest
from amazon_transcribe.model import StartStreamTranscriptionRequest
from amazon_transcribe.serialize import TranscribeStreamingSerializer
from hypothesis import given
from hypothesis import strategies as st

from transcribed.audio.formats import Encoding, InputFormat
from transcribed.errors import BadRequest
from transcribed.options import (
    OPTIONAL,
    Capabilities,
    FilterMethod,
    LanguageIdentification,
    Redaction,
    Stability,
    StreamOptions,
    TranscriptForm,
    VocabularyFilter,
)
from transcribed.wire.amazon_parameters import (
    PARAMETERS,
    PREFIX,
    StreamRequest,
    features,
    general_options,
    parameters_of_headers,
    parameters_of_query,
    stream_request,
)

RECORDED = Path(__file__).parents[2] / "vectors" / "recorded"
MODEL = json.loads((RECORDED / "model.json").read_text())
LANGUAGES = ("en-US", "de-DE")
CAN = Capabilities("any", LANGUAGES)
ALL = replace(CAN, **dict.fromkeys(OPTIONAL, True))
SESSION = "5289fbb7-e1d2-460e-942a-7c64fbf6fd9a"
PLAIN = {"language-code": "en-US", "sample-rate": "16000", "media-encoding": "pcm"}
REQUEST = StreamRequest(
    options=StreamOptions(language="en-US"),
    format=InputFormat(Encoding.PCM, 16000, 1),
    split_channels=False,
    session_id=None,
    resume_window=None,
    echo=PLAIN,
)


def asked(**more: str | None) -> StreamRequest:
    """The request of a client that says this beside what is needed; None leaves something out."""
    given = {**PLAIN, **{name.replace("_", "-"): value for name, value in more.items()}}
    return stream_request({name: value for name, value in given.items() if value is not None}, CAN)


def test_the_parameters_are_those_of_the_service_model() -> None:
    assert {f"{PREFIX}{name}" for name in PARAMETERS} == set(MODEL["request"])
    assert {f"{PREFIX}{name}" for name in PARAMETERS} <= set(MODEL["response"]), "all can be echoed"


def test_what_is_needed_is_what_the_service_model_needs() -> None:
    needed = {name for name, parameter in PARAMETERS.items() if ". Required" in parameter.effect}
    required = {
        name.removeprefix(PREFIX) for name, traits in MODEL["request"].items() if traits["required"]
    }
    # In the model nothing says that one of three is needed.
    assert needed == required | {"language-code"}


@pytest.mark.parametrize(
    "name",
    ["media-encoding", "vocabulary-filter-method", "partial-results-stability", "transcript-format"],
)
def test_every_choice_of_the_service_model_is_taken_or_named_here(name: str) -> None:
    known = {choice for choice in MODEL["enums"][name] if PARAMETERS[name].read(choice) == choice}
    assert set(MODEL["enums"][name]) - known == ({"g729"} if name == "media-encoding" else set())


@pytest.mark.parametrize(
    "name", [name for name, traits in MODEL["request"].items() if traits["type"] == "boolean"]
)
def test_a_switch_is_read_in_any_case(name: str) -> None:
    read = PARAMETERS[name.removeprefix(PREFIX)].read
    assert [read(text) for text in ("true", "True", "TRUE")] == [True] * 3
    assert [read(text) for text in ("false", "False")] == [False] * 2
    assert [read(text) for text in ("", "1", "yes", "true ")] == [None] * 4


def test_nothing_but_what_is_needed_is_a_plain_request() -> None:
    assert stream_request(PLAIN, CAN) == REQUEST


def test_a_switch_that_is_off_was_not_asked_for() -> None:
    switches = {
        name.removeprefix(PREFIX): "false"
        for name, traits in MODEL["request"].items()
        if traits["type"] == "boolean"
    }
    assert stream_request(PLAIN | switches, CAN) == replace(REQUEST, echo=PLAIN | switches)


@pytest.mark.parametrize(
    ("media", "form"),
    [
        ("pcm", InputFormat(Encoding.PCM, 48000)),
        ("flac", InputFormat(Encoding.AUTO, 48000)),
        ("ogg-opus", InputFormat(Encoding.AUTO, 48000)),
        ("g711-alaw", InputFormat(Encoding.ALAW, 48000)),
        ("g711-ulaw", InputFormat(Encoding.MULAW, 48000)),
    ],
)
def test_audio_is_read_as_it_is_said_to_be(media: str, form: InputFormat) -> None:
    assert asked(media_encoding=media, sample_rate="48000").format == form


def test_a_chunk_holds_a_second_at_most() -> None:
    stereo = {"enable_channel_identification": "true", "number_of_channels": "2"}
    assert asked().chunk_bytes == 32000
    assert asked(sample_rate="8000", **stereo).chunk_bytes == 32000
    assert asked(sample_rate="8000", media_encoding="g711-ulaw").chunk_bytes == 8000
    assert asked(media_encoding="flac").chunk_bytes is None


def test_channels_are_told_apart() -> None:
    request = asked(enable_channel_identification="True", number_of_channels="2")
    assert request.split_channels
    assert request.format.channels == 2
    assert request.echo["enable-channel-identification"] == "true"


def test_sessions_have_names_and_may_be_resumed() -> None:
    request = asked(session_id=SESSION, session_resume_window="300")
    assert (request.session_id, request.resume_window) == (SESSION, 300 * 60)


def test_a_stability_is_asked_for() -> None:
    assert asked(enable_partial_results_stabilization="true").options.stability is Stability.HIGH
    for level in ("low", "medium", "high"):
        request = asked(enable_partial_results_stabilization="true", partial_results_stability=level)
        assert request.options.stability.value == level


def test_numbers_are_words_where_it_is_asked_for() -> None:
    for form in TranscriptForm:
        assert asked(transcript_format=form.value).options.transcript_form is form
    assert asked(transcript_format="spoken").echo["transcript-format"] == "spoken"


def test_words_are_filtered() -> None:
    assert asked(vocabulary_filter_name="rude").options.vocabulary_filter == VocabularyFilter(
        ("rude",), FilterMethod.MASK
    )
    request = asked(vocabulary_filter_names="rude,secret", vocabulary_filter_method="tag")
    assert request.options.vocabulary_filter == VocabularyFilter(("rude", "secret"), FilterMethod.TAG)


def test_the_engines_language_is_meant_in_any_case() -> None:
    request = asked(language_code="EN-us")
    assert request.options.language == "en-US"
    assert request.echo["language-code"] == "en-US"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"language_code": None}, "language-code is missing. Ask for en-US or de-DE."),
        (
            {"language_code": "fr-FR"},
            "language-code is 'fr-FR', which this engine does not recognise. Ask for en-US",
        ),
        ({"language_code": ""}, "language-code is '', which"),
        ({"sample_rate": None}, "sample-rate is missing. It may be: 8000 to 48000."),
        ({"sample_rate": "7999"}, "sample-rate is '7999'. It may be: 8000 to 48000."),
        ({"sample_rate": "48001"}, "sample-rate is '48001'"),
        ({"sample_rate": "16000.0"}, "sample-rate is '16000.0'"),
        ({"sample_rate": "١٦٠٠٠"}, "sample-rate is"),
        ({"sample_rate": "9" * 5000}, "sample-rate is '9{40}…'. It may"),
        ({"media_encoding": None}, "media-encoding is missing. It may be: pcm, flac, ogg-opus, g711-alaw"),
        ({"media_encoding": "g729"}, "media-encoding is 'g729'. It may be: pcm"),
        ({"media_encoding": "PCM"}, "media-encoding is 'PCM'"),
        ({"session_id": "mine"}, "session-id is 'mine'. It may be: a UUID of 36 characters."),
        ({"session_id": SESSION + "\n"}, "session-id is"),
        ({"session_resume_window": "0"}, "session-resume-window is '0'. It may be: 1 to 300."),
        ({"session_resume_window": "301"}, "session-resume-window is '301'"),
        ({"partial_results_stability": "high"}, "needs enable-partial-results-stabilization=true"),
        (
            {"enable_partial_results_stabilization": "false", "partial_results_stability": "high"},
            "needs enable-partial-results-stabilization=true",
        ),
        (
            {"enable_partial_results_stabilization": "true", "partial_results_stability": "highest"},
            "partial-results-stability is 'highest'. It may be: high, medium, low.",
        ),
        ({"enable_channel_identification": "true"}, "needs number-of-channels=2"),
        (
            {"number_of_channels": "2"},
            "needs enable-channel-identification=true. For one channel leave it out",
        ),
        (
            {"enable_channel_identification": "true", "number_of_channels": "1"},
            "number-of-channels is '1'. It may be: 2.",
        ),
        ({"vocabulary_filter_method": "mask"}, "needs a filter: send vocabulary-filter-name"),
        ({"vocabulary_filter_names": ","}, "needs a filter: send vocabulary-filter-name"),
        ({"vocabulary_filter_name": "a", "vocabulary_filter_names": "b"}, "not both"),
        ({"vocabulary_filter_name": "a b"}, "vocabulary-filter-name is 'a b'. It may be: 1 to 200 letters"),
        ({"vocabulary_filter_name": "a,b"}, "vocabulary-filter-name is 'a,b'"),
        ({"vocabulary_filter_name": ""}, "vocabulary-filter-name is ''"),
        (
            {"transcript_format": "spoken", "language_code": "de-DE"},
            "transcript-format=spoken is for English alone here. Leave it out",
        ),
        ({"transcript_format": "sung"}, "transcript-format is 'sung'. It may be: written, spoken."),
        ({"show_speaker_label": "true"}, "show-speaker-label is not possible here. .* tell speakers apart"),
        ({"show_speaker_label": "maybe"}, "show-speaker-label is 'maybe'. It may be: true, false."),
        ({"vocabulary_name": "names"}, "vocabulary-name is not possible here. .* no custom vocabularies"),
        ({"vocabulary_names": "a,b"}, "vocabulary-names is not possible here"),
        ({"language_model_name": "law"}, "language-model-name is not possible here"),
        ({"identify_language": "true"}, "identify-language is not possible here. .* send language-code"),
        ({"identify_multiple_languages": "true"}, "identify-multiple-languages is not possible here"),
        ({"language_options": "en-US,de-DE"}, "language-options is not possible here"),
        ({"preferred_language": "en-US"}, "preferred-language is not possible here"),
        ({"content_identification_type": "PII"}, "content-identification-type is not possible here"),
        (
            {"content_redaction_type": "PII"},
            "content-redaction-type is not possible here. .* personal data",
        ),
        ({"pii_entity_types": "ALL"}, "pii-entity-types is not possible here"),
        ({"show_speaker_labels": "true"}, "no parameter 'show-speaker-labels'. Check its spelling"),
        ({"a" * 1000: "b"}, "no parameter 'a{40}…'"),
    ],
)
def test_what_cannot_be_served_is_refused_with_what_to_do(
    more: dict[str, str | None], message: str
) -> None:
    with pytest.raises(BadRequest, match=message) as refused:
        asked(**more)
    assert len(refused.value.message) < 200


OF_SOME_ENGINES = {
    "show-speaker-label": "true",
    "vocabulary-name": "names",
    "vocabulary-names": "names,places",
    "language-model-name": "law",
    "identify-language": "true",
    "identify-multiple-languages": "true",
    "language-options": "en-US,de-DE",
    "preferred-language": "en-US",
    "content-identification-type": "PII",
    "content-redaction-type": "PII",
    "pii-entity-types": "NAME,PHONE",
}


# Without which a parameter says nothing.
WITH = {
    "language-options": {"identify-language": "true"},
    "preferred-language": {"identify-language": "true"},
    "pii-entity-types": {"content-redaction-type": "PII"},
}
ENGLISH = StreamOptions(language="en-US")
ASKED = {
    "show-speaker-label": replace(ENGLISH, speaker_labels=True),
    "vocabulary-name": replace(ENGLISH, vocabularies=("names",)),
    "vocabulary-names": replace(ENGLISH, vocabularies=("names", "places")),
    "language-model-name": replace(ENGLISH, language_model="law"),
    "identify-language": StreamOptions(language_identification=LanguageIdentification()),
    "identify-multiple-languages": StreamOptions(
        language_identification=LanguageIdentification(several=True)
    ),
    "language-options": StreamOptions(language_identification=LanguageIdentification(("en-US", "de-DE"))),
    "preferred-language": StreamOptions(language_identification=LanguageIdentification(preferred="en-US")),
    "content-identification-type": replace(ENGLISH, redaction=Redaction(method=FilterMethod.TAG)),
    "content-redaction-type": replace(ENGLISH, redaction=Redaction()),
    "pii-entity-types": replace(ENGLISH, redaction=Redaction(("NAME", "PHONE"))),
}


def capabilities(needed: str) -> list[str]:
    """The capabilities of which an engine needs one for a parameter."""
    return ["vocabularies", "phrases"] if needed == "named_vocabularies" else [needed]


def test_what_an_engine_lacks_is_refused_with_why() -> None:
    assert set(OF_SOME_ENGINES) == {name for name, each in PARAMETERS.items() if each.lacking is not None}
    for name, value in OF_SOME_ENGINES.items():
        needed = PARAMETERS[name].needs
        assert needed is not None
        with pytest.raises(BadRequest, match=rf"^{name} is not possible here\. This engine"):
            stream_request(
                PLAIN | {name: value}, replace(ALL, **dict.fromkeys(capabilities(needed), False))
            )


@pytest.mark.parametrize("name", OF_SOME_ENGINES)
def test_what_an_engine_has_is_asked_of_it(name: str) -> None:
    given = PLAIN | {name: OF_SOME_ENGINES[name]} | WITH.get(name, {})
    if ASKED[name].language is None:
        del given["language-code"]
    needed = PARAMETERS[name].needs
    assert needed is not None
    for capability in capabilities(needed):
        request = stream_request(given, replace(CAN, **{capability: True}))
        assert (request.options, request.echo) == (ASKED[name], given)


def test_features_are_the_parameters_that_not_every_engine_has() -> None:
    assert features(CAN) == []
    # What is done here, too, an engine may do itself.
    here = {"transcript-format", *(f"vocabulary-filter-{each}" for each in ("name", "names", "method"))}
    assert set(features(ALL)) == set(OF_SOME_ENGINES) | here


def test_an_engine_that_speaks_numbers_is_asked_to_in_every_language() -> None:
    german = PLAIN | {"language-code": "de-DE", "transcript-format": "spoken"}
    assert stream_request(german, ALL).options.transcript_form is TranscriptForm.SPOKEN


def test_a_language_that_is_to_be_found_out_may_not_be_english() -> None:
    given = {name: value for name, value in PLAIN.items() if name != "language-code"}
    spoken = given | {"identify-language": "true", "transcript-format": "spoken"}
    with pytest.raises(BadRequest, match="send an English language-code"):
        stream_request(spoken, replace(CAN, language_identification=True))


@pytest.mark.parametrize("name", ["language-options", "preferred-language", "pii-entity-types"])
def test_what_says_nothing_without_another_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match=f"^{name} needs [a-z-]+ or [a-z-]+\\.$"):
        stream_request(PLAIN | {name: OF_SOME_ENGINES[name]}, ALL)


def test_what_is_asked_of_all_streams_is_read_alike() -> None:
    asked = {"vocabulary-name": "ours", "show-speaker-label": "True", "language-options": "de-DE"}
    assert general_options(asked) == StreamOptions(vocabularies=("ours",), speaker_labels=True)


def test_without_a_language_the_message_says_what_the_engine_can_do() -> None:
    without = {name: value for name, value in PLAIN.items() if name != "language-code"}
    with pytest.raises(BadRequest, match="Ask for en-US or de-DE, or send identify-language=true"):
        stream_request(without, ALL)
    with pytest.raises(BadRequest, match="Ask for one of: en-US, de-DE, fr-FR, es-ES"):
        stream_request(without, replace(CAN, languages=(*LANGUAGES, "fr-FR", "es-ES")))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"identify-language": "true"}, "Send one of language-code, identify-language and"),
        (
            {
                "show-speaker-label": "true",
                "enable-channel-identification": "true",
                "number-of-channels": "2",
            },
            "not both",
        ),
        ({"content-redaction-type": "PII", "content-identification-type": "PII"}, "not both"),
        ({"vocabulary-name": "a", "vocabulary-names": "b,c"}, "not both"),
    ],
)
def test_what_excludes_each_other_is_refused(more: dict[str, str], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        stream_request(PLAIN | more, ALL)


@given(
    st.dictionaries(
        st.sampled_from(list(PARAMETERS)),
        st.text(max_size=20)
        | st.sampled_from(["true", "2", "high", "mask", "PII", "en-US", "16000", "pcm", SESSION]),
    )
)
def test_any_parameters_are_a_request_or_a_bad_one(given: dict[str, str]) -> None:
    for can in (CAN, ALL):
        try:
            request = stream_request(PLAIN | given, can)
        except BadRequest:
            continue
        assert set(request.echo) == set(PLAIN | given)
        assert stream_request(request.echo, can) == request, "what is echoed says the same"


@pytest.mark.parametrize(
    "client", ["amazon-transcribe", "aws-sdk-transcribe-streaming", "javascript-http2"]
)
def test_headers_of_real_clients_are_a_plain_request(client: str) -> None:
    headers = json.loads((RECORDED / f"{client}.json").read_text())["headers"]
    request = stream_request(parameters_of_headers(map(tuple, headers)), CAN)
    assert replace(request, echo={}) == replace(REQUEST, echo={})


def test_a_query_of_a_real_client_is_a_plain_request() -> None:
    query = json.loads((RECORDED / "javascript-websocket.json").read_text())["query"]
    request = stream_request(parameters_of_query(query), CAN)
    assert replace(request, echo={}, session_id=None) == replace(REQUEST, echo={})
    assert request.session_id is not None


def test_what_amazon_transcribe_can_ask_for_is_read() -> None:
    sent = TranscribeStreamingSerializer().serialize_start_stream_transcription_request(
        "https://localhost:8443",
        StartStreamTranscriptionRequest(
            language_code="en-US",
            media_sample_rate_hz=8000,
            media_encoding="ogg-opus",
            session_id=SESSION,
            vocab_filter_method="remove",
            vocab_filter_name="rude",
            show_speaker_label=False,
            enable_channel_identification=True,
            number_of_channels=2,
            enable_partial_results_stabilization=True,
            partial_results_stability="low",
            identify_language=False,
        ),
    )
    request = stream_request(parameters_of_headers(sent.headers.items()), CAN)
    assert replace(request, echo={}) == StreamRequest(
        options=StreamOptions(
            language="en-US",
            stability=Stability.LOW,
            vocabulary_filter=VocabularyFilter(("rude",), FilterMethod.REMOVE),
        ),
        format=InputFormat(Encoding.AUTO, 8000, 2),
        split_channels=True,
        session_id=SESSION,
        resume_window=None,
        echo={},
    )


def test_headers_are_read_in_any_case_and_others_left_alone() -> None:
    headers = [("Host", "localhost"), ("X-Amzn-Transcribe-Sample-Rate", " 8000 "), ("sample-rate", "1")]
    assert parameters_of_headers(headers) == {"sample-rate": "8000"}


def test_a_query_is_decoded_and_its_signature_left_alone() -> None:
    query = urlencode(
        {"vocabulary-filter-names": "a,b", "X-Amz-Date": "20261125T090000Z", "user-agent": "any"}
    )
    assert parameters_of_query(f"{query}&session-id=") == {
        "vocabulary-filter-names": "a,b",
        "session-id": "",
    }
    assert parameters_of_query("") == {}


def test_what_comes_twice_is_refused() -> None:
    with pytest.raises(BadRequest, match="'sample-rate' comes twice"):
        parameters_of_query("sample-rate=8000&sample-rate=16000")
    with pytest.raises(BadRequest, match="'sample-rate' comes twice"):
        parameters_of_headers([(f"{PREFIX}sample-rate", "8000"), (f"{PREFIX}Sample-Rate", "8000")])
