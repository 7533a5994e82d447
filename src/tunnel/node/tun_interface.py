"""The node's interface: opened before anything is sent, given each new lease, and kept as it should be.

A person, a script or a network manager may remove addresses or routes, switch the interface off or delete it. They are
put back each time, later if it happens often; the log and `status` say so.
"""

from __future__ import annotations

import logging

import trio

from tunnel.machines.notifier import Notifier
from tunnel.model.errors import DeviceError
from tunnel.model.interface_kind import InterfaceStatus
from tunnel.model.offload import Offload
from tunnel.model.timings import Timings, rung
from tunnel.network.interface_choice import InterfaceChoice
from tunnel.network.packet_devices import PacketDevice
from tunnel.network.sockets import Sockets
from tunnel.node.pool_routes import PoolRoutes
from tunnel.riders.tun_plane import TunPlane

log = logging.getLogger(__name__)

NOTED = 3600.0
"""Seconds for which `status` tells of a change that was undone."""
OFTEN = 3
"""After so many changes it is no accident, and the remedy is named."""
REMEDY = "find out who does it; NetworkManager leaves it alone after `nmcli device set {name} managed no`"


class Interface:
    """`await open()` first, which finds out whether this machine allows it; then `run()`."""

    def __init__(
        self,
        name: str,
        mtu: int,
        pool: PoolRoutes,
        notifier: Notifier,
        *,
        timings: Timings,
        choice: InterfaceChoice,
        plane: TunPlane,
    ) -> None:
        self._name = name
        self._mtu = mtu
        self._pool = pool
        self._notifier = notifier
        self._timings = timings
        self._choice = choice
        self._plane = plane
        self._device: PacketDevice | None = None
        self._has: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._disturbances = 0
        self._restored = float("-inf")
        self._lost = ""
        self._trouble = ""

    async def open(self) -> None:
        """Make it, with the addresses that are known so far. Raises DeviceError: no privilege, name taken."""
        self._has = self._pool.wanted()
        self._device = await self._choice.open_device(self._name, self._mtu, *self._has)

    @property
    def is_open(self) -> bool:
        """Whether there is one: a node may have to do without."""
        return self._device is not None

    @property
    def sockets(self) -> Sockets:
        """TCP and UDP on the tunnel's addresses. Raises DeviceError if there is no interface."""
        if self._device is None:
            raise DeviceError("this node has no interface, so no TCP and no UDP in the tunnel")
        return self._device.sockets

    @property
    def status(self) -> InterfaceStatus:
        """What it is, and why."""
        name = "" if self._device is None else self._device.name
        return InterfaceStatus(self._choice.kind, name, self._choice.reason)

    @property
    def offloads(self) -> frozenset[Offload]:
        """What the kernel does on it."""
        return frozenset() if self._device is None else self._device.offloads

    @property
    def notes(self) -> tuple[str, ...]:
        """What others did to it, and what became of that, for people."""
        is_over = not self._trouble and trio.current_time() - self._restored > NOTED
        if not self._disturbances or is_over:
            return ()
        is_often = self._disturbances >= OFTEN and not self._choice.is_alone
        often = f"; {REMEDY.format(name=self._name)}" if is_often else ""
        times = "once" if self._disturbances == 1 else f"{self._disturbances} times"
        outcome = self._trouble or "it was put back"
        return (f"somebody changed {self._name} {times} and removed {self._lost}: {outcome}{often}",)

    async def run(self) -> None:
        """Carry its packets until cancelled; return if there is none. Raises DeviceError: it got no new address."""
        device = self._device
        if device is None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._plane.carry, device)
            nursery.start_soon(self._keep, device)
            while True:
                await self._notifier.wait_until(lambda: self._pool.wanted() != self._has)
                self._has = self._pool.wanted()
                device.link.readdress(*self._has)

    def close(self) -> None:
        """Remove it."""
        if self._device is not None:
            self._device.close()
            self._device = None

    async def _keep(self, device: PacketDevice) -> None:
        """Put back what is removed: at once, and after longer waits if that happens again and again."""
        attempt = 0
        while True:
            lost = await device.link.wait_disturbed()
            if trio.current_time() - self._restored > self._timings.interface_calm:
                attempt = 0
            await trio.sleep(rung(self._timings.interface_restores, attempt))
            attempt += 1
            self._note(", ".join(lost))
            try:
                device.link.restore()
            except DeviceError as error:
                self._trouble = f"it cannot be put back: {error}"
                log.warning("interface not restored interface=%s error=%s", self._name, error)
            else:
                self._trouble = ""
            self._restored = trio.current_time()
            self._notifier.notify()

    def _note(self, lost: str) -> None:
        """Logged the 1st, 2nd, 4th, 8th ... time."""
        self._disturbances += 1
        self._lost = lost
        if self._disturbances & (self._disturbances - 1) == 0:
            log.info(
                "somebody changed the interface, it is put back interface=%s lost=%s times=%d",
                self._name,
                lost,
                self._disturbances,
            )
