"""The settings of segment-based engines."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from transcribed.options import LONGEST_SILENCE, SHORTEST_SILENCE
from transcribed.recognition.endpointing import EndpointingRules


class SegmentOptions(BaseSettings):
    """The settings of endpointing."""

    model_config = SettingsConfigDict(env_prefix="TRANSCRIBED_")

    endpoint_silence: float = Field(
        0.6, ge=SHORTEST_SILENCE, le=LONGEST_SILENCE, description="Seconds of silence that end a segment."
    )
    longest_segment: float = Field(
        15.0, ge=5, le=30, description="Seconds after which a segment is cut even without silence."
    )

    @property
    def endpointing(self) -> EndpointingRules:
        """The endpointing rules with these settings."""
        return EndpointingRules(
            endpoint_silence=self.endpoint_silence, longest_segment=self.longest_segment
        )
