"""Who has an address: what limits for one address count by."""

import ipaddress
from functools import lru_cache

_NETWORK_BITS = 64
"""The first bits of an IPv6 address: a subscriber has all addresses with the same (RFC 6177)."""


@lru_cache(1024)
def subscriber(address: str) -> str:
    """An IPv4 address, or the network of an IPv6 address; anything else as it is."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((found, _NETWORK_BITS), strict=False))
        found = found.ipv4_mapped
    return str(found)
