from __future__ import annotations

from dataclasses import replace

import pytest
from bench.studies.population_draw import public_stun_servers
from bench.studies.reenactment import Strategy, reenact

from tunnel.model.nat import Allocation, Filtering, Mapping
from tunnel.model.settings import PUBLIC_STUN
from tunnel.verify.reachability.topology import Host, Line, Nat, Router, Topology, Udp, Unsolicited

STUN_NAMES = tuple(server.rpartition(":")[0] for server in PUBLIC_STUN)
GOOGLE = STUN_NAMES[:3]
KEEPS_PORT = Nat(allocation=Allocation.PRESERVING)
RENUMBERS = Nat(allocation=Allocation.RANDOM)


def two_homes(one: Nat | None, other: Nat | None, **more: object) -> Topology:
    def home(number: int, nat: Nat | None) -> Router:
        inner = f"192.168.{number}.1" if nat is not None else f"27.0.{number}.1"
        return replace(
            Router(address=f"26.0.{number}.1", inner=inner, nat=nat, filtering6=Filtering.NONE),
            **more,  # type: ignore[arg-type]
        )

    def host(number: int, nat: Nat | None, behind: str) -> Host:
        return Host(addresses=(f"192.168.{number}.2" if nat is not None else f"27.0.{number}.2",), behind=behind)

    return Topology(
        hosts={"one": host(1, one, "home"), "other": host(2, other, "office")},
        routers={"home": home(1, one), "office": home(2, other)},
        stun_servers=public_stun_servers(),
    )


def test_detection_takes_fifteen_seconds_where_all_servers_answer() -> None:
    """Its own server is a TCP port, and no server answers from another source: three times five seconds."""
    result = reenact(two_homes(KEEPS_PORT, KEEPS_PORT), 1, Strategy.AFTER)
    assert result.detected == (True, True)
    assert result.detection_seconds == pytest.approx((15.0, 15.0), abs=1.0)


def test_nats_that_keep_the_port_are_passed() -> None:
    result = reenact(two_homes(KEEPS_PORT, KEEPS_PORT), 1, Strategy.AFTER)
    assert result.is_claimed
    assert result.is_direct
    assert result.carried == pytest.approx(11.0 + 2.0, abs=2.0), "detection from the start, then the round inside"


def test_before_the_fixes_the_first_request_is_refused_and_the_second_is_not() -> None:
    """In traffic both ways the other side has announced itself by then, whatever the report says."""
    result = reenact(two_homes(KEEPS_PORT, KEEPS_PORT), 1, Strategy.BEFORE)
    assert not result.is_first_request_served
    assert result.is_direct
    assert result.carried == pytest.approx(5.0 + 2.0, abs=1.5)


def test_after_the_fixes_detection_outlasts_the_patience_of_the_hub() -> None:
    """The hub waits 10 s, detection takes 15 s from the start: a request within the first five comes too early."""
    result = reenact(two_homes(KEEPS_PORT, KEEPS_PORT), 1, Strategy.AFTER)
    assert not result.is_first_request_served
    assert result.requests > 2


def test_a_minute_after_the_start_the_fixed_tool_knows_its_peers() -> None:
    """Detection has ended by then, so the first request is served; before the fixes it never is."""
    topology = two_homes(KEEPS_PORT, KEEPS_PORT)
    before, after = (reenact(topology, 1, strategy, ready=60.0) for strategy in Strategy)
    assert (before.is_first_request_served, after.is_first_request_served) == (False, True)
    assert after.carried == pytest.approx(2.3, abs=0.3)


@pytest.mark.parametrize("strategy", Strategy)
def test_a_nat_that_chooses_ports_is_never_passed(strategy: Strategy) -> None:
    """The port that is published is the local one (fault B1), although plain punching passes such a pair."""
    result = reenact(two_homes(RENUMBERS, RENUMBERS), 1, strategy)
    assert result.detected == (True, True)
    assert (result.is_claimed, result.is_direct) == (False, False)


def test_one_port_that_is_chosen_is_enough_to_fail() -> None:
    """The other side hears hellos from an endpoint that nobody published, and ignores them (fault B2)."""
    open_nat = replace(KEEPS_PORT, filtering=Filtering.ENDPOINT_INDEPENDENT)
    result = reenact(two_homes(open_nat, RENUMBERS), 1, Strategy.AFTER)
    assert not result.is_direct


def test_public_hosts_are_connected() -> None:
    assert reenact(two_homes(None, None), 1, Strategy.AFTER).is_direct


def test_without_googles_servers_only_the_longer_list_detects_anything() -> None:
    restricted = two_homes(KEEPS_PORT, KEEPS_PORT, blocked=GOOGLE)
    before, after = (reenact(restricted, 1, strategy) for strategy in Strategy)
    assert (before.detected, after.detected) == ((False, False), (True, True))
    assert before.detection_seconds == pytest.approx((20.0, 20.0), abs=1.0)
    assert after.detection_seconds == pytest.approx((30.0, 30.0), abs=1.0)
    assert after.is_direct


def test_without_any_server_detection_takes_most_of_a_minute_and_nothing_is_tried() -> None:
    """Two that call themselves symmetric refuse each other at once (fault B5), here 55 s after the start."""
    result = reenact(two_homes(KEEPS_PORT, KEEPS_PORT, blocked=STUN_NAMES), 1, Strategy.AFTER)
    assert result.detected == (False, False)
    assert result.detection_seconds == pytest.approx((55.0, 55.0), abs=1.0)
    assert not result.is_direct


def test_blocked_udp_and_hard_nats_leave_the_relay() -> None:
    hard = Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.RANDOM)
    assert not reenact(two_homes(hard, KEEPS_PORT), 1, Strategy.AFTER).is_direct
    assert not reenact(two_homes(KEEPS_PORT, KEEPS_PORT, udp=Udp.BLOCKED), 1, Strategy.AFTER).is_direct


def test_one_side_may_believe_in_a_path_that_carries_nothing_back() -> None:
    """One hello is enough to count as connected; whether answers arrive is not checked (fault B7).

    The NAT of `other` denies remotes that send before it was opened, and `other` is late.
    """
    shy = replace(KEEPS_PORT, unsolicited=Unsolicited.DENY, deny_time=1000.0)
    topology = two_homes(KEEPS_PORT, shy)
    late = replace(topology.hosts["other"], line=Line(latency=0.1))
    result = reenact(replace(topology, hosts={**topology.hosts, "other": late}), 1, Strategy.BEFORE)
    assert result.claimed[0] is not None
    assert result.claimed[1] is None
    assert not result.is_direct


def test_the_same_seed_is_the_same_run() -> None:
    topology = two_homes(KEEPS_PORT, RENUMBERS)
    assert reenact(topology, 5, Strategy.AFTER) == reenact(topology, 5, Strategy.AFTER)


def test_hosts_of_one_network_meet_on_it() -> None:
    topology = two_homes(RENUMBERS, RENUMBERS)
    home = replace(topology, hosts={**topology.hosts, "other": Host(addresses=("192.168.1.3",), behind="home")})
    result = reenact(home, 1, Strategy.AFTER)
    assert result.is_direct
