"""The way in: nothing that is optional is imported before it is asked for."""

from typing import TYPE_CHECKING

from transcribed.engines.amazon.settings import AmazonSettings
from transcribed.errors import ConfigurationError

if TYPE_CHECKING:
    from transcribed.engines.amazon.streams import AmazonEngine


def load(settings: AmazonSettings) -> "AmazonEngine":
    """An Engine of streams to Amazon. Blocks; raises ConfigurationError for what cannot work."""
    try:
        from transcribed.engines.amazon import streams  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"Amazon Transcribe as the engine needs the package {(error.name or '').partition('.')[0]}: "
            "pip install 'transcribed[amazon]'."
        ) from error
    return streams.AmazonEngine(settings)
