"""Credentials, region and endpoint, found in the same places as by Amazon's own programs.

All of this blocks: it may read files, run programs and call metadata servers.
"""

import os
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import botocore.exceptions
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.regions import EndpointResolver
from botocore.session import Session

from transcribed.engines.amazon.request import amazon_endpoint, endpoint_at, websocket, with_parameters
from transcribed.engines.amazon.settings import AmazonSettings
from transcribed.errors import ConfigurationError, NoCredentials, Unavailable

SERVICE = "transcribe"
"""The service name in signatures."""
EXPIRES = 300
"""The validity of a signed URL in seconds, Amazon's maximum."""

_STREAMING = "transcribestreaming"
_CREDENTIALS_HELP = (
    "Give some as Amazon's programs take them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in "
    "~/.aws (aws configure, aws sso login), or the role of the machine or container."
)


@dataclass(frozen=True, slots=True)
class FoundCredentials:
    """Credentials, and botocore's name of the method by which they were found."""

    method: str
    keys: ReadOnlyCredentials = field(repr=False)


class Account:
    """Credentials, region and endpoint. Thread-safe."""

    def __init__(self, settings: AmazonSettings) -> None:
        """Raises ConfigurationError if the profile does not exist or a configuration file is invalid."""
        self._settings = settings
        self._lock = threading.Lock()
        self._refused = False
        self._session = self._new_session()

    def _new_session(self) -> Session:
        session = Session(profile=self._settings.profile)
        try:
            session.get_scoped_config()
        except botocore.exceptions.ProfileNotFound as error:
            raise ConfigurationError(
                f"{_plain(error)}. Choose another, or make it: aws configure."
            ) from None
        except botocore.exceptions.ConfigParseError as error:
            raise ConfigurationError(f"{_plain(error)}.") from None
        return session

    @property
    def region(self) -> str:
        """The region. Raises ConfigurationError if none is configured."""
        # Unlike Amazon's other SDKs, botocore does not read AWS_REGION.
        found = self._settings.region or os.environ.get("AWS_REGION")
        region: str | None = found or self._session.get_config_variable("region")
        if not region:
            raise ConfigurationError(
                "Amazon Transcribe needs a region, such as us-east-1: --amazon-region, AWS_REGION, or the "
                "profile's (aws configure)."
            )
        return region

    @property
    def endpoint(self) -> str:
        """The URL of streams. Raises ConfigurationError if it is invalid, or the region is unknown."""
        configured = self._settings.endpoint_url or self._configured_endpoint()
        if configured:
            return endpoint_at(configured)
        resolver = self._resolver
        try:
            partition = resolver.get_partition_for_region(self.region)
        except botocore.exceptions.UnknownRegionError as error:
            raise ConfigurationError(
                f"{self.region!r} is not a region of Amazon. Choose one of: {', '.join(self.regions)}."
            ) from error
        return amazon_endpoint(self.region, resolver.get_partition_dns_suffix(partition))

    def _configured_endpoint(self) -> str | None:
        """The endpoint of the environment or the profile, found in the order of botocore's own clients."""
        if self._session.get_config_variable("ignore_configured_endpoint_urls"):
            return None
        for variable in ("AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING", "AWS_ENDPOINT_URL"):
            if found := os.environ.get(variable):
                return found
        profile = self._session.get_scoped_config()
        services = {}
        if name := profile.get("services"):
            services = self._session.full_config.get("services", {}).get(name)
            if services is None:
                raise ConfigurationError(
                    f"The profile names the services {name!r}, which are not configured."
                )
        own = services.get("transcribe_streaming", {}).get("endpoint_url")
        endpoint: str | None = own or profile.get("endpoint_url")
        return endpoint

    @property
    def regions(self) -> list[str]:
        """The regions in which Amazon Transcribe supports streams, according to botocore."""
        # Session.get_available_regions knows only the services that botocore has a client for.
        return [
            region
            for partition in self._resolver.get_available_partitions()
            for region in self._resolver.get_available_endpoints(_STREAMING, partition)
        ]

    @property
    def _resolver(self) -> EndpointResolver:
        return EndpointResolver(self._session.get_data("endpoints"))

    def trust(self) -> ssl.SSLContext:
        """Return a TLS context that trusts AWS_CA_BUNDLE, or Python's default authorities.

        Raises ConfigurationError if the bundle cannot be read.
        """
        bundle = self._session.get_config_variable("ca_bundle")
        try:
            return ssl.create_default_context(cafile=bundle or None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"The certificates in {bundle} (AWS_CA_BUNDLE) cannot be used: {error}"
            ) from error

    def credentials(self) -> FoundCredentials:
        """Return valid credentials, renewed if necessary.

        Raises NoCredentials if there are none, and Unavailable if their source does not answer.
        """
        with self._lock:
            try:
                if self._refused:
                    # botocore reads files only once; they may have been renewed since.
                    self._session = self._new_session()
                    self._refused = False
                found = self._session.get_credentials()
                keys = found and found.get_frozen_credentials()
            except (
                botocore.exceptions.CredentialRetrievalError,
                botocore.exceptions.HTTPClientError,
                botocore.exceptions.MetadataRetrievalError,
            ) as error:
                raise Unavailable(f"The source of Amazon's credentials failed: {_plain(error)}.") from error
            except (
                botocore.exceptions.BotoCoreError,
                botocore.exceptions.ClientError,
                ConfigurationError,
                OSError,
            ) as error:
                raise NoCredentials(
                    f"No credentials for Amazon: {_plain(error)}. {_CREDENTIALS_HELP}"
                ) from error
        if not keys or not keys.access_key or not keys.secret_key:
            raise NoCredentials(f"There are no credentials for Amazon Transcribe. {_CREDENTIALS_HELP}")
        return FoundCredentials(found.method or "unknown", keys)

    def refused(self) -> None:
        """Record that Amazon refused the credentials, so that the next call searches again."""
        self._refused = True

    def address(self, parameters: Mapping[str, str]) -> str:
        """Return the signed URL of a WebSocket for a stream with these parameters."""
        request = AWSRequest("GET", with_parameters(self.endpoint, parameters))
        SigV4QueryAuth(self.credentials().keys, SERVICE, self.region, EXPIRES).add_auth(request)
        return websocket(str(request.url))


def _plain(error: Exception) -> str:
    """Return botocore's message without a full stop, which only some have."""
    return str(error).rstrip(".")
