"""The opening of streams to Amazon Transcribe."""

import asyncio
import logging
import socket
import ssl
import uuid
from collections.abc import Mapping
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

from transcribed import __version__
from transcribed.engines.amazon.account import Account
from transcribed.engines.amazon.refusals import refusal_of_status
from transcribed.engines.amazon.request import check_defaults, stream_parameters
from transcribed.engines.amazon.settings import LANGUAGES, AmazonSettings
from transcribed.engines.amazon.streams import AmazonStream
from transcribed.errors import (
    ConfigurationError,
    ExpiredCredentials,
    InvalidSignature,
    TranscribedError,
    UnknownClient,
    UpstreamLost,
)
from transcribed.options import Capabilities, StreamOptions
from transcribed.wire.eventstream import MAX_MESSAGE_BYTES

# At DEBUG, websockets would log signed URLs, with which anybody could open streams.
_websocket_log = logging.getLogger(f"{__name__}.websocket")
_websocket_log.setLevel(logging.INFO)


class AmazonEngine:
    """An Engine of streams to Amazon Transcribe."""

    def __init__(self, settings: AmazonSettings) -> None:
        """Find region and endpoint. Blocks; raises ConfigurationError."""
        check_defaults(settings.default_parameters)
        self._settings = settings
        self._account = Account(settings)
        self.endpoint = self._account.endpoint
        self._region = self._account.region
        self._trust = self._account.trust() if self.endpoint.startswith("https:") else None

    @property
    def capabilities(self) -> Capabilities:
        """What Amazon Transcribe supports."""
        default = self._settings.language
        others = (language for language in LANGUAGES if language != default)
        return Capabilities(
            "amazon",
            (default, *others),
            language_identification=True,
            transcript_form=True,
            vocabulary_filter=True,
            vocabularies=True,
            language_model=True,
            speaker_labels=True,
            redaction=True,
        )

    async def open(self, options: StreamOptions) -> AmazonStream:
        """Open a new stream. Raises TranscribedError.

        Amazon may also accept the stream first and refuse it later, with an error from the stream.
        """
        parameters = stream_parameters(self._settings, options)
        connection = await self._connection({**parameters, "session-id": str(uuid.uuid4())})
        return AmazonStream(connection, parameters, options, self._settings, self._on_failure)

    def _on_failure(self, error: TranscribedError) -> None:
        if isinstance(error, ExpiredCredentials | UnknownClient | InvalidSignature):
            self._account.refused()

    async def _connection(self, parameters: Mapping[str, str]) -> ClientConnection:
        place = urlsplit(self.endpoint).netloc
        seconds = self._settings.timeouts.open
        try:
            async with asyncio.timeout(seconds):
                address = await asyncio.to_thread(self._account.address, parameters)
                return await connect(
                    address,
                    ssl=self._trust,
                    compression=None,
                    user_agent_header=f"transcribed/{__version__}",
                    open_timeout=None,
                    ping_interval=None,
                    close_timeout=self._settings.timeouts.close,
                    max_size=MAX_MESSAGE_BYTES,
                    logger=_websocket_log,
                )
        except InvalidStatus as error:
            answer = error.response
            headers = {name.lower(): value for name, value in answer.headers.raw_items()}
            refused = refusal_of_status(answer.status_code, headers, bytes(answer.body or b""))
            self._on_failure(refused)
            raise refused from error
        except ssl.SSLCertVerificationError as error:
            raise ConfigurationError(
                f"The certificate of {place} is not trusted: {error.verify_message}. If it is right, name "
                "its authority in AWS_CA_BUNDLE or SSL_CERT_FILE."
            ) from error
        except socket.gaierror as error:
            raise self._not_found(place, error.strerror or str(error)) from error
        except TimeoutError as error:
            raise UpstreamLost(f"{place} has not answered within {seconds:g} s.") from error
        except (OSError, InvalidHandshake) as error:
            raise UpstreamLost(f"{place} cannot be reached: {error}.") from error
        except ImportError as error:
            raise ConfigurationError(f"The environment's proxy cannot be used: {error}.") from error
        except (InvalidURI, UnicodeError) as error:
            raise ConfigurationError(
                f"The endpoint {place} is no valid address of a WebSocket. Check the endpoint."
            ) from error

    def _not_found(self, place: str, why: str) -> TranscribedError:
        known = self._account.regions
        if self._region in known or self._region not in place:
            return UpstreamLost(
                f"The host {place} is not found: {why}. Check the network and the endpoint."
            )
        return ConfigurationError(
            f"The host {place} is not found: {why}. Check the region, here {self._region}. Amazon "
            f"Transcribe streams in {', '.join(known)}."
        )
