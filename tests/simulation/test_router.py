"""A router among hosts: one claim for each behaviour of RFC 4787, and for those that break it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Unreachable
from tunnel.model.nat import Allocation, Filtering, Mapping
from tunnel.model.transport import Transport
from tunnel.network.memory import HOPS
from tunnel.network.memory_packet import Fate
from tunnel.simulation.picture import Hairpinning, Host, Nat, Picture, Refresh, Router, StunServer, Udp, Unsolicited

if TYPE_CHECKING:
    from tests.simulation.conftest import Mailbox, Scene

    Passes = Callable[[Mailbox, Endpoint, Mailbox], Awaitable[bool]]

OUTER, SERVER = "26.0.0.1", "25.0.0.1"
PUBLIC, OTHER = Endpoint("25.0.1.1", 5000), Endpoint("25.0.1.2", 5000)
HOME = Router(address=OUTER, inner="192.168.1.1")


def one_home(router: Router = HOME, *more: tuple[str, Host]) -> Picture:
    """`desk` and `laptop` behind `home`; `public` and `other` on the internet."""
    hosts = {
        "desk": Host(addresses=("192.168.1.2",), behind="home"),
        "laptop": Host(addresses=("192.168.1.3",), behind="home"),
        "public": Host(addresses=(PUBLIC.host,)),
        "other": Host(addresses=(OTHER.host,)),
    }
    return Picture(hosts={**hosts, **dict(more)}, routers={"home": router})


def with_nat(**changes: object) -> Router:
    return replace(HOME, nat=replace(Nat(), **changes))  # type: ignore[arg-type]


# --- translation ---


async def test_a_datagram_leaves_by_the_outer_address_and_its_answer_comes_back(scene: Scene) -> None:
    scene.build(one_home())
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    desk.say(PUBLIC, b"question")
    assert await public.hear() == [(b"question", Endpoint(OUTER, 5000))]
    public.say(Endpoint(OUTER, 5000), b"answer")
    assert await desk.hear() == [(b"answer", PUBLIC)]


async def test_byte_streams_pass_and_find_their_way_back(scene: Scene) -> None:
    town = scene.build(one_home())
    listener = await town.hosts["public"].open_listener(Endpoint("0.0.0.0", 80))
    streams = [await town.hosts[name].open_stream(Endpoint(PUBLIC.host, 80)) for name in ("desk", "laptop")]
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
    assert scene.town.routers["home"].live_mappings("192.168.1.2") == 2
    assert scene.town.routers["home"].live_mappings("192.168.1.2", Transport.TCP) == 0


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


# --- neighbours, hairpinning, double NAT ---


async def test_hosts_of_one_lan_talk_without_their_router(scene: Scene) -> None:
    town = scene.build(one_home())
    desk, laptop = await scene.mailbox("desk"), await scene.mailbox("laptop")
    desk.say(Endpoint("192.168.1.3", 5000), b"hi")
    assert await laptop.hear() == [(b"hi", Endpoint("192.168.1.2", 5000))]
    desk.say(Endpoint("192.168.1.77", 5000), b"nobody")
    await desk.hear()
    assert scene.fates_of(b"nobody") == [Fate.UNROUTABLE]
    assert town.routers["home"].live_mappings("192.168.1.2") == 0


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


async def test_hairpinning_asks_the_filter_too(scene: Scene) -> None:
    scene.build(one_home(with_nat(hairpinning=Hairpinning.EXTERNAL_SOURCE)))
    desk, laptop = await scene.mailbox("desk"), await scene.mailbox("laptop")
    laptop.say(PUBLIC)
    desk.say(Endpoint(OUTER, 5000), b"uninvited")
    assert await laptop.hear() == []
    assert scene.fates_of(b"uninvited") == [Fate.FILTERED]


def two_homes(carrier: Nat) -> Picture:
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
    return Picture(hosts=hosts, routers=dict(reversed(routers.items())))


async def test_behind_two_nats_both_translate_and_both_filter(scene: Scene, is_passed: Passes) -> None:
    town = scene.build(two_homes(Nat(first_port=30000, allocation=Allocation.SEQUENTIAL)))
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    desk.say(PUBLIC)
    (seen,) = await public.sources()
    assert seen.host == "27.0.0.1"
    assert seen.port >= 30000
    assert await is_passed(public, seen, desk)
    counts = town.routers["home"].live_mappings("192.168.1.2"), town.routers["carrier"].live_mappings("100.64.0.2")
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
    town = scene.build(one_home())
    desk = await scene.mailbox("desk")
    desk.say(PUBLIC, b"short", ttl=1)
    await desk.hear()
    assert scene.fates_of(b"short") == [Fate.EXPIRED]
    assert town.routers["home"].live_mappings("192.168.1.2") == 0


async def test_an_opener_with_two_hops_opens_the_first_nat_and_no_more(scene: Scene) -> None:
    town = scene.build(two_homes(Nat()))
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    desk.say(PUBLIC, b"opener", ttl=2)
    assert await public.hear() == []
    assert scene.fates_of(b"opener") == [Fate.EXPIRED]
    counts = town.routers["home"].live_mappings("192.168.1.2"), town.routers["carrier"].live_mappings("100.64.0.2")
    assert counts == (1, 0)


async def test_an_opener_with_two_hops_lets_the_answer_in(scene: Scene, is_passed: Passes) -> None:
    scene.build(one_home())
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    desk.say(PUBLIC, b"opener", ttl=2)
    assert await is_passed(public, Endpoint(OUTER, 5000), desk)
    assert scene.fates_of(b"opener") == [Fate.EXPIRED]


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
    town = scene.build(one_home())
    with trio.move_on_after(20) as patience:
        await town.hosts["public"].open_stream(Endpoint(OUTER, 80))
    assert patience.cancelled_caught
    town.routers["home"].spec = with_nat(unsolicited=Unsolicited.RESET)
    with trio.fail_after(1), pytest.raises(Unreachable, match="refused"):
        await town.hosts["public"].open_stream(Endpoint(OUTER, 80))


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


# --- what is let out ---


@pytest.mark.parametrize(
    ("udp", "datagrams", "web", "others"),
    [(Udp.OPEN, True, True, True), (Udp.BLOCKED, False, True, True), (Udp.WEB_ONLY, False, True, False)],
)
async def test_a_router_lets_out_what_its_mode_says(
    scene: Scene, is_passed: Passes, udp: Udp, datagrams: bool, web: bool, others: bool
) -> None:
    town = scene.build(one_home(replace(HOME, udp=udp)))
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    assert await is_passed(desk, PUBLIC, public) is datagrams
    for port, expected in ((443, web), (8443, web), (80, others)):
        await town.hosts["public"].open_listener(Endpoint("0.0.0.0", port))
        with trio.move_on_after(5) as patience:
            await town.hosts["desk"].open_stream(Endpoint(PUBLIC.host, port))
        assert patience.cancelled_caught is not expected


async def test_blocking_datagrams_later_stops_them_in_both_directions(scene: Scene, is_passed: Passes) -> None:
    town = scene.build(one_home())
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    desk.say(PUBLIC)
    assert await is_passed(public, Endpoint(OUTER, 5000), desk)
    home = town.routers["home"]
    home.spec = replace(home.spec, udp=Udp.BLOCKED)
    assert not await is_passed(public, Endpoint(OUTER, 5000), desk)
    home.spec = replace(home.spec, udp=Udp.OPEN)
    assert await is_passed(public, Endpoint(OUTER, 5000), desk), "the mapping was there all the time"


async def test_blocked_addresses_and_names_resolve_and_do_not_answer(scene: Scene, is_passed: Passes) -> None:
    picture = replace(
        one_home(replace(HOME, blocked=(OTHER.host, "stun.example"))),
        stun_servers=(StunServer(name="stun.example", address="25.0.2.1"),),
    )
    town = scene.build(picture)
    desk, public, other, stun = [
        await scene.mailbox(name, 3478) for name in ("desk", "public", "other", "stun.example")
    ]
    (resolved,) = await town.hosts["desk"].world().resolver.resolve("stun.example", 3478)
    assert resolved == Endpoint("25.0.2.1", 3478)
    assert not await is_passed(desk, resolved, stun)
    assert not await is_passed(desk, Endpoint(OTHER.host, 3478), other)
    assert await is_passed(desk, Endpoint(PUBLIC.host, 3478), public)


# --- IPv6 and routers without a NAT ---

DESK6, PUBLIC6 = Endpoint("2001:db8:1::2", 5000), Endpoint("2001:db8:2::1", 5000)


def ipv6_home(filtering: Filtering) -> Picture:
    return Picture(
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
    picture = ipv6_home(Filtering.NONE)
    local = Host(addresses=("fd00::2",), behind="home")
    twin = Host(addresses=("fd00::2",), behind="carrier")
    scene.build(replace(picture, hosts={**picture.hosts, "local": local, "twin": twin}))
    public = await scene.mailbox("public", ipv6=True)
    public.say(Endpoint("fd00::2", 5000), b"where")
    await public.hear()
    assert scene.fates_of(b"where") == [Fate.UNROUTABLE]


async def test_without_a_nat_a_router_only_filters(scene: Scene, is_passed: Passes) -> None:
    router = replace(HOME, nat=None, filtering6=Filtering.ADDRESS_AND_PORT_DEPENDENT)
    town = scene.build(one_home(router, ("shielded", Host(addresses=("25.3.0.2",), behind="home"))))
    shielded, public, other = [await scene.mailbox(name) for name in ("shielded", "public", "other")]
    inner = Endpoint("25.3.0.2", 5000)
    assert not await is_passed(public, inner, shielded)
    shielded.say(PUBLIC)
    assert await public.sources() == [inner]
    assert await is_passed(public, inner, shielded)
    assert not await is_passed(other, inner, shielded)
    assert town.routers["home"].live_mappings("25.3.0.2") == 0


# --- what happens to routers ---


async def test_a_router_that_reboots_has_forgotten_everything(scene: Scene, is_passed: Passes) -> None:
    town = scene.build(one_home())
    home = town.routers["home"]
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    desk.say(PUBLIC)
    assert home.statics.add_static(Transport.UDP, 7000, Endpoint("192.168.1.2", 5000), 1e6)
    await trio.sleep(10)
    home.reboot()
    assert not await is_passed(public, Endpoint(OUTER, 5000), desk)
    assert not await is_passed(public, Endpoint(OUTER, 7000), desk)
    assert home.booted_at == 10.0


async def test_forgetting_mappings_leaves_those_that_were_asked_for(scene: Scene, is_passed: Passes) -> None:
    town = scene.build(one_home())
    home = town.routers["home"]
    desk, laptop, public = [await scene.mailbox(name) for name in ("desk", "laptop", "public")]
    desk.say(PUBLIC)
    assert home.statics.add_static(Transport.UDP, 7000, Endpoint("192.168.1.3", 5000), 1e6)
    home.forget_mappings()
    assert not await is_passed(public, Endpoint(OUTER, 5000), desk)
    assert await is_passed(public, Endpoint(OUTER, 7000), laptop)


async def test_a_new_outer_address_is_used_at_once_and_the_old_one_is_nobodys(scene: Scene, is_passed: Passes) -> None:
    town = scene.build(one_home())
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    desk.say(PUBLIC)
    assert await public.sources() == [Endpoint(OUTER, 5000)]
    town.routers["home"].change_address("26.0.0.99")
    assert not await is_passed(public, Endpoint(OUTER, 5000), desk)
    assert scene.fates_of(b"passes?") == [Fate.UNROUTABLE]
    assert not await is_passed(public, Endpoint("26.0.0.99", 5000), desk)
    desk.say(PUBLIC)
    assert await public.sources() == [Endpoint("26.0.0.99", 5000)]
    assert town.routers["home"].address == "26.0.0.99"


async def test_streams_through_a_rebooted_nat_that_keeps_ports_live_on(scene: Scene) -> None:
    """As in netfilter, which picks up a connection that it sees in the middle."""
    town = scene.build(one_home())
    listener = await town.hosts["public"].open_listener(Endpoint("0.0.0.0", 80))
    stream = await town.hosts["desk"].open_stream(Endpoint(PUBLIC.host, 80))
    served, _ = await listener.accept()
    town.routers["home"].reboot()
    await served.send_all(b"waits until the desk speaks")
    await stream.send_all(b"speaks")
    assert await served.receive_some() == b"speaks"
    assert await stream.receive_some() == b"waits until the desk speaks"


async def test_streams_through_a_rebooted_nat_that_changes_ports_are_reset(scene: Scene) -> None:
    town = scene.build(one_home(with_nat(allocation=Allocation.RANDOM)))
    listener = await town.hosts["public"].open_listener(Endpoint("0.0.0.0", 80))
    stream = await town.hosts["desk"].open_stream(Endpoint(PUBLIC.host, 80))
    await listener.accept()
    town.routers["home"].reboot()
    await stream.send_all(b"from a stranger's port")
    with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()


async def test_another_nat_in_the_spec_begins_with_empty_tables(scene: Scene, is_passed: Passes) -> None:
    town = scene.build(one_home())
    desk, public, other = [await scene.mailbox(name) for name in ("desk", "public", "other")]
    desk.say(PUBLIC)
    home = town.routers["home"]
    home.spec = replace(home.spec, nat=Nat(filtering=Filtering.ENDPOINT_INDEPENDENT))
    assert not await is_passed(public, Endpoint(OUTER, 5000), desk)
    desk.say(PUBLIC)
    assert await is_passed(other, Endpoint(OUTER, 5000), desk)


async def test_a_nat_that_goes_away_shows_the_inner_addresses(scene: Scene) -> None:
    town = scene.build(one_home(HOME, ("shielded", Host(addresses=("25.3.0.2",), behind="home"))))
    shielded, public = await scene.mailbox("shielded"), await scene.mailbox("public")
    shielded.say(PUBLIC)
    home = town.routers["home"]
    assert await public.sources() == [Endpoint(OUTER, 5000)]
    home.spec = replace(home.spec, nat=None)
    shielded.say(PUBLIC)
    assert await public.sources() == [Endpoint("25.3.0.2", 5000)]


# --- the router itself ---


class Echo:
    """A gatekeeper that says what it was asked."""

    def handle_untrusted(self, payload: bytes, source: Endpoint) -> bytes | None:
        return None if payload == b"quiet" else payload + str(source).encode()


async def test_the_gateway_answers_those_inside_at_its_port_only(scene: Scene) -> None:
    town = scene.build(one_home())
    town.routers["home"].gatekeeper = Echo()
    desk = await scene.mailbox("desk")
    for port, question in ((5351, b"who "), (5351, b"quiet"), (5352, b"wrong port")):
        desk.say(Endpoint("192.168.1.1", port), question)
    assert await desk.hear() == [(b"who 192.168.1.2:5000", Endpoint("192.168.1.1", 5351))]
    assert scene.fates_of(b"wrong port") == [Fate.UNWANTED]
    with trio.fail_after(1), pytest.raises(Unreachable, match="refused"):
        await town.hosts["desk"].open_stream(Endpoint("192.168.1.1", 80))


async def test_a_router_that_only_filters_says_nothing_itself(scene: Scene) -> None:
    scene.build(one_home(replace(HOME, nat=None), ("shielded", Host(addresses=("25.3.0.2",), behind="home"))))
    shielded, public = await scene.mailbox("shielded"), await scene.mailbox("public")
    shielded.say(Endpoint(OUTER, 80), b"from inside")
    public.say(Endpoint(OUTER, 80), b"from outside")
    await public.hear()
    assert scene.fates_of(b"from inside") == scene.fates_of(b"from outside") == [Fate.UNWANTED]
