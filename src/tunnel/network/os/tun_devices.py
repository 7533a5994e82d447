"""TUN interfaces of the kernel: created by ioctl, set up by rtnetlink (tun_link.py). The one file with /dev/net/tun."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Sequence

import trio

from tunnel.model.errors import DeviceError
from tunnel.network.os.tun_link import RealTunLink
from tunnel.network.ports import BATCH

CLONE_DEVICE = "/dev/net/tun"
MAX_PACKET = 65536
MAX_NAME_BYTES = 15

# Linux <if_tun.h>
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI, _IFF_TUN_EXCL = 0x0001, 0x1000, 0x8000

NO_PRIVILEGE = "run as root, or give Python `setcap cap_net_admin+ep`, or use --userspace"


class RealDevices:
    """Creates TUN interfaces; the kernel removes them with their last descriptor, so at the latest with the process."""

    async def open_device(self, name: str, mtu: int, addresses: Sequence[str], routes: Sequence[str]) -> RealDevice:
        """A TUN interface that is up. Raises DeviceError with the remedy."""
        await trio.lowlevel.checkpoint()
        device = RealDevice(*_open_tun(name), mtu)
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

    def __init__(self, descriptor: int, name: str, mtu: int) -> None:
        self._descriptor = descriptor
        self._name = name
        self._remade = trio.lowlevel.ParkingLot()
        self.link = RealTunLink(name, mtu, remake=self._attach_again)

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
                if not batch and error.errno == errno.EBADFD:  # removed; `link.wait_disturbed` reports it
                    await self._remade.park()
                elif not batch:
                    raise trio.BrokenResourceError(f"{self._name}: {error.strerror}") from error
        return batch

    def write_nowait(self, packet: bytes) -> bool:
        """Hand one packet to the kernel. False: it did not take it (not an IP packet, queue full, interface down)."""
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
            self._remade.unpark_all()

    def _attach_again(self) -> None:
        """Attach the open descriptor to a new interface."""
        self._check_open()
        _attach(self._descriptor, self._name)
        self._remade.unpark_all()

    def _check_open(self) -> None:
        if self._descriptor < 0:
            raise trio.ClosedResourceError


def _open_tun(name: str) -> tuple[int, str]:
    """A descriptor, and the name that the kernel assigned."""
    encoded = name.encode()
    if not 0 < len(encoded) <= MAX_NAME_BYTES or "/" in name or any(character.isspace() for character in name):
        raise DeviceError(f"{name!r} is no interface name: at most {MAX_NAME_BYTES} characters, no space, no slash")
    try:
        descriptor = os.open(CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DeviceError(_cannot_open(error)) from error
    try:
        return descriptor, _attach(descriptor, name)
    except DeviceError:
        os.close(descriptor)
        raise


def _attach(descriptor: int, name: str) -> str:
    """Create an interface; returns the name that the kernel assigned. Raises DeviceError."""
    try:
        request = struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI | _IFF_TUN_EXCL)
        granted = fcntl.ioctl(descriptor, _TUNSETIFF, request)
    except OSError as error:
        raise DeviceError(_cannot_make(name, error)) from error
    return granted[:16].partition(b"\0")[0].decode()


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
