"""The way of a packet, traced: the files of the program that it passes, and what is done only once a batch.

In memory, so the socket is verify/memory/datagrams.py in the place of network/os/datagrams.py, and the interface
verify/memory/devices.py in that of network/os/tun_devices.py.
"""

from __future__ import annotations

import ipaddress
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from types import FrameType
from typing import TYPE_CHECKING, Any

import trio

from tunnel.crypto.sealing import Opener
from tunnel.embedding import Node
from tunnel.network.link import Link
from tunnel.verify.memory.datagrams import MemoryDatagramSocket, MemorySocket
from tunnel.verify.memory.devices import MemoryDevice
from tunnel.wire.frames import HEADER, Kind

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, SimulatedNetwork

OUT = ("riders.tun_plane", "dataplane.outbound", "verify.memory.datagrams")
IN = ("node.udp_sockets", "dataplane.inbound", "riders.tun_plane", "verify.memory.devices")
LINK_OUT = ("riders.tun_plane", "dataplane.outbound", "link")
LINK_IN = ("link", "dataplane.inbound", "riders.tun_plane", "verify.memory.devices")
STOPS = {
    "network.link": "link",
    "node.server_link": "link",
    "node.server_signals": "link",
    "dataplane.mux": "dataplane.inbound",
}
"""One stop: who holds the link to the server, and who reads it for the node; the way in, and its registry."""
SEALED = (Kind.DATA, Kind.CONTROL)
ENDS = {
    MemoryDatagramSocket.send_batch.__code__,
    MemoryDevice.write_nowait.__code__,
    Link.queue_relay.__code__,
}


@dataclass
class Recording:
    """What the interpreter called meanwhile."""

    chains: set[tuple[str, ...]] = field(default_factory=set)
    """Files on the stack whenever a packet came to an end of its way here."""
    calls: Counter[str] = field(default_factory=Counter)
    """By file."""
    made: Counter[str] = field(default_factory=Counter)
    """Objects that an `__init__` made, by class."""
    unpacked: int = 0
    """Headers."""
    fragments: int = 0
    """Datagrams with a piece of a record that came by UDP."""
    opened: int = 0
    """Records, those between packets included."""

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and getattr(argument, "__self__", None) is HEADER and "unpack" in argument.__name__:
            self.unpacked += 1
        if event != "call" or (module := _module(frame)) is None:
            return
        self.calls[module] += 1
        if frame.f_code.co_name == "__init__":
            self.made[f"{module}.{type(frame.f_locals['self']).__name__}"] += 1
        self.opened += frame.f_code is Opener.open_record.__code__
        if frame.f_code is MemorySocket.arrive.__code__:
            self.fragments += frame.f_locals["packet"].payload[0] in SEALED
        if frame.f_code in ENDS:
            chain = _chain(frame)
            if "riders.tun_plane" in chain:  # else a probe, or something that the nodes say to each other
                self.chains.add(chain)

    def calls_in(self, room: str) -> int:
        return sum(count for module, count in self.calls.items() if module.startswith(room))


def _module(frame: FrameType) -> str | None:
    name = str(frame.f_globals.get("__name__", ""))
    return name.removeprefix("tunnel.") if name.startswith("tunnel.") else None


def _chain(end: FrameType) -> tuple[str, ...]:
    """From the task that read the packet to here; neighbors in one file are one stop."""
    modules = []
    frame: FrameType | None = end
    while frame is not None and (module := _module(frame)) is not None:
        modules.append(STOPS.get(module, module))
        frame = frame.f_back
    return tuple(module for module, _ in groupby(reversed(modules)))


@contextmanager
def recording() -> Iterator[Recording]:
    recorded = Recording()
    sys.setprofile(recorded.profile)
    try:
        yield recorded
    finally:
        sys.setprofile(None)


@asynccontextmanager
async def two_machines(net: SimulatedNetwork, open_in: OpenNode, **changes: Any) -> AsyncIterator[tuple[Node, Node]]:
    """Two nodes with interfaces, settled, after a while in which nothing is sent."""
    async with (
        net.server(udp_relay=False),
        open_in("desk", tun="p2pt0", **changes) as desk,
        open_in("laptop", tun="p2pt0", **changes) as laptop,
    ):
        peer = await desk.connect("laptop")
        await peer.wait_settled()
        await peer.ping()
        await trio.sleep(0.5)
        yield desk, laptop


def packets_between(source: Node, destination: Node, count: int) -> list[bytes]:
    addresses = b"".join(ipaddress.IPv6Address(_ipv6_of(node)).packed for node in (source, destination))
    payloads = [number.to_bytes(2) * 500 for number in range(count)]
    return [b"\x60" + bytes(3) + len(each).to_bytes(2) + bytes(2) + addresses + each for each in payloads]


def _ipv6_of(node: Node) -> str:
    return next(address for address in node.addresses if ":" in address)


async def pass_through(net: SimulatedNetwork, desk: Node, laptop: Node, count: int) -> Recording:
    """So many packets of one read go from desk to laptop: what was called on both."""
    (sender,), (receiver,) = (net.host(name).devices.open.values() for name in ("desk", "laptop"))
    sent = packets_between(desk, laptop, count)
    with recording() as recorded:
        for packet in sent:
            assert sender.inject(packet)
        with trio.fail_after(5.0):
            came = [await receiver.wait_written() for _ in sent]
    assert came == sent
    return recorded


async def test_a_packet_makes_three_stops_on_its_way_out_and_four_on_its_way_in(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    async with two_machines(net, open_in) as (desk, laptop):
        assert desk.peer("laptop").state == "connected"
        recorded = await pass_through(net, desk, laptop, 1)
        assert recorded.chains == {OUT, IN}


async def test_over_the_link_it_makes_no_more(net: SimulatedNetwork, open_in: OpenNode) -> None:
    async with two_machines(net, open_in, relay_only=True) as (desk, laptop):
        recorded = await pass_through(net, desk, laptop, 1)
        assert recorded.chains == {LINK_OUT, LINK_IN}


async def test_over_the_link_a_header_is_unpacked_once_a_record(net: SimulatedNetwork, open_in: OpenNode) -> None:
    async with two_machines(net, open_in, relay_only=True) as (desk, laptop):
        recorded = await pass_through(net, desk, laptop, 50)
        assert 0 < recorded.opened < 50
        assert recorded.unpacked == recorded.opened


async def test_if_each_fragment_comes_in_a_read_of_its_own_each_header_is_unpacked_once(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """In memory they come one by one; those that come together are in tests/dataplane/test_inbound.py."""
    async with two_machines(net, open_in) as (desk, laptop):
        recorded = await pass_through(net, desk, laptop, 50)
        assert 0 < recorded.opened < recorded.fragments
        assert recorded.unpacked == recorded.fragments


async def test_a_batch_is_told_to_the_connection_once_however_many_packets_it_has(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    """What lives beside the packets costs them nothing: 50 packets, of one record, cause the calls of one."""
    async with two_machines(net, open_in) as (desk, laptop):
        await pass_through(net, desk, laptop, 1)
        await trio.sleep(3.0)  # the path's MTU is found by now
        one = await pass_through(net, desk, laptop, 1)
        await trio.sleep(3.0)
        many = await pass_through(net, desk, laptop, 50)
        assert one.calls_in("peer.") > 0
        for room in ("peer.", "machines."):
            assert many.calls_in(room) < one.calls_in(room) + 50, "heartbeats may fall between, but no call a packet"


async def test_nothing_of_ours_is_made_for_a_packet(net: SimulatedNetwork, open_in: OpenNode) -> None:
    """Bytes and tuples alone: what a class of ours makes in its `__init__` is made for a batch, or never."""
    async with two_machines(net, open_in) as (desk, laptop):
        await pass_through(net, desk, laptop, 1)
        recorded = await pass_through(net, desk, laptop, 60)
        many = {name for name, count in recorded.made.items() if count >= 60}
        assert {name for name in many if not name.startswith("verify.")} == set()
