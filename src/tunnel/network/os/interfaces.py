"""This machine's addresses and routes, and notice of their changes, from the kernel by rtnetlink."""

from __future__ import annotations

import ipaddress
import logging
import socket
import sys

import trio

from tunnel.model.endpoint import packed_host
from tunnel.model.routes import Gateway, Route
from tunnel.network.os import netlink, without_netlink
from tunnel.network.os.gateways import read_gateways
from tunnel.network.os.interface_ranking import Rank, leads_into_nested, read_links
from tunnel.network.os.routes import read_resolvers, read_routes

DEBOUNCE = 0.1
"""Seconds to wait for a burst of changes to end (an interface that comes up makes a dozen)."""

LOOK_AGAIN = 15.0
"""Seconds between two looks if the kernel cannot notify us of changes."""

_TENTATIVE, _DUPLICATE = 0x40, 0x08
_log = logging.getLogger(__name__)

Snapshot = tuple[tuple[str, ...], tuple[tuple[int, bytes, bytes], ...]]


class RealInterfaces:
    """Asks the kernel by netlink; if that is forbidden, without it (without_netlink.py), which tells less."""

    def __init__(self) -> None:
        self._is_told = False

    def addresses(self) -> tuple[str, ...]:
        """Numeric unicast addresses of all interfaces that are up, without zones; IPv6 ones once usable."""
        try:
            with netlink.Netlink() as kernel:
                return _addresses(kernel)
        except OSError as error:
            self._tell(error)
            return without_netlink.read_addresses()

    def is_nested(self, host: str) -> bool:
        """Whether packets to this address leave by an interface that encapsulates them; False if that is not known."""
        try:
            with netlink.Netlink() as kernel:
                return leads_into_nested(kernel, packed_host(host))
        except OSError as error:
            self._tell(error)
            return False

    def gateways(self) -> tuple[Gateway, ...]:
        """The routers of the default routes, the preferred one of each family first."""
        try:
            with netlink.Netlink() as kernel:
                return read_gateways(kernel)
        except OSError as error:
            self._tell(error)
            return without_netlink.read_gateways()

    def routes(self) -> tuple[Route, ...]:
        """All IPv4 routes but default ones; none if netlink is forbidden."""
        try:
            with netlink.Netlink() as kernel:
                return read_routes(kernel)
        except OSError as error:
            self._tell(error)
            return ()

    def resolvers(self) -> tuple[str, ...]:
        """The resolvers of /etc/resolv.conf, and of systemd-resolved behind it."""
        return read_resolvers()

    async def wait_change(self) -> None:
        """Return when addresses or default routes differ from when the wait began."""
        try:
            watch = netlink.open_watch()
        except OSError as error:
            self._tell(error)
            await self._look_often()
            return
        with watch:
            before = _snapshot()
            while True:
                await trio.lowlevel.wait_readable(watch)
                await trio.sleep(DEBOUNCE)
                netlink.drain(watch)
                if _snapshot() != before:
                    return

    async def _look_often(self) -> None:
        before = self.addresses(), self.gateways()
        while (self.addresses(), self.gateways()) == before:  # noqa: ASYNC110 - there is no event
            await trio.sleep(LOOK_AGAIN)

    def _tell(self, error: OSError) -> None:
        if not self._is_told:
            self._is_told = True
            _log.warning(
                "netlink cannot be used here (%s): changes of addresses and routes are noticed %g s late, and no "
                "pinhole is asked for in an IPv6 router",
                error.strerror,
                LOOK_AGAIN,
            )


def _snapshot() -> Snapshot:
    with netlink.Netlink() as kernel:
        return tuple(sorted(_addresses(kernel))), _default_routes(kernel)


def _addresses(kernel: netlink.Netlink) -> tuple[str, ...]:
    links = read_links(kernel)
    ways_out = {int.from_bytes(interface, sys.byteorder) for _, _, interface in _default_routes(kernel)}
    ranks: dict[str, Rank] = {}
    for message in kernel.dump(netlink.GET_ADDRESS, netlink.ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        _, _, short_flags, _, index = netlink.ADDRESS.unpack_from(message.body)
        attributes = message.attributes(netlink.ADDRESS)
        flags = int.from_bytes(attributes.get(netlink.IFA_FLAGS, bytes([short_flags])), sys.byteorder)
        # On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL is absent for IPv6.
        packed = attributes.get(netlink.IFA_LOCAL, attributes.get(netlink.IFA_ADDRESS))
        link = links.get(index)
        if packed is None or link is None or not link.is_up or flags & (_TENTATIVE | _DUPLICATE):
            continue
        address, rank = str(ipaddress.ip_address(packed)), link.rank(ways_out)
        ranks[address] = min(rank, ranks.get(address, rank))
    return tuple(sorted(ranks, key=lambda address: (ranks[address], address)))


def _default_routes(kernel: netlink.Netlink) -> tuple[tuple[int, bytes, bytes], ...]:
    """(family, gateway, interface) of each."""
    found = set()
    for message in kernel.dump(netlink.GET_ROUTE, netlink.ROUTE.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0)):
        family, destination_bits, _, _, _, _, _, kind, _ = netlink.ROUTE.unpack_from(message.body)
        if destination_bits == 0 and kind == netlink.UNICAST:
            attributes = message.attributes(netlink.ROUTE)
            found.add((family, attributes.get(netlink.RTA_GATEWAY, b""), attributes.get(netlink.RTA_OIF, b"")))
    return tuple(sorted(found))
