"""What the coverage-guided fuzzer runs: bytes are a program of hostile reads, from a socket to the interface.

    bytes -> steps: a stranger's read, a member's record (arbitrary plaintext, truly sealed), lying fragments, replays
          -> Inbound, with real flows and keys -> Mux -> TunPlane -> an interface that asserts

A *member* here holds the keys of one flow and says anything under them. Whatever the steps are:

- what is delivered was sealed by the peer of that flow, and each record is delivered once
- at the interface the inner source is that peer's, the destination ours, and no virtio header or length lies
- memory is within its bounds, and free again in the end
- each read changes something that can be seen: a count, a delivery, what is held
- none of our code raises
"""

from __future__ import annotations

import ipaddress
import random
import struct
from collections import Counter
from collections.abc import Sequence
from functools import cache

from tests.dataplane.desk import KEY_LIFE, SERVER
from tests.dataplane.flows import DIRECT, HERE, THERE, Life, open_flow
from tests.dataplane.frames import TCP, UDP
from tests.dataplane.frames import Flow as Segments

from tunnel.crypto.noise import SessionKeys
from tunnel.crypto.sealing import Sealer
from tunnel.dataplane.circuit_table import CircuitTable
from tunnel.dataplane.flow import Flow
from tunnel.dataplane.flow_index import FlowIndex
from tunnel.dataplane.inbound import Inbound
from tunnel.dataplane.key_slots import Keys
from tunnel.dataplane.mux import Mux
from tunnel.dataplane.outbound import Outbound
from tunnel.dataplane.reassembly import MAX_BYTES, MAX_NODE_BYTES, MAX_RECORDS, PATIENCE
from tunnel.model.buffers import Buffer
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame, NotAuthentic
from tunnel.model.offload import Offload
from tunnel.model.way import Way
from tunnel.network.datagrams import MAX_RECEIVED, MAX_SEGMENTS
from tunnel.network.datagrams import Segments as Read
from tunnel.network.packet_devices import PacketLink
from tunnel.network.sockets import Sockets
from tunnel.riders.loop_guard import LoopGuard
from tunnel.riders.tun_plane import TunPlane
from tunnel.verify.memory.devices import MemoryLink
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.verify.memory.tunnel_sockets import MemoryTunnel
from tunnel.wire.circuits import encode_head
from tunnel.wire.frames import HEADER, HEADER_BYTES, TAG_BYTES, Header, Kind
from tunnel.wire.records import APPLICATION, MAX_RECORD, encode_bundle

CIRCUIT = Way(0, SERVER, 77)
REMOTE = DIRECT.remote or SERVER
OURS = ("10.86.0.2", "fd00::a56:2")
PEERS = (("10.86.0.1", "fd00::a56:1"), ("10.86.0.3", "fd00::a56:3"))
"""Addresses of the two peers; tests/dataplane/frames.py sends from the first one to us."""
OFFLOADS = (
    frozenset[Offload](),
    frozenset({Offload.TUN_HEADER}),
    frozenset({Offload.TUN_HEADER, Offload.TCP_SEGMENTATION}),
    frozenset({Offload.TUN_HEADER, Offload.UDP_SEGMENTATION}),
    frozenset({Offload.TUN_HEADER, Offload.TCP_SEGMENTATION, Offload.UDP_SEGMENTATION}),
)
MAX_STEPS = 24
PROBED = 7
"""The index at which probes and handshakes are taken."""
STRANGE = ((Kind.DATA, 0), (Kind.DATA, 1), (Kind.CONTROL, 0), (Kind.PROBE, None), (Kind.HANDSHAKE, None))
"""What a stranger's datagrams say that they are, and for which flow; None: for neither."""
_VIRTIO = struct.Struct("<BBHHHH")


@cache
def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def _templates() -> list[bytes]:
    """Frames from the first peer to us that a kernel could have made; the hostile ones are mutations of them."""
    payload = bytes(range(256)) * 8
    frames = []
    for is_ipv4 in (True, False):
        for protocol in (TCP, UDP):
            for has_options in (False, True):
                flow = Segments(is_ipv4, protocol, has_options)
                frames += [
                    flow.superpacket(payload[:600], 100),
                    flow.superpacket(payload, 1000),
                    flow.frame(payload[:50]),
                    flow.packet(payload[:50]),
                    bytes(10) + flow.packet(payload[:20]),
                ]
    addresses6 = b"".join(map(_packed, (PEERS[0][1], OURS[1])))
    return [frame.replace(Segments(False).addresses, addresses6) for frame in frames]


TEMPLATES = _templates()


class Bytes:
    """The fuzzer's bytes, read from the front; at the end all that is read is zero."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def number(self, size: int = 1) -> int:
        return int.from_bytes(self.take(size))

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def rest(self) -> bytes:
        """As many bytes as the next number says, or all that are left."""
        return self.take(self.number(2) % 2048)


class Interface:
    """The double of a TUN interface: asserts instead of a kernel."""

    def __init__(self, offloads: frozenset[Offload]) -> None:
        self.name = "p2pt0"
        self.link: PacketLink = MemoryLink((), ())
        self.sockets: Sockets = MemoryTunnel().sockets(tuple)
        self.offloads = offloads
        self.sources: frozenset[bytes] = frozenset()
        """Addresses of the peer whose record is being delivered."""
        self.frames: Sequence[bytes] = ()
        """What that record says: a plain packet that is not made here must be one of them."""
        self.count = 0

    async def read_batch(self) -> Sequence[Buffer]:
        raise NotImplementedError

    def read_nowait(self) -> Sequence[Buffer]:
        raise NotImplementedError

    def write_nowait(self, frame: Buffer) -> bool:
        frame = bytes(frame)
        self.count += 1
        at = 0
        if not frame[0] & 0x40:
            assert Offload.TUN_HEADER in self.offloads, "a virtio header that the interface does not have"
            check_virtio(frame, self.offloads)
            at = 10
        source, destination, length = read_packet(frame[at:])
        assert source in self.sources, "an inner source that is not the peer's"
        assert destination in map(_packed, OURS), "an inner destination that is not ours"
        if at or not any(frame in plaintext for plaintext in self.frames):
            assert length == len(frame) - at, "a length that lies"
        return self.count % 7 != 0

    def close(self) -> None:
        """Nothing is open."""


def count_frames(plaintext: bytes) -> int:
    """How many frames a record has; a bundle that lies counts as one."""
    if plaintext[:1] != b"\x80":
        return 1
    count, at = 0, 1
    while at < len(plaintext):
        length = int.from_bytes(plaintext[at : at + 2]) if at + 2 <= len(plaintext) else 0
        at += 2 + length
        if not length or at > len(plaintext):
            return 1
        count += 1
    return count


def read_packet(packet: bytes) -> tuple[bytes, bytes, int]:
    """Source, destination and length of an IP packet."""
    if packet[0] >> 4 == 4:
        assert len(packet) >= (packet[0] & 15) * 4 >= 20
        return packet[12:16], packet[16:20], int.from_bytes(packet[2:4])
    assert packet[0] >> 4 == 6, "no IP packet"
    assert len(packet) >= 40
    return packet[8:24], packet[24:40], 40 + int.from_bytes(packet[4:6])


def check_virtio(frame: bytes, offloads: frozenset[Offload]) -> None:
    """What a kernel relies on (virtio_net_hdr_to_skb of Linux), and that the header is true of the packet."""
    flags, gso_type, hdr_len, gso_size, csum_start, csum_offset = _VIRTIO.unpack_from(frame)
    packet = frame[10:]
    assert flags in (0, 1, 2)
    kind = gso_type & 0x7F
    assert kind in (0, 1, 4, 5)
    assert kind not in (1, 4) or Offload.TCP_SEGMENTATION in offloads
    assert kind != 5 or Offload.UDP_SEGMENTATION in offloads
    if flags != 1:
        assert (gso_type, gso_size, csum_start, csum_offset) == (0, 0, 0, 0)
        return
    protocol, start = transport_of(packet)
    assert csum_start == start
    assert (protocol, csum_offset) in ((TCP, 16), (UDP, 6))
    assert csum_start + (20 if protocol == TCP else 8) <= len(packet)
    if kind == 0:
        assert gso_size == 0
        return
    assert (kind, packet[0] >> 4, protocol) in ((1, 4, TCP), (4, 6, TCP), (5, 4, UDP), (5, 6, UDP))
    headers = start + (packet[start + 12] >> 4) * 4 if protocol == TCP else start + 8
    assert headers < len(packet)
    assert hdr_len <= len(packet)
    assert gso_size > 0
    assert -(-(len(packet) - headers) // gso_size) <= (128 if protocol == TCP else 64)
    if protocol == UDP:
        assert int.from_bytes(packet[start + 4 : start + 6]) == len(packet) - start


def transport_of(packet: bytes) -> tuple[int, int]:
    """Protocol and place of the transport header; -1 for a fragment."""
    if packet[0] >> 4 == 4:
        is_fragment = int.from_bytes(packet[6:8]) & 0x3FFF
        return -1 if is_fragment else packet[9], (packet[0] & 15) * 4
    kind, at = packet[6], 40
    while kind in (0, 43, 60):
        kind, at = packet[at], at + 8 * (packet[at + 1] + 1)
    return kind, at


class Member(Life):
    """A peer connection: a bug in its way in is the finding."""

    def fail(self, error: Exception) -> None:
        raise error


class Machine:
    """One run: a node's way in with two flows, and what its hostile peers have sealed."""

    def __init__(self, data: bytes) -> None:
        self.data = Bytes(data)
        self.now = 1.0
        self.interface = Interface(OFFLOADS[self.data.number() % len(OFFLOADS)])
        self.table = CircuitTable({CIRCUIT.circuit: CIRCUIT}, (SERVER,))
        self.index = FlowIndex(MemoryEntropy(random.Random(1)))
        self.flows: list[Flow] = []
        self.lives: list[Life] = []
        self.keys: list[Keys] = []
        self.sealers: list[Sealer] = []
        self.sealed: list[Counter[tuple[int, bytes]]] = []
        """For each flow how often a plaintext of each kind was sealed, less how often it came."""
        self.sent: list[bytes] = []
        """Datagrams between nodes, for replays."""
        self.buffer = bytearray(MAX_RECEIVED)
        self.others = 0
        """STUN, messages of the relay, probes, applications' datagrams, control messages."""
        for number in range(2):
            self._open_flow(number)
        self.mux = Mux(self._deliver)
        self.mux.take_data(APPLICATION, self._take_application)
        self.inbound = Inbound(
            self.index, self.mux, self.table, key_life=KEY_LIFE, stun=[Taker(self)], relay=RelayTaker(self)
        )
        for kind in (Kind.PROBE, Kind.HANDSHAKE):
            self.index.claim(kind, PROBED, Owner(self))
        flows = {_packed(address): flow for own, flow in zip(PEERS, self.flows, strict=True) for address in own}
        self.plane = TunPlane(flows.get, {*map(_packed, OURS)}.__contains__, LoopGuard(), Outbound({}))
        self.plane._device = self.interface

    def _open_flow(self, number: int) -> None:
        flow, _ = open_flow(self.index, number + 2)
        life = Member()
        life.flow, flow.peer = flow, life
        keys = flow.keys.make(SessionKeys(HERE, _key_of(number), bytes(32)), self.index.draw(flow), 8, 0.0)
        flow.keys.offer(keys)
        self.flows.append(flow)
        self.lives.append(life)
        self.keys.append(keys)
        self.sealers.append(Sealer(_key_of(number)))
        self.sealed.append(Counter())

    # What is delivered

    def _expect(self, flow: Flow, kind: Kind, plaintext: bytes) -> int:
        number = self.flows.index(flow)
        sealed = self.sealed[number]
        assert sealed[int(kind), plaintext] > 0, "delivered, but not sealed by this peer, or twice"
        sealed[int(kind), plaintext] -= 1
        return number

    def _deliver(self, flow: Flow, plaintext: bytes) -> None:
        number = self._expect(flow, Kind.DATA, plaintext)
        self.interface.sources = frozenset(map(_packed, PEERS[number]))
        self.interface.frames = (plaintext,)
        before = self._judged()
        self.plane.deliver_untrusted(flow, plaintext)
        assert self._judged() - before == count_frames(plaintext), "a frame that is not counted, or twice"
        self.interface.sources = frozenset()

    def _judged(self) -> int:
        counts = self.plane.counts
        dropped = counts.malformed + counts.forged_source + counts.foreign_destination + counts.device_full
        return dropped + counts.into

    def _take_application(self, flow: Flow, plaintext: bytes) -> None:
        self._expect(flow, Kind.DATA, plaintext)
        self.others += 1

    # Steps

    def run(self) -> None:
        for _ in range(MAX_STEPS):
            if not self.data:
                break
            self._step()
            self._check_bounds()
        self._check_end()

    def _step(self) -> None:
        data = self.data
        match data.number() % 10:
            case 0:
                self._read([data.rest()], REMOTE)
            case 1:
                raw = data.rest()
                self._read_joined(raw, 1 + data.number(2) % 1500, SERVER if data.number() % 2 else REMOTE)
            case 2:
                self._stranger()
            case 3 | 4:
                self._send(self._record(Kind.DATA, data.rest()))
            case 5 | 6:
                self._send(self._record(Kind.DATA, self._frame()))
            case 7:
                frames = [self._frame() for _ in range(data.number() % 6)]
                bundle = encode_bundle([frame[:65535] for frame in frames])
                self._send(self._record(Kind.DATA, self._mutate(bundle)))
            case 8:
                self._send(self._record(Kind.CONTROL, data.rest()))
            case _:
                self._replay_or_wait()

    def _frame(self) -> bytes:
        frame = TEMPLATES[self.data.number() % len(TEMPLATES)]
        if self.data.number() % 4 == 0:
            frame = frame[:42] + frame[42:] * (1 + self.data.number() % 40)
        return self._mutate(frame)

    def _mutate(self, frame: bytes) -> bytes:
        changed = bytearray(frame)
        for _ in range(self.data.number() % 5):
            at, value = self.data.number(2) % (len(changed) or 1), self.data.number()
            changed[at : at + 1] = bytes([value])
        cut = self.data.number()
        return bytes(changed) if cut < 200 else bytes(changed[: cut * 4])

    def _record(self, kind: Kind, plaintext: bytes) -> list[bytes]:
        """Datagrams of a record that a member sealed: any plaintext, any count of fragments under the seal."""
        data = self.data
        number = data.number() % 2
        sealer = self.sealers[number]
        match data.number() % 16:
            case 0:
                sealer.counter = max(0, sealer.counter - 1)  # two records under one counter
            case 1:
                sealer.counter += data.number(2)
            case 2:
                sealer.counter = min(sealer.counter + (1 << (data.number() % 36)), (1 << 36) - 1)
        if sealer.counter >= 1 << 36:
            sealer.counter = 0
        plaintext = plaintext[:MAX_RECORD]
        piece = 64 + data.number(2) % 1400
        piece = max(piece, -(-(len(plaintext) + TAG_BYTES) // MAX_SEGMENTS))
        sealed = bytearray(len(plaintext) + TAG_BYTES)
        count = -(-len(sealed) // piece)
        told = data.number() if data.number() % 16 == 0 else count
        counter = sealer.counter
        sealer.seal_into(kind, self.keys[number].own_index, told, plaintext, memoryview(sealed))
        self.sealed[number][int(kind), plaintext] += 1
        return [
            HEADER.pack(kind, at % 256, told, self.keys[number].own_index, counter)
            + sealed[at * piece : (at + 1) * piece]
            for at in range(count)
        ]

    def _send(self, fragments: list[bytes]) -> None:
        """In one read, or in several, in another order, with losses, copies and lies, by any way."""
        data = self.data
        self.sent += fragments[:4]
        match data.number() % 8:
            case 0:
                self._read(self._disturb(fragments), REMOTE)
            case 1:
                at = data.number() % (len(fragments) or 1)
                self._read_row(fragments[:at])
                self._read_row(fragments[at:])
            case 2:
                self._read_row([encode_head(CIRCUIT.circuit) + each for each in fragments], SERVER)
            case 3:
                whole = fragments[0] + b"".join(each[HEADER_BYTES:] for each in fragments[1:])
                self._relayed(whole)
            case 4:
                self._read_row(self._disturb(fragments))
            case _:
                self._read_row(fragments)

    def _disturb(self, fragments: list[bytes]) -> list[bytes]:
        data = self.data
        disturbed = list(fragments)
        for _ in range(data.number() % 5):
            at = data.number() % len(disturbed)
            match data.number() % 5:
                case 0:
                    disturbed.append(disturbed.pop(at))
                case 1:
                    disturbed.insert(0, disturbed[at])
                case 2 if len(disturbed) > 1:
                    del disturbed[at]
                case 3:
                    where, value = data.number() % HEADER_BYTES, data.number()
                    lying = bytearray(disturbed[at])
                    lying[where] = value
                    disturbed[at] = bytes(lying)
                case _:
                    disturbed[at] = disturbed[at][: HEADER_BYTES + data.number()]
        return disturbed

    def _stranger(self) -> None:
        """Who knows indices and counters, but no key."""
        data = self.data
        kind, index = STRANGE[data.number() % len(STRANGE)]
        own_index = PROBED if index is None else self.keys[index].own_index
        fields = (kind, data.number() % 80, data.number() % 80, own_index)
        counter = max(0, self.sealers[0].counter + data.number() - 8)
        piece = bytes(data.number(2) % 1500)
        more = data.number() % 24
        self._read([HEADER.pack(*fields, counter + step * (more % 2)) + piece for step in range(1 + more)], REMOTE)

    def _replay_or_wait(self) -> None:
        data = self.data
        which = data.number()
        if which < 128 and self.sent:
            self._read([self.sent[which % len(self.sent)]], REMOTE)
        elif which < 160:
            self._relayed(data.rest())
        else:
            self.now += (0.0, PATIENCE / 2, PATIENCE, 1.0, KEY_LIFE / 2)[which % 5]

    # Reads

    def _read_row(self, datagrams: list[bytes], remote: Endpoint = REMOTE) -> None:
        """As one read if they may be one, else as UDP_GRO would end it."""
        read: list[bytes] = []
        for datagram in datagrams:
            is_end = read and (len(read[-1]) != len(read[0]) or len(datagram) > len(read[0]))
            if read and (is_end or sum(map(len, read)) + len(datagram) > MAX_RECEIVED):
                self._read_joined(b"".join(read), len(read[0]), remote)
                read = []
            read.append(datagram)
        if read:
            self._read_joined(b"".join(read), len(read[0]), remote)

    def _read_joined(self, raw: bytes, size: int, remote: Endpoint) -> None:
        before = self._seen()
        self.buffer[: len(raw)] = raw  # as a socket does, whose reads all lie in one buffer
        self.inbound.receive(0, [Read(memoryview(self.buffer)[: len(raw)], remote, size)], self.now)
        self._check_seen(before)

    def _read(self, datagrams: list[bytes], remote: Endpoint) -> None:
        for datagram in datagrams:
            before = self._seen()
            self.inbound.receive(0, [Read(datagram, remote)], self.now)
            self._check_seen(before)

    def _relayed(self, record: bytes) -> None:
        before = self._seen()
        self.inbound.receive_relayed([record], self.now)
        self._check_seen(before)

    # What must hold

    def _seen(self) -> tuple[object, ...]:
        counts, budget = self.inbound.counts, self.inbound.budget
        return (
            counts.malformed,
            counts.unknown_index,
            counts.not_authentic,
            budget.dropped,
            budget.free,
            self.others,
            *(flow.rx_bytes for flow in self.flows),
            *(flow.received.came for flow in self.flows),
            *(len(life.told) for life in self.lives),
        )

    def _check_seen(self, before: tuple[object, ...]) -> None:
        assert self._seen() != before, "a read that left no trace"
        assert self.inbound.counts.failed == 0

    def _check_bounds(self) -> None:
        held = 0
        for flow in self.flows:
            if flow.reassembly is None:
                continue
            records = flow.reassembly._records.values()
            own = sum(len(piece) + 128 for record in records for piece in record.pieces.values())
            assert len(records) <= MAX_RECORDS
            assert own <= MAX_BYTES
            held += own
        assert self.inbound.budget.free == MAX_NODE_BYTES - held >= 0

    def _check_end(self) -> None:
        self.inbound.budget.drop_stale(self.now + 2 * PATIENCE)
        assert self.inbound.budget.free == MAX_NODE_BYTES, "held for ever"


class Taker:
    """Takes STUN."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def handle_untrusted(self, socket: int, datagram: bytes, remote: Endpoint) -> None:
        self._machine.others += 1


class RelayTaker:
    """Takes what is for the circuits."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def handle_untrusted(self, datagram: bytes, remote: Endpoint) -> None:
        self._machine.others += 1


class Owner:
    """Takes probes and handshakes, or refuses them."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def handle_untrusted(self, header: Header, datagram: bytes, way: Way) -> None:
        self._machine.others += 1
        if header.counter % 3 == 1:
            raise NotAuthentic
        if header.counter % 3 == 2:
            raise MalformedFrame

    def fail(self, error: Exception) -> None:
        raise error


def _key_of(number: int) -> bytes:
    return THERE[:-1] + bytes([number + 1])


def run(data: bytes) -> None:
    """One run of the fuzzer; raises what it finds."""
    Machine(data).run()
