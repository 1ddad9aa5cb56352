"""What is asked of Amazon, as its users write it."""

import pytest
from pydantic import ValidationError

from transcribed.engines.amazon.settings import FEATURES, AmazonSettings
from transcribed.settings import AmazonOptions
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
        asked={
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


def test_every_feature_of_amazons_is_one_of_the_parameters() -> None:
    assert set(PARAMETERS) >= FEATURES
