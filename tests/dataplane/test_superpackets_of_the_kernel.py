"""Superpackets to and from the kernel: it understands ours, we understand its, and both cut them alike."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import trio
from tests.dataplane.frames import ACK, CWR, FIN, PSH, TCP, UDP, Flow, complement, sum_of
from tests.dataplane.kernel import FAMILIES, Host, Tun, router, two_hosts

from tunnel.dataplane.coalescing import coalesce
from tunnel.dataplane.superpacket import MAX_TCP_SEGMENTS, is_sound, split, to_plain
from tunnel.model.buffers import Buffer
from tunnel.wire.ip_packet import destination_of
from tunnel.wire.virtio import PLAIN_BIT, VIRTIO_BYTES

pytestmark = pytest.mark.netlab

UDP_SEGMENT = 103  # Linux <udp.h>
SEGMENTS_OF_TEN = [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("=H", 10))]
PATIENCE = 20.0
"""Seconds for what takes a fraction of one."""
Conversion = Callable[[list[Buffer]], list[Buffer]]


async def carry(source: Tun, target: Tun, convert: Conversion) -> None:
    while True:
        await trio.lowlevel.wait_readable(source.descriptor)
        for frame in convert(source.read_burst()):
            target.write(frame)


def as_it_is(frames: list[Buffer]) -> list[Buffer]:
    return frames


def cut_in(most_segments: int) -> Conversion:
    return lambda frames: [part for frame in frames for part in split(frame, most_segments)]


def made_plain(frames: list[Buffer]) -> list[Buffer]:
    return [packet for frame in frames for packet in to_plain(frame)]


def marked(frames: list[Buffer]) -> list[Buffer]:
    """As if a router on the way were congested: CE instead of ECT(0) (RFC 3168)."""
    changed: list[Buffer] = []
    for frame in frames:
        packet = bytearray(frame)
        if packet[10] == 0x45 and packet[11] & 3 == 2:
            packet[11] |= 1
            packet[20:22] = (int.from_bytes(packet[20:22]) - 1).to_bytes(2)
        changed.append(packet)
    return changed


CONVERSIONS = {
    "as it is": as_it_is,
    "in ones": cut_in(1),
    "in threes": cut_in(3),
    "plain": made_plain,
    "coalesced": coalesce,
}
CONVERTED = pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
TO_EITHER = pytest.mark.parametrize("has_header", [True, False], ids=["to offloads", "to a plain TUN"])
OVER_BOTH = pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])


async def transfer(family: socket.AddressFamily, first: Host, second: Host, data: bytes) -> bytes:
    """What comes of it over TCP."""
    listener = second.sockets[family, socket.SOCK_STREAM]
    listener.listen()
    client = trio.SocketStream(trio.socket.from_stdlib_socket(first.sockets[family, socket.SOCK_STREAM]))

    async def send() -> None:
        await client.socket.connect((second.address[family], 4000))
        await client.send_all(data)
        await client.send_eof()

    received = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        accepted, _ = await trio.socket.from_stdlib_socket(listener).accept()
        with accepted:
            while chunk := await accepted.recv(1 << 20):
                received += chunk
    return bytes(received)


@CONVERTED
@TO_EITHER
@OVER_BOTH
async def test_a_tcp_transfer_arrives_whole(
    convert: Conversion, has_header: bool, family: socket.AddressFamily
) -> None:
    """The kernel sends superpackets, and every conversion of them is one that the other kernel understands."""
    data = os.urandom(100_000) * 20
    with two_hosts(has_header) as (first, second), trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry, first.tun, second.tun, convert)
            nursery.start_soon(carry, second.tun, first.tun, convert)
            received = await transfer(family, first, second, data)
            nursery.cancel_scope.cancel()
        assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()
        assert first.tun.seen[1 if family is socket.AF_INET else 4] > 10


@CONVERTED
@TO_EITHER
@OVER_BOTH
async def test_datagrams_arrive_as_they_were_sent(
    convert: Conversion, has_header: bool, family: socket.AddressFamily
) -> None:
    """Sent one by one, and by UDP_SEGMENT, which the kernel hands on as superpackets where it knows USO."""
    alone = [os.urandom(size) for size in (64, 64, 64, 10, 64, 0, 1, 1300, 1300, 77)]
    whole = [(64, os.urandom(64 * 50)), (1200, os.urandom(20_000)), (1, os.urandom(64)), (501, os.urandom(5_000))]
    cut = [data[at : at + size] for size, data in whole for at in range(0, len(data), size)]
    with two_hosts(has_header) as (first, second), trio.fail_after(PATIENCE):
        sender = first.sockets[family, socket.SOCK_DGRAM]
        receiver = trio.socket.from_stdlib_socket(second.sockets[family, socket.SOCK_DGRAM])
        target = second.address[family], 4000
        for data in alone:
            sender.sendto(data, target)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry, first.tun, second.tun, convert)
            assert [await receiver.recv(2000) for _ in alone] == alone
            for size, data in whole:
                sender.sendmsg([data], [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("=H", size))], 0, target)
            assert [await receiver.recv(2000) for _ in cut] == cut
            nursery.cancel_scope.cancel()
        assert first.tun.seen[5] == (len(whole) if first.tun.has_uso else 0)


@TO_EITHER
@OVER_BOTH
async def test_superpackets_of_more_segments_than_a_peer_accepts_are_cut(
    has_header: bool, family: socket.AddressFamily
) -> None:
    """Linux puts hundreds of segments of a tiny MSS into one, and newer Linux 128 datagrams; older Linux takes 64."""
    data = os.urandom(300_000)
    most = 0

    def watched(frames: list[Buffer]) -> list[Buffer]:
        nonlocal most
        parts = cut_in(1000)(frames)
        most = max([most, *(len(to_plain(frame)) for frame in frames)])
        assert all(is_sound(part) for part in parts)
        return parts

    with two_hosts(has_header) as (first, second), trio.fail_after(PATIENCE):
        first.sockets[family, socket.SOCK_STREAM].setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 88)
        sender = first.sockets[family, socket.SOCK_DGRAM]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry, first.tun, second.tun, watched)
            nursery.start_soon(carry, second.tun, first.tun, cut_in(1000))
            assert await transfer(family, first, second, data) == data
            assert most > MAX_TCP_SEGMENTS
            try:
                sent = sender.sendmsg([data[:1280]], SEGMENTS_OF_TEN, 0, (second.address[family], 4000))
            except OSError:  # no more than 64 segments
                sent = sender.sendmsg([data[:640]], SEGMENTS_OF_TEN, 0, (second.address[family], 4000))
            receiver = trio.socket.from_stdlib_socket(second.sockets[family, socket.SOCK_DGRAM])
            received = [await receiver.recv(100) for _ in range(0, sent, 10)]
            nursery.cancel_scope.cancel()
        assert b"".join(received) == data[:sent]


@CONVERTED
async def test_congestion_is_answered_in_superpackets_too(convert: Conversion) -> None:
    """The kernel sets CWR once in answer to ECE, in the first segment of a superpacket with the ECN bit."""
    data = os.urandom(100_000) * 20
    with two_hosts(True) as (first, second), trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry, first.tun, second.tun, lambda frames: convert(marked(frames)))
            nursery.start_soon(carry, second.tun, first.tun, convert)
            received = await transfer(socket.AF_INET, first, second, data)
            nursery.cancel_scope.cancel()
        assert received == data
        assert first.tun.seen[0x81] > 0


async def forwarded(entry: Tun, out: Tun, frames: Sequence[Buffer], count: int) -> list[Buffer]:
    """The first `count` packets that come out; those of the router itself (to multicast groups) do not count."""
    for frame in frames:
        entry.write(frame)
    packets: list[Buffer] = []
    with trio.fail_after(PATIENCE):
        while len(packets) < count:
            await trio.lowlevel.wait_readable(out.descriptor)
            packets += [packet for packet in out.read_burst() if destination_of(bytes(packet))[-4:] == DESTINATION]
    return packets


async def all_until(mark: bytes, entry: Tun, out: Tun) -> list[bytes]:
    """What comes out before a packet that is written now, and comes through in any case; maybe nothing."""
    entry.write(mark)
    packets: list[bytes] = []
    with trio.fail_after(PATIENCE):
        while not packets or packets[-1] != one_hop_on(mark):
            await trio.lowlevel.wait_readable(out.descriptor)
            read = [bytes(packet) for packet in out.read_burst()]
            packets += [packet for packet in read if destination_of(packet)[-4:] == DESTINATION]
    return packets[:-1]


DESTINATION = Flow().addresses[-4:]
MARK = Flow(protocol=UDP).packet(b"mark")
PAYLOAD = bytes(range(256)) * 200
TIMESTAMP = b"\x01\x01\x08\x0a" + bytes(8)


@pytest.mark.parametrize(
    ("flow", "size", "length"),
    [
        (Flow(tcp_options=TIMESTAMP), 1300, 50_000),
        (Flow(tos=2, tcp_options=TIMESTAMP), 536, 10_001),
        (Flow(may_fragment=True), 100, 201),
        (Flow(has_options=True), 1000, 3_000),
        (Flow(is_ipv4=False, tcp_options=TIMESTAMP), 1280, 50_000),
        (Flow(is_ipv4=False, has_options=True), 700, 2_000),
        (Flow(protocol=UDP), 64, 4_096),
        (Flow(protocol=UDP), 1372, 40_001),
        (Flow(protocol=UDP, has_options=True, may_fragment=True), 99, 100),
        (Flow(is_ipv4=False, protocol=UDP), 1200, 30_000),
    ],
)
async def test_the_kernel_cuts_superpackets_into_the_same_packets(flow: Flow, size: int, length: int) -> None:
    """Byte for byte, but for the hop that it takes from each; and of our parts it makes the same as of the whole."""
    if flow.protocol == UDP:
        whole = flow.superpacket(PAYLOAD[:length], size, ident=0xFFFE)
        expected = replace(flow, ttl=63).segments(PAYLOAD[:length], size, ident=0xFFFE)
    else:
        flags = FIN | PSH | ACK | CWR
        whole = flow.superpacket(PAYLOAD[:length], size, ident=0xFFFE, sequence=2**32 - 1000, flags=flags)
        expected = replace(flow, ttl=63).segments(
            PAYLOAD[:length], size, ident=0xFFFE, sequence=2**32 - 1000, flags=flags
        )
    with router() as (entry, out):
        if flow.protocol == TCP or entry.has_uso:
            assert await forwarded(entry, out, [whole], len(expected)) == expected
            assert await forwarded(entry, out, split(whole, 3), len(expected)) == expected
        assert await forwarded(entry, out, split(whole, 1), len(expected)) == expected
        assert await forwarded(entry, out, to_plain(whole), len(expected)) == expected


@pytest.mark.parametrize("flow", [Flow(protocol=UDP), Flow(is_ipv4=False, protocol=UDP)], ids=["IPv4", "IPv6"])
async def test_the_kernel_cuts_what_was_joined_into_what_was_sent(flow: Flow) -> None:
    datagrams = [PAYLOAD[at : at + 64] for at in range(0, 2000, 64)]
    frames: list[Buffer] = [flow.frame(data, ident=number) for number, data in enumerate(datagrams)]
    expected = [replace(flow, ttl=63).packet(data, ident=number) for number, data in enumerate(datagrams)]
    joined = coalesce(frames)
    assert len(joined) == 1
    with router() as (entry, out):
        if entry.has_uso:
            assert await forwarded(entry, out, joined, len(expected)) == expected
        assert await forwarded(entry, out, to_plain(joined[0]), len(expected)) == expected


def with_checksum(packet: bytes) -> bytes:
    """An IPv4 packet with the right header checksum, so that the kernel looks further; any other as it is."""
    header = (packet[0] & 15) * 4
    if packet[0] >> 4 != 4 or not 20 <= header <= len(packet):
        return packet
    covered = packet[:10] + bytes(2) + packet[12:header]
    return covered[:10] + complement(sum_of(covered)).to_bytes(2) + packet[12:]


def one_hop_on(packet: bytes) -> bytes:
    at = 8 if packet[0] < 0x60 else 7
    return with_checksum(packet[:at] + bytes((packet[at] - 1,)) + packet[at + 1 :])


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
@pytest.mark.parametrize("is_ipv4", [True, False], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("size", [8, 100, 1000], ids=lambda size: f"{size} bytes a segment")
async def test_the_kernel_takes_what_is_sound_and_cuts_it_alike(is_ipv4: bool, protocol: int, size: int) -> None:
    """With bytes of the headers changed at random. What the kernel refuses would be lost, and counted as delivered."""
    chance = random.Random(size)
    flow = Flow(is_ipv4=is_ipv4, protocol=protocol, tcp_options=TIMESTAMP)
    whole = flow.superpacket(PAYLOAD[:501], size, flags=ACK | CWR | PSH)
    addresses = whole.index(flow.addresses)
    places = [at for at in range(VIRTIO_BYTES + flow.headers) if not addresses <= at < addresses + len(flow.addresses)]
    compared = 0
    with router() as (entry, out):
        for _ in range(2000 if protocol == TCP or entry.has_uso else 0):
            changed = bytearray(whole)
            for at in chance.sample(places, chance.randrange(4)):
                changed[at] = chance.choice((chance.randrange(256), 0, 1, 4, 5, 255))
            frame = bytes(changed[:VIRTIO_BYTES]) + with_checksum(bytes(changed[VIRTIO_BYTES:]))
            if frame[0] & PLAIN_BIT or not is_sound(frame):
                continue
            entry.write(frame)
            if packets := await all_until(MARK, entry, out):
                assert packets == [one_hop_on(bytes(packet)) for packet in to_plain(frame)]
                compared += 1
    assert compared > 500 or not entry.has_uso
