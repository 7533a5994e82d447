"""A router by itself, and a look at the ports that it has opened."""

from __future__ import annotations

import random

from tunnel.model.endpoint import Endpoint
from tunnel.model.transport import Transport
from tunnel.verify.memory.internet import MemoryInternet
from tunnel.verify.reachability.topology import Gateway, Nat, Router
from tunnel.verify.simulation.internet.router import RouterBox

OUTSIDE = "25.1.0.1"
STRANGER = Endpoint("192.168.1.99", 99)
"""A host that holds ports, so that no other can have them."""
FOR_EVER = 1e9
LOOKED_AT = (1024, *range(5000, 5100), *range(6000, 6100), *range(7000, 7100), *range(40_000, 40_100), 65_535)


def make_router(gateway: Gateway, nat: Nat | None = None) -> RouterBox:
    """A router with nothing on its outside."""
    internet = MemoryInternet(seed=0)
    spec = Router(address=OUTSIDE, inner="192.168.1.1", gateway=gateway, nat=nat or Nat())
    return RouterBox("router", spec, outside=internet, ether=internet, chance=random.Random("router"), names={})


def take_ports(router: RouterBox, *ports: int) -> None:
    """Let another host hold these UDP ports."""
    for port in ports:
        assert router.statics.add_static(Transport.UDP, port, STRANGER, FOR_EVER)


def open_ports(router: RouterBox, transport: Transport = Transport.UDP) -> dict[int, Endpoint]:
    """What is open now of the ports that tests ask for, and where it leads; the stranger's ports are left out."""
    entries = {port: router.statics.at(transport, port) for port in LOOKED_AT}
    return {port: entry.inner for port, entry in entries.items() if entry is not None and entry.inner != STRANGER}
