"""The table of a NAT against a reference that is nothing but the definitions of RFC 4787, sections 4.1 and 5."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import SettingsError
from tunnel.model.nat import Allocation, Filtering, Mapping
from tunnel.verify.memory.packet import SegmentKind
from tunnel.verify.reachability.topology import Nat, Refresh
from tunnel.verify.simulation.internet.allocation import allocator_of
from tunnel.verify.simulation.internet.mappings import MappingTable, PortMapping
from tunnel.verify.simulation.internet.openings import Policy, datagram_policy, stream_policy

MAPPINGS = (Mapping.ENDPOINT_INDEPENDENT, Mapping.ADDRESS_DEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT)
FILTERINGS = (Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
INNERS = (Endpoint("10.0.0.2", 5000), Endpoint("10.0.0.2", 5001), Endpoint("10.0.0.3", 5000))
REMOTES = (Endpoint("25.0.0.1", 1), Endpoint("25.0.0.1", 2), Endpoint("25.0.0.2", 1))
INNER, REMOTE = INNERS[0], REMOTES[0]


class Clocked:
    """A table whose `now` a test sets."""

    def __init__(self, nat: Nat, policy: Policy | None = None) -> None:
        self.now = 0.0
        allocator = allocator_of(replace(nat, foreign_load=0.0), random.Random(1))
        self.table = MappingTable(nat.mapping, policy or datagram_policy(nat), allocator, max_mappings=nat.max_mappings)

    def leave(self, inner: Endpoint = INNER, remote: Endpoint = REMOTE) -> PortMapping:
        mapping = self.table.leave(inner, remote, self.now)
        assert mapping is not None
        return mapping

    def enters(self, port: int, remote: Endpoint = REMOTE) -> bool:
        """Whether a packet comes in there; if so it has."""
        mapping = self.table.find(port, remote, self.now)
        if mapping is not None:
            mapping.note_inbound(remote, self.now)
        return mapping is not None

    def live(self, host: str = INNER.host) -> int:
        return self.table.live_mappings(host, self.now)


class Reference:
    """All flows that ever were: one external port for all that the mapping treats alike, one permission for all that
    filtering treats alike."""

    def __init__(self, mapping: Mapping, filtering: Filtering) -> None:
        self.mapping, self.filtering = mapping, filtering
        self.flows: list[tuple[Endpoint, Endpoint]] = []

    def share_port(self, one: tuple[Endpoint, Endpoint], other: tuple[Endpoint, Endpoint]) -> bool:
        if one[0] != other[0]:
            return False
        return {
            Mapping.ENDPOINT_INDEPENDENT: True,
            Mapping.ADDRESS_DEPENDENT: one[1].host == other[1].host,
            Mapping.ADDRESS_AND_PORT_DEPENDENT: one[1] == other[1],
        }[self.mapping]

    def admits(self, flow: tuple[Endpoint, Endpoint], remote: Endpoint) -> bool:
        """Whether `remote` may send to the port that this flow left by."""
        through = [known[1] for known in self.flows if self.share_port(known, flow)]
        return {
            Filtering.ENDPOINT_INDEPENDENT: bool(through),
            Filtering.ADDRESS_DEPENDENT: remote.host in [known.host for known in through],
            Filtering.ADDRESS_AND_PORT_DEPENDENT: remote in through,
        }[self.filtering]


@pytest.mark.parametrize("filtering", FILTERINGS)
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_every_kind_of_nat_maps_and_filters_as_rfc_4787_defines_it(mapping: Mapping, filtering: Filtering) -> None:
    """In a hundred courses of flows, after each flow."""
    for course in range(100):
        chance = random.Random(course)
        reference, ports = Reference(mapping, filtering), dict[tuple[Endpoint, Endpoint], int]()
        clocked = Clocked(Nat(mapping=mapping, filtering=filtering, allocation=Allocation.RANDOM))
        for _ in range(8):
            flow = chance.choice(INNERS), chance.choice(REMOTES)
            ports[flow] = clocked.leave(*flow).port
            reference.flows.append(flow)
            for known, port in ports.items():
                for other, other_port in ports.items():
                    assert (port == other_port) == reference.share_port(known, other)
                for remote in REMOTES:
                    found = clocked.table.find(port, remote, 0.0)
                    assert (found is not None) == reference.admits(known, remote)
                    assert found is None or found.inner == known[0]


async def test_nobody_enters_by_a_port_that_was_never_mapped() -> None:
    clocked = Clocked(Nat(filtering=Filtering.ENDPOINT_INDEPENDENT))
    port = clocked.leave().port
    assert clocked.enters(port)
    assert not clocked.enters(port + 1)


async def test_an_unanswered_mapping_ends_sooner_than_an_answered_one() -> None:
    clocked = Clocked(Nat(lifetime=120.0, unanswered_lifetime=30.0))
    port = clocked.leave().port
    clocked.now = 29.0
    assert clocked.enters(port)
    clocked.now = 119.0
    assert clocked.enters(port)
    clocked.now = 120.0
    assert not clocked.enters(port)

    unanswered = Clocked(Nat(lifetime=120.0, unanswered_lifetime=30.0))
    port = unanswered.leave().port
    unanswered.now = 30.0
    assert not unanswered.enters(port)
    assert unanswered.live() == 0


@pytest.mark.parametrize(
    ("refresh", "by_outbound", "by_inbound"),
    [(Refresh.OUTBOUND, True, False), (Refresh.INBOUND, False, True), (Refresh.BOTH, True, True)],
)
async def test_only_the_named_direction_keeps_a_mapping_alive(
    refresh: Refresh, by_outbound: bool, by_inbound: bool
) -> None:
    """Requirement 6 of RFC 4787 demands outbound refresh; others exist."""
    for is_outbound, keeps in ((True, by_outbound), (False, by_inbound)):
        clocked = Clocked(Nat(refresh=refresh, lifetime=60.0, allocation=Allocation.RANDOM))
        port = clocked.leave().port
        assert clocked.enters(port)
        clocked.now = 50.0
        if is_outbound:
            clocked.leave()
        else:
            assert clocked.enters(port)
        clocked.now = 100.0
        assert clocked.enters(port) is keeps


async def test_a_mapping_that_ended_comes_back_at_another_port() -> None:
    clocked = Clocked(Nat(allocation=Allocation.SEQUENTIAL))
    first = clocked.leave().port
    clocked.now = 29.0
    assert clocked.leave().port == first
    clocked.now = 59.0
    assert clocked.leave().port == first + 1


async def test_an_ended_mapping_leaves_its_port_to_others() -> None:
    clocked = Clocked(Nat(allocation=Allocation.PRESERVING))
    assert clocked.leave(INNERS[0]).port == 5000
    assert clocked.leave(INNERS[2]).port == 5001
    clocked.now = 20.0
    clocked.leave(INNERS[2])
    clocked.now = 45.0
    assert clocked.leave(Endpoint("10.0.0.4", 5000)).port == 5000


async def test_a_permission_ends_with_its_own_flow_though_the_mapping_lives_on() -> None:
    clocked = Clocked(Nat(lifetime=60.0))
    port = clocked.leave(remote=REMOTES[0]).port
    assert clocked.enters(port, REMOTES[0])
    clocked.now = 50.0
    assert clocked.leave(remote=REMOTES[2]).port == port
    clocked.now = 70.0
    assert not clocked.enters(port, REMOTES[0])
    assert clocked.enters(port, REMOTES[2])


async def test_of_too_many_mappings_of_one_host_the_oldest_goes() -> None:
    clocked = Clocked(Nat(max_mappings=3, filtering=Filtering.ENDPOINT_INDEPENDENT))
    ports = [clocked.leave(Endpoint("10.0.0.2", 6000 + number)).port for number in range(4)]
    clocked.leave(INNERS[2])
    assert [clocked.enters(port) for port in ports] == [False, True, True, True]
    assert (clocked.live("10.0.0.2"), clocked.live("10.0.0.3")) == (3, 1)


async def test_where_no_port_is_left_nothing_leaves() -> None:
    clocked = Clocked(Nat(first_port=2000, last_port=2001))
    for number in range(2):
        clocked.leave(Endpoint("10.0.0.2", 6000 + number))
    assert clocked.table.leave(Endpoint("10.0.0.2", 7000), REMOTE, 1.0) is None
    assert clocked.table.leave(Endpoint("10.0.0.2", 7000), REMOTE, 31.0) is not None


async def test_what_was_forgotten_lets_nobody_in() -> None:
    clocked = Clocked(Nat())
    port = clocked.leave().port
    clocked.table.forget()
    assert not clocked.enters(port)
    assert clocked.live() == 0
    assert clocked.leave().port == port
    assert clocked.enters(port)


async def test_strangers_are_forgotten_with_the_rest() -> None:
    clocked = Clocked(Nat(allocation=Allocation.PRESERVING))
    clocked.table.note_stranger(REMOTE, 5000, until=30.0)
    clocked.table.forget()
    assert clocked.leave().port == 5000


async def test_a_flow_that_a_stranger_came_before_leaves_by_another_port() -> None:
    """netfilter without a firewall: the stranger's packet holds the place of the flow that would answer it."""
    clocked = Clocked(Nat(allocation=Allocation.PRESERVING))
    assert clocked.leave(remote=REMOTES[2]).port == 5000
    clocked.table.note_stranger(REMOTE, 5000, until=30.0)
    assert clocked.leave(remote=REMOTE).port == 5001
    assert clocked.enters(5001, REMOTE)
    assert not clocked.enters(5000, REMOTE)
    assert clocked.leave(remote=REMOTES[1]).port == 5000
    clocked.now = 31.0
    assert clocked.leave(remote=REMOTE).port == 5001, "an answered flow stays where it is"


async def test_a_stranger_is_forgotten_in_time() -> None:
    clocked = Clocked(Nat(allocation=Allocation.PRESERVING))
    clocked.table.note_stranger(REMOTE, 5000, until=30.0)
    clocked.now = 30.0
    assert clocked.leave(remote=REMOTE).port == 5000


async def test_a_reserved_port_is_given_to_nobody_else() -> None:
    clocked = Clocked(Nat(allocation=Allocation.PRESERVING))
    assert clocked.table.reserve(5000, INNERS[2], 0.0)
    assert clocked.leave(INNERS[0]).port == 5001
    assert not clocked.table.reserve(5001, INNERS[2], 0.0)
    assert clocked.table.reserve(5001, INNERS[0], 0.0)
    clocked.table.release(5000)
    assert clocked.leave(Endpoint("10.0.0.4", 5000)).port == 5000


class Streams(Clocked):
    """A table for TCP, to which a test shows pieces of streams."""

    def __init__(self) -> None:
        super().__init__(Nat(), stream_policy(Filtering.ADDRESS_AND_PORT_DEPENDENT))

    def out(self, kind: SegmentKind, remote: Endpoint = REMOTE) -> PortMapping:
        mapping = self.leave(remote=remote)
        self.table.note_segment(mapping, remote, kind, outbound=True, now=self.now)
        return mapping

    def back(self, mapping: PortMapping, kind: SegmentKind, remote: Endpoint = REMOTE) -> None:
        assert self.enters(mapping.port, remote)
        self.table.note_segment(mapping, remote, kind, outbound=False, now=self.now)


async def test_an_established_stream_may_be_idle_for_two_hours_and_one_that_only_opens_for_minutes() -> None:
    """RFC 5382, requirement 5."""
    streams = Streams()
    mapping = streams.out(SegmentKind.CONNECT)
    streams.now = 239.0
    streams.back(mapping, SegmentKind.ACCEPT)
    streams.now += 7439.0
    streams.back(mapping, SegmentKind.DATA)
    streams.now += 7440.0
    assert not streams.enters(mapping.port)

    unanswered = Streams()
    mapping = unanswered.out(SegmentKind.CONNECT)
    unanswered.now = 240.0
    assert not unanswered.enters(mapping.port)


async def test_a_reset_ends_the_mapping_of_its_stream_at_once() -> None:
    streams = Streams()
    mapping = streams.out(SegmentKind.CONNECT)
    streams.back(mapping, SegmentKind.RESET)
    assert streams.live() == 0


async def test_a_reset_leaves_other_streams_of_the_same_mapping() -> None:
    streams = Streams()
    mapping = streams.out(SegmentKind.CONNECT)
    assert streams.out(SegmentKind.CONNECT, REMOTES[2]) is mapping
    streams.back(mapping, SegmentKind.RESET)
    assert streams.live() == 1


async def test_a_stream_that_ended_in_both_directions_is_soon_forgotten() -> None:
    """Not at once: the last piece may have to be sent again."""
    streams = Streams()
    mapping = streams.out(SegmentKind.CONNECT)
    streams.back(mapping, SegmentKind.ACCEPT)
    streams.out(SegmentKind.END)
    streams.now = 1000.0
    streams.back(mapping, SegmentKind.END)
    streams.now += 239.0
    assert streams.live() == 1
    streams.now += 1.0
    assert streams.live() == 0


async def test_a_table_keeps_no_more_than_what_lives() -> None:
    """A week of short flows must not fill the memory of a simulation."""
    clocked = Clocked(Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.RANDOM))
    for number in range(20_000):
        clocked.now += 1.0
        remote = Endpoint("25.0.0.1", 1 + number)
        clocked.leave(remote=remote)
        clocked.table.note_stranger(remote, 1, clocked.now + 30.0)
    assert clocked.live() == 30
    assert len(clocked.table) < 40


@pytest.mark.parametrize("mapping", [Mapping.UNKNOWN, Mapping.NONE, Mapping.DEPENDENT])
async def test_a_nat_that_does_not_know_how_it_maps_cannot_be_built(mapping: Mapping) -> None:
    with pytest.raises(SettingsError, match="how it maps"):
        Clocked(Nat(mapping=mapping))


async def test_a_nat_that_does_not_know_how_it_filters_cannot_be_built() -> None:
    with pytest.raises(SettingsError, match="how it filters"):
        Clocked(Nat(filtering=Filtering.UNKNOWN))
