"""Which tunnel addresses a node has here, and which addresses of its server it dials, as the whole node shows it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.model.routes import Route

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, SimulatedNetwork

    from tunnel.model.invite import Invite

WIDE = Route("10.0.0.0/8", "eth0", is_shared=True)


async def test_a_node_gives_way_to_its_lan_and_takes_the_prefix_again_when_it_has_left(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    async with net.server(), open_in("desk", tun="tun") as desk, open_in("laptop", tun="tun") as laptop:
        with trio.fail_after(10):
            await desk.connect("laptop")
        host = net.host("desk")
        device = host.devices.open["tun"]
        own, theirs = desk.addresses[0], laptop.addresses[0]
        assert (device.addresses[0], device.routes) == (f"{own}/16", (f"{theirs}/32",))
        host.interfaces.known_routes = (WIDE,)
        host.change_addresses("26.0.0.77")
        await trio.sleep(5)
        assert (device.addresses[0], device.routes) == (f"{own}/32", (f"{theirs}/32",))
        assert any("10.0.0.0/8 on eth0" in note for note in desk.status().notes)
        host.interfaces.known_routes = (Route(f"{theirs}/32", "eth0", is_shared=True),)
        host.change_addresses("26.0.0.78")
        await trio.sleep(5)
        assert device.routes == (f"{theirs}/32",)
        assert "is still routed into the tunnel" in desk.peer("laptop").status().notes[0]
        host.interfaces.known_routes = ()
        host.change_addresses("26.0.0.79")
        await trio.sleep(5)
        assert (device.addresses[0], device.routes) == (f"{own}/16", (f"{theirs}/32",))
        assert desk.status().notes == desk.peer("laptop").status().notes == ()


async def test_a_wish_that_cannot_be_met_is_in_the_status(net: SimulatedNetwork, open_in: OpenNode) -> None:
    async with net.server(), open_in("desk", address="10.86.0.9") as desk:
        await desk.wait_registered()
        async with open_in("laptop", address="10.86.0.9") as laptop, open_in("phone", address="192.168.7.7") as phone:
            with trio.fail_after(10):
                await laptop.connect("desk")
                await phone.wait_registered()
            assert desk.addresses[0] == "10.86.0.9"
            assert desk.status().notes == ()
            assert laptop.status().notes == (f"--address 10.86.0.9 is desk's: this node has {laptop.addresses[0]}",)
            assert "is not in 10.86.0.0/16" in phone.status().notes[0]


async def test_a_server_whose_name_leads_into_the_prefix_from_now_on_is_dialed_outside_the_tunnel(
    net: SimulatedNetwork, open_in: OpenNode, home: Invite
) -> None:
    """Else the node would look for it in its own tunnel, and never find it again."""
    net.internet.names["server.test"] = ("25.0.0.1",)
    invite = replace(home, server="ws://server.test:8443")
    async with open_in("desk", invite=invite, tun="tun") as desk:
        async with net.server():
            await desk.wait_registered()
            device = net.host("desk").devices.open["tun"]
            await trio.sleep(1)
            assert device.addresses[0] == f"{desk.addresses[0]}/16"
            net.internet.names["server.test"] = ("10.86.9.9",)
        with trio.fail_after(60):
            while device.addresses[0] != f"{desk.addresses[0]}/32":  # noqa: ASYNC110 - the double tells nobody
                await trio.sleep(1)
        assert "the server 10.86.9.9" in desk.status().notes[0]


@pytest.mark.parametrize("is_alone", [False, True])
async def test_whoever_answers_dns_has_no_peer_s_packets_outside_the_tunnel(
    net: SimulatedNetwork, open_in: OpenNode, home: Invite, is_alone: bool
) -> None:
    """The answer for the server's name holds the peer's tunnel address, with the true one or without it."""
    net.internet.names["server.test"] = ("25.0.0.1",)
    invite = replace(home, server="ws://server.test:8443")
    async with open_in("desk", invite=invite, tun="tun") as desk, open_in("laptop") as laptop:
        async with net.server():
            with trio.fail_after(10):
                await desk.connect("laptop")
            device, theirs = net.host("desk").devices.open["tun"], laptop.addresses[0]
            net.internet.names["server.test"] = (theirs,) if is_alone else ("25.0.0.1", theirs)
        async with net.server():
            await trio.sleep(120)
            assert desk.status().server.state == ("backing_off" if is_alone else "registered")
            assert device.routes == (f"{theirs}/32",)
            assert f"leads to {theirs}, which is laptop's in the tunnel: not dialed" in desk.status().notes[0]
            assert (f"leads to {theirs}" in str(desk.status().server.reason)) is is_alone
