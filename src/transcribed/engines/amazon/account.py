"""Who asks Amazon, and where: credentials, region and endpoint as Amazon's own programs find them.

All of it blocks: files are read, programs run, servers asked.
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
"""The name that requests are signed for."""
EXPIRES = 300
"""Seconds for which a signed URL is good; Amazon's limit."""

_STREAMING = "transcribestreaming"
_HOW = (
    "Give some as Amazon's programs take them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in "
    "~/.aws (aws configure, aws sso login), or the role of the machine or container."
)


@dataclass(frozen=True, slots=True)
class FoundCredentials:
    """Credentials, and the way in which they were found, by botocore's name for it."""

    method: str
    keys: ReadOnlyCredentials = field(repr=False)


class Account:
    """Credentials, region and endpoint. May be used by several threads at once."""

    def __init__(self, settings: AmazonSettings) -> None:
        """Raises ConfigurationError for a profile that there is not, and for files that cannot be read."""
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
        """Raises ConfigurationError where nobody says one."""
        # botocore alone of Amazon's SDKs does not know AWS_REGION.
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
        """Raises ConfigurationError."""
        configured = self._settings.endpoint_url or self._configured_endpoint()
        if configured:
            return endpoint_at(configured)
        resolver = self._resolver
        try:
            partition = resolver.get_partition_for_region(self.region)
        except botocore.exceptions.UnknownRegionError as error:
            raise ConfigurationError(
                f"{self.region!r} is no region of Amazon's. There are: {', '.join(self.regions)}."
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
                    f"The profile names the services {name!r}, and there are none such."
                )
        own = services.get("transcribe_streaming", {}).get("endpoint_url")
        endpoint: str | None = own or profile.get("endpoint_url")
        return endpoint

    @property
    def regions(self) -> list[str]:
        """Those in which botocore knows the service to stream."""
        # The session itself answers for services alone that botocore has a client for.
        return [
            region
            for partition in self._resolver.get_available_partitions()
            for region in self._resolver.get_available_endpoints(_STREAMING, partition)
        ]

    @property
    def _resolver(self) -> EndpointResolver:
        return EndpointResolver(self._session.get_data("endpoints"))

    def trust(self) -> ssl.SSLContext:
        """What certificates of the other end are checked with: AWS_CA_BUNDLE, or Python's own."""
        bundle = self._session.get_config_variable("ca_bundle")
        try:
            return ssl.create_default_context(cafile=bundle or None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"The certificates in {bundle} (AWS_CA_BUNDLE) are no use: {error}"
            ) from error

    def credentials(self) -> FoundCredentials:
        """Those that are good now, renewed if need be. Raises NoCredentials and Unavailable."""
        with self._lock:
            try:
                if self._refused:
                    # Who renews them may have written a file that botocore reads only once.
                    self._session = self._new_session()
                    self._refused = False
                found = self._session.get_credentials()
                keys = found and found.get_frozen_credentials()
            except (
                botocore.exceptions.CredentialRetrievalError,
                botocore.exceptions.HTTPClientError,
                botocore.exceptions.MetadataRetrievalError,
            ) as error:
                raise Unavailable(f"What gives Amazon's credentials does not: {_plain(error)}.") from error
            except (
                botocore.exceptions.BotoCoreError,
                botocore.exceptions.ClientError,
                ConfigurationError,
                OSError,
            ) as error:
                raise NoCredentials(f"No credentials for Amazon: {_plain(error)}. {_HOW}") from error
        if not keys or not keys.access_key or not keys.secret_key:
            raise NoCredentials(f"There are no credentials for Amazon Transcribe. {_HOW}")
        return FoundCredentials(found.method or "unknown", keys)

    def refused(self) -> None:
        """The credentials were refused: look for them anew the next time. Does not block."""
        self._refused = True

    def address(self, parameters: Mapping[str, str]) -> str:
        """The signed address of a WebSocket for a stream with these parameters."""
        request = AWSRequest("GET", with_parameters(self.endpoint, parameters))
        SigV4QueryAuth(self.credentials().keys, SERVICE, self.region, EXPIRES).add_auth(request)
        return websocket(str(request.url))


def _plain(error: Exception) -> str:
    """What botocore says, which ends with a full stop or does not."""
    return str(error).rstrip(".")
