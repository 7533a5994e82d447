"""The port to TUN interfaces. The real one is in network/os/, the in-memory one in verify/memory/."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


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
    """A TUN interface: whole IP packets."""

    @property
    def link(self) -> PacketLink:
        """Its addresses and routes."""
        ...

    @property
    def name(self) -> str:
        """The interface's name."""
        ...

    async def read_batch(self) -> list[bytes]:
        """Wait for at least one packet; at most `ports.BATCH`."""
        ...

    def write_nowait(self, packet: bytes) -> bool:
        """Hand one packet to the kernel. False: the kernel did not take it."""
        ...

    def close(self) -> None:
        """Remove the interface."""
        ...


class PacketDevices(Protocol):
    """Makes TUN interfaces."""

    async def open_device(self, name: str, mtu: int, addresses: Sequence[str], routes: Sequence[str]) -> PacketDevice:
        """A TUN interface that is up, with `addresses` (ADDR/PREFIX) and `routes` (PREFIX). Raises DeviceError."""
        ...
