"""What one source may hold of the server, and who counts as one source. Rates are in model/rates.py.

Pure: knows no connection, no signal and no trio.
"""

from __future__ import annotations

import ipaddress


class Slots:
    """How many of something are held at once, by all and by one key. A `take` that was True needs its `give_back`."""

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._held: dict[str, int] = {}
        self.held = 0

    def take(self, key: str) -> bool:
        """Hold one more slot, if both limits allow."""
        mine = self._held.get(key, 0)
        if self.held >= self._total or mine >= self._each:
            return False
        self._held[key] = mine + 1
        self.held += 1
        return True

    def give_back(self, key: str) -> None:
        """Free a slot that was taken under this key."""
        left = self._held[key] - 1
        self.held -= 1
        if left:
            self._held[key] = left
        else:
            del self._held[key]


def source_of(host: str) -> str:
    """The key under which a remote host is limited: an IPv4 address, or the /64 of an IPv6 one.

    One subscriber holds a whole /64 (RFC 6177), so single IPv6 addresses would limit nobody.
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64)) + "/64"
