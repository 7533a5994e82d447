"""The port to TUN interfaces. The real one is in network/os/, the in-memory one in verify/memory/."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from tunnel.model.buffers import Buffer
from tunnel.model.offload import Offload
from tunnel.network.sockets import Sockets


class PacketLink(Protocol):
    """The state of a TUN interface: that it exists and is up, its addresses, its routes."""

    async def wait_disturbed(self) -> tuple[str, ...]:
        """Return when some of that was removed by another program: what, in words."""
        ...

    def restore(self) -> None:
        """Put back what is missing, the interface itself too. Raises DeviceError."""
        ...

    def readdress(self, addresses: Sequence[str], routes: Sequence[str]) -> None:
        """Replace the addresses and routes by these. Raises DeviceError."""
        ...


class PacketDevice(Protocol):
    """A TUN interface: frames, which are IP packets, with a virtio-net header in front if it has `TUN_HEADER`."""

    @property
    def link(self) -> PacketLink:
        """Its addresses and routes."""
        ...

    @property
    def name(self) -> str:
        """The interface's name."""
        ...

    @property
    def offloads(self) -> frozenset[Offload]:
        """What it does for us."""
        ...

    @property
    def sockets(self) -> Sockets:
        """TCP and UDP on its addresses."""
        ...

    async def read_batch(self) -> Iterable[Buffer]:
        """Wait for at least one frame. Each is valid until the next is taken, and all must be taken at once."""
        ...

    def read_nowait(self) -> Iterable[Buffer]:
        """The same without waiting, so perhaps none; also while another task waits in `read_batch`."""
        ...

    def write_nowait(self, frame: Buffer) -> bool:
        """Hand one frame to the kernel: with `TUN_HEADER` with or without a header, else without one.

        False: the kernel did not take it.
        """
        ...

    def close(self) -> None:
        """Remove the interface."""
        ...


class PacketDevices(Protocol):
    """Makes TUN interfaces."""

    async def open_device(self, name: str, mtu: int, addresses: Sequence[str], routes: Sequence[str]) -> PacketDevice:
        """A TUN interface that is up, with `addresses` (ADDR/PREFIX) and `routes` (PREFIX). Raises DeviceError."""
        ...
