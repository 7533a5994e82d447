"""TUN interfaces of the kernel: made by ioctl, set up by rtnetlink. The one file that knows /dev/net/tun."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import logging
import os
import socket
import struct
from collections.abc import Sequence

import trio

from tunnel.model.errors import DeviceError
from tunnel.network import netlink
from tunnel.network.ports import BATCH

CLONE_DEVICE = "/dev/net/tun"
MAX_PACKET = 65536
MAX_NAME_BYTES = 15

# Linux <if_tun.h>, <if_link.h>, <if_addr.h>, <rtnetlink.h>
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI, _IFF_TUN_EXCL = 0x0001, 0x1000, 0x8000
_IFLA_MTU, _IFLA_AF_SPEC = 4, 26
_IFLA_INET6_ADDR_GEN_MODE, _NO_LINK_LOCAL = 8, 1
_IFA_F_NODAD = 0x02
_TABLE_MAIN, _PROTOCOL_STATIC, _SCOPE_LINK, _SCOPE_UNIVERSE = 254, 4, 253, 0


REACHABLE_PATIENCE = 1.0
REACHABLE_PAUSE = 0.005

NO_PRIVILEGE = "run as root, or give Python `setcap cap_net_admin+ep`, or use --userspace"

_log = logging.getLogger(__name__)


class RealDevices:
    """Makes TUN interfaces of the kernel; they vanish with their last descriptor, so with the process."""

    async def open_device(self, name: str, mtu: int, addresses: Sequence[str], routes: Sequence[str]) -> RealDevice:
        """A TUN interface that is up. Raises DeviceError with the remedy."""
        await trio.lowlevel.checkpoint()
        descriptor, actual = _open_tun(name)
        try:
            _set_up(actual, mtu, addresses, routes)
            await _wait_reachable(actual, addresses)
        except OSError as error:
            os.close(descriptor)
            raise DeviceError(
                f"the interface {actual} cannot be set up: netlink is closed to this process ({error.strerror}); "
                "allow it (AF_NETLINK in a seccomp filter or in RestrictAddressFamilies=), or use --userspace"
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        return RealDevice(descriptor, actual)


class RealDevice:
    """A TUN interface of the kernel."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name

    @property
    def name(self) -> str:
        """The interface's name."""
        return self._name

    async def read_batch(self) -> list[bytes]:
        """Wait for at least one packet; at most BATCH."""
        batch: list[bytes] = []
        while not batch:
            self._check_open()
            await trio.lowlevel.wait_readable(self._descriptor)
            try:
                while len(batch) < BATCH:
                    batch.append(os.read(self._descriptor, MAX_PACKET))
            except BlockingIOError:
                pass
            except OSError as error:
                if not batch:
                    raise trio.BrokenResourceError(f"{self._name}: {error.strerror}") from error
        return batch

    def write_nowait(self, packet: bytes) -> bool:
        """Hand one packet to the kernel. False: it took it not (no IP packet, queue full, interface down)."""
        self._check_open()
        try:
            os.write(self._descriptor, packet)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Remove the interface."""
        if self._descriptor >= 0:
            trio.lowlevel.notify_closing(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _check_open(self) -> None:
        if self._descriptor < 0:
            raise trio.ClosedResourceError


def _open_tun(name: str) -> tuple[int, str]:
    """A descriptor and the name that the kernel gave."""
    encoded = name.encode()
    if not 0 < len(encoded) <= MAX_NAME_BYTES or "/" in name or any(character.isspace() for character in name):
        raise DeviceError(f"{name!r} is no interface name: at most {MAX_NAME_BYTES} characters, no space, no slash")
    try:
        descriptor = os.open(CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DeviceError(_cannot_open(error)) from error
    try:
        request = struct.pack("16sH22x", encoded, _IFF_TUN | _IFF_NO_PI | _IFF_TUN_EXCL)
        granted = fcntl.ioctl(descriptor, _TUNSETIFF, request)
    except OSError as error:
        os.close(descriptor)
        raise DeviceError(_cannot_make(name, error)) from error
    return descriptor, granted[:16].partition(b"\0")[0].decode()


def _cannot_open(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"there is no {CLONE_DEVICE}: load the module (`modprobe tun`), or use --userspace"
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"no right to open {CLONE_DEVICE}: {NO_PRIVILEGE}"
    return f"{CLONE_DEVICE} cannot be opened: {error.strerror}"


def _cannot_make(name: str, error: OSError) -> str:
    if error.errno in (errno.EBUSY, errno.EEXIST, errno.EINVAL):
        return f"an interface {name} exists already, or that name cannot be used: choose another one with --tun"
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"no right to make the interface {name}: {NO_PRIVILEGE}"
    return f"the interface {name} cannot be made: {error.strerror}"


def _set_up(name: str, mtu: int, addresses: Sequence[str], routes: Sequence[str]) -> None:
    index = socket.if_nametoindex(name)
    with netlink.Netlink() as kernel:
        _no_link_local(kernel, index)
        try:
            link = netlink.LINK.pack(socket.AF_UNSPEC, 0, index, netlink.IFF_UP, netlink.IFF_UP)
            kernel.execute(netlink.NEW_LINK, 0, link + netlink.attribute(_IFLA_MTU, struct.pack("=I", mtu)))
        except OSError as error:
            raise DeviceError(f"{name} cannot be set up with an MTU of {mtu}: {error.strerror}") from error
        connected = [_add_address(kernel, name, index, address) for address in addresses]
        for route in routes:
            network = ipaddress.ip_network(route)
            if network not in connected:  # the kernel has made that route together with the address
                _add_route(kernel, name, index, network)


def _no_link_local(kernel: netlink.Netlink, index: int) -> None:
    """The tunnel carries its members' addresses only: no link-local one, no router solicitations."""
    mode = netlink.attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes([_NO_LINK_LOCAL]))
    family = netlink.attribute(socket.AF_INET6 | netlink.NESTED, mode)
    body = netlink.LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0) + netlink.attribute(
        _IFLA_AF_SPEC | netlink.NESTED, family
    )
    try:
        kernel.execute(netlink.NEW_LINK, 0, body)
    except OSError as error:
        _log.debug("no way to switch off link-local addresses: %s", error.strerror)


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


async def _wait_reachable(name: str, addresses: Sequence[str]) -> None:
    """The kernel makes an IPv6 address its own a moment after it gave it; packets to it are lost until then."""
    waiting = [address.ip for address in map(ipaddress.ip_interface, addresses) if address.version == 6]
    with trio.move_on_after(REACHABLE_PATIENCE), netlink.Netlink() as kernel:
        while waiting := [ip for ip in waiting if not _is_local(kernel, ip)]:  # noqa: ASYNC110 - the kernel tells nobody
            await trio.sleep(REACHABLE_PAUSE)
    if waiting:
        _log.debug("%s: %s is not reachable yet", name, waiting)


def _is_local(kernel: netlink.Netlink, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    question = netlink.ROUTE.pack(socket.AF_INET6, 128, 0, 0, 0, 0, 0, 0, 0)
    try:
        answer = kernel.ask(netlink.GET_ROUTE, question + netlink.attribute(netlink.RTA_DST, address.packed))
    except OSError:
        return True  # IPv6 is switched off: there is nothing to wait for
    return bool(netlink.ROUTE.unpack_from(answer.body)[7] == netlink.LOCAL)


def _add_address(kernel: netlink.Netlink, name: str, index: int, text: str) -> Network:
    interface = ipaddress.ip_interface(text)
    is_ipv6 = interface.version == 6
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    body = netlink.ADDRESS.pack(family, interface.network.prefixlen, 0, _SCOPE_UNIVERSE, index)
    for kind in (netlink.IFA_LOCAL, netlink.IFA_ADDRESS):
        body += netlink.attribute(kind, interface.ip.packed)
    if is_ipv6:
        body += netlink.attribute(
            netlink.IFA_FLAGS, struct.pack("=I", _IFA_F_NODAD)
        )  # usable at once; nobody else is there
    try:
        kernel.execute(netlink.NEW_ADDRESS, netlink.CREATE | netlink.EXCLUSIVE, body)
    except OSError as error:
        if is_ipv6 and error.errno in (errno.EACCES, errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
            _log.warning("IPv6 is switched off on this machine: %s goes without %s", name, interface.ip)
        else:
            raise DeviceError(f"{name} cannot have the address {text}: {error.strerror}") from error
    return interface.network


def _add_route(kernel: netlink.Netlink, name: str, index: int, network: Network) -> None:
    is_ipv6 = network.version == 6
    family, scope = (socket.AF_INET6, _SCOPE_UNIVERSE) if is_ipv6 else (socket.AF_INET, _SCOPE_LINK)
    body = netlink.ROUTE.pack(family, network.prefixlen, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, scope, netlink.UNICAST, 0)
    body += netlink.attribute(netlink.RTA_DST, network.network_address.packed)
    body += netlink.attribute(netlink.RTA_OIF, struct.pack("=i", index))
    try:
        kernel.execute(netlink.NEW_ROUTE, netlink.CREATE | netlink.EXCLUSIVE, body)
    except OSError as error:
        if is_ipv6 and error.errno in (errno.EACCES, errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.ENODEV):
            return
        taken = "; another interface has that route: see `ip route`" if error.errno == errno.EEXIST else ""
        raise DeviceError(f"{name} cannot have the route {network}: {error.strerror}{taken}") from error
