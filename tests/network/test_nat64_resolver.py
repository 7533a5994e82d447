"""Names and literals on a host that has IPv6 alone."""

from __future__ import annotations

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.routes import Gateway
from tunnel.network.nat64_resolver import ASK_AGAIN, PATIENCE, Nat64Resolver
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.memory.resolver import Trouble

LITERAL = Endpoint("25.0.0.1", 443)
HOME6 = "2001:db8:7::1"
TELLING = ("192.0.0.170", "2001:db8:64::c000:aa")
OWN_PREFIX = Endpoint("2001:db8:64::1900:1", 443)
WELL_KNOWN = Endpoint("64:ff9b::1900:1", 443)


@pytest.mark.parametrize(
    ("addresses", "gateways", "told", "found"),
    [
        pytest.param([HOME6], [], TELLING, (LITERAL, OWN_PREFIX), id="the network tells its prefix"),
        pytest.param([HOME6], [], (), (LITERAL, WELL_KNOWN), id="it does not: the usual one is tried"),
        pytest.param(["26.0.0.1", HOME6], [], TELLING, (LITERAL,), id="IPv4 is there"),
        pytest.param(["26.0.0.1"], [], TELLING, (LITERAL,), id="IPv4 alone"),
        pytest.param(
            ["172.17.0.1", HOME6], [Gateway("fe80::1%2", HOME6)], TELLING, (LITERAL, OWN_PREFIX), id="a bridge's IPv4"
        ),
        pytest.param(
            ["26.0.0.1", HOME6],
            [Gateway("26.0.0.9", "26.0.0.1"), Gateway("fe80::1%2", HOME6)],
            TELLING,
            (LITERAL,),
            id="both have a router",
        ),
        pytest.param(["10.86.0.7", HOME6], [], TELLING, (LITERAL, OWN_PREFIX), id="our tunnel's IPv4"),
    ],
)
async def test_an_ipv4_literal_is_reached_where_only_ipv6_is(
    autojump_clock: trio.testing.MockClock,
    addresses: list[str],
    gateways: list[Gateway],
    told: tuple[str, ...],
    found: tuple[Endpoint, ...],
) -> None:
    async with open_memory_internet() as internet:
        host = internet.add_host("phone", *addresses)
        internet.names["ipv4only.arpa"] = told
        host.interfaces.find_gateways = lambda: tuple(gateways)
        resolver = Nat64Resolver(host.resolver, host.interfaces, lambda: ("10.86.0.7/16",))
        assert await resolver.resolve("25.0.0.1", 443) == found


async def test_a_network_is_asked_once_and_the_next_one_again(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_internet() as internet:
        host = internet.add_host("phone", HOME6)
        internet.names["ipv4only.arpa"] = TELLING
        resolver = Nat64Resolver(host.resolver, host.interfaces)
        assert await resolver.resolve("25.0.0.1", 443) == (LITERAL, OWN_PREFIX)
        internet.names["ipv4only.arpa"] = ("64:ff9b::c000:ab",)
        assert await resolver.resolve("25.0.0.1", 443) == (LITERAL, OWN_PREFIX)
        host.change_addresses("2001:db8:8::1")
        assert await resolver.resolve("25.0.0.1", 443) == (LITERAL, WELL_KNOWN)
        host.change_addresses("26.0.0.1")
        assert await resolver.resolve("25.0.0.1", 443) == (LITERAL,)
        assert resolver.prefixes == ()


async def test_a_name_server_that_hangs_delays_a_literal_by_seconds_and_is_asked_again_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_memory_internet() as internet:
        host = internet.add_host("phone", HOME6)
        host.resolver.trouble = Trouble.HANGS
        resolver = Nat64Resolver(host.resolver, host.interfaces)
        assert await resolver.resolve("25.0.0.1", 443) == (LITERAL, WELL_KNOWN)
        assert trio.current_time() == pytest.approx(PATIENCE)
        host.resolver.trouble = None
        internet.names["ipv4only.arpa"] = TELLING
        assert await resolver.resolve("25.0.0.1", 443) == (LITERAL, WELL_KNOWN)
        await trio.sleep(ASK_AGAIN)
        assert await resolver.resolve("25.0.0.1", 443) == (LITERAL, OWN_PREFIX)


async def test_a_prefix_that_was_guessed_leads_to_peers_once_somebody_answered_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Without a NAT64 such candidates lead nowhere, and hide that the two have no address family in common."""
    async with open_memory_internet() as internet:
        host = internet.add_host("phone", HOME6)
        resolver = Nat64Resolver(host.resolver, host.interfaces)
        assert await resolver.resolve("25.0.0.1", 443) == (LITERAL, WELL_KNOWN)
        assert resolver.reach([LITERAL]) == (LITERAL,)
        resolver.note_heard("2001:db8:64::1900:1")
        resolver.note_heard("25.0.0.1")
        assert resolver.prefixes == ()
        resolver.note_heard(WELL_KNOWN.host)
        assert resolver.reach([LITERAL]) == (LITERAL, WELL_KNOWN)
        await trio.sleep(ASK_AGAIN)
        assert await resolver.resolve("25.0.0.1", 443) == (LITERAL, WELL_KNOWN)
        assert resolver.reach([LITERAL]) == (LITERAL, WELL_KNOWN), "asking again takes nothing away"
