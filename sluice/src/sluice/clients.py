"""What counts as one client of a server, where clients are limited. Pure."""

from __future__ import annotations

import ipaddress

_LONGEST = 100  # characters of what is no address


def client(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the 64 bits of an IPv6 address that a site has."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:_LONGEST]
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return str(ipaddress.IPv6Network((ip, 64), strict=False))
    return str(ip)
