"""The address of a stream, without its signature: pure."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from transcribed.errors import ConfigurationError

PATH = "/stream-transcription-websocket"
_PORT = 8443
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


def amazon_endpoint(region: str, domain: str) -> str:
    """Amazon's own; `domain` is that of the region's partition."""
    return f"https://transcribestreaming.{region}.{domain}:{_PORT}{PATH}"


def endpoint_at(url: str) -> str:
    """The endpoint behind a URL such as AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING.

    With TLS and without a port it is at 8443, as to Amazon's SDKs. Raises ConfigurationError.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"The endpoint {url!r} is no URL: {error}.") from None
    scheme = _SCHEMES.get(parts.scheme.lower())
    if scheme is None or not parts.hostname:
        raise ConfigurationError(
            f"The endpoint {url!r} is no URL of a server. Give one such as https://localhost:8443."
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port is None and scheme == "https":
        port = _PORT
    place = host if port is None else f"{host}:{port}"
    return urlunsplit((scheme, place, parts.path.rstrip("/") + PATH, "", ""))


def with_parameters(endpoint: str, parameters: Mapping[str, str]) -> str:
    """The endpoint with the parameters of a stream in its query."""
    return f"{endpoint}?{urlencode(parameters, quote_via=quote, safe='-_.~')}"


def websocket(url: str) -> str:
    """The same address to a WebSocket's client."""
    return url.replace("http", "ws", 1)
