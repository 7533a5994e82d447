"""Which kind of interface a node has: the first of those wanted that this machine allows, found out by trying."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import trio

from tunnel.model.errors import DeviceDenied
from tunnel.model.interface_kind import InterfaceKind
from tunnel.network.packet_devices import PacketDevice, PacketDevices

_log = logging.getLogger(__name__)


class InterfaceChoice:
    """`open_device` chooses; from then on `kind` and `reason` tell what it chose."""

    def __init__(self, kinds: Sequence[InterfaceKind], devices: Mapping[InterfaceKind, PacketDevices]) -> None:
        """`kinds`: those wanted, the best first. `devices` makes them; without one for PYTHON there is no interface."""
        self._kinds = tuple(kinds)
        self._devices = devices
        self.kind = self._kinds[0]
        """The chosen kind; before that the first wanted."""
        self.reason: str | None = None
        """Why the kinds before it were not possible, with the remedies; None if it is the first."""

    @property
    def is_alone(self) -> bool:
        """Whether the interface shares no network with this machine, so that nothing here can clash with it."""
        return self.kind is not InterfaceKind.KERNEL

    async def open_device(
        self, name: str, mtu: int, addresses: Sequence[str], routes: Sequence[str]
    ) -> PacketDevice | None:
        """The interface; None if the node has to do without. Raises DeviceError: no kind is possible, a wrong name."""
        await trio.lowlevel.checkpoint()
        refusals: list[str] = []
        for kind in self._kinds:
            devices = self._devices.get(kind)
            try:
                if devices is None and kind is not InterfaceKind.PYTHON:
                    raise DeviceDenied(f"this program has no interface of the kind {kind.value!r}")
                device = None if devices is None else await devices.open_device(name, mtu, addresses, routes)
            except DeviceDenied as error:
                if kind is self._kinds[-1]:
                    raise
                refusals.append(str(error).removesuffix(error.alternative))
            else:
                self.kind, self.reason = kind, "; ".join(refusals) or None
                if self.reason is not None:
                    _log.warning("the interface is of kind %s: %s", kind.value, self.reason)
                return device
        raise AssertionError("no kind of interface is wanted")
