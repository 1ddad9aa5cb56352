"""Loads the Amazon engine. Its optional dependencies are imported only then."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from transcribed.engines.amazon.settings import AmazonSettings
from transcribed.errors import ConfigurationError

if TYPE_CHECKING:
    from transcribed.engines.amazon.opening import AmazonEngine


def load(settings: AmazonSettings) -> "AmazonEngine":
    """Load the engine. Blocks; raises ConfigurationError if it cannot work with these settings."""
    try:
        from transcribed.engines.amazon import opening  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"Amazon Transcribe as the engine needs the package {(error.name or '').partition('.')[0]}: "
            "pip install 'transcribed[amazon]'."
        ) from error
    engine = opening.AmazonEngine(settings)
    if urlsplit(engine.endpoint).netloc.lower() in settings.own_addresses:
        raise ConfigurationError(
            f"The endpoint of Amazon Transcribe, {engine.endpoint}, is this server's own: it would send "
            "all audio to itself. Where `transcribed env` has set AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING, "
            "which is for clients, unset it for the server."
        )
    return engine
