from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.engines.amazon.request import (
    amazon_endpoint,
    check_defaults,
    endpoint_at,
    stream_parameters,
    with_parameters,
)
from transcribed.engines.amazon.settings import AmazonSettings
from transcribed.errors import ConfigurationError
from transcribed.options import (
    FilterMethod,
    LanguageIdentification,
    Redaction,
    Stability,
    StreamOptions,
    TranscriptForm,
    VocabularyFilter,
)
from transcribed.wire.amazon_parameters import general_options

PATH = "/stream-transcription-websocket"


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://localhost:8443", f"https://localhost:8443{PATH}"),
        ("https://transcribestreaming.eu-west-1.amazonaws.com", None),
        ("wss://a.example:443/", f"https://a.example:443{PATH}"),
        ("http://127.0.0.1:3000", f"http://127.0.0.1:3000{PATH}"),
        ("ws://a.example", f"http://a.example{PATH}"),
        ("HTTPS://A.example/gateway/", f"https://a.example:8443/gateway{PATH}"),
        ("http://[::1]:3000", f"http://[::1]:3000{PATH}"),
    ],
)
def test_an_endpoint_is_where_amazons_sdks_have_it(url: str, endpoint: str | None) -> None:
    assert endpoint_at(url) == (endpoint or amazon_endpoint("eu-west-1", "amazonaws.com"))


@pytest.mark.parametrize(
    "url", ["", "localhost:8443", "ftp://a", "https://", "https://a:port", "https://[a"]
)
def test_what_is_no_endpoint_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"not (a|the) URL"):
        endpoint_at(url)


def test_parameters_are_encoded_as_they_are_signed() -> None:
    found = with_parameters("https://a", {"language-options": "en-US,de-DE", "vocabulary-name": "a b"})
    assert found == "https://a?language-options=en-US%2Cde-DE&vocabulary-name=a%20b"


PCM = {"media-encoding": "pcm", "sample-rate": "16000"}


def test_without_wishes_the_language_is_asked_alone() -> None:
    settings = AmazonSettings(language="de-DE")
    assert stream_parameters(settings, StreamOptions()) == PCM | {"language-code": "de-DE"}
    assert stream_parameters(settings, StreamOptions(language="fr-FR")) == PCM | {"language-code": "fr-FR"}


def test_a_streams_wishes_go_before_those_for_all() -> None:
    settings = AmazonSettings(
        default_parameters={
            "vocabulary-name": "all",
            "show-speaker-label": "true",
            "enable-partial-results-stabilization": "true",
            "partial-results-stability": "low",
        }
    )
    options = StreamOptions(
        stability=Stability.MEDIUM,
        vocabularies=("own",),
        vendor_options={"show-speaker-label": "False"},
    )
    assert stream_parameters(settings, options) == PCM | {
        "language-code": "en-US",
        "vocabulary-name": "own",
        "enable-partial-results-stabilization": "true",
        "partial-results-stability": "medium",
    }


def test_a_language_is_found_out_only_where_none_is_said() -> None:
    identify = {"identify-language": "true", "language-options": "en-US,de-DE"}
    settings = AmazonSettings(default_parameters=identify)
    assert stream_parameters(settings, StreamOptions()) == PCM | identify
    assert stream_parameters(settings, StreamOptions(language="de-DE")) == PCM | {"language-code": "de-DE"}
    own = StreamOptions(language_identification=LanguageIdentification(("fr-FR",), several=True))
    assert stream_parameters(settings, own) == PCM | {
        "identify-multiple-languages": "true",
        "language-options": "fr-FR",
    }


def test_what_a_stream_asks_takes_the_place_of_all_of_its_kind() -> None:
    settings = AmazonSettings(
        default_parameters={
            "vocabulary-filter-names": "all,more",
            "vocabulary-filter-method": "tag",
            "content-identification-type": "PII",
            "pii-entity-types": "NAME",
        }
    )
    own = StreamOptions(
        language="de-DE", vocabulary_filter=VocabularyFilter(("own",)), redaction=Redaction()
    )
    assert stream_parameters(settings, own) == PCM | {
        "language-code": "de-DE",
        "vocabulary-filter-name": "own",
        "content-redaction-type": "PII",
    }


def test_what_cannot_be_asked_for_all_is_refused() -> None:
    check_defaults({"vocabulary-name": "a", "partial-results-stability": "low"})
    with pytest.raises(ConfigurationError, match="for sample-rate, vocabulary for all streams"):
        check_defaults({"sample-rate": "8000", "vocabulary": "a"})


NAME = st.text("abc.-_1", min_size=1, max_size=8)
NAMES = st.lists(NAME, max_size=3).map(tuple)
OPTIONS = st.builds(
    StreamOptions,
    stability=st.sampled_from(Stability),
    language_identification=st.none()
    | st.builds(
        LanguageIdentification, candidates=NAMES, preferred=st.none() | NAME, several=st.booleans()
    ),
    transcript_form=st.none() | st.sampled_from(TranscriptForm),
    vocabulary_filter=st.none()
    | st.builds(VocabularyFilter, names=NAMES.filter(len), method=st.sampled_from(FilterMethod)),
    vocabularies=NAMES,
    language_model=st.none() | NAME,
    speaker_labels=st.booleans(),
    redaction=st.none()
    | st.builds(Redaction, kinds=NAMES, method=st.sampled_from([FilterMethod.MASK, FilterMethod.TAG])),
)


@given(OPTIONS)
def test_what_is_asked_of_amazon_is_read_as_it_was_meant(options: StreamOptions) -> None:
    parameters = stream_parameters(AmazonSettings(language="de-DE"), options)
    language = None if options.language_identification else "de-DE"
    asked = {name: value for name, value in parameters.items() if name not in PCM}
    assert general_options(asked) == replace(options, language=language)
