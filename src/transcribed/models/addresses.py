"""Addresses that models are fetched from."""

from urllib.parse import urlsplit, urlunsplit


def valid_mirror(url: str) -> str:
    """Return the address of a mirror, or "" for none. Raises ValueError if it is not an HTTP address."""
    parts = urlsplit(url)
    is_address = (
        parts.scheme in {"http", "https"} and parts.hostname and not (parts.query or parts.fragment)
    )
    if url and not is_address:
        raise ValueError("a mirror is an address such as https://mirror.example.org/models")
    return url


def mirrored(url: str, mirror: str) -> str:
    """The address on a mirror, which has the same paths as the origins; `url` itself for mirror ""."""
    if not mirror:
        return url
    return mirror.rstrip("/") + urlunsplit(urlsplit(url)._replace(scheme="", netloc=""))


def shown_address(url: str) -> str:
    """An address without its user, password and query, which may hold secrets."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
