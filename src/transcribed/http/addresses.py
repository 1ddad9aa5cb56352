"""The subscriber to whom an address belongs, which is the unit of limits for one address."""

import ipaddress
from functools import lru_cache

_NETWORK_BITS = 64
"""The length of an IPv6 network. A subscriber has all of its addresses (RFC 6177)."""


@lru_cache(1024)
def subscriber(address: str) -> str:
    """An IPv4 address, or the network of an IPv6 address. Other text is returned unchanged."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((found, _NETWORK_BITS), strict=False))
        found = found.ipv4_mapped
    return str(found)
