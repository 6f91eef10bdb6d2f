"""Whom an address stands for."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address


@lru_cache(4_096)
def peer_key(address: str) -> bytes:
    """The key of a peer: its IPv4 address, or the /64 of its IPv6 address, all of which is one subscriber's.

    An IPv4 address that is written as IPv6 (`::ffff:192.0.2.1`) is the same peer. What is no address at all (a socket
    of this machine) is one peer.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return b""
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return parsed.packed[:8]
        parsed = parsed.ipv4_mapped
    return parsed.packed
