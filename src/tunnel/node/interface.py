"""The node's TUN interface: opened before anything is sent, and made anew when the server leases another address."""

from __future__ import annotations

from tunnel.carriers.tun_plane import TunPlane
from tunnel.machines.pulse import Pulse
from tunnel.network.background import run_beside
from tunnel.network.ports import PacketDevice, PacketDevices
from tunnel.node.lease import Lease


class Interface:
    """`await open()` first: it finds out whether this machine lets us; then `run()`."""

    def __init__(
        self, name: str, mtu: int, lease: Lease, pulse: Pulse, *, devices: PacketDevices, plane: TunPlane
    ) -> None:
        self._name = name
        self._mtu = mtu
        self._lease = lease
        self._pulse = pulse
        self._devices = devices
        self._plane = plane
        self._device: PacketDevice | None = None

    async def open(self) -> None:
        """Make it, with the addresses that we know so far. Raises DeviceError: no privilege, name taken."""
        self._device = await self._devices.open_device(self._name, self._mtu, self._lease.interfaces, ())

    async def run(self) -> None:
        """Carry its packets until cancelled. Raises DeviceError when it vanishes or cannot have a new address."""
        while True:
            device, addresses = self._device, self._lease.interfaces
            assert device is not None
            async with run_beside(lambda device=device: self._plane.carry(device)):  # type: ignore[misc]
                await self._pulse.wait_until(lambda addresses=addresses: self._lease.interfaces != addresses)  # type: ignore[misc]
            await self.open()

    def close(self) -> None:
        """Remove it."""
        if self._device is not None:
            self._device.close()
            self._device = None
