"""Default routes of a namespace of its own, as a router's advertisements and DHCP would set them."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest
import trio

from tunnel.model.routes import Gateway
from tunnel.network.os import netlink
from tunnel.network.os.gateways import _first_hop
from tunnel.network.os.interfaces import RealInterfaces
from tunnel.network.os.tun_devices import RealDevices

Isolated = Callable[[Callable[[], Awaitable[None]]], None]
STATIC, GLOBAL_SCOPE = 4, 0


def add_default_route(
    gateway: str | None, interface: str, *, metric: int = 0, table: int = netlink.MAIN_TABLE, source: str | None = None
) -> None:
    family = socket.AF_INET if gateway is None else (socket.AF_INET6 if ":" in gateway else socket.AF_INET)
    scope = 253 if gateway is None else GLOBAL_SCOPE
    body = netlink.ROUTE.pack(family, 0, 0, 0, table, STATIC, scope, netlink.UNICAST, 0)
    body += netlink.attribute(netlink.RTA_OIF, struct.pack("=i", socket.if_nametoindex(interface)))
    body += netlink.attribute(netlink.RTA_PRIORITY, struct.pack("=I", metric))
    if gateway is not None:
        body += netlink.attribute(netlink.RTA_GATEWAY, ipaddress.ip_address(gateway).packed)
    if source is not None:
        body += netlink.attribute(netlink.RTA_PREFSRC, ipaddress.ip_address(source).packed)
    with netlink.Netlink() as kernel:
        kernel.execute(netlink.NEW_ROUTE, netlink.CREATE, body)


@pytest.mark.netlab
def test_gateways_are_those_of_the_default_routes_the_preferred_first(run_isolated: Isolated) -> None:
    async def main() -> None:
        assert RealInterfaces().gateways() == ()
        wire = await RealDevices().open_device("wire", 1500, ["192.168.1.7/24", "2001:db8:1::7/64"], [])
        wifi = await RealDevices().open_device("wifi", 1500, ["10.0.0.7/24", "10.9.0.7/24"], [])
        add_default_route("10.9.0.1", "wifi", metric=600)
        add_default_route("192.168.1.1", "wire", metric=100)
        add_default_route("2001:db8:1::1", "wire", metric=100)
        assert RealInterfaces().gateways() == (
            Gateway("192.168.1.1", "192.168.1.7"),
            Gateway("10.9.0.1", "10.9.0.7"),
            Gateway("2001:db8:1::1", "2001:db8:1::7"),
        )
        wire.close()
        assert RealInterfaces().gateways() == (Gateway("10.9.0.1", "10.9.0.7"),)
        wifi.close()

    run_isolated(main)


@pytest.mark.netlab
def test_a_link_local_gateway_has_its_zone_and_knows_us_by_a_global_address(run_isolated: Isolated) -> None:
    async def main() -> None:
        wire = await RealDevices().open_device("wire", 1500, ["2001:db8:1::7/64", "fd00::7/64"], [])
        add_default_route("fe80::1", "wire")
        zone = socket.if_nametoindex("wire")
        assert RealInterfaces().gateways() == (Gateway(f"fe80::1%{zone}", "2001:db8:1::7"),)
        wire.close()

    run_isolated(main)


@pytest.mark.netlab
def test_a_route_says_by_which_address_we_are_known(run_isolated: Isolated) -> None:
    async def main() -> None:
        wire = await RealDevices().open_device("wire", 1500, ["192.168.1.7/24", "192.168.1.8/24"], [])
        add_default_route("192.168.1.1", "wire", source="192.168.1.8")
        assert RealInterfaces().gateways() == (Gateway("192.168.1.1", "192.168.1.8"),)
        wire.close()

    run_isolated(main)


@pytest.mark.netlab
def test_a_tunnel_and_a_private_table_lead_to_no_gateway(run_isolated: Isolated) -> None:
    async def main() -> None:
        wire = await RealDevices().open_device("wire", 1500, ["192.168.1.7/24", "fd00::7/64"], [])
        add_default_route(None, "wire", metric=1)
        add_default_route("192.168.1.1", "wire", table=77)
        add_default_route("fd00::1", "wire")
        assert RealInterfaces().gateways() == ()
        wire.close()
        await trio.lowlevel.checkpoint()

    run_isolated(main)


def test_a_route_over_several_gateways_leads_to_the_first() -> None:
    hop = netlink.attribute(netlink.RTA_GATEWAY, bytes((192, 168, 1, 1)))
    one = struct.pack("=HBBi", 8 + len(hop), 0, 0, 3) + hop
    assert _first_hop(one + one) == (bytes((192, 168, 1, 1)), 3)
    assert _first_hop(b"") == (None, 0)
