"""What is asked of Amazon, as its users write it."""

from typing import get_args

import pytest
from pydantic import ValidationError

from transcribed.engines.amazon.options import AmazonOptions
from transcribed.engines.amazon.settings import FEATURES, AmazonSettings
from transcribed.engines.moonshine.variants import NAMED
from transcribed.engines.registry import LOCAL, MODELS, PULLED_MODELS, REMOTE
from transcribed.settings import RecognitionSettings, ServerSettings
from transcribed.wire.amazon_parameters import PARAMETERS


def test_without_a_word_all_is_left_to_amazons_own_files() -> None:
    assert AmazonOptions().for_amazon() == AmazonSettings()


def test_all_that_is_said_reaches_the_engine() -> None:
    options = AmazonOptions(
        amazon_region="eu-central-1",
        amazon_profile="work",
        amazon_endpoint="http://localhost:3000",
        amazon_language="DE-de",
        amazon_parameters="vocabulary-name=ours show-speaker-label=true  partial-results-stability=low",
        amazon_speed=2.5,
        amazon_silence_after=1.0,
    )
    assert options.for_amazon() == AmazonSettings(
        region="eu-central-1",
        profile="work",
        endpoint_url="http://localhost:3000",
        language="de-DE",
        default_parameters={
            "vocabulary-name": "ours",
            "show-speaker-label": "true",
            "partial-results-stability": "low",
        },
        speed=2.5,
        silence_after=1.0,
    )


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("amazon_language", "Klingon", "no language of Amazon's, such as en-US"),
        ("amazon_parameters", "speakers=true", "'speakers' is none of content-identification-type, "),
        ("amazon_parameters", "language-code=en-US", "'language-code' is none of"),
        ("amazon_parameters", "show-speaker-label", "show-speaker-label may be true, false"),
        ("amazon_parameters", "show-speaker-label=yes", "show-speaker-label may be true, false"),
        ("amazon_parameters", "vocabulary-name=a vocabulary-name=b", "vocabulary-name comes twice"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_at_the_start(setting: str, value: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AmazonOptions(**{setting: value})


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("allow_host", "scribe.lan, http://other.lan", "'http://other.lan' is no host name"),
        ("allow_origin", "https://app.example.org,app.example.org", "'app.example.org' is no origin"),
        ("proxies", "127.0.0.1,nginx", "'nginx' does not appear to be .* such as 10.0.0.0/8"),
    ],
)
def test_who_is_let_in_is_read_at_the_start(setting: str, value: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ServerSettings(**{setting: value})


def test_every_feature_of_amazons_is_one_of_the_parameters() -> None:
    assert set(PARAMETERS) >= FEATURES


def test_the_choices_of_engine_and_model_are_those_of_the_registry() -> None:
    fields = RecognitionSettings.model_fields
    assert get_args(fields["engine"].annotation) == (*LOCAL, *REMOTE)
    assert get_args(fields["fallback"].annotation) == ("none", *LOCAL)
    assert set(MODELS) | PULLED_MODELS <= {*LOCAL, *REMOTE}


def test_a_model_is_one_of_the_engines() -> None:
    first = next(iter(NAMED))
    settings = RecognitionSettings(model=first)
    assert settings.model_of("moonshine") == first
    assert settings.model_of("scripted") is None
    assert RecognitionSettings().model_of("moonshine") is None
    with pytest.raises(ValidationError, match="the models of the engine amazon are: auto"):
        RecognitionSettings(engine="amazon", model=first)
    with pytest.raises(ValidationError, match=r"the models of the engine moonshine are: .*list"):
        RecognitionSettings(model="../none/such")
    assert RecognitionSettings(model="small-streaming-en").model_of("moonshine") == "small-streaming-en"


@pytest.mark.parametrize(("earlier", "name"), [("default", None), ("tiny-en", "tiny"), ("base-en", "base")])
def test_earlier_names_of_models_go_on_working(earlier: str, name: str | None) -> None:
    assert RecognitionSettings(model=earlier).model_of("moonshine") == name
