"""The first kind of interface that this machine allows is taken, and what the others would need is told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tunnel.model.errors import DeviceDenied, DeviceError
from tunnel.model.interface_kind import InterfaceKind
from tunnel.network.interface_choice import InterfaceChoice
from tunnel.network.packet_devices import PacketDevice, PacketDevices
from tunnel.verify.memory.devices import MemoryDevices

KERNEL, NAMESPACE, PYTHON = InterfaceKind.KERNEL, InterfaceKind.NAMESPACE, InterfaceKind.PYTHON


class Failing:
    """Makes no interface."""

    def __init__(self, error: DeviceError) -> None:
        self._error = error

    async def open_device(self, name: str, mtu: int, addresses: Sequence[str], routes: Sequence[str]) -> PacketDevice:
        raise self._error


NO_RIGHT = Failing(DeviceDenied("no right: run as root, or use --userspace"))
NO_TUN = Failing(DeviceDenied("no /dev/net/tun: load it"))


async def opened(choice: InterfaceChoice) -> PacketDevice | None:
    return await choice.open_device("p2pt0", 1400, (), ())


@pytest.mark.parametrize(
    ("kernel", "namespace", "kind", "reason"),
    [
        (MemoryDevices(), NO_TUN, KERNEL, None),
        (NO_RIGHT, MemoryDevices(), NAMESPACE, "no right: run as root"),
        (NO_RIGHT, NO_TUN, PYTHON, "no right: run as root; no /dev/net/tun: load it"),
    ],
    ids=["kernel", "namespace", "python"],
)
async def test_the_first_that_is_allowed_is_taken_and_the_reason_is_told_once(
    kernel: PacketDevices,
    namespace: PacketDevices,
    kind: InterfaceKind,
    reason: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    choice = InterfaceChoice([KERNEL, NAMESPACE, PYTHON], {KERNEL: kernel, NAMESPACE: namespace})
    assert (await opened(choice) is None) is (kind is PYTHON)
    assert (choice.kind, choice.reason, choice.is_alone) == (kind, reason, kind is not KERNEL)
    told = [f"the interface is of kind {kind.value}: {reason}"] if reason else []
    assert caplog.messages == told


async def test_what_nobody_could_cure_by_another_kind_is_an_error() -> None:
    """Somebody who may have an interface, and named one that exists, wants no other."""
    choice = InterfaceChoice([KERNEL, PYTHON], {KERNEL: Failing(DeviceError("p2pt0 exists already"))})
    with pytest.raises(DeviceError, match="exists already"):
        await opened(choice)


@pytest.mark.parametrize("devices", [{NAMESPACE: NO_TUN}, {}], ids=["refused", "unknown here"])
async def test_the_only_kind_that_is_wanted_is_an_error_where_it_is_not_allowed(
    devices: dict[InterfaceKind, PacketDevices],
) -> None:
    choice = InterfaceChoice([NAMESPACE], devices)
    with pytest.raises(DeviceDenied):
        await opened(choice)
    assert choice.reason is None
