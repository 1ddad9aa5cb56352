"""The settings of the Amazon engine."""

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from transcribed.engines.amazon.settings import FEATURES, LANGUAGES, AmazonSettings
from transcribed.options import ignoring_case
from transcribed.wire.amazon_parameters import PARAMETERS


class AmazonOptions(BaseSettings):
    """The settings of the Amazon engine."""

    model_config = SettingsConfigDict(env_prefix="TRANSCRIBED_")

    amazon_region: str = Field(
        "", description="The region of Amazon; by default AWS_REGION or the profile's."
    )
    amazon_profile: str = Field("", description="The profile in ~/.aws; by default AWS_PROFILE or default.")
    amazon_endpoint: str = Field(
        "",
        description="The endpoint; by default AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING or the region's.",
    )
    amazon_language: str = Field("en-US", description="The language of streams that request none.")
    amazon_parameters: str = Field(
        "",
        description="Parameters of all streams, by Amazon's names: 'NAME=VALUE NAME=VALUE'.",
    )
    amazon_streams: int = Field(25, ge=1, description="The most streams at once; Amazon's own limit is 25.")
    amazon_speed: float = Field(
        1.0,
        ge=0.1,
        le=100,
        description="The speed of recordings, as a multiple of real time; Amazon expects 1.",
        json_schema_extra={"metavar": "TIMES"},
    )
    amazon_silence_after: float = Field(
        5.0, ge=0.1, le=14, description="Seconds without audio after which silence is sent."
    )
    amazon_longest_stream: float = Field(
        13800.0,
        ge=1,
        le=14340,
        description="Seconds after which a new stream takes over; Amazon ends one after 14400.",
    )

    @field_validator("amazon_language")
    @classmethod
    def _supported(cls, language: str) -> str:
        known = ignoring_case(language, LANGUAGES)
        if known is None:
            raise ValueError("no language of Amazon's, such as en-US or de-DE")
        return known

    @field_validator("amazon_parameters")
    @classmethod
    def _valid(cls, text: str) -> str:
        _parameters(text)
        return text

    def for_amazon(self) -> AmazonSettings:
        """Return the settings as the engine takes them."""
        return AmazonSettings(
            region=self.amazon_region or None,
            profile=self.amazon_profile or None,
            endpoint_url=self.amazon_endpoint or None,
            language=self.amazon_language,
            default_parameters=_parameters(self.amazon_parameters),
            speed=self.amazon_speed,
            silence_after=self.amazon_silence_after,
        )


def _parameters(text: str) -> dict[str, str]:
    """Parse `NAME=VALUE NAME=VALUE`. Raises ValueError for invalid parameters."""
    found: dict[str, str] = {}
    known = FEATURES | {"enable-partial-results-stabilization", "partial-results-stability"}
    for each in text.split():
        name, equals, value = each.partition("=")
        if name not in known:
            raise ValueError(f"{name!r} is none of {', '.join(sorted(known))}")
        if not equals or PARAMETERS[name].read(value) is None:
            raise ValueError(f"{name} may be {PARAMETERS[name].plain_values}")
        if name in found:
            raise ValueError(f"{name} comes twice")
        found[name] = value
    return found
