"""What proxies say of their clients, believed from those that are named: rules, without I/O.

Anybody can write X-Forwarded-For, -Proto and -Host. A proxy adds what it knows itself behind what came, so
the last value counts, and of the addresses the last that is no proxy's.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What a client asked its proxy for, where the proxy says so; the scheme is http or https."""

    client: str | None
    scheme: str | None
    host: str | None


@dataclass(frozen=True, slots=True)
class Proxies:
    """Those that are believed."""

    networks: tuple[_Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> Self:
        """Of addresses and networks, such as 10.0.0.0/8. Raises ValueError."""
        try:
            return cls(tuple(ipaddress.ip_network(entry, strict=False) for entry in entries))
        except ValueError as error:
            raise ValueError(f"{error}: addresses and networks are expected, such as 10.0.0.0/8") from error

    def include(self, address: str) -> bool:
        """Whether an address is a proxy's."""
        plain = _address(address)
        return plain is not None and any(ipaddress.ip_address(plain) in each for each in self.networks)

    def forwarded(self, fors: Sequence[str], protos: Sequence[str], hosts: Sequence[str]) -> Forwarded:
        """What a proxy says, by all values of the three headers that came from it."""
        proto = _values(protos)[-1:]
        return Forwarded(
            client=self._client(_values(fors)),
            scheme=_SCHEMES.get(proto[0].lower()) if proto else None,
            host=next(iter(_values(hosts)[-1:]), None),
        )

    def _client(self, addresses: Sequence[str]) -> str | None:
        """The last that is no proxy's; the first of all where each is one. None where none can be read."""
        client = None
        for text in reversed(addresses):
            address = _address(text)
            if address is None:  # What stands before it is no more to be believed.
                break
            client = address
            if not self.include(address):
                break
        return client


NO_PROXIES = Proxies()


def _values(headers: Iterable[str]) -> list[str]:
    return [value.strip() for header in headers for value in header.split(",") if value.strip()]


def _address(text: str) -> str | None:
    """An address, of which some proxies write the port behind it."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)
