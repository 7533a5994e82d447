"""The descriptor of a TUN interface: opening it, making an interface on it, and the offloads that the kernel has.

Linux <if_tun.h>. The one file with /dev/net/tun.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys

from tunnel.model.errors import DeviceDenied, DeviceError
from tunnel.model.offload import TUN_OFFLOADS, Offload
from tunnel.wire.virtio import VIRTIO_BYTES

CLONE_DEVICE = "/dev/net/tun"
MAX_NAME_BYTES = 15

_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD, _TUNSETVNETHDRSZ, _TUNSETVNETLE = 0x400454D0, 0x400454D8, 0x400454DC
_IFF_TUN, _IFF_NO_PI, _IFF_TUN_EXCL, _IFF_VNET_HDR = 0x0001, 0x1000, 0x8000, 0x4000
_TUN_F_CSUM, _TUN_F_TSO4, _TUN_F_TSO6, _TUN_F_TSO_ECN, _TUN_F_USO4, _TUN_F_USO6 = 0x01, 0x02, 0x04, 0x08, 0x20, 0x40

OR_USERSPACE = DeviceDenied.alternative
NO_PRIVILEGE = f"run as root, or give Python `setcap cap_net_admin+ep`{OR_USERSPACE}"


def open_tun(name: str, without: frozenset[Offload]) -> tuple[int, str, frozenset[Offload]]:
    """A descriptor, the name that the kernel assigned, and what it does on it. Raises DeviceError with the remedy."""
    encoded = name.encode()
    if not 0 < len(encoded) <= MAX_NAME_BYTES or "/" in name or any(character.isspace() for character in name):
        raise DeviceError(f"{name!r} is no interface name: at most {MAX_NAME_BYTES} characters, no space, no slash")
    try:
        descriptor = os.open(CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DeviceDenied(_cannot_open(error)) from error
    try:
        return descriptor, *make_interface(descriptor, name, without)
    except BaseException:
        os.close(descriptor)
        raise


def make_interface(descriptor: int, name: str, without: frozenset[Offload]) -> tuple[str, frozenset[Offload]]:
    """The name that the kernel assigned to the interface, and what it does on it. Raises DeviceError."""
    wanted = TUN_OFFLOADS - without if Offload.TUN_HEADER not in without else frozenset[Offload]()
    return attach(descriptor, name, Offload.TUN_HEADER in wanted), set_offloads(descriptor, wanted)


def attach(descriptor: int, name: str, has_header: bool) -> str:
    """Create an interface; returns the name that the kernel assigned. Raises DeviceError."""
    flags = _IFF_TUN | _IFF_NO_PI | _IFF_TUN_EXCL | (_IFF_VNET_HDR if has_header else 0)
    try:
        request = struct.pack("16sH22x", name.encode(), flags)
        granted = fcntl.ioctl(descriptor, _TUNSETIFF, request)
    except PermissionError as error:
        raise DeviceDenied(f"no right to make the interface {name}: {NO_PRIVILEGE}") from error
    except OSError as error:
        raise DeviceError(_cannot_make(name, error)) from error
    return granted[:16].partition(b"\0")[0].decode()


def set_offloads(descriptor: int, wanted: frozenset[Offload]) -> frozenset[Offload]:
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
        return f"there is no {CLONE_DEVICE}: load the module (`modprobe tun`){OR_USERSPACE}"
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"no right to open {CLONE_DEVICE}: {NO_PRIVILEGE}"
    return f"{CLONE_DEVICE} cannot be opened: {error.strerror}"


def _cannot_make(name: str, error: OSError) -> str:
    if error.errno in (errno.EBUSY, errno.EEXIST, errno.EINVAL):
        return f"an interface {name} exists already, or that name cannot be used: choose another one with --tun"
    return f"the interface {name} cannot be made: {error.strerror}"
