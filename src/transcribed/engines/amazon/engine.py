"""The way in: nothing that is optional is imported before it is asked for."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

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
    engine = streams.AmazonEngine(settings)
    if urlsplit(engine.endpoint).netloc.lower() in settings.not_at:
        raise ConfigurationError(
            f"The endpoint of Amazon Transcribe, {engine.endpoint}, is this server's own: it would send "
            "all audio to itself. Where `transcribed env` has set AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING, "
            "which is for clients, unset it for the server."
        )
    return engine
