"""TUN interfaces in memory: the test is the application and the kernel behind them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import trio

from tunnel.model.buffers import Buffer
from tunnel.model.errors import DeviceError
from tunnel.model.offload import Offload
from tunnel.network.datagrams import BATCH
from tunnel.verify.memory.tunnel_sockets import MemoryTunnel
from tunnel.wire.virtio import GSO_NONE, PLAIN_BIT, VIRTIO_BYTES

QUEUE = 512
"""The most packets that wait in each direction; the kernel's default for TUN is of that order."""
DEBOUNCE = 0.1
"""Seconds after which a change that the kernel reported is acted on."""


class MemoryLink:
    """The addresses and routes that an interface should have, and those it has. `lose` removes some."""

    def __init__(self, addresses: Sequence[str], routes: Sequence[str]) -> None:
        self.present: tuple[str, ...] = ()
        self.is_stubborn = False
        """Nothing can be restored: the right to do so is gone."""
        self.gaps: list[float] = []
        """The seconds for which something was missing, each time."""
        self._lost_at = 0.0
        self._changed = trio.lowlevel.ParkingLot()
        self._set(addresses, routes)

    @property
    def missing(self) -> tuple[str, ...]:
        """What it should have and has not."""
        return tuple(each for each in (*self.addresses, *self.routes) if each not in self.present)

    def lose(self, *lost: str) -> None:
        """Remove these, or all if none is named."""
        if not self.missing:
            self._lost_at = trio.current_time()
        self.present = tuple(each for each in self.present if lost and each not in lost)
        self._changed.unpark_all()

    def gaps_until(self, now: float) -> list[float]:
        """The seconds for which something was missing, each time; the last interval may still be open."""
        return [*self.gaps, now - self._lost_at] if self.missing else self.gaps

    async def wait_disturbed(self) -> tuple[str, ...]:
        """Wait until something is missing, and return it."""
        await trio.lowlevel.checkpoint()
        while not self.missing:
            await self._changed.park()
            await trio.sleep(DEBOUNCE)
        return self.missing

    def restore(self) -> None:
        """Restore what is missing. Raises DeviceError if that is forbidden."""
        if self.is_stubborn:
            raise DeviceError("no right to change the interface")
        self.gaps.append(trio.current_time() - self._lost_at)
        self.present = (*self.addresses, *self.routes)

    def readdress(self, addresses: Sequence[str], routes: Sequence[str]) -> None:
        """Have these addresses and routes from now on."""
        self._set(addresses, routes)

    def _set(self, addresses: Sequence[str], routes: Sequence[str]) -> None:
        self.addresses, self.routes = tuple(addresses), tuple(routes)
        self.present = (*self.addresses, *self.routes)


class MemoryDevice:
    """The double of a TUN interface. An application sends with `inject` and receives with `wait_written`."""

    def __init__(
        self, name: str, mtu: int, addresses: Sequence[str], routes: Sequence[str], devices: MemoryDevices
    ) -> None:
        self.name = name
        self.mtu = mtu
        self.link = MemoryLink(addresses, routes)
        self.sockets = devices.tunnel.sockets(lambda: [address.partition("/")[0] for address in self.addresses])
        self._devices = devices
        self._outgoing: deque[bytes] = deque()
        self._written: deque[bytes] = deque()
        self._changed = trio.lowlevel.ParkingLot()
        self._closed = False

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that it should have, ADDRESS/PREFIX each."""
        return self.link.addresses

    @property
    def routes(self) -> tuple[str, ...]:
        """The routes that it should have, beside those of its addresses."""
        return self.link.routes

    async def read_batch(self) -> list[bytes]:
        """Wait for at least one injected packet; at most BATCH."""
        await trio.lowlevel.checkpoint()
        while not self._outgoing:
            self._check_open()
            await self._changed.park()
        return self.read_nowait()

    def read_nowait(self) -> list[bytes]:
        """What waits now; at most BATCH packets."""
        return [self._outgoing.popleft() for _ in range(min(len(self._outgoing), BATCH))]

    @property
    def offloads(self) -> frozenset[Offload]:
        """Those of the host. With any, each frame that is read has a virtio header."""
        return self._devices.offloads

    def write_nowait(self, frame: Buffer) -> bool:
        """Keep a frame for `wait_written`, unless one of the `takers` has it. False: its queue is full."""
        self._check_open()
        kept = bytes(frame)
        if self._devices.on_written is not None:
            self._devices.on_written(kept)
        if any(takes(kept) for takes in self._devices.takers):
            return True
        if len(self._written) >= QUEUE:
            return False
        self._written.append(kept)
        self._changed.unpark_all()
        return True

    def close(self) -> None:
        """Remove the interface."""
        if not self._closed:
            self._closed = True
            self._outgoing.clear()
            self._devices.forget(self)
            self._changed.unpark_all()

    def inject(self, frame: bytes) -> bool:
        """Send a packet as an application does, or a frame as a kernel with offloads does.

        False: it is longer than the MTU, or the queue is full.
        """
        self._check_open()
        has_header = bool(self.offloads) and not frame[0] & PLAIN_BIT
        is_superpacket = has_header and frame[1] != GSO_NONE
        is_longer = len(frame) - has_header * VIRTIO_BYTES > self.mtu
        if (is_longer and not is_superpacket) or len(self._outgoing) >= QUEUE:
            return False
        if self._devices.on_given is not None:
            self._devices.on_given(frame)
        self._outgoing.append(bytes(VIRTIO_BYTES) + frame if self.offloads and not has_header else bytes(frame))
        self._changed.unpark_all()
        return True

    async def wait_written(self) -> bytes:
        """The next frame that came through the tunnel."""
        await trio.lowlevel.checkpoint()
        while not self._written:
            self._check_open()
            await self._changed.park()
        return self._written.popleft()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError


class MemoryDevices:
    """The TUN interfaces of one host; `open` has them by name.

    `takers` are called with each frame that comes out of the tunnel, and return whether they took it; `on_given` with
    each that applications send, `on_written` with each that comes out.
    """

    def __init__(self, tunnel: MemoryTunnel | None = None) -> None:
        """`tunnel` has the sockets of all hosts; without one those of this host reach only each other."""
        self.open: dict[str, MemoryDevice] = {}
        self.tunnel = tunnel or MemoryTunnel()
        self.offloads: frozenset[Offload] = frozenset()
        """What the interfaces pass beside plain packets."""
        self.takers: list[Callable[[bytes], bool]] = []
        self.on_given: Callable[[bytes], None] | None = None
        self.on_written: Callable[[bytes], None] | None = None

    async def open_device(self, name: str, mtu: int, addresses: Sequence[str], routes: Sequence[str]) -> MemoryDevice:
        """An interface. Raises DeviceError if the name is taken."""
        await trio.lowlevel.checkpoint()
        if name in self.open:
            raise DeviceError(f"an interface {name} exists already: choose another name with --tun")
        device = self.open[name] = MemoryDevice(name, mtu, addresses, routes, self)
        return device

    def forget(self, device: MemoryDevice) -> None:
        """Its name is free."""
        del self.open[device.name]

    def close_all(self) -> None:
        """Remove every interface."""
        for device in list(self.open.values()):
            device.close()
