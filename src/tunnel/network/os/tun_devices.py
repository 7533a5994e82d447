"""TUN interfaces of the kernel: created by ioctl (tun_descriptor.py), set up by rtnetlink (tun_link.py).

With the offloads that the kernel has: a frame is then a superpacket of up to 60 KiB behind a virtio-net header (Linux
<if_tun.h>, <virtio_net.h>). A kernel that lacks some leaves more work to us (dataplane/superpacket.py).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence

import trio

from tunnel.model.buffers import Buffer
from tunnel.model.errors import DeviceDenied
from tunnel.model.offload import Offload
from tunnel.network.datagrams import BATCH, BATCH_BYTES
from tunnel.network.os.kernel_sockets import KernelSockets
from tunnel.network.os.socket_source import HERE, SocketSource
from tunnel.network.os.tun_descriptor import OR_USERSPACE, attach, open_tun, set_offloads
from tunnel.network.os.tun_link import RealTunLink
from tunnel.wire.virtio import PLAIN_BIT, VIRTIO_BYTES

MAX_FRAME = 65536 + VIRTIO_BYTES
_NO_HEADER = bytes(VIRTIO_BYTES)


class RealDevices:
    """Creates TUN interfaces; the kernel removes them with their last descriptor, so at the latest with the process."""

    def __init__(self, without: frozenset[Offload] = frozenset()) -> None:
        """`without`: offloads that are not used though the kernel may have them."""
        self._without = without

    async def open_device(self, name: str, mtu: int, addresses: Sequence[str], routes: Sequence[str]) -> RealDevice:
        """A TUN interface that is up. Raises DeviceError with the remedy."""
        await trio.lowlevel.checkpoint()
        device = RealDevice(*open_tun(name, self._without), mtu)
        try:
            await device.link.set_up(addresses, routes)
        except OSError as error:
            device.close()
            raise DeviceDenied(
                f"the interface {device.name} cannot be set up: netlink is closed to this process ({error.strerror}); "
                f"allow it (AF_NETLINK in a seccomp filter or in RestrictAddressFamilies=){OR_USERSPACE}"
            ) from error
        except BaseException:
            device.close()
            raise
        return device


class RealDevice:
    """A TUN interface of the kernel. If it is removed, reads wait until `link.restore` has recreated it."""

    def __init__(
        self,
        descriptor: int,
        name: str,
        offloads: frozenset[Offload],
        mtu: int,
        *,
        source: SocketSource = HERE,
        is_alone: bool = False,
    ) -> None:
        """`source` makes sockets in the interface's network namespace. `is_alone`: there is no other interface."""
        self._descriptor = descriptor
        self._name = name
        self._offloads = offloads
        self._has_header = Offload.TUN_HEADER in offloads
        self._buffer = bytearray(MAX_FRAME)
        self._view = memoryview(self._buffer)
        self._remade = trio.lowlevel.ParkingLot()
        self.link = RealTunLink(name, mtu, remake=self._attach_again, readdressed=self._drop_former, source=source)
        self.sockets = KernelSockets(self.link, source, bound_to="" if is_alone else name)

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
        """Remove the interface, and close its sockets."""
        if self._descriptor >= 0:
            trio.lowlevel.notify_closing(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            self._remade.unpark_all()
            self.sockets.close()

    def _attach_again(self) -> None:
        """Attach the open descriptor to a new interface."""
        self._check_open()
        attach(self._descriptor, self._name, self._has_header)
        if self._has_header:
            set_offloads(self._descriptor, self._offloads)
        self._remade.unpark_all()
        self.sockets.renew()

    def _drop_former(self) -> None:
        self.sockets.drop_former()

    def _check_open(self) -> None:
        if self._descriptor < 0:
            raise trio.ClosedResourceError
