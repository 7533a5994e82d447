"""A router among hosts: one claim for each behavior of RFC 4787, and for those that break it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
import trio
from tests.verify.simulation.homes import OTHER, OUTER, PUBLIC, one_home, with_nat

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Unreachable
from tunnel.model.nat import Allocation, Filtering, Mapping
from tunnel.model.transport import Transport
from tunnel.verify.memory.internet import HOPS
from tunnel.verify.memory.packet import Fate
from tunnel.verify.reachability.topology import Hairpinning, Host, Nat, Refresh, Router, Topology, Unsolicited

if TYPE_CHECKING:
    from tests.verify.simulation.conftest import Mailbox, Scene

    Passes = Callable[[Mailbox, Endpoint, Mailbox], Awaitable[bool]]


# --- translation ---


async def test_a_datagram_leaves_by_the_outer_address_and_its_answer_comes_back(scene: Scene) -> None:
    scene.build(one_home())
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    desk.say(PUBLIC, b"question")
    assert await public.hear() == [(b"question", Endpoint(OUTER, 5000))]
    public.say(Endpoint(OUTER, 5000), b"answer")
    assert await desk.hear() == [(b"answer", PUBLIC)]


async def test_byte_streams_pass_and_find_their_way_back(scene: Scene) -> None:
    net = scene.build(one_home())
    listener = await net.hosts["public"].open_listener(Endpoint("0.0.0.0", 80))
    streams = [await net.hosts[name].open_stream(Endpoint(PUBLIC.host, 80)) for name in ("desk", "laptop")]
    served = [await listener.accept() for _ in streams]
    assert [remote.host for _, remote in served] == [OUTER, OUTER]
    assert served[0][1] != served[1][1]
    for number, ((there, _), here) in enumerate(zip(served, streams, strict=True)):
        await here.send_all(bytes([number]) * 50_000)
        await there.send_all(bytes([number]))
        assert await here.receive_some() == bytes([number])
        assert (await there.receive_some())[:1] == bytes([number])


async def test_two_hosts_with_one_inner_port_get_two_outer_ones(scene: Scene) -> None:
    scene.build(one_home())
    desk, laptop, public = [await scene.mailbox(name) for name in ("desk", "laptop", "public")]
    desk.say(PUBLIC)
    laptop.say(PUBLIC)
    assert await public.sources() == [Endpoint(OUTER, 5000), Endpoint(OUTER, 5001)]


@pytest.mark.parametrize("filtering", [Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT])
async def test_who_was_not_asked_comes_in_only_where_the_filtering_lets_him(
    scene: Scene, is_passed: Passes, filtering: Filtering
) -> None:
    scene.build(one_home(with_nat(filtering=filtering)))
    desk, public, other = [await scene.mailbox(name) for name in ("desk", "public", "other")]
    desk.say(PUBLIC)
    assert await is_passed(public, Endpoint(OUTER, 5000), desk)
    assert await is_passed(other, Endpoint(OUTER, 5000), desk) is (filtering is Filtering.ENDPOINT_INDEPENDENT)


async def test_a_symmetric_nat_shows_each_destination_another_port(scene: Scene) -> None:
    scene.build(one_home(with_nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.RANDOM)))
    desk, public, other = [await scene.mailbox(name) for name in ("desk", "public", "other")]
    desk.say(PUBLIC)
    desk.say(OTHER)
    assert len({*await public.sources(), *await other.sources()}) == 2
    assert scene.net.routers["home"].live_mappings("192.168.1.2") == 2
    assert scene.net.routers["home"].live_mappings("192.168.1.2", Transport.TCP) == 0


async def test_a_mapping_lives_as_long_as_it_is_used_and_no_longer(scene: Scene, is_passed: Passes) -> None:
    scene.build(one_home(with_nat(lifetime=60.0, refresh=Refresh.OUTBOUND)))
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    desk.say(PUBLIC)
    for _ in range(5):
        assert await is_passed(public, Endpoint(OUTER, 5000), desk)
        await trio.sleep(50)
        desk.say(PUBLIC)
    await trio.sleep(55)
    assert await is_passed(public, Endpoint(OUTER, 5000), desk)
    await trio.sleep(5)
    assert not await is_passed(public, Endpoint(OUTER, 5000), desk)
    assert scene.fates_of(b"passes?")[-1] is Fate.FILTERED


# --- neighbors, hairpinning, double NAT ---


async def test_hosts_of_one_lan_talk_without_their_router(scene: Scene) -> None:
    net = scene.build(one_home())
    desk, laptop = await scene.mailbox("desk"), await scene.mailbox("laptop")
    desk.say(Endpoint("192.168.1.3", 5000), b"hi")
    assert await laptop.hear() == [(b"hi", Endpoint("192.168.1.2", 5000))]
    desk.say(Endpoint("192.168.1.77", 5000), b"nobody")
    await desk.hear()
    assert scene.fates_of(b"nobody") == [Fate.UNROUTABLE]
    assert net.routers["home"].live_mappings("192.168.1.2") == 0


@pytest.mark.parametrize(
    ("hairpinning", "source"),
    [
        (Hairpinning.NONE, None),
        (Hairpinning.EXTERNAL_SOURCE, Endpoint(OUTER, 5000)),
        (Hairpinning.INTERNAL_SOURCE, Endpoint("192.168.1.2", 5000)),
    ],
)
async def test_a_hairpinned_packet_shows_what_the_nat_is_like(
    scene: Scene, hairpinning: Hairpinning, source: Endpoint | None
) -> None:
    """RFC 4787, requirement 9, wants the outer source."""
    scene.build(one_home(with_nat(hairpinning=hairpinning)))
    desk, laptop, public = [await scene.mailbox(name) for name in ("desk", "laptop", "public")]
    desk.say(PUBLIC)
    laptop.say(PUBLIC)
    await public.hear()
    laptop.say(Endpoint(OUTER, 5000), b"early")
    desk.say(Endpoint(OUTER, 5001), b"hairpin")
    assert await laptop.hear() == ([] if source is None else [(b"hairpin", source)])
    assert scene.fates_of(b"hairpin") == [Fate.FILTERED if source is None else Fate.DELIVERED]


async def test_hairpinning_asks_the_filter_too(scene: Scene) -> None:
    scene.build(one_home(with_nat(hairpinning=Hairpinning.EXTERNAL_SOURCE)))
    desk, laptop = await scene.mailbox("desk"), await scene.mailbox("laptop")
    laptop.say(PUBLIC)
    desk.say(Endpoint(OUTER, 5000), b"uninvited")
    assert await laptop.hear() == []
    assert scene.fates_of(b"uninvited") == [Fate.FILTERED]


def two_homes(carrier: Nat) -> Topology:
    """Two homes behind one carrier's NAT, with equal inner addresses."""
    routers = {
        "carrier": Router(address="27.0.0.1", inner="100.64.0.1", nat=carrier),
        "home": Router(address="100.64.0.2", inner="192.168.1.1", behind="carrier"),
        "elsewhere": Router(address="100.64.0.3", inner="192.168.1.1", behind="carrier"),
    }
    hosts = {
        "desk": Host(addresses=("192.168.1.2",), behind="home"),
        "tablet": Host(addresses=("192.168.1.2",), behind="elsewhere"),
        "public": Host(addresses=(PUBLIC.host,)),
    }
    return Topology(hosts=hosts, routers=dict(reversed(routers.items())))


async def test_behind_two_nats_both_translate_and_both_filter(scene: Scene, is_passed: Passes) -> None:
    net = scene.build(two_homes(Nat(first_port=30000, allocation=Allocation.SEQUENTIAL)))
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    desk.say(PUBLIC)
    (seen,) = await public.sources()
    assert seen.host == "27.0.0.1"
    assert seen.port >= 30000
    assert await is_passed(public, seen, desk)
    counts = net.routers["home"].live_mappings("192.168.1.2"), net.routers["carrier"].live_mappings("100.64.0.2")
    assert counts == (1, 1)


async def test_homes_behind_one_carrier_meet_by_their_carrier_addresses_and_by_hairpin(scene: Scene) -> None:
    scene.build(two_homes(Nat(hairpinning=Hairpinning.EXTERNAL_SOURCE)))
    desk, tablet = await scene.mailbox("desk"), await scene.mailbox("tablet")
    near, far = Endpoint("100.64.0.3", 5000), Endpoint("27.0.0.1", 5001)
    tablet.say(Endpoint("100.64.0.2", 5000))
    desk.say(near, b"within")
    assert await tablet.hear() == [(b"within", Endpoint("100.64.0.2", 5000))]
    desk.say(PUBLIC)
    tablet.say(PUBLIC)
    tablet.say(Endpoint("27.0.0.1", 5000))
    desk.say(far, b"round")
    assert (b"round", Endpoint("27.0.0.1", 5000)) in await tablet.hear()


# --- hops ---


async def test_a_packet_without_a_hop_left_expires_before_it_makes_a_mapping(scene: Scene) -> None:
    net = scene.build(one_home())
    desk = await scene.mailbox("desk")
    desk.say(PUBLIC, b"short", ttl=1)
    await desk.hear()
    assert scene.fates_of(b"short") == [Fate.EXPIRED]
    assert net.routers["home"].live_mappings("192.168.1.2") == 0


async def test_an_opener_with_two_hops_opens_the_first_nat_and_no_more(scene: Scene) -> None:
    net = scene.build(two_homes(Nat()))
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    desk.say(PUBLIC, b"low ttl", ttl=2)
    assert await public.hear() == []
    assert scene.fates_of(b"low ttl") == [Fate.EXPIRED]
    counts = net.routers["home"].live_mappings("192.168.1.2"), net.routers["carrier"].live_mappings("100.64.0.2")
    assert counts == (1, 0)


async def test_an_opener_with_two_hops_lets_the_answer_in(scene: Scene, is_passed: Passes) -> None:
    scene.build(one_home())
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    desk.say(PUBLIC, b"low ttl", ttl=2)
    assert await is_passed(public, Endpoint(OUTER, 5000), desk)
    assert scene.fates_of(b"low ttl") == [Fate.EXPIRED]


async def test_a_packet_that_comes_in_with_its_last_hop_is_not_forwarded_and_keeps_nothing_alive(
    scene: Scene, is_passed: Passes
) -> None:
    scene.build(one_home(with_nat(unanswered_lifetime=30.0)))
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    desk.say(PUBLIC)
    await public.hear()
    public.say(Endpoint(OUTER, 5000), b"last hop", ttl=HOPS + 1)
    await desk.hear()
    assert scene.fates_of(b"last hop") == [Fate.EXPIRED]
    await trio.sleep(40)
    assert not await is_passed(public, Endpoint(OUTER, 5000), desk)


# --- what was not asked for ---


async def test_an_unsolicited_connection_is_dropped_or_reset(scene: Scene) -> None:
    net = scene.build(one_home())
    with trio.move_on_after(20) as patience:
        await net.hosts["public"].open_stream(Endpoint(OUTER, 80))
    assert patience.cancelled_caught
    net.routers["home"].spec = with_nat(unsolicited=Unsolicited.RESET)
    with trio.fail_after(1), pytest.raises(Unreachable, match="refused"):
        await net.hosts["public"].open_stream(Endpoint(OUTER, 80))


async def test_a_denying_nat_shuts_out_who_came_too_early(scene: Scene, is_passed: Passes) -> None:
    """The reason why the first packets of a punch have a low TTL."""
    scene.build(one_home(with_nat(unsolicited=Unsolicited.DENY, deny_time=10.0)))
    desk, public, other = [await scene.mailbox(name) for name in ("desk", "public", "other")]
    assert not await is_passed(public, Endpoint(OUTER, 5000), desk)
    desk.say(PUBLIC)
    desk.say(OTHER)
    assert not await is_passed(public, Endpoint(OUTER, 5000), desk)
    assert await is_passed(other, Endpoint(OUTER, 5000), desk)
    await trio.sleep(10)
    assert await is_passed(public, Endpoint(OUTER, 5000), desk)


async def test_a_tracking_nat_answers_who_came_too_early_from_another_port(scene: Scene) -> None:
    """netfilter without a firewall: plain masquerade looks symmetric then."""
    scene.build(one_home(with_nat(unsolicited=Unsolicited.TRACK)))
    desk, public, other = [await scene.mailbox(name) for name in ("desk", "public", "other")]
    desk.say(OTHER)
    assert await other.sources() == [Endpoint(OUTER, 5000)]
    public.say(Endpoint(OUTER, 5000), b"early")
    assert await desk.hear() == []
    desk.say(PUBLIC)
    assert await public.sources() == [Endpoint(OUTER, 5001)]
    public.say(Endpoint(OUTER, 5001), b"late")
    assert await desk.hear() == [(b"late", PUBLIC)]
    desk.say(OTHER)
    assert await other.sources() == [Endpoint(OUTER, 5000)]
