"""What routers let pass, with a NAT and without one, and what they say themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from tests.verify.simulation.homes import HOME, OTHER, OUTER, PUBLIC, one_home

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Unreachable
from tunnel.model.nat import Filtering
from tunnel.verify.memory.packet import Fate
from tunnel.verify.reachability.topology import Host, Router, StunServer, Topology, Udp

if TYPE_CHECKING:
    from tests.verify.simulation.conftest import Mailbox, Scene

    Passes = Callable[[Mailbox, Endpoint, Mailbox], Awaitable[bool]]


# --- what is let out ---


@pytest.mark.parametrize(
    ("udp", "datagrams", "web", "others"),
    [(Udp.OPEN, True, True, True), (Udp.BLOCKED, False, True, True), (Udp.WEB_ONLY, False, True, False)],
)
async def test_a_router_lets_out_what_its_mode_says(
    scene: Scene, is_passed: Passes, udp: Udp, datagrams: bool, web: bool, others: bool
) -> None:
    net = scene.build(one_home(replace(HOME, udp=udp)))
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    assert await is_passed(desk, PUBLIC, public) is datagrams
    for port, expected in ((443, web), (8443, web), (80, others)):
        await net.hosts["public"].open_listener(Endpoint("0.0.0.0", port))
        with trio.move_on_after(5) as patience:
            await net.hosts["desk"].open_stream(Endpoint(PUBLIC.host, port))
        assert patience.cancelled_caught is not expected


async def test_blocking_datagrams_later_stops_them_in_both_directions(scene: Scene, is_passed: Passes) -> None:
    net = scene.build(one_home())
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    desk.say(PUBLIC)
    assert await is_passed(public, Endpoint(OUTER, 5000), desk)
    home = net.routers["home"]
    home.spec = replace(home.spec, udp=Udp.BLOCKED)
    assert not await is_passed(public, Endpoint(OUTER, 5000), desk)
    home.spec = replace(home.spec, udp=Udp.OPEN)
    assert await is_passed(public, Endpoint(OUTER, 5000), desk), "the mapping was there all the time"


async def test_blocked_addresses_and_names_resolve_and_do_not_answer(scene: Scene, is_passed: Passes) -> None:
    topology = replace(
        one_home(replace(HOME, blocked=(OTHER.host, "stun.example"))),
        stun_servers=(StunServer(name="stun.example", address="25.0.2.1"),),
    )
    net = scene.build(topology)
    desk, public, other, stun = [
        await scene.mailbox(name, 3478) for name in ("desk", "public", "other", "stun.example")
    ]
    (resolved,) = await net.hosts["desk"].world().resolver.resolve("stun.example", 3478)
    assert resolved == Endpoint("25.0.2.1", 3478)
    assert not await is_passed(desk, resolved, stun)
    assert not await is_passed(desk, Endpoint(OTHER.host, 3478), other)
    assert await is_passed(desk, Endpoint(PUBLIC.host, 3478), public)


# --- IPv6 and routers without a NAT ---


DESK6, PUBLIC6 = Endpoint("2001:db8:1::2", 5000), Endpoint("2001:db8:2::1", 5000)


def ipv6_home(filtering: Filtering) -> Topology:
    return Topology(
        hosts={
            "desk": Host(addresses=("192.168.1.2", DESK6.host), behind="home"),
            "public": Host(addresses=(PUBLIC.host, PUBLIC6.host)),
        },
        routers={
            "carrier": Router(address="27.0.0.1", inner="100.64.0.1", filtering6=Filtering.NONE),
            "home": Router(address="100.64.0.2", inner="192.168.1.1", behind="carrier", filtering6=filtering),
        },
    )


@pytest.mark.parametrize("filtering", [Filtering.NONE, Filtering.ENDPOINT_INDEPENDENT])
async def test_ipv6_passes_untranslated_through_a_stateful_firewall(
    scene: Scene, is_passed: Passes, filtering: Filtering
) -> None:
    scene.build(ipv6_home(filtering))
    desk, public = await scene.mailbox("desk", ipv6=True), await scene.mailbox("public", ipv6=True)
    stranger = await scene.mailbox("public", 6000, ipv6=True)
    assert await is_passed(public, DESK6, desk) is (filtering is Filtering.NONE)
    desk.say(PUBLIC6)
    assert await public.sources() == [DESK6]
    assert await is_passed(public, DESK6, desk)
    assert await is_passed(stranger, DESK6, desk)


async def test_a_strict_ipv6_firewall_lets_only_those_in_who_were_asked(scene: Scene, is_passed: Passes) -> None:
    scene.build(ipv6_home(Filtering.ADDRESS_AND_PORT_DEPENDENT))
    desk, public = await scene.mailbox("desk", ipv6=True), await scene.mailbox("public", ipv6=True)
    stranger = await scene.mailbox("public", 6000, ipv6=True)
    desk.say(PUBLIC6)
    assert await is_passed(public, DESK6, desk)
    assert not await is_passed(stranger, DESK6, desk)
    await trio.sleep(200)
    assert not await is_passed(public, DESK6, desk)


async def test_a_local_ipv6_address_is_nobodys_outside(scene: Scene) -> None:
    """Two homes may have the same one."""
    topology = ipv6_home(Filtering.NONE)
    local = Host(addresses=("fd00::2",), behind="home")
    twin = Host(addresses=("fd00::2",), behind="carrier")
    scene.build(replace(topology, hosts={**topology.hosts, "local": local, "twin": twin}))
    public = await scene.mailbox("public", ipv6=True)
    public.say(Endpoint("fd00::2", 5000), b"where")
    await public.hear()
    assert scene.fates_of(b"where") == [Fate.UNROUTABLE]


async def test_without_a_nat_a_router_only_filters(scene: Scene, is_passed: Passes) -> None:
    router = replace(HOME, nat=None, filtering6=Filtering.ADDRESS_AND_PORT_DEPENDENT)
    net = scene.build(one_home(router, ("shielded", Host(addresses=("25.3.0.2",), behind="home"))))
    shielded, public, other = [await scene.mailbox(name) for name in ("shielded", "public", "other")]
    inner = Endpoint("25.3.0.2", 5000)
    assert not await is_passed(public, inner, shielded)
    shielded.say(PUBLIC)
    assert await public.sources() == [inner]
    assert await is_passed(public, inner, shielded)
    assert not await is_passed(other, inner, shielded)
    assert net.routers["home"].live_mappings("25.3.0.2") == 0


# --- the router itself ---


class Echo:
    """A gateway server that repeats what it was asked."""

    def handle_untrusted(self, payload: bytes, source: Endpoint) -> bytes | None:
        return None if payload == b"quiet" else payload + str(source).encode()


async def test_the_gateway_answers_those_inside_at_its_port_only(scene: Scene) -> None:
    net = scene.build(one_home())
    net.routers["home"].gateway_server = Echo()
    desk = await scene.mailbox("desk")
    for port, question in ((5351, b"who "), (5351, b"quiet"), (5352, b"wrong port")):
        desk.say(Endpoint("192.168.1.1", port), question)
    assert await desk.hear() == [(b"who 192.168.1.2:5000", Endpoint("192.168.1.1", 5351))]
    assert scene.fates_of(b"wrong port") == [Fate.UNWANTED]
    with trio.fail_after(1), pytest.raises(Unreachable, match="refused"):
        await net.hosts["desk"].open_stream(Endpoint("192.168.1.1", 80))


async def test_a_router_that_only_filters_says_nothing_itself(scene: Scene) -> None:
    scene.build(one_home(replace(HOME, nat=None), ("shielded", Host(addresses=("25.3.0.2",), behind="home"))))
    shielded, public = await scene.mailbox("shielded"), await scene.mailbox("public")
    shielded.say(Endpoint(OUTER, 80), b"from inside")
    public.say(Endpoint(OUTER, 80), b"from outside")
    await public.hear()
    assert scene.fates_of(b"from inside") == scene.fates_of(b"from outside") == [Fate.UNWANTED]
