"""The addresses and routes of our TUN interface: set up by rtnetlink, watched, and restored when they are removed.

`ip link set down`, `ip address flush` and network managers remove addresses and routes from interfaces that they regard
as theirs. What could not be set up at first (IPv6 on a machine without it) is not restored later.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeAlias

import trio

from tunnel.model.errors import DeviceError
from tunnel.network.os import netlink
from tunnel.network.os.socket_source import HERE, SocketSource
from tunnel.wire.records import MAX_SUPERPACKET

QUEUE_PACKETS = 128
"""Packets or superpackets that wait for us: some 5 ms of the fastest stream. The kernel drops what comes in addition,
by which TCP learns of it.
"""
DEBOUNCE = 0.1
"""Seconds to wait for a burst of changes to end."""
REACHABLE_PATIENCE = 1.0
REACHABLE_PAUSE = 0.005
GONE = "the interface itself"
HELPER = "the process that makes its sockets"
DOWN = "the state up"
SMALL = "the MTU of {}"
"""A larger one lets packets in that no record holds."""

LEAST_FOR_IPV6 = 1280
"""With a smaller one the kernel takes IPv6 from an interface."""

# Linux <if_link.h>, <if_addr.h>, <rtnetlink.h>
_IFLA_MTU, _IFLA_TXQLEN, _IFLA_AF_SPEC, _IFLA_GSO_MAX_SIZE, _IFLA_GSO_IPV4_MAX_SIZE = 4, 13, 26, 41, 63
_IFLA_INET6_ADDR_GEN_MODE, _NO_LINK_LOCAL = 8, 1
_IFA_F_NODAD = 0x02
_PROTOCOL_STATIC, _SCOPE_LINK, _SCOPE_UNIVERSE = 4, 253, 0
_NO_IPV6 = (errno.EACCES, errno.EAFNOSUPPORT, errno.EOPNOTSUPP)

_log = logging.getLogger(__name__)

Address: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class RealTunLink:
    """One interface.

    `remake()` recreates it after it was removed; it raises DeviceError. `readdressed()` is called when its addresses
    have changed. `source` makes sockets in the network namespace of the interface.
    """

    def __init__(
        self,
        name: str,
        mtu: int,
        *,
        remake: Callable[[], None],
        readdressed: Callable[[], None] = lambda: None,
        source: SocketSource = HERE,
    ) -> None:
        self._name = name
        self._mtu = mtu
        self._small = SMALL.format(mtu)
        self._remake = remake
        self._readdressed = readdressed
        self._source = source
        self._index = 0
        self._addresses: tuple[Address, ...] = ()
        self._routes: tuple[Network, ...] = ()
        self._expected: frozenset[str] = frozenset()

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Those that it should have."""
        return self._addresses

    def leads_to(self, host: str) -> bool:
        """Whether this numeric address is routed to the interface, as far as we have routed it."""
        address = ipaddress.ip_address(host)
        return any(address in network for network in self._networks() if network.version == address.version)

    async def set_up(self, addresses: Sequence[str], routes: Sequence[str]) -> None:
        """Bring a new interface up with these. Raises DeviceError, and OSError if netlink is forbidden."""
        self._change(addresses, routes)
        await self._wait_reachable()

    def readdress(self, addresses: Sequence[str], routes: Sequence[str]) -> None:
        """Replace its addresses and routes by these. Raises DeviceError."""
        with suppress(DeviceError):
            if self._source.is_ended:
                self._source.rejoin()
        try:
            self._change(addresses, routes)
        except OSError:  # the interface is gone, or the process: `restore` sets them up later
            self._expected = frozenset(self._wanted())
        self._readdressed()

    def _change(self, addresses: Sequence[str], routes: Sequence[str]) -> None:
        former, led = self._addresses, self._routes
        self._addresses = tuple(map(ipaddress.ip_interface, addresses))
        self._routes = tuple(map(ipaddress.ip_network, routes))
        with netlink.Netlink(self._source) as kernel:
            is_new = not self._index
            self._index = self._index or kernel.index_of(self._name)
            for address in former:
                if address not in self._addresses and str(address) in self._present(kernel):
                    kernel.execute(netlink.DEL_ADDRESS, 0, _address_body(address, self._index))
            for network in led:
                if network not in self._routes and _told(network) in self._expected:
                    _remove_route(kernel, network, self._index)
            self._put_back(kernel, is_new=is_new)
            self._expected = frozenset(self._wanted()) & self._present(kernel)

    async def wait_disturbed(self) -> tuple[str, ...]:
        """Return when something is missing: what, in words."""
        while not (missing := self.missing()):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wait_source, nursery.cancel_scope)
                await self._wait_missing()
                nursery.cancel_scope.cancel()
        return missing

    async def _wait_source(self, waiting: trio.CancelScope) -> None:
        await self._source.wait_ended()
        waiting.cancel()

    async def _wait_missing(self) -> None:
        try:
            with netlink.open_watch(self._source) as watch:
                while not self.missing():
                    await trio.lowlevel.wait_readable(watch)
                    await trio.sleep(DEBOUNCE)
                    netlink.drain(watch)
        except OSError:
            if not self._source.is_ended:
                raise

    def restore(self) -> None:
        """Put back what is missing. Raises DeviceError with the reason."""
        if self._source.is_ended:
            self._source.rejoin()
        is_gone = GONE in self.missing()
        if is_gone:
            self._remake()
        try:
            with netlink.Netlink(self._source) as kernel:
                if is_gone:
                    self._index = kernel.index_of(self._name)
                self._put_back(kernel, is_new=is_gone)
        except OSError as error:
            raise DeviceError(f"{self._name} cannot be set up again: {error.strerror}") from error

    def missing(self) -> tuple[str, ...]:
        """What it should have but lacks, in words. A smaller MTU is left to whoever set it."""
        if self._source.is_ended:
            return (HELPER,)
        with netlink.Netlink(self._source) as kernel:
            try:
                present = self._present(kernel)
            except OSError:
                return (GONE,)
        return tuple(wanted for wanted in self._wanted() if wanted in self._expected and wanted not in present)

    def _wanted(self) -> tuple[str, ...]:
        return (DOWN, self._small, *map(str, self._addresses), *(_told(network) for network in self._networks()))

    def _networks(self) -> tuple[Network, ...]:
        """The networks that should be routed to this interface."""
        return tuple(dict.fromkeys((*(address.network for address in self._addresses), *self._routes)))

    def _present(self, kernel: netlink.Netlink) -> frozenset[str]:
        """What the interface has, in the same words. Raises OSError when it is gone."""
        flags, mtu = _flags_and_mtu(kernel, self._index)
        up = (DOWN,) if flags & netlink.IFF_UP else ()
        small = (self._small,) if mtu <= self._mtu else ()
        return frozenset(
            (*up, *small, *_addresses_of(kernel, self._index), *map(_told, _networks_of(kernel, self._index)))
        )

    def _put_back(self, kernel: netlink.Netlink, *, is_new: bool) -> None:
        _no_link_local(kernel, self._index)
        sizes = [(_IFLA_TXQLEN, QUEUE_PACKETS)]
        least = LEAST_FOR_IPV6 if any(address.version == 6 for address in self._addresses) else 0
        if is_new or not least <= _flags_and_mtu(kernel, self._index)[1] <= self._mtu:
            sizes.append((_IFLA_MTU, self._mtu))
        try:
            link = netlink.LINK.pack(socket.AF_UNSPEC, 0, self._index, netlink.IFF_UP, netlink.IFF_UP)
            link += b"".join(netlink.attribute(kind, struct.pack("=I", size)) for kind, size in sizes)
            kernel.execute(netlink.NEW_LINK, 0, link)
        except OSError as error:
            raise DeviceError(f"{self._name} cannot be set up with an MTU of {self._mtu}: {error.strerror}") from error
        _limit_superpackets(kernel, self._index)
        present = self._present(kernel)
        for address in self._addresses:
            if str(address) not in present:
                self._add_address(kernel, address)
        present = self._present(kernel)  # the kernel makes routes together with addresses
        for network in self._networks():
            is_own = any(address.network == network for address in self._addresses)
            if _told(network) not in present and (not is_own or _told(network) in self._expected):
                self._lead(kernel, network)

    def _add_address(self, kernel: netlink.Netlink, address: Address) -> None:
        try:
            kernel.execute(netlink.NEW_ADDRESS, netlink.CREATE | netlink.EXCLUSIVE, _address_body(address, self._index))
        except OSError as error:
            if address.version == 6 and error.errno in _NO_IPV6:
                _log.warning("IPv6 is switched off on this machine: %s goes without %s", self._name, address.ip)
            else:
                raise DeviceError(f"{self._name} cannot have the address {address}: {error.strerror}") from error

    def _lead(self, kernel: netlink.Netlink, network: Network) -> None:
        """Route a network to this interface. A route that another interface has stays there, and is logged."""
        body = _route_body(network, self._index)
        try:
            kernel.execute(netlink.NEW_ROUTE, netlink.CREATE | netlink.EXCLUSIVE, body)
        except OSError as error:
            if network.version == 6 and error.errno in (*_NO_IPV6, errno.ENODEV):
                return
            if error.errno != errno.EEXIST:
                raise DeviceError(f"{self._name} cannot have the route {network}: {error.strerror}") from error
            _log.warning("%s stays without %s: another interface has it (`ip route`)", self._name, _told(network))

    async def _wait_reachable(self) -> None:
        """Wait until the kernel accepts packets to its IPv6 addresses, a moment after it assigned them."""
        waiting = [address.ip for address in self._addresses if address.version == 6]
        with trio.move_on_after(REACHABLE_PATIENCE), netlink.Netlink(self._source) as kernel:
            while waiting := [ip for ip in waiting if not _is_local(kernel, ip)]:  # noqa: ASYNC110 - there is no event
                await trio.sleep(REACHABLE_PAUSE)
        if waiting:
            _log.debug("%s: %s is not reachable yet", self._name, waiting)


def _flags_and_mtu(kernel: netlink.Netlink, index: int) -> tuple[int, int]:
    """Raises OSError when the interface is gone."""
    link = kernel.ask(netlink.GET_LINK, netlink.LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0))
    _, _, _, flags, _ = netlink.LINK.unpack_from(link.body)
    (mtu,) = struct.unpack("=I", link.attributes(netlink.LINK)[_IFLA_MTU])
    return flags, mtu


def _told(network: Network) -> str:
    return f"the route to {network}"


def _addresses_of(kernel: netlink.Netlink, wanted: int) -> Iterator[str]:
    for message in kernel.dump(netlink.GET_ADDRESS, netlink.ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        _, bits, _, _, index = netlink.ADDRESS.unpack_from(message.body)
        attributes = message.attributes(netlink.ADDRESS)
        packed = attributes.get(netlink.IFA_LOCAL, attributes.get(netlink.IFA_ADDRESS))
        if index == wanted and packed is not None:
            yield str(ipaddress.ip_interface((packed, bits)))


def _networks_of(kernel: netlink.Netlink, wanted: int) -> Iterator[Network]:
    for message in kernel.dump(netlink.GET_ROUTE, netlink.ROUTE.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0)):
        _, bits, _, _, table, _, _, kind, _ = netlink.ROUTE.unpack_from(message.body)
        if kind != netlink.UNICAST or table != netlink.MAIN_TABLE:
            continue
        attributes = message.attributes(netlink.ROUTE)
        packed = attributes.get(netlink.RTA_DST)
        if attributes.get(netlink.RTA_OIF) == struct.pack("=i", wanted) and packed is not None:
            yield ipaddress.ip_network((packed, bits), strict=False)


def _route_body(network: Network, index: int) -> bytes:
    is_ipv6 = network.version == 6
    family, scope = (socket.AF_INET6, _SCOPE_UNIVERSE) if is_ipv6 else (socket.AF_INET, _SCOPE_LINK)
    body = netlink.ROUTE.pack(
        family, network.prefixlen, 0, 0, netlink.MAIN_TABLE, _PROTOCOL_STATIC, scope, netlink.UNICAST, 0
    )
    body += netlink.attribute(netlink.RTA_DST, network.network_address.packed)
    return body + netlink.attribute(netlink.RTA_OIF, struct.pack("=i", index))


def _remove_route(kernel: netlink.Netlink, network: Network, index: int) -> None:
    try:
        kernel.execute(netlink.DEL_ROUTE, 0, _route_body(network, index))
    except OSError as error:
        _log.debug("no way to remove %s: %s", _told(network), error.strerror)


def _address_body(address: Address, index: int) -> bytes:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    body = netlink.ADDRESS.pack(family, address.network.prefixlen, 0, _SCOPE_UNIVERSE, index)
    for kind in (netlink.IFA_LOCAL, netlink.IFA_ADDRESS):
        body += netlink.attribute(kind, address.ip.packed)
    if address.version == 6:  # usable at once; no other host is there
        body += netlink.attribute(netlink.IFA_FLAGS, struct.pack("=I", _IFA_F_NODAD))
    return body


def _no_link_local(kernel: netlink.Netlink, index: int) -> None:
    """No link-local address and no router solicitations: the tunnel carries only its members' addresses."""
    mode = netlink.attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes([_NO_LINK_LOCAL]))
    family = netlink.attribute(socket.AF_INET6 | netlink.NESTED, mode)
    body = netlink.LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0) + netlink.attribute(
        _IFLA_AF_SPEC | netlink.NESTED, family
    )
    try:
        kernel.execute(netlink.NEW_LINK, 0, body)
    except OSError as error:
        _log.debug("no way to switch off link-local addresses: %s", error.strerror)


def _limit_superpackets(kernel: netlink.Netlink, index: int) -> None:
    """No superpacket is larger than a record. Without that they are split."""
    body = netlink.LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)
    for attribute in (_IFLA_GSO_MAX_SIZE, _IFLA_GSO_IPV4_MAX_SIZE):
        try:
            kernel.execute(netlink.NEW_LINK, 0, body + netlink.attribute(attribute, struct.pack("=I", MAX_SUPERPACKET)))
        except OSError as error:
            _log.debug("no way to limit superpackets: %s", error.strerror)


def _is_local(kernel: netlink.Netlink, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    question = netlink.ROUTE.pack(socket.AF_INET6, 128, 0, 0, 0, 0, 0, 0, 0)
    try:
        answer = kernel.ask(netlink.GET_ROUTE, question + netlink.attribute(netlink.RTA_DST, address.packed))
    except OSError:
        return True  # IPv6 is switched off: there is nothing to wait for
    return bool(netlink.ROUTE.unpack_from(answer.body)[7] == netlink.LOCAL)
