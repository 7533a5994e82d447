"""Ports that hosts have requested."""

from __future__ import annotations

import random

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.transport import Transport
from tunnel.verify.memory.packet import MemoryPacket, Segment, SegmentKind
from tunnel.verify.reachability.topology import Nat
from tunnel.verify.simulation.internet.static_mappings import StaticMappings
from tunnel.verify.simulation.internet.translator import Translator

UDP, TCP = Transport.UDP, Transport.TCP
DESK, LAPTOP, REMOTE = Endpoint("192.168.1.2", 5000), Endpoint("192.168.1.3", 5000), Endpoint("25.0.0.9", 9)

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Box:
    """A NAT with its static mappings."""

    def __init__(self) -> None:
        self.statics = StaticMappings()
        self.translator = Translator(Nat(), "26.0.0.1", self.statics, random.Random(1))

    def leaves_by(self, inner: Endpoint, *, tcp: bool = False) -> int:
        segment = Segment(SegmentKind.CONNECT, 0, None) if tcp else None
        source = self.translator.outward(MemoryPacket(inner, REMOTE, b"", segment=segment), trio.current_time())
        assert source is not None
        assert source.host == "26.0.0.1"
        return source.port

    def enters_at(self, port: int, *, tcp: bool = False) -> Endpoint | None:
        segment = Segment(SegmentKind.CONNECT, 0, None) if tcp else None
        packet = MemoryPacket(Endpoint("25.7.7.7", 7), Endpoint("26.0.0.1", port), b"", segment=segment)
        return self.translator.inward(packet, trio.current_time())


async def test_a_static_mapping_is_open_to_everybody_of_its_transport() -> None:
    box = Box()
    assert box.statics.add_static(UDP, 6000, DESK, 100.0)
    assert (box.enters_at(6000), box.enters_at(6000, tcp=True), box.enters_at(6001)) == (DESK, None, None)


async def test_what_its_host_sends_leaves_by_it() -> None:
    """RFC 6887, section 11.1: the mapping is used for what goes out, too."""
    box = Box()
    assert box.statics.add_static(UDP, 6000, DESK, 100.0)
    assert (box.leaves_by(DESK), box.leaves_by(DESK, tcp=True)) == (6000, 5000)
    assert box.leaves_by(LAPTOP) == 5000


async def test_a_lease_ends_unless_it_is_renewed() -> None:
    box = Box()
    for port in (6000, 6001):
        assert box.statics.add_static(UDP, port, Endpoint(DESK.host, port), 100.0)
    await trio.sleep(60)
    assert box.statics.add_static(UDP, 6001, Endpoint(DESK.host, 6001), 100.0)
    await trio.sleep(60)
    assert box.enters_at(6000) is None
    assert box.enters_at(6001) == Endpoint(DESK.host, 6001)
    assert box.statics.add_static(UDP, 6000, LAPTOP, 100.0)


async def test_a_port_has_one_owner() -> None:
    box = Box()
    assert box.statics.add_static(UDP, 6000, DESK, 100.0)
    assert not box.statics.add_static(UDP, 6000, LAPTOP, 100.0)
    assert box.leaves_by(LAPTOP) == 5000
    assert not box.statics.add_static(UDP, 5000, DESK, 100.0)
    assert box.statics.add_static(UDP, 5000, LAPTOP, 100.0)
    assert box.statics.add_static(TCP, 6000, LAPTOP, 100.0)


async def test_dynamic_mappings_keep_off_its_port_until_it_is_gone() -> None:
    box = Box()
    assert box.statics.add_static(UDP, 5000, DESK, 100.0)
    assert box.leaves_by(LAPTOP) == 5001
    assert box.statics.remove_static(UDP, 5000)
    assert not box.statics.remove_static(UDP, 5000)
    assert box.enters_at(5000) is None
    assert box.leaves_by(Endpoint("192.168.1.4", 5000)) == 5000


async def test_a_host_with_two_ports_leaves_by_the_newer() -> None:
    box = Box()
    assert box.statics.add_static(UDP, 6000, DESK, 100.0)
    assert box.statics.add_static(UDP, 6001, DESK, 50.0)
    assert (box.leaves_by(DESK), box.statics.port_of(UDP, DESK)) == (6001, 6001)
    await trio.sleep(60)
    assert (box.enters_at(6000), box.enters_at(6001)) == (DESK, None)


@pytest.mark.parametrize("port", [0, -1, 65536])
async def test_a_port_that_is_none_cannot_be_had(port: int) -> None:
    box = Box()
    assert not box.statics.add_static(UDP, port, DESK, 100.0)
    assert box.statics.is_empty


async def test_where_nothing_is_translated_no_port_can_be_had() -> None:
    assert not StaticMappings().add_static(UDP, 6000, DESK, 100.0)
