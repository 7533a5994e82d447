"""The real world is put together from what this Python has."""

from __future__ import annotations

import sys

import pytest

from tunnel.model.errors import Unreachable
from tunnel.model.routes import Gateway
from tunnel.network.os.port_mapper import RealPortMapper
from tunnel.network.os.upnp_call import run_call
from tunnel.network.os.world import real_world
from tunnel.verify.memory.machine import MemoryInterfaces


async def test_without_miniupnpc_the_world_opens_no_port_by_upnp_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.14 and newer have none where nobody built it."""
    monkeypatch.setitem(sys.modules, "miniupnpc", None)
    mapper = real_world(None).port_mapper
    assert not mapper.is_installed
    with pytest.raises(Unreachable, match="miniupnpc is not installed"):
        await mapper.map_port(40000, 60)


async def test_an_upnp_call_without_miniupnpc_is_answered_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should it be taken away while the node runs."""
    interfaces = MemoryInterfaces()
    interfaces.find_gateways = lambda: (Gateway("127.0.0.1", "127.0.0.1"),)

    async def search(_: Gateway) -> str:
        return "http://127.0.0.1:1/igd.xml"

    monkeypatch.setitem(sys.modules, "miniupnpc", None)
    mapper = RealPortMapper(interfaces, search=search, run=run_call)
    assert mapper.is_installed
    with pytest.raises(Unreachable, match="miniupnpc"):
        await mapper.map_port(40000, 60)
