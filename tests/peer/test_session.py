"""The session of two peers: all that they say is sealed, under keys of their own that are new in time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.crypto.node_keys import NodeKeys
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.peer.surroundings import RELAY
from tunnel.wire.frames import SEALED_OVERHEAD, Kind, decode_header

if TYPE_CHECKING:
    from tests.peer.conftest import Bench, Side

MARK = b"what nobody else may read"


async def echo(side: Side) -> float:
    with trio.fail_after(5.0):
        return await side.peer.echo()


def udp(port: int, payload: bytes) -> bytes:
    """An IPv4 packet with a UDP datagram, its checksums left out."""
    ports = (40000).to_bytes(2, "big") + port.to_bytes(2, "big")
    return b"\x45" + bytes(8) + b"\x11" + bytes(10) + ports + (8 + len(payload)).to_bytes(2, "big") + bytes(2) + payload


def tcp(port: int, payload: bytes) -> bytes:
    """An IPv4 packet with a TCP segment, its checksums left out."""
    ports = (40000).to_bytes(2, "big") + port.to_bytes(2, "big")
    return b"\x45" + bytes(8) + b"\x06" + bytes(10) + ports + bytes(8) + b"\x50\x18" + bytes(6) + payload


LOOKALIKES = {
    "a TLS record": tcp(443, b"\x17\x03\x03\x01\x00" + MARK),
    "a QUIC packet": udp(443, b"\xc3\x00\x00\x00\x01\x08" + bytes(range(32)) + MARK),
    "a DNS answer": udp(53, b"\x12\x34\x81\x80\x00\x01\x00\x01" + MARK),
    "a remote desktop": tcp(3389, b"\x03\x00\x00\x13\x0e\xd0" + MARK),
    "another tunnel's port": udp(8388, bytes(range(256)) + MARK),
    "plain text": tcp(80, b"GET / HTTP/1.1\r\n" + MARK),
    "one of our own headers": b"\x10" + bytes(15) + MARK,
}


@pytest.mark.parametrize("looks_like", LOOKALIKES)
async def test_no_packet_leaves_in_the_clear_whatever_it_looks_like(bench: Bench, looks_like: str) -> None:
    """Over the relay and over the direct path: there is one way out, and it seals."""
    packet = LOOKALIKES[looks_like]
    bench.meet()
    bench.left.peer.send_packet(packet)
    await bench.wait_state(bench.left, "connected")
    await trio.sleep(5.0)
    bench.left.peer.send_packet(packet)
    await trio.sleep(1.0)
    assert bench.right.received == [packet, packet]
    assert not [datagram for _, _, datagram in bench.tape if MARK in datagram]
    data = [(way, datagram) for side, way, datagram in bench.tape if datagram[0] == Kind.DATA and side is bench.left]
    assert {way == RELAY for way, _ in data} == {True, False}
    assert {len(datagram) for _, datagram in data} == {len(packet) + SEALED_OVERHEAD}


async def test_a_pair_in_use_has_new_keys_each_two_minutes_and_loses_nothing_by_it(bench: Bench) -> None:
    await bench.connect()
    sent = 0
    indices: dict[int, float] = {}
    for _ in range(3000):
        bench.left.peer.send(Kind.DATA, b"\x00%d" % sent)
        sent += 1
        header = decode_header(bench.tape[-1][2])
        indices.setdefault(header.receiver_index, trio.current_time())
        await trio.sleep(0.2)
    await trio.sleep(1.0)
    assert bench.right.received == [b"\x00%d" % number for number in range(sent)]
    agreed = sorted(indices.values())
    assert len(agreed) == 5
    for earlier, later in pairwise(agreed):
        assert later - earlier == pytest.approx(DEFAULT_TIMINGS.rekey_after, abs=2.0)


async def test_old_keys_open_nothing_once_their_time_is_over(bench: Bench) -> None:
    """What was recorded stays sealed for whoever takes a node later."""
    await bench.connect()
    await echo(bench.left)
    held: list[bytes] = []

    def hold(side: Side, _: object, datagram: bytes) -> bool:
        if side is bench.left and datagram[0] == Kind.DATA and not held:
            held.append(datagram)
            return True
        return False

    bench.drop = hold
    bench.left.peer.send(Kind.DATA, b"\x00late")
    assert len(held) == 1
    await trio.sleep(DEFAULT_TIMINGS.key_life + 1.0)
    rejected = bench.right.rejected
    bench.right.receive(held[0], RELAY)
    assert bench.right.rejected == rejected + 1
    assert bench.right.received == []


@pytest.mark.parametrize("minutes", [1, 10, 60, 24 * 60])
async def test_a_peer_that_was_away_for_however_long_agrees_on_keys_again(bench: Bench, minutes: int) -> None:
    """No key is handed out once and missed for ever: every pair agrees on its own, whenever both are there."""
    await bench.connect()
    await echo(bench.left)
    bench.direct = bench.relay = False
    await trio.sleep(60.0 * minutes)
    bench.direct = bench.relay = True
    bench.left.peer.send(Kind.DATA, b"\x00still there?")
    await trio.sleep(15.0)
    assert bench.right.received == [b"\x00still there?"]


async def test_a_member_without_the_node_s_key_gets_no_session_in_its_name(bench: Bench) -> None:
    """All members have the network's psk; that alone makes nobody another node."""
    await trio.sleep(1.0)
    bench.right.keys = _ImpostorKeys(bench.right.keys)
    bench.right.peer.close()
    await bench.wait_state(bench.right, "closed")
    bench.open(bench.right)
    bench.meet()
    bench.left.peer.want()
    bench.right.peer.want()
    await trio.sleep(30.0)
    assert not bench.left.peer.session.is_established
    assert bench.left.peer.paths.chosen is None
    bench.left.peer.send(Kind.DATA, b"\x00for the true one")
    await trio.sleep(5.0)
    assert bench.right.received == []


async def test_an_older_announcement_told_again_costs_the_session_until_the_true_one_is_told(bench: Bench) -> None:
    """What a hostile server can do: interrupt. It cannot read, and the session comes back with the truth."""
    await bench.connect()
    card = bench.right.own_card
    assert card is not None
    bench.left.peer.meet(replace(card, epoch=bytes(16), seq=1))
    await trio.sleep(10.0)
    assert not bench.left.peer.can_carry
    bench.left.peer.meet(card)
    assert await echo(bench.left) > 0
    await bench.wait_state(bench.left, "connected", 30.0)


class _ImpostorKeys(NodeKeys):
    """Another node's id and public key, with a private key that is not its."""

    def __init__(self, victim: NodeKeys) -> None:
        super().__init__(b"\x66" * 32)
        self.public, self.id = victim.public, victim.id
