"""This machine's addresses and default routes, and word of their changes, from the kernel by rtnetlink."""

from __future__ import annotations

import ipaddress
import socket
import sys

import trio

from tunnel.network import netlink
from tunnel.network.ports import Gateway
from tunnel.network.real_gateways import read_gateways

DEBOUNCE = 0.1
"""Seconds to let a burst of changes pass (an interface that comes up makes a dozen)."""

_TENTATIVE, _DUPLICATE = 0x40, 0x08

Snapshot = tuple[tuple[str, ...], tuple[tuple[int, bytes, bytes], ...]]


class RealInterfaces:
    """Asks the kernel."""

    def addresses(self) -> tuple[str, ...]:
        """Numeric unicast addresses of all interfaces that are up, sorted, without zones; IPv6 ones once usable."""
        with netlink.Netlink() as kernel:
            return _addresses(kernel)

    def gateways(self) -> tuple[Gateway, ...]:
        """The routers of the default routes, the preferred one of each family first."""
        with netlink.Netlink() as kernel:
            return read_gateways(kernel)

    async def wait_change(self) -> None:
        """Return when addresses or default routes differ from when the wait began."""
        with netlink.open_watch() as watch:
            before = _snapshot()
            while True:
                await trio.lowlevel.wait_readable(watch)
                await trio.sleep(DEBOUNCE)
                _drain(watch)
                if _snapshot() != before:
                    return


def _snapshot() -> Snapshot:
    with netlink.Netlink() as kernel:
        return _addresses(kernel), _default_routes(kernel)


def _addresses(kernel: netlink.Netlink) -> tuple[str, ...]:
    up = set()
    for message in kernel.dump(netlink.GET_LINK, netlink.LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        _, _, index, flags, _ = netlink.LINK.unpack_from(message.body)
        if flags & netlink.IFF_UP:
            up.add(index)
    found = set()
    for message in kernel.dump(netlink.GET_ADDRESS, netlink.ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        _, _, short_flags, _, index = netlink.ADDRESS.unpack_from(message.body)
        attributes = message.attributes(netlink.ADDRESS)
        flags = int.from_bytes(attributes.get(netlink.IFA_FLAGS, bytes([short_flags])), sys.byteorder)
        # On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL is absent for IPv6.
        packed = attributes.get(netlink.IFA_LOCAL, attributes.get(netlink.IFA_ADDRESS))
        if packed is not None and index in up and not flags & (_TENTATIVE | _DUPLICATE):
            found.add(str(ipaddress.ip_address(packed)))
    return tuple(sorted(found))


def _default_routes(kernel: netlink.Netlink) -> tuple[tuple[int, bytes, bytes], ...]:
    """(family, gateway, interface) of each."""
    found = set()
    for message in kernel.dump(netlink.GET_ROUTE, netlink.ROUTE.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0)):
        family, destination_bits, _, _, _, _, _, kind, _ = netlink.ROUTE.unpack_from(message.body)
        if destination_bits == 0 and kind == netlink.UNICAST:
            attributes = message.attributes(netlink.ROUTE)
            found.add((family, attributes.get(netlink.RTA_GATEWAY, b""), attributes.get(netlink.RTA_OIF, b"")))
    return tuple(sorted(found))


def _drain(watch: socket.socket) -> None:
    while True:
        try:
            watch.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            continue  # ENOBUFS: more happened than the socket could hold; the snapshot will tell
