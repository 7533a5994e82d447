"""Between an interface and the peers: who speaks in another's name, and what is for nobody, is dropped and counted."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Sequence

import pytest
import trio
from tests.dataplane.flows import DIRECT, open_flow
from tests.dataplane.frames import UDP
from tests.dataplane.frames import Flow as Segments
from tests.riders.kernel import KernelDevice

from tunnel.dataplane.flow import Flow
from tunnel.dataplane.outbound import Outbound
from tunnel.dataplane.send_backlog import UNKNOWN
from tunnel.dataplane.superpacket import is_sound, to_plain
from tunnel.model.buffers import Buffer
from tunnel.model.errors import DeviceError
from tunnel.model.offload import Offload
from tunnel.riders.loop_guard import LoopGuard
from tunnel.riders.tun_plane import REFUSALS_BURST, TunPlane
from tunnel.verify.memory.devices import QUEUE, MemoryDevice, MemoryDevices
from tunnel.wire.ip_packet import destination_of, source_of
from tunnel.wire.records import encode_bundle, start_of_packet

OWN, FRIEND, OTHER = "10.86.0.1", "10.86.0.2", "10.86.0.3"
OWN6, FRIEND6 = "fd00::1", "fd00::2"


class Peer:
    """Keeps what it is given to send."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        """Frames."""
        self.flow, _ = open_flow()


class Recorder(Outbound):
    """Keeps what it is given to send, and how much of it at once."""

    def __init__(self, *peers: Peer) -> None:
        super().__init__({})
        self.peers = {peer.flow: peer for peer in peers}
        self.batches: list[int] = []

    def send_data(self, flow: Flow, frames: Sequence[Buffer], now: float) -> None:
        self.peers[flow].sent.extend(map(bytes, frames))
        self.batches.append(len(frames))


def packet(source: str, destination: str, payload: bytes = b"hello") -> bytes:
    """An IP packet, as far as the plane looks at it."""
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    if ":" in source:
        return b"\x60" + bytes(3) + len(payload).to_bytes(2) + bytes(2) + addresses + payload
    return b"\x45\x00" + (20 + len(payload)).to_bytes(2) + bytes(8) + addresses + payload


@pytest.fixture
def friend() -> Peer:
    return Peer()


@pytest.fixture
def guard() -> LoopGuard:
    return LoopGuard()


@pytest.fixture
def plane(friend: Peer, guard: LoopGuard) -> TunPlane:
    other = Peer()
    flows = {ipaddress.ip_address(address).packed: friend.flow for address in (FRIEND, FRIEND6)}
    flows[ipaddress.ip_address(OTHER).packed] = other.flow
    own = {ipaddress.ip_address(address).packed for address in (OWN, OWN6)}
    return TunPlane(flows.get, own.__contains__, guard, Recorder(friend, other))


@pytest.fixture
async def device(autojump_clock: trio.testing.MockClock, plane: TunPlane) -> AsyncIterator[MemoryDevice]:
    device = await MemoryDevices().open_device("p2pt0", 1280, (), ())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(plane.carry, device)
        await trio.testing.wait_all_tasks_blocked()
        yield device
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("sent", [packet(OWN, FRIEND), packet(OWN6, FRIEND6)])
async def test_a_packet_goes_to_the_holder_of_its_destination(
    device: MemoryDevice, plane: TunPlane, friend: Peer, sent: bytes
) -> None:
    device.inject(sent)
    await trio.sleep(1)
    assert friend.sent == [sent]
    assert plane.counts.out == 1


async def test_what_one_read_brought_for_a_peer_goes_together_in_order(
    device: MemoryDevice, plane: TunPlane, friend: Peer
) -> None:
    for destination in (FRIEND, FRIEND6, OTHER, FRIEND):
        device.inject(packet(OWN6 if ":" in destination else OWN, destination))
    await trio.sleep(1)
    assert isinstance(plane._outbound, Recorder)
    assert plane._outbound.batches == [3, 1]
    assert [destination_of(sent) for sent in friend.sent] == [
        ipaddress.ip_address(address).packed for address in (FRIEND, FRIEND6, FRIEND)
    ]


@pytest.mark.parametrize(
    "destination", ["10.86.0.99", "224.0.0.251", "255.255.255.255", "10.86.255.255", "fd00::99", "ff02::1", "ff02::fb"]
)
async def test_what_is_for_nobody_or_for_everybody_is_dropped_and_counted(
    device: MemoryDevice, plane: TunPlane, friend: Peer, destination: str
) -> None:
    device.inject(packet(OWN6 if ":" in destination else OWN, destination))
    await trio.sleep(1)
    assert friend.sent == []
    assert (plane.counts.no_peer, plane.counts.out) == (1, 0)


async def test_a_datagram_of_ours_that_an_overlay_wrapped_goes_nowhere(
    device: MemoryDevice, plane: TunPlane, friend: Peer, guard: LoopGuard
) -> None:
    """Sealed and sent again it would come back again, for ever."""
    datagram = bytes(range(100))
    guard.note_sent(datagram)
    device.inject(packet(OWN, FRIEND, b"the overlay's header" + datagram))
    device.inject(packet(OWN, FRIEND, datagram + b"more"))
    await trio.sleep(1)
    assert friend.sent == [packet(OWN, FRIEND, datagram + b"more")]
    assert (plane.counts.looped, guard.looped, plane.counts.out) == (1, 1, 1)


async def test_while_it_is_hushed_packets_wait_and_none_is_lost(
    device: MemoryDevice, plane: TunPlane, friend: Peer, guard: LoopGuard
) -> None:
    assert guard.hush(0.5)
    for number in range(100):
        device.inject(packet(OWN, FRIEND, bytes([number])))
    await trio.sleep(0.4)
    assert (friend.sent, guard.carried) == ([], 0)
    await trio.sleep(0.2)
    assert [sent[-1] for sent in friend.sent] == list(range(100))
    assert guard.carried == sum(map(len, friend.sent))


async def test_what_the_kernel_answers_to_a_batch_leaves_in_the_same_turn(
    device: MemoryDevice, plane: TunPlane, friend: Peer
) -> None:
    plane.deliver_untrusted(friend.flow, packet(FRIEND, OWN))
    device.inject(packet(OWN, FRIEND))
    plane.send_answers()
    assert friend.sent == [packet(OWN, FRIEND)]


async def test_answers_do_not_pass_what_a_hush_has_kept(
    device: MemoryDevice, plane: TunPlane, friend: Peer, guard: LoopGuard
) -> None:
    """At its end a batch may be delivered before the reader has gone on."""
    assert guard.hush(0.5)
    device.inject(packet(OWN, FRIEND, b"first"))
    await trio.sleep(0.1)
    plane.deliver_untrusted(friend.flow, packet(FRIEND, OWN))
    device.inject(packet(OWN, FRIEND, b"second"))
    guard._hushed_until = trio.current_time()
    plane.send_answers()
    await trio.sleep(1.0)
    assert friend.sent == [packet(OWN, FRIEND, payload) for payload in (b"first", b"second")]


async def test_an_interface_that_was_given_nothing_is_not_asked_for_answers(
    device: MemoryDevice, plane: TunPlane, friend: Peer
) -> None:
    device.inject(packet(OWN, FRIEND))
    plane.send_answers()
    assert friend.sent == []


async def test_while_it_is_hushed_answers_wait_too(
    device: MemoryDevice, plane: TunPlane, friend: Peer, guard: LoopGuard
) -> None:
    plane.deliver_untrusted(friend.flow, packet(FRIEND, OWN))
    assert guard.hush(0.5)
    device.inject(packet(OWN, FRIEND))
    plane.send_answers()
    assert friend.sent == []
    await trio.sleep(0.6)
    assert friend.sent == [packet(OWN, FRIEND)]


@pytest.mark.parametrize("junk", [b"", b"\x45", bytes(40), b"\x60" + bytes(20), b"\x4f" * 19, b"\xff" * 60])
async def test_what_is_no_ip_packet_is_dropped_and_counted_both_ways(
    device: MemoryDevice, plane: TunPlane, friend: Peer, junk: bytes
) -> None:
    device.inject(junk)
    plane.deliver_untrusted(friend.flow, junk)
    await trio.sleep(1)
    assert friend.sent == []
    assert plane.counts.malformed == 2


@pytest.mark.parametrize("came", [packet(FRIEND, OWN), packet(FRIEND6, OWN6)])
async def test_a_packet_from_its_holder_reaches_the_kernel(
    device: MemoryDevice, plane: TunPlane, friend: Peer, came: bytes
) -> None:
    plane.deliver_untrusted(friend.flow, came)
    assert await device.wait_written() == came
    assert plane.counts.into == 1


@pytest.mark.parametrize("source", [OTHER, OWN, "10.86.0.99", "8.8.8.8", "127.0.0.1", "224.0.0.1", "fd00::3", "::1"])
async def test_a_packet_in_another_s_name_is_dropped_and_counted(
    device: MemoryDevice, plane: TunPlane, friend: Peer, source: str
) -> None:
    plane.deliver_untrusted(friend.flow, packet(source, OWN6 if ":" in source else OWN))
    plane.deliver_untrusted(friend.flow, packet(FRIEND, OWN, b"true"))
    assert await device.wait_written() == packet(FRIEND, OWN, b"true")
    assert plane.counts.forged_source == 1


@pytest.mark.parametrize(
    "destination",
    [
        "192.168.1.7",
        "10.86.0.99",
        OTHER,
        FRIEND,
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.251",
        "255.255.255.255",
        "10.86.255.255",
        "fd00::99",
        FRIEND6,
        "2001:db8::1",
        "fe80::1",
        "::1",
        "::",
        "ff02::1",
        f"::ffff:{OWN}",
    ],
)
@pytest.mark.parametrize("payload", [b"hello", b""])
async def test_a_peer_s_packet_to_anything_but_our_tunnel_addresses_is_dropped_and_counted(
    device: MemoryDevice, plane: TunPlane, friend: Peer, destination: str, payload: bytes
) -> None:
    """The kernel would take it to the LAN, where it forwards, and to services at this machine's other addresses."""
    is_ipv6 = ":" in destination
    plane.deliver_untrusted(friend.flow, packet(FRIEND6 if is_ipv6 else FRIEND, destination, payload))
    plane.deliver_untrusted(friend.flow, packet(FRIEND, OWN, b"true"))
    assert await device.wait_written() == packet(FRIEND, OWN, b"true")
    assert (plane.counts.foreign_destination, plane.counts.into) == (1, 1)


async def test_each_fragment_is_judged_by_the_addresses_that_it_bears(
    device: MemoryDevice, plane: TunPlane, friend: Peer
) -> None:
    for destination in (OWN, "192.168.1.7"):
        for offset in (0x2000, 0x0002):  # the first, more to come; the second, sixteen bytes further
            whole = packet(FRIEND, destination)
            plane.deliver_untrusted(friend.flow, whole[:6] + offset.to_bytes(2) + whole[8:])
    assert (plane.counts.into, plane.counts.foreign_destination) == (2, 2)
    assert {(await device.wait_written())[16:20] for _ in range(2)} == {ipaddress.ip_address(OWN).packed}


async def test_a_packet_to_us_that_brings_a_route_further_on_is_dropped_and_counted(
    device: MemoryDevice, plane: TunPlane, friend: Peer
) -> None:
    plain, to = packet(FRIEND, OWN), ipaddress.ip_address("192.168.1.7").packed
    routed = b"\x47" + plain[1:20] + b"\x83\x07\x04" + to + b"\x00" + plain[20:]
    plane.deliver_untrusted(friend.flow, routed)
    assert (plane.counts.into, plane.counts.foreign_destination) == (0, 1)


def test_without_an_interface_packets_are_dropped_and_counted(plane: TunPlane, friend: Peer) -> None:
    plane.deliver_untrusted(friend.flow, packet(FRIEND, OWN))
    assert plane.counts.device_full == 1


async def test_an_interface_that_takes_no_more_drops_and_counts(
    device: MemoryDevice, plane: TunPlane, friend: Peer
) -> None:
    for _ in range(QUEUE + 3):
        plane.deliver_untrusted(friend.flow, packet(FRIEND, OWN))
    assert (plane.counts.into, plane.counts.device_full) == (QUEUE, 3)


async def test_an_interface_that_vanishes_is_an_error_that_names_it(
    autojump_clock: trio.testing.MockClock, plane: TunPlane, friend: Peer
) -> None:
    device = await MemoryDevices().open_device("p2pt0", 1280, (), ())

    async def vanish() -> None:
        await trio.sleep(1)
        device.close()
        plane.deliver_untrusted(friend.flow, packet(FRIEND, OWN))

    async def carry() -> None:
        with pytest.raises(DeviceError, match="p2pt0 is gone"):
            await plane.carry(device)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(vanish)
        nursery.start_soon(carry)
    assert plane.counts.device_full == 1


@pytest.mark.parametrize(("own", "destination"), [(OWN, FRIEND), (OWN6, FRIEND6)])
async def test_a_packet_for_a_peer_that_takes_no_ip_is_answered_at_once_within_a_rate(
    device: MemoryDevice, plane: TunPlane, friend: Peer, own: str, destination: str
) -> None:
    """Else a program waits for minutes for what cannot come."""
    friend.flow.takes_ip = False
    sent = packet(own, destination, b"12345678")
    for _ in range(50):
        device.inject(sent)
    answer = await device.wait_written()
    assert (source_of(answer), destination_of(answer)) == (destination_of(sent), source_of(sent))
    assert answer.endswith(sent)
    await trio.sleep(0.01)
    assert (friend.sent, plane.counts.refused, plane.counts.out) == ([], 50, 0)
    assert len([await device.wait_written() for _ in range(int(REFUSALS_BURST) - 1)]) == 9
    with trio.move_on_after(0.05) as waited:
        await device.wait_written()
    assert waited.cancelled_caught


async def test_what_is_not_from_us_is_not_answered(device: MemoryDevice, plane: TunPlane, friend: Peer) -> None:
    friend.flow.takes_ip = False
    device.inject(packet("192.168.1.7", FRIEND, b"12345678"))
    device.inject(packet(OWN, FRIEND, b"87654321"))
    assert (await device.wait_written()).endswith(b"87654321")
    assert plane.counts.refused == 2


PAYLOAD = bytes(range(256)) * 20
LAN = b"\xc0\xa8\x01\x07"


def from_friend(frame: bytes, destination: bytes = b"\x0a\x56\x00\x01") -> bytes:
    """What our frames to the friend are, the other way round: their checksums are the same."""
    at = start_of_packet(frame) + 12
    return frame[:at] + frame[at + 4 : at + 8] + destination + frame[at + 8 :]


SUPERPACKET = from_friend(Segments().superpacket(PAYLOAD, 1000))
DATAGRAMS = from_friend(Segments(protocol=UDP).superpacket(PAYLOAD, 1000))
ONE = from_friend(Segments().frame(b"one"))


@pytest.fixture
async def kernel(autojump_clock: trio.testing.MockClock, plane: TunPlane) -> AsyncIterator[KernelDevice]:
    """An interface with all offloads."""
    kernel = KernelDevice()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(plane.carry, kernel)
        await trio.testing.wait_all_tasks_blocked()
        yield kernel
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("frame", [SUPERPACKET, DATAGRAMS, ONE, packet(FRIEND, OWN)])
async def test_what_the_peer_s_interface_gave_it_ours_takes_unchanged(
    kernel: KernelDevice, plane: TunPlane, friend: Peer, frame: bytes
) -> None:
    plane.deliver_untrusted(friend.flow, frame)
    assert kernel.written == [frame]
    assert plane.counts.into == 1


@pytest.mark.parametrize(
    ("offloads", "frame"),
    [
        (frozenset(), SUPERPACKET),
        (frozenset(), DATAGRAMS),
        (frozenset(), ONE),
        (frozenset({Offload.TUN_HEADER, Offload.UDP_SEGMENTATION}), SUPERPACKET),
        (frozenset({Offload.TUN_HEADER, Offload.TCP_SEGMENTATION}), DATAGRAMS),
    ],
)
async def test_what_the_interface_does_not_do_is_done_here(
    kernel: KernelDevice, plane: TunPlane, friend: Peer, offloads: frozenset[Offload], frame: bytes
) -> None:
    kernel.offloads = offloads
    plane.deliver_untrusted(friend.flow, frame)
    assert kernel.written == [bytes(each) for each in to_plain(frame)]
    assert all(written[0] == 0x45 for written in kernel.written)


async def test_each_frame_of_a_bundle_is_judged_by_itself(kernel: KernelDevice, plane: TunPlane, friend: Peer) -> None:
    lying = bytes([1, 1]) + ONE[2:]
    forged, foreign = packet(OTHER, OWN), from_friend(Segments().frame(b"one"), LAN)
    frames = [packet(FRIEND, OWN), forged, SUPERPACKET, foreign, lying, encode_bundle([ONE]), b"\x81app".ljust(20), ONE]
    plane.deliver_untrusted(friend.flow, encode_bundle(frames))
    assert kernel.written == [packet(FRIEND, OWN), SUPERPACKET, ONE]
    counts = plane.counts
    assert (counts.into, counts.forged_source, counts.foreign_destination, counts.malformed) == (3, 1, 1, 3)


async def test_of_a_bundle_that_lies_nothing_is_delivered(kernel: KernelDevice, plane: TunPlane, friend: Peer) -> None:
    whole = encode_bundle([ONE, ONE])
    for lying in (whole[:-1], whole + b"\x00", b"\x80\x00\x00" + whole[1:]):
        plane.deliver_untrusted(friend.flow, lying)
    assert (kernel.written, plane.counts.malformed) == ([], 3)


async def test_frames_of_a_byte_are_not_looked_at_one_by_one(
    kernel: KernelDevice, plane: TunPlane, friend: Peer
) -> None:
    """One record of a member held 20,000 of them, and took 25 ms."""
    plane.deliver_untrusted(friend.flow, encode_bundle([ONE] + [b"\x45"] * 20_000))
    assert (kernel.written, plane.counts.malformed) == ([], 1)


@pytest.mark.parametrize("destination", [LAN, b"\xe0\x00\x00\xfb", b"\x0a\x56\x00\x03"])
async def test_a_superpacket_is_judged_by_its_addresses_too(
    kernel: KernelDevice, plane: TunPlane, friend: Peer, destination: bytes
) -> None:
    plane.deliver_untrusted(friend.flow, from_friend(Segments().superpacket(PAYLOAD, 1000), destination))
    plane.deliver_untrusted(friend.flow, Segments().superpacket(PAYLOAD, 1000))
    assert kernel.written == []
    assert (plane.counts.foreign_destination, plane.counts.forged_source) == (1, 1)


@pytest.mark.parametrize("at", range(10))
async def test_a_virtio_header_that_lies_is_dropped_and_counted(
    kernel: KernelDevice, plane: TunPlane, friend: Peer, at: int
) -> None:
    """What else is true of the packet: another hint at the bytes of headers, another segment size, ECN."""
    for value in range(256):
        lying = SUPERPACKET[:at] + bytes([value]) + SUPERPACKET[at + 1 :]
        plane.deliver_untrusted(friend.flow, lying)
    assert all(is_sound(written) for written in kernel.written if not written[0] & 0x40)
    assert len(kernel.written) + plane.counts.malformed + plane.counts.forged_source == 256
    if at not in (2, 3, 4, 5):
        assert set(kernel.written) <= {SUPERPACKET, b"\x01\x81" + SUPERPACKET[2:]}


async def test_a_superpacket_goes_out_as_it_was_read_and_small_frames_share_a_call(
    kernel: KernelDevice, plane: TunPlane, friend: Peer
) -> None:
    superpacket, small = (
        Segments().superpacket(PAYLOAD, 1000),
        [Segments().frame(bytes([number])) for number in range(3)],
    )
    kernel.inject(small[0], small[1], superpacket, small[2])
    await trio.sleep(1)
    assert friend.sent == [*small[:2], superpacket, small[2]]
    assert isinstance(plane._outbound, Recorder)
    assert plane._outbound.batches == [2, 1, 1]
    assert plane.counts.out == 4


async def test_acknowledgements_that_say_nothing_more_are_left_out_and_counted(
    kernel: KernelDevice, plane: TunPlane, friend: Peer
) -> None:
    one = Segments().frame(b"")
    other = one[:38] + bytes([0, 0, 9, 9]) + one[42:]
    kernel.inject(one, other)
    await trio.sleep(1)
    assert friend.sent == [other]
    assert (plane.counts.out, plane.counts.superfluous) == (1, 1)


async def test_datagrams_of_one_flow_are_joined_but_not_while_a_loop_is_looked_for(
    kernel: KernelDevice, plane: TunPlane, friend: Peer, guard: LoopGuard
) -> None:
    flow = Segments(protocol=UDP)
    datagrams = [flow.frame(bytes([number]) * 500, ident=number) for number in range(4)]
    kernel.inject(*datagrams)
    await trio.sleep(1)
    (joined,) = friend.sent
    assert to_plain(joined) == [each for datagram in datagrams for each in to_plain(datagram)]
    guard.note_sent(datagrams[2][10:])
    kernel.inject(*datagrams)
    await trio.sleep(1)
    assert friend.sent == [joined, joined], "one in the middle of others is not seen"
    guard.note_sent(datagrams[2][10:])
    kernel.inject(datagrams[2])
    await trio.sleep(1)
    kernel.inject(*datagrams)
    await trio.sleep(1)
    assert friend.sent[2:] == [datagrams[0], datagrams[1], datagrams[3]]
    assert plane.counts.looped == 2


class Socket:
    """What the kernel holds."""

    def __init__(self, held: int) -> None:
        self.held = held

    def unsent_bytes(self) -> int:
        return self.held


@pytest.fixture
def socket() -> Socket:
    return Socket(2 * UNKNOWN)


@pytest.fixture
def paced(friend: Peer, guard: LoopGuard, socket: Socket) -> TunPlane:
    flows = {ipaddress.ip_address(FRIEND).packed: friend.flow}
    friend.flow.route = (DIRECT,)
    return TunPlane(flows.get, lambda _: True, guard, Recorder(friend), socket.unsent_bytes)


async def test_what_finds_no_room_waits_and_is_counted_when_it_is_dropped(
    autojump_clock: trio.testing.MockClock, paced: TunPlane, friend: Peer, socket: Socket
) -> None:
    device = KernelDevice()
    device.inject(*[packet(OWN, FRIEND, bytes([number])) for number in range(10)])
    with trio.move_on_after(0.01):
        await paced.carry(device)
    assert friend.sent == []
    assert (paced.counts.out, paced.counts.overdue) == (10, 10)


async def test_a_node_that_is_always_late_reads_its_interface_too(
    autojump_clock: trio.testing.MockClock, paced: TunPlane, friend: Peer, socket: Socket
) -> None:
    """Its deadline has passed whenever it comes to read, and nothing was read then."""
    device = KernelDevice()
    device.inject(packet(OWN, FRIEND))
    paced._pacing.due = trio.current_time()
    assert list(await paced._read(device)) == [packet(OWN, FRIEND)]
