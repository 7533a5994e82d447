"""TUN interfaces of the kernel: created by ioctl, set up by rtnetlink (tun_link.py). The one file with /dev/net/tun.

With the offloads that the kernel has: a frame is then a superpacket of up to 60 KiB behind a virtio-net header (Linux
<if_tun.h>, <virtio_net.h>). A kernel that lacks some leaves more work to us (dataplane/superpacket.py).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence

import trio

from tunnel.model.buffers import Buffer
from tunnel.model.errors import DeviceError
from tunnel.model.offload import TUN_OFFLOADS, Offload
from tunnel.network.datagrams import BATCH, BATCH_BYTES
from tunnel.network.os.tun_link import RealTunLink
from tunnel.wire.virtio import PLAIN_BIT, VIRTIO_BYTES

CLONE_DEVICE = "/dev/net/tun"
MAX_FRAME = 65536 + VIRTIO_BYTES
MAX_NAME_BYTES = 15

# Linux <if_tun.h>
_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD, _TUNSETVNETHDRSZ, _TUNSETVNETLE = 0x400454D0, 0x400454D8, 0x400454DC
_IFF_TUN, _IFF_NO_PI, _IFF_TUN_EXCL, _IFF_VNET_HDR = 0x0001, 0x1000, 0x8000, 0x4000
_TUN_F_CSUM, _TUN_F_TSO4, _TUN_F_TSO6, _TUN_F_TSO_ECN, _TUN_F_USO4, _TUN_F_USO6 = 0x01, 0x02, 0x04, 0x08, 0x20, 0x40
_NO_HEADER = bytes(VIRTIO_BYTES)

NO_PRIVILEGE = "run as root, or give Python `setcap cap_net_admin+ep`, or use --userspace"


class RealDevices:
    """Creates TUN interfaces; the kernel removes them with their last descriptor, so at the latest with the process."""

    def __init__(self, without: frozenset[Offload] = frozenset()) -> None:
        """`without`: offloads that are not used though the kernel may have them."""
        self._without = without

    async def open_device(self, name: str, mtu: int, addresses: Sequence[str], routes: Sequence[str]) -> RealDevice:
        """A TUN interface that is up. Raises DeviceError with the remedy."""
        await trio.lowlevel.checkpoint()
        device = RealDevice(*_open_tun(name, self._without), mtu)
        try:
            await device.link.set_up(addresses, routes)
        except OSError as error:
            device.close()
            raise DeviceError(
                f"the interface {device.name} cannot be set up: netlink is closed to this process ({error.strerror}); "
                "allow it (AF_NETLINK in a seccomp filter or in RestrictAddressFamilies=), or use --userspace"
            ) from error
        except BaseException:
            device.close()
            raise
        return device


class RealDevice:
    """A TUN interface of the kernel. If it is removed, reads wait until `link.restore` has recreated it."""

    def __init__(self, descriptor: int, name: str, offloads: frozenset[Offload], mtu: int) -> None:
        self._descriptor = descriptor
        self._name = name
        self._offloads = offloads
        self._has_header = Offload.TUN_HEADER in offloads
        self._buffer = bytearray(MAX_FRAME)
        self._view = memoryview(self._buffer)
        self._remade = trio.lowlevel.ParkingLot()
        self.link = RealTunLink(name, mtu, remake=self._attach_again)

    @property
    def name(self) -> str:
        """The interface's name."""
        return self._name

    @property
    def offloads(self) -> frozenset[Offload]:
        """What the kernel does on it."""
        return self._offloads

    async def read_batch(self) -> Iterator[memoryview]:
        """Wait for at least one frame; at most BATCH, each read when it is taken."""
        while True:
            self._check_open()
            await trio.lowlevel.wait_readable(self._descriptor)
            try:
                size = os.readv(self._descriptor, [self._buffer])
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno == errno.EINVAL:
                    continue  # the kernel dropped a packet for which there is no virtio header (tun_put_user)
                if error.errno != errno.EBADFD:
                    raise trio.BrokenResourceError(f"{self._name}: {error.strerror}") from error
                await self._remade.park()  # removed; `link.wait_disturbed` reports it
                continue
            return self._read_on(size)

    def read_nowait(self) -> Iterable[memoryview]:
        """What waits now: at most BATCH frames, each read when it is taken."""
        try:
            return self._read_on(os.readv(self._descriptor, [self._buffer]))
        except OSError:  # nothing, or closed; a failure shows again at the next wait
            return ()

    def _read_on(self, size: int) -> Iterator[memoryview]:
        view, descriptor, buffers = self._view, self._descriptor, [self._buffer]
        left = BATCH_BYTES
        for _ in range(BATCH - 1):
            yield view[:size]
            left -= size
            if left <= 0:
                return
            try:
                size = os.readv(descriptor, buffers)
            except OSError:  # empty now; a failure shows again at the next wait
                return
        yield view[:size]

    def write_nowait(self, frame: Buffer) -> bool:
        """Hand one frame to the kernel. False: it did not take it (not an IP packet, queue full, interface down)."""
        self._check_open()
        try:
            if self._has_header and frame[0] & PLAIN_BIT:
                os.writev(self._descriptor, (_NO_HEADER, frame))
            else:
                os.write(self._descriptor, frame)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Remove the interface."""
        if self._descriptor >= 0:
            trio.lowlevel.notify_closing(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            self._remade.unpark_all()

    def _attach_again(self) -> None:
        """Attach the open descriptor to a new interface."""
        self._check_open()
        _attach(self._descriptor, self._name, self._has_header)
        if self._has_header:
            _set_offloads(self._descriptor, self._offloads)
        self._remade.unpark_all()

    def _check_open(self) -> None:
        if self._descriptor < 0:
            raise trio.ClosedResourceError


def _open_tun(name: str, without: frozenset[Offload]) -> tuple[int, str, frozenset[Offload]]:
    """A descriptor, the name that the kernel assigned, and what it does on it."""
    encoded = name.encode()
    if not 0 < len(encoded) <= MAX_NAME_BYTES or "/" in name or any(character.isspace() for character in name):
        raise DeviceError(f"{name!r} is no interface name: at most {MAX_NAME_BYTES} characters, no space, no slash")
    try:
        descriptor = os.open(CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DeviceError(_cannot_open(error)) from error
    try:
        wanted = TUN_OFFLOADS - without if Offload.TUN_HEADER not in without else frozenset[Offload]()
        granted = _attach(descriptor, name, Offload.TUN_HEADER in wanted)
        return descriptor, granted, _set_offloads(descriptor, wanted)
    except DeviceError:
        os.close(descriptor)
        raise


def _attach(descriptor: int, name: str, has_header: bool) -> str:
    """Create an interface; returns the name that the kernel assigned. Raises DeviceError."""
    flags = _IFF_TUN | _IFF_NO_PI | _IFF_TUN_EXCL | (_IFF_VNET_HDR if has_header else 0)
    try:
        request = struct.pack("16sH22x", name.encode(), flags)
        granted = fcntl.ioctl(descriptor, _TUNSETIFF, request)
    except OSError as error:
        raise DeviceError(_cannot_make(name, error)) from error
    return granted[:16].partition(b"\0")[0].decode()


def _set_offloads(descriptor: int, wanted: frozenset[Offload]) -> frozenset[Offload]:
    """Switch on what is wanted and the kernel has; returns that."""
    if Offload.TUN_HEADER not in wanted:
        return frozenset()
    fcntl.ioctl(descriptor, _TUNSETVNETHDRSZ, struct.pack("=i", VIRTIO_BYTES))
    if sys.byteorder == "big":
        fcntl.ioctl(descriptor, _TUNSETVNETLE, struct.pack("=i", 1))
    tcp = _TUN_F_TSO4 | _TUN_F_TSO6 | _TUN_F_TSO_ECN if Offload.TCP_SEGMENTATION in wanted else 0
    udp = _TUN_F_USO4 | _TUN_F_USO6 if Offload.UDP_SEGMENTATION in wanted else 0
    for flags, lacking in ((tcp | udp, frozenset[Offload]()), (tcp, frozenset({Offload.UDP_SEGMENTATION}))):
        try:
            fcntl.ioctl(descriptor, _TUNSETOFFLOAD, _TUN_F_CSUM | flags)
        except OSError:
            continue
        return wanted - lacking
    return frozenset({Offload.TUN_HEADER})


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
