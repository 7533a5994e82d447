"""The real `World`: every port with the operating system behind it."""

from __future__ import annotations

import os
from pathlib import Path

from tunnel.model.interface_kind import InterfaceKind
from tunnel.model.offload import Offload
from tunnel.model.proxies import Proxies
from tunnel.network.memory_store import MemoryStore
from tunnel.network.no_port_mapper import NoPortMapper
from tunnel.network.os.controls import RealControls
from tunnel.network.os.datagrams import RealDatagrams
from tunnel.network.os.interfaces import RealInterfaces
from tunnel.network.os.machine import RealClock, RealEntropy, RealStore
from tunnel.network.os.namespace_stack import NamespaceDevices
from tunnel.network.os.port_mapper import RealPortMapper
from tunnel.network.os.resolver import RealResolver
from tunnel.network.os.service_sockets import RealServiceSockets
from tunnel.network.os.streams import RealStreams
from tunnel.network.os.tun_devices import RealDevices
from tunnel.network.os.upnp_call import is_installed
from tunnel.network.ports import World


def real_world(state: Path | None, without: frozenset[Offload] = frozenset()) -> World:
    """All ports of this machine. Files are kept in `state`; with None nothing outlives the process.

    `without`: offloads of the kernel that are not used.
    """
    interfaces = RealInterfaces()
    return World(
        datagrams=RealDatagrams(without),
        services=RealServiceSockets(without),
        streams=RealStreams(),
        resolver=RealResolver(),
        interfaces=interfaces,
        clock=RealClock(),
        entropy=RealEntropy(),
        store=MemoryStore() if state is None else RealStore(state),
        devices=RealDevices(without),
        controls=RealControls(),
        port_mapper=RealPortMapper(interfaces) if is_installed() else NoPortMapper(is_installed=False),
        proxies=Proxies(os.environ),
        userspace={InterfaceKind.NAMESPACE: NamespaceDevices(without)},
    )
