"""Nodes and servers of other versions: who cannot be talked to is named at once, and all the others are served."""

from __future__ import annotations

import ipaddress
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.model.errors import PeerUnreachable
from tunnel.model.reasons import ReasonCode
from tunnel.wire.signals import Welcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.node.conftest import OpenNode, PuppetServer, ScriptedPeer, SimulatedNetwork

    from tunnel.embedding import Node

OLD = "laptop speaks version 1, this node 2: update p2ptunnel-trio there"


async def wait_known(node: Node, name: str) -> None:
    with trio.fail_after(5.0):
        while name not in [peer.name for peer in node.status().peers]:
            await node.program.notifier.wait()


async def test_ping_and_connect_fail_at_once_and_say_where_to_update(net: SimulatedNetwork, open_in: OpenNode) -> None:
    """Not after half a minute: nothing that is waited for could come."""
    async with net.server(), open_in("desk") as desk, open_in("laptop", protocol_version=1):
        await wait_known(desk, "laptop")
        await trio.sleep(5.0)
        began = trio.current_time()
        for attempt in (desk.ping, desk.connect):
            with pytest.raises(PeerUnreachable) as refusal:
                await attempt("laptop")
            assert str(refusal.value) == f"no way to 'laptop' (version_mismatch: {OLD})"
        with pytest.raises(PeerUnreachable, match="version_mismatch"):
            await desk.peer("laptop").ping()
        assert await desk.peer("laptop").wait_settled() == "announced"
        assert trio.current_time() == began


async def test_status_and_why_name_the_version_before_anything_is_sent(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    async with net.server(), open_in("desk") as desk, open_in("laptop", protocol_version=1):
        await wait_known(desk, "laptop")
        await trio.sleep(5.0)
        status = desk.peer("laptop").status()
        assert status.reason is not None
        assert (status.state, status.reason.code, status.reason.evidence) == (
            "announced",
            ReasonCode.VERSION_MISMATCH,
            OLD,
        )


async def test_it_is_logged_once_a_version_by_the_peer_s_name_and_not_with_each_announcement(
    puppet: PuppetServer, open_in: OpenNode, member: Callable[[str], ScriptedPeer], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_in("desk") as desk:
        await desk.wait_registered()
        laptop = member("laptop")
        for version in (1, 1, 1, 2, 1):
            puppet.say(laptop.up(name="laptop", protocol_version=version))
        await trio.sleep(1.0)
    told = [record for record in caplog.records if record.message == "peer of another version"]
    assert [(record.levelno, record.__dict__["evidence"]) for record in told] == [(logging.WARNING, OLD)] * 2


async def test_a_node_of_before_hears_from_the_server_why_it_is_refused(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """It takes no notice of versions. The server's evidence is what it shows."""
    async with net.server(), open_in("desk") as desk, open_in("laptop", protocol_version=1) as laptop:
        await wait_known(laptop, "desk")
        with pytest.raises(PeerUnreachable):
            await laptop.ping("desk")
        reason = laptop.peer("desk").reason
        assert reason is not None
        assert reason.evidence == "the peer speaks version 2, this node 1: update p2ptunnel-trio here"
        assert desk.peer("laptop").state == "announced"


async def test_an_ip_packet_to_a_peer_of_another_version_is_answered_at_once(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """Programs on this machine hear "host unreachable" from the kernel, as of a peer without an interface."""
    async with net.server(), open_in("desk", tun="tun") as desk, open_in("laptop", tun="tun", protocol_version=1):
        await wait_known(desk, "laptop")
        device = net.host("desk").devices.open["tun"]
        hosts = (desk.addresses[0], desk.peer("laptop").status().addresses[0])
        source, destination = [ipaddress.ip_address(host).packed for host in hosts]
        device.inject(b"\x45\x00\x00\x1c" + bytes(5) + b"\x11\0\0" + source + destination + bytes(8))
        with trio.fail_after(0.001):
            answer = await device.wait_written()
        assert (answer[12:16], answer[16:20], answer[20:22]) == (destination, source, b"\x03\x01")


async def test_datagrams_to_a_peer_of_another_version_are_dropped_and_the_node_goes_on(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    async with net.server(), open_in("desk") as desk, open_in("phone"), open_in("laptop", protocol_version=3):
        await wait_known(desk, "laptop")
        await desk.peer("laptop").send_datagram(b"hello")
        await trio.sleep(5.0)
        assert desk.peer("laptop").status().tx_bytes == 0
        assert (await desk.ping("phone")).rtt > 0


@pytest.mark.parametrize(("version", "where"), [(1, "on the server"), (3, "here")])
async def test_a_server_of_another_version_is_noted_and_serves(
    puppet: PuppetServer,
    open_in: OpenNode,
    caplog: pytest.LogCaptureFixture,
    version: int,
    where: str,
) -> None:
    """It passes on sealed bytes, whatever is in them. The log says it once, however often it is dialed."""
    assert isinstance(puppet.welcome, Welcome)
    puppet.welcome = replace(puppet.welcome, protocol_version=version)
    async with open_in("desk") as desk:
        await desk.wait_registered()
        told = f"the server is of version {version}, this node of version 2: it serves this node, but update"
        assert desk.status().notes == (f"{told} p2ptunnel-trio {where}",)
        desk.program.link.redial()
        await trio.sleep(5.0)
        assert desk.program.link.registrations == 2
    logged = [record for record in caplog.records if record.message == "server of another version"]
    assert [record.levelno for record in logged] == [logging.WARNING]


async def test_a_server_of_our_version_is_not_noted(net: SimulatedNetwork, open_in: OpenNode) -> None:
    async with net.server(), open_in("desk") as desk:
        await desk.wait_registered()
        assert desk.status().notes == ()
