"""Frames of one kernel reach the other one as the same packets, whatever the ways, sizes, losses and offloads."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from tests.dataplane.desk import CIRCUIT, SERVER, Desk
from tests.dataplane.flows import DIRECT, agree, open_flow
from tests.dataplane.frames import TCP, UDP, Flow
from tests.dataplane.reads import reads_of
from tests.riders.kernel import KernelDevice

from tunnel.dataplane.coalescing import coalesce
from tunnel.dataplane.outbound import Outbound
from tunnel.dataplane.superpacket import to_plain
from tunnel.model.buffers import Buffer
from tunnel.model.offload import Offload
from tunnel.model.way import RELAY, Way
from tunnel.network.datagrams import MAX_SEGMENTS, Transmit
from tunnel.riders.loop_guard import LoopGuard
from tunnel.riders.tun_plane import TunPlane
from tunnel.wire.frames import BASE_SIZE

PAYLOAD = bytes(range(256)) * 240
OFFLOADS = st.sampled_from(
    (
        frozenset[Offload](),
        frozenset({Offload.TUN_HEADER}),
        frozenset({Offload.TUN_HEADER, Offload.TCP_SEGMENTATION}),
        frozenset({Offload.TUN_HEADER, Offload.TCP_SEGMENTATION, Offload.UDP_SEGMENTATION}),
    )
)
FLOWS = st.builds(Flow, st.booleans(), st.sampled_from((TCP, UDP)), st.booleans())
FRAMES = st.one_of(
    st.builds(lambda flow, size: flow.packet(PAYLOAD[:size]), FLOWS, st.integers(0, 1300)),
    st.builds(lambda flow, size: flow.frame(PAYLOAD[:size]), FLOWS, st.integers(0, 1300)),
    st.builds(
        lambda flow, size, segments, last: flow.superpacket(PAYLOAD[: size * segments + last], size),
        FLOWS,
        st.integers(500, 1300),
        st.integers(1, 44),
        st.integers(1, 500),
    ),
)


def plain(frames: Sequence[Buffer]) -> list[bytes]:
    return [bytes(packet) for frame in frames for packet in to_plain(frame)]


@given(
    frames=st.lists(FRAMES, min_size=1, max_size=12),
    offloads=OFFLOADS,
    datagram_size=st.integers(BASE_SIZE, 9000),
    fragments=st.integers(1, MAX_SEGMENTS),
    way=st.sampled_from((DIRECT, CIRCUIT, RELAY)),
    seed=st.integers(0, 2**32),
    share=st.floats(0.0, 1.0),
)
def test_what_one_kernel_gives_the_other_gets(
    frames: list[bytes],
    offloads: frozenset[Offload],
    datagram_size: int,
    fragments: int,
    way: Way,
    seed: int,
    share: float,
) -> None:
    chance, sent, kernel = random.Random(seed), list[Transmit](), KernelDevice(offloads)
    joined, receiver = coalesce(frames), Desk()
    plane = TunPlane(lambda _: receiver.flow, lambda _: True, LoopGuard(), Outbound({}))
    plane._device = kernel
    receiver.take = plane.deliver_untrusted

    def send(transmit: Transmit) -> int:
        datagrams = [b"".join(parts) for parts in transmit.datagrams()]
        sent.append(transmit._replace(buffers=datagrams, parts=1))
        return len(datagrams)

    flow, _ = open_flow()
    agree(flow, 8, receiver.keys.own_index, is_initiator=False)
    flow.route, flow.datagram_size, flow.record_size.fragments = (way,), datagram_size, fragments
    Outbound({0: send, RELAY.socket: send}).send_data(flow, joined, 0.0)
    datagrams = [bytes(each) for transmit in sent for each in transmit.buffers]
    receiver.table.relays, receiver.table.ways[CIRCUIT.circuit] = (SERVER,), CIRCUIT
    if way.remote is None:
        receiver.receive(*datagrams, way=RELAY)
    else:
        for read in reads_of(datagrams, lambda: chance.random() < share):
            receiver.read(*read, remote=way.remote)
    assert plain(kernel.written) == plain(joined)
    assert receiver.counts == (0, 0, 0, 0)
    assert plane.counts.into > 0
