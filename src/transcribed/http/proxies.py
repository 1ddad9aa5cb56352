"""Rules for the forwarding headers of trusted proxies; without I/O.

Any client can send X-Forwarded-For, -Proto and -Host. A proxy appends its own values, so the last value is
the trustworthy one; of the addresses it is the last that does not belong to a trusted proxy.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A client's address, and the scheme (http or https) and host that it requested; None if unknown."""

    client: str | None
    scheme: str | None
    host: str | None


@dataclass(frozen=True, slots=True)
class Proxies:
    """The trusted proxies."""

    networks: tuple[_Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> Self:
        """Parse addresses and networks, such as 10.0.0.0/8. Raises ValueError."""
        try:
            return cls(tuple(ipaddress.ip_network(entry, strict=False) for entry in entries))
        except ValueError as error:
            raise ValueError(f"{error}: addresses and networks are expected, such as 10.0.0.0/8") from error

    def include(self, address: str) -> bool:
        """Whether an address belongs to a trusted proxy."""
        plain = _address(address)
        return plain is not None and any(ipaddress.ip_address(plain) in each for each in self.networks)

    def forwarded(self, fors: Sequence[str], protos: Sequence[str], hosts: Sequence[str]) -> Forwarded:
        """Evaluate all values of the three headers of a request that came from a trusted proxy."""
        proto = _values(protos)[-1:]
        return Forwarded(
            client=self._client(_values(fors)),
            scheme=_SCHEMES.get(proto[0].lower()) if proto else None,
            host=next(iter(_values(hosts)[-1:]), None),
        )

    def _client(self, addresses: Sequence[str]) -> str | None:
        """The last address that is no trusted proxy's, or the first if all are; None if none is valid."""
        client = None
        for text in reversed(addresses):
            address = _address(text)
            if address is None:  # The values before an invalid one cannot be trusted.
                break
            client = address
            if not self.include(address):
                break
        return client


NO_PROXIES = Proxies()


def _values(headers: Iterable[str]) -> list[str]:
    return [value.strip() for header in headers for value in header.split(",") if value.strip()]


def _address(text: str) -> str | None:
    """Parse an address, to which some proxies append a port; None if it is not valid."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)
