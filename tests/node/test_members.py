"""What one member of a network, or a stranger, can do to the others: nothing that the network's secret alone allows."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.crypto.announcement_seal import seal_announcement
from tunnel.crypto.network_keys import derive_network_keys
from tunnel.model.endpoint import Endpoint
from tunnel.model.identity import NodeId
from tunnel.wire.announcement_body import encode_announcement
from tunnel.wire.frames import HEADER
from tunnel.wire.signals import PeerUp

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, SimulatedNetwork

    from tunnel.embedding import Node
    from tunnel.model.announcement import Announcement
    from tunnel.verify.memory.devices import MemoryDevice
    from tunnel.verify.memory.packet import Fate, MemoryPacket

LOOKS_SEALED = b"\x17\x03\x03\x00\x40" + bytes(64)
"""A TLS record, as far as anybody can see."""


def ip_packet(source: str, destination: str, payload: bytes = LOOKS_SEALED) -> bytes:
    """IPv4 with as much of a header as a tunnel looks at."""
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    return b"\x45\x00" + (20 + len(payload)).to_bytes(2, "big") + bytes(8) + addresses + payload


def device_of(net: SimulatedNetwork, name: str) -> MemoryDevice:
    return net.host(name).devices.open["tun"]


async def settle(*nodes: Node) -> None:
    """Everybody knows everybody and has an address."""
    with trio.fail_after(10.0):
        for node in nodes:
            for other in nodes:
                if other is not node:
                    await node.connect(other.id)
        await trio.sleep(2.0)


def word_of(program_of: Node, about: NodeId, body: Announcement, epoch: bytes, seq: int) -> PeerUp:
    """What a server tells that passes on an announcement which some member sealed for the node `about`."""
    network = derive_network_keys(program_of.invite.network, program_of.invite.secret)
    sealed = seal_announcement(
        network.announcement_key, node=about, epoch=epoch, seq=seq, body=encode_announcement(body), nonce=bytes(12)
    )
    return PeerUp(about.raw, epoch, seq, sealed)


async def test_a_packet_in_the_clear_is_delivered_to_nobody(net: SimulatedNetwork, open_in: OpenNode) -> None:
    """No first byte, no index and no look of the payload makes a packet pass that was not sealed for this session."""
    seen: list[MemoryPacket] = []

    def watch(packet: MemoryPacket, _: Fate) -> None:
        seen.append(packet)

    net.internet.watch = watch
    async with net.server(), open_in("desk", tun="tun") as desk, open_in("laptop", tun="tun") as laptop:
        await settle(desk, laptop)
        await desk.ping("laptop")
        datagrams = [each for each in seen if not each.is_stream and each.destination.host == "26.0.0.2"]
        indices = {HEADER.unpack_from(each.payload)[3] for each in datagrams if each.payload[0] >= 0x10}
        assert len(indices) >= 2
        inner = ip_packet(desk.addresses[0], laptop.addresses[0])
        stranger = (
            await net.internet.add_host("stranger", "66.6.6.6")
            .world()
            .datagrams.open_socket(Endpoint("66.6.6.6", 6666))
        )
        address = next(each.destination for each in datagrams)
        before = laptop.program.tun.counts.into
        for first in range(256):
            for index in sorted(indices):
                for plaintext in (inner, b"\x00hello"):
                    stranger.send_nowait(HEADER.pack(first, 0, 0, index, 1 << 20) + plaintext, address)
        await trio.sleep(1.0)
        assert laptop.program.tun.counts.into == before
        assert (await laptop.ping("desk")).rtt > 0
        with trio.move_on_after(1.0) as waited:
            await laptop.peer("desk").receive_datagram()
        assert waited.cancelled_caught


async def test_a_member_cannot_speak_from_another_s_address(net: SimulatedNetwork, open_in: OpenNode) -> None:
    async with (
        net.server(),
        open_in("desk", tun="tun") as desk,
        open_in("laptop", tun="tun") as laptop,
        open_in("phone", tun="tun") as phone,
    ):
        await settle(desk, laptop, phone)
        truly = ip_packet(desk.addresses[0], laptop.addresses[0], b"truly")
        for source in (phone.addresses[0], laptop.addresses[0], "192.168.1.1", "8.8.8.8"):
            device_of(net, "desk").inject(ip_packet(source, laptop.addresses[0], b"forged"))
        device_of(net, "desk").inject(truly)
        with trio.fail_after(5.0):
            assert await device_of(net, "laptop").wait_written() == truly
        assert laptop.program.tun.counts.forged_source == 4


async def test_an_announcement_with_another_key_than_its_id_s_is_nobody(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """A member can seal what it likes under the network's key, and a server may pass it on under any id."""
    async with net.server(), open_in("desk") as desk, open_in("laptop") as laptop:
        await settle(desk, laptop)
        card = desk.program.announcer.card
        assert card is not None
        invented = NodeId(b"\x99" * 16)
        desk.program.server_signals.hear_untrusted(word_of(desk, invented, card.body, bytes(16), 1))
        assert desk.program.peer_table.at(invented) is None
        victim = desk.peer("laptop")
        before = victim.status()
        stolen = replace(card.body, name="thief")
        desk.program.server_signals.hear_untrusted(
            word_of(desk, NodeId(laptop.program.keys.id.raw), stolen, bytes(16), 1)
        )
        assert (victim.name, victim.status().addresses) == (before.name, before.addresses)
        assert (await victim.ping()).rtt > 0


@pytest.mark.parametrize("claimed", ["8.8.8.8", "192.168.1.1", "fd00::1", "2001:db8::1"])
async def test_what_a_member_claims_never_becomes_a_route(
    net: SimulatedNetwork, open_in: OpenNode, claimed: str
) -> None:
    async with net.server(), open_in("desk", tun="tun") as desk, open_in("laptop") as laptop:
        await settle(desk, laptop)
        device = device_of(net, "desk")
        before = device.addresses
        card = laptop.program.announcer.card
        assert card is not None
        greedy = replace(card.body, addresses=(claimed,))
        word = word_of(desk, laptop.program.keys.id, greedy, card.epoch, card.seq + 1)
        desk.program.server_signals.hear_untrusted(word)
        await trio.sleep(1.0)
        assert device_of(net, "desk") is device
        assert (device.addresses, device.routes) == (before, ())


async def test_a_member_that_leaves_takes_nothing_of_the_others_with_it(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """No interface, no address, no route, no session; and the server's machine never had any."""
    async with net.server(), open_in("desk", tun="tun") as desk, open_in("laptop", tun="tun") as laptop:
        async with open_in("phone", tun="tun") as phone:
            await settle(desk, laptop, phone)
            devices = [device_of(net, name) for name in ("desk", "laptop")]
            before = [(device.addresses, device.routes) for device in devices]
        await trio.sleep(5.0)
        assert [device_of(net, name) for name in ("desk", "laptop")] == devices
        assert [(device.addresses, device.routes) for device in devices] == before
        assert desk.peer("phone").state == "announced"
        assert (await desk.ping("laptop")).rtt > 0
        assert not net.server_host.devices.open
