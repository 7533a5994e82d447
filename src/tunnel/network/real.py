"""The real world: every port with the operating system behind it."""

from __future__ import annotations

import os
from pathlib import Path

from tunnel.model.proxies import Proxies
from tunnel.network.igd_errand import is_installed
from tunnel.network.memory_machine import MemoryStore, NoPortMapper
from tunnel.network.ports import World
from tunnel.network.real_controls import RealControls
from tunnel.network.real_datagrams import RealDatagrams
from tunnel.network.real_devices import RealDevices
from tunnel.network.real_interfaces import RealInterfaces
from tunnel.network.real_machine import RealClock, RealEntropy, RealStore
from tunnel.network.real_port_mapper import RealPortMapper
from tunnel.network.real_resolver import RealResolver
from tunnel.network.real_service_sockets import RealServiceSockets
from tunnel.network.real_streams import RealStreams


def real_world(state: Path | None) -> World:
    """All ports of this machine. Files are kept in `state`; with None nothing outlives the process."""
    interfaces = RealInterfaces()
    return World(
        datagrams=RealDatagrams(),
        services=RealServiceSockets(),
        streams=RealStreams(),
        resolver=RealResolver(),
        interfaces=interfaces,
        clock=RealClock(),
        entropy=RealEntropy(),
        store=MemoryStore() if state is None else RealStore(state),
        devices=RealDevices(),
        controls=RealControls(),
        port_mapper=RealPortMapper(interfaces) if is_installed() else NoPortMapper(is_installed=False),
        proxies=Proxies(os.environ),
    )
