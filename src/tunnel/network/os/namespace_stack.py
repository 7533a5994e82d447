"""A kernel stack of our own, without any privilege: a TUN interface in a network namespace that is ours alone.

    programs under `run`, sockets of ours  -->  kernel stack of the namespace  -->  its TUN  -->  this process

It is an interface of the kernel like the other (tun_devices.py), offloads included, only in another namespace, where
there is nothing but it and loopback. So nothing there clashes with what this machine has, and nothing of this machine
can be reached from there. The process that makes sockets in it may die: then it is started again, and nothing breaks.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from tunnel.model.errors import DeviceDenied
from tunnel.model.offload import Offload
from tunnel.network.os import netlink
from tunnel.network.os.namespace_client import Namespace
from tunnel.network.os.tun_descriptor import CLONE_DEVICE, make_interface
from tunnel.network.os.tun_devices import RealDevice


class NamespaceDevices:
    """Makes a namespace for each interface."""

    def __init__(self, without: frozenset[Offload] = frozenset(), clone_device: str = CLONE_DEVICE) -> None:
        """`without`: offloads that are not used though the kernel may have them."""
        self._without = without
        self._clone_device = clone_device

    async def open_device(
        self, name: str, mtu: int, addresses: Sequence[str], routes: Sequence[str]
    ) -> NamespaceDevice:
        """An interface that is up, in a namespace of its own. Raises DeviceError with the remedy."""
        namespace = Namespace(self._clone_device)
        try:
            descriptor = await namespace.make()
            made = make_interface(descriptor, name, self._without)
            device = NamespaceDevice(descriptor, *made, mtu, namespace=namespace)
        except BaseException:
            namespace.close()
            raise
        try:
            _bring_loopback_up(namespace)
            await device.link.set_up(addresses, routes)
        except OSError as error:
            device.close()
            raise DeviceDenied(f"the interface {name} in a namespace of our own cannot be set up: {error}") from error
        except BaseException:
            device.close()
            raise
        return device


class NamespaceDevice(RealDevice):
    """A TUN interface in its namespace, which ends with it."""

    def __init__(
        self, descriptor: int, name: str, offloads: frozenset[Offload], mtu: int, *, namespace: Namespace
    ) -> None:
        super().__init__(descriptor, name, offloads, mtu, source=namespace, is_alone=True)
        self.namespace = namespace

    def close(self) -> None:
        """Remove the interface, and end the process. The namespace ends with the last socket in it."""
        super().close()
        self.namespace.close()


def _bring_loopback_up(namespace: Namespace) -> None:
    """Programs in the namespace expect it. Raises OSError."""
    with netlink.Netlink(namespace) as kernel:
        link = netlink.LINK.pack(socket.AF_UNSPEC, 0, kernel.index_of("lo"), netlink.IFF_UP, netlink.IFF_UP)
        kernel.execute(netlink.NEW_LINK, 0, link)
