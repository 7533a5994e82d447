"""Which servers are asked, and how findings join a report. What is found: verify/simulation/test_nat_report.py."""

from __future__ import annotations

import random
from functools import partial

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation, Filtering, Hairpin, Mapping, NatReport, Udp
from tunnel.model.rates import TokenBucket
from tunnel.nat.allocation import PortAllocation
from tunnel.nat.behavior_discovery import BehaviorReport, discover_behavior, stun_addresses_of
from tunnel.nat.classification import StunAnswer
from tunnel.nat.filtering import StunAddresses
from tunnel.nat.survey import SurveyResult
from tunnel.server.stun_service import serve_stun
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.verify.memory.packet import MemoryPacket

A1, A2 = Endpoint("25.0.0.1", 3478), Endpoint("25.0.0.1", 3479)
B1, B2 = Endpoint("25.0.0.2", 3478), Endpoint("25.0.0.2", 3479)
C1 = Endpoint("25.0.0.3", 19302)
SEEN = Endpoint("26.0.0.1", 40000)
ELSEWHERE = Endpoint("26.0.0.1", 666)


def answer(
    remote: Endpoint, other: Endpoint | None = None, *, is_own: bool = False, mapped: Endpoint = SEEN
) -> StunAnswer:
    return StunAnswer(str(remote), remote, mapped, 0.01, is_own, other)


def survey(*answers: StunAnswer, mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT, udp: Udp = Udp.OPEN) -> SurveyResult:
    return SurveyResult(NatReport(mapping=mapping, udp=udp), answers=answers)


def test_our_own_server_is_asked_first_whatever_came_first() -> None:
    found = stun_addresses_of(survey(answer(C1), answer(B1, A2), answer(A1, B2, is_own=True)), (A1, A2, B1, B2))
    assert found == (StunAddresses(A1, A2, B2), StunAddresses(B1, B2, A2), StunAddresses(C1))


def test_with_one_address_our_own_servers_other_port_is_known_from_the_welcome() -> None:
    assert stun_addresses_of(survey(answer(A1, is_own=True)), (A1, A2)) == (StunAddresses(A1, A2),)


def test_a_server_whose_name_we_were_told_has_the_same_ports() -> None:
    """A wildcard server is known by the host that we dialed, which may be a name."""
    own = Endpoint("our.test", 3478), Endpoint("our.test", 3479)
    assert stun_addresses_of(survey(answer(A1, is_own=True)), own) == (StunAddresses(A1, A2),)


def test_of_others_those_with_two_addresses_go_first() -> None:
    assert stun_addresses_of(survey(answer(C1), answer(A1, B2)), ()) == (StunAddresses(A1, A2, B2), StunAddresses(C1))


def test_another_address_that_is_none_is_another_port_at_most() -> None:
    """coturn names its own other port at its second address; nonsense is nothing."""
    found = stun_addresses_of(survey(answer(B2, B1), answer(C1, C1), answer(A1, B1)), ())
    assert found == (StunAddresses(B2, B1), StunAddresses(C1), StunAddresses(A1))


def test_who_contradicts_the_majority_is_not_asked() -> None:
    liar = answer(C1, A2, mapped=ELSEWHERE)
    assert stun_addresses_of(survey(liar, answer(A1), answer(B1)), ()) == (StunAddresses(A1), StunAddresses(B1))


def test_behind_a_hard_nat_everybody_differs_and_may_be_asked() -> None:
    found = stun_addresses_of(survey(answer(C1, mapped=ELSEWHERE), answer(A1), mapping=Mapping.DEPENDENT), ())
    assert found == (StunAddresses(C1), StunAddresses(A1))


def test_nobody_is_asked_where_no_datagram_passes_or_only_the_site_was_seen() -> None:
    assert stun_addresses_of(survey(udp=Udp.BLOCKED), (A1, A2)) == ()
    assert stun_addresses_of(survey(answer(A1, mapped=Endpoint("192.168.1.2", 5000))), ()) == ()


VERDICT = NatReport(mapping=Mapping.ENDPOINT_INDEPENDENT, allocation=Allocation.PRESERVING, udp=Udp.OPEN)


@pytest.mark.parametrize(
    ("found", "report"),
    [
        (BehaviorReport(), VERDICT),
        (
            BehaviorReport(Filtering.ADDRESS_DEPENDENT, PortAllocation(), Hairpin.YES),
            NatReport(
                Mapping.ENDPOINT_INDEPENDENT,
                Filtering.ADDRESS_DEPENDENT,
                Allocation.PRESERVING,
                Hairpin.YES,
                Udp.OPEN,
            ),
        ),
        (
            BehaviorReport(port_allocation=PortAllocation(Allocation.SEQUENTIAL, step=-2, load=3.0)),
            NatReport(Mapping.ENDPOINT_INDEPENDENT, allocation=Allocation.SEQUENTIAL, udp=Udp.OPEN, step=-2, load=3.0),
        ),
        (
            BehaviorReport(port_allocation=PortAllocation(Allocation.BLOCK, block=(40960, 41471))),
            NatReport(Mapping.ENDPOINT_INDEPENDENT, allocation=Allocation.BLOCK, udp=Udp.OPEN, block=(40960, 41471)),
        ),
        (
            BehaviorReport(is_limited=True),
            NatReport(Mapping.ENDPOINT_INDEPENDENT, allocation=Allocation.PRESERVING, udp=Udp.LIMITED),
        ),
    ],
)
def test_what_was_learned_joins_the_verdict_and_what_was_not_leaves_it(
    found: BehaviorReport, report: NatReport
) -> None:
    assert found.applied_to(VERDICT) == report


@pytest.mark.parametrize(
    ("rate", "mapping", "is_limited"),
    [
        (4.0, Mapping.ENDPOINT_INDEPENDENT, True),
        (4.0, Mapping.NONE, True),
        (1000.0, Mapping.ENDPOINT_INDEPENDENT, False),
        (1000.0, Mapping.NONE, False),
    ],
)
async def test_a_limit_on_datagrams_is_found_where_much_is_lost(
    autojump_clock: trio.testing.MockClock, rate: float, mapping: Mapping, is_limited: bool
) -> None:
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        server = internet.add_host("server", A1.host)
        nursery.start_soon(
            partial(serve_stun, [await server.open_service_socket(one) for one in (A1, A2)], rate_per_source=200.0)
        )
        host = internet.add_host("home", SEEN.host)
        bucket, route = TokenBucket(rate, rate, trio.current_time()), internet.transmit

        def transmit(packet: MemoryPacket) -> None:
            if packet.source.host == A1.host or bucket.take(trio.current_time()):
                route(packet)

        internet.transmit = transmit  # type: ignore[method-assign]
        found = await discover_behavior(host, MemoryEntropy(random.Random(1)), [StunAddresses(A1, A2)], mapping)
        nursery.cancel_scope.cancel()
    assert found.is_limited is is_limited
