"""What becomes of mappings and streams when a router changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
from tests.verify.simulation.homes import HOME, OUTER, PUBLIC, one_home, with_nat

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation, Filtering
from tunnel.model.transport import Transport
from tunnel.verify.memory.packet import Fate
from tunnel.verify.reachability.topology import Host, Nat

if TYPE_CHECKING:
    from tests.verify.simulation.conftest import Mailbox, Scene

    Passes = Callable[[Mailbox, Endpoint, Mailbox], Awaitable[bool]]


async def test_a_router_that_reboots_has_forgotten_everything(scene: Scene, is_passed: Passes) -> None:
    net = scene.build(one_home())
    home = net.routers["home"]
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    desk.say(PUBLIC)
    assert home.statics.add_static(Transport.UDP, 7000, Endpoint("192.168.1.2", 5000), 1e6)
    await trio.sleep(10)
    home.reboot()
    assert not await is_passed(public, Endpoint(OUTER, 5000), desk)
    assert not await is_passed(public, Endpoint(OUTER, 7000), desk)
    assert home.booted_at == 10.0


async def test_forgetting_mappings_leaves_those_that_were_asked_for(scene: Scene, is_passed: Passes) -> None:
    net = scene.build(one_home())
    home = net.routers["home"]
    desk, laptop, public = [await scene.mailbox(name) for name in ("desk", "laptop", "public")]
    desk.say(PUBLIC)
    assert home.statics.add_static(Transport.UDP, 7000, Endpoint("192.168.1.3", 5000), 1e6)
    home.forget_mappings()
    assert not await is_passed(public, Endpoint(OUTER, 5000), desk)
    assert await is_passed(public, Endpoint(OUTER, 7000), laptop)


async def test_a_new_outer_address_is_used_at_once_and_the_old_one_is_nobodys(scene: Scene, is_passed: Passes) -> None:
    net = scene.build(one_home())
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    desk.say(PUBLIC)
    assert await public.sources() == [Endpoint(OUTER, 5000)]
    net.routers["home"].change_address("26.0.0.99")
    assert not await is_passed(public, Endpoint(OUTER, 5000), desk)
    assert scene.fates_of(b"passes?") == [Fate.UNROUTABLE]
    assert not await is_passed(public, Endpoint("26.0.0.99", 5000), desk)
    desk.say(PUBLIC)
    assert await public.sources() == [Endpoint("26.0.0.99", 5000)]
    assert await is_passed(public, Endpoint("26.0.0.99", 5000), desk)
    assert net.routers["home"].address == "26.0.0.99"


async def test_streams_through_a_rebooted_nat_that_keeps_ports_live_on(scene: Scene) -> None:
    """As in netfilter, which picks up a connection that it sees in the middle."""
    net = scene.build(one_home())
    listener = await net.hosts["public"].open_listener(Endpoint("0.0.0.0", 80))
    stream = await net.hosts["desk"].open_stream(Endpoint(PUBLIC.host, 80))
    served, _ = await listener.accept()
    net.routers["home"].reboot()
    await served.send_all(b"waits until the desk speaks")
    await stream.send_all(b"speaks")
    assert await served.receive_some() == b"speaks"
    assert await stream.receive_some() == b"waits until the desk speaks"


async def test_streams_through_a_rebooted_nat_that_changes_ports_are_reset(scene: Scene) -> None:
    net = scene.build(one_home(with_nat(allocation=Allocation.RANDOM)))
    listener = await net.hosts["public"].open_listener(Endpoint("0.0.0.0", 80))
    stream = await net.hosts["desk"].open_stream(Endpoint(PUBLIC.host, 80))
    await listener.accept()
    net.routers["home"].reboot()
    await stream.send_all(b"from a stranger's port")
    with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()


async def test_another_nat_in_the_spec_begins_with_empty_tables(scene: Scene, is_passed: Passes) -> None:
    net = scene.build(one_home())
    desk, public, other = [await scene.mailbox(name) for name in ("desk", "public", "other")]
    desk.say(PUBLIC)
    home = net.routers["home"]
    home.spec = replace(home.spec, nat=Nat(filtering=Filtering.ENDPOINT_INDEPENDENT))
    assert not await is_passed(public, Endpoint(OUTER, 5000), desk)
    desk.say(PUBLIC)
    assert await is_passed(other, Endpoint(OUTER, 5000), desk)


async def test_other_addresses_in_the_spec_are_taken_at_once(scene: Scene, is_passed: Passes) -> None:
    net = scene.build(one_home())
    home = net.routers["home"]
    desk, public = await scene.mailbox("desk"), await scene.mailbox("public")
    home.spec = replace(home.spec, address="26.0.0.99", inner="192.168.1.254")
    assert await is_passed(desk, PUBLIC, public)
    assert await is_passed(public, Endpoint("26.0.0.99", 5000), desk)
    for address in ("192.168.1.1", "192.168.1.254"):
        desk.say(Endpoint(address, 80), address.encode())
    await desk.hear()
    assert scene.fates_of(b"192.168.1.1") == [Fate.UNROUTABLE]
    assert scene.fates_of(b"192.168.1.254") == [Fate.UNWANTED]


async def test_a_firewall_that_forgets_lets_nobody_in_either(scene: Scene, is_passed: Passes) -> None:
    shielded = Host(addresses=("25.3.0.2",), behind="home")
    net = scene.build(one_home(replace(HOME, nat=None), ("shielded", shielded)))
    inner, public = await scene.mailbox("shielded"), await scene.mailbox("public")
    inner.say(PUBLIC)
    assert await is_passed(public, Endpoint("25.3.0.2", 5000), inner)
    net.routers["home"].forget_mappings()
    assert not await is_passed(public, Endpoint("25.3.0.2", 5000), inner)


async def test_where_no_port_is_left_a_packet_is_dropped(scene: Scene, is_passed: Passes) -> None:
    scene.build(one_home(with_nat(first_port=3000, last_port=3000)))
    desk, laptop, public = [await scene.mailbox(name) for name in ("desk", "laptop", "public")]
    assert await is_passed(desk, PUBLIC, public)
    assert not await is_passed(laptop, PUBLIC, public)


async def test_a_nat_that_goes_away_shows_the_inner_addresses(scene: Scene, is_passed: Passes) -> None:
    net = scene.build(one_home(HOME, ("shielded", Host(addresses=("25.3.0.2",), behind="home"))))
    shielded, public = await scene.mailbox("shielded"), await scene.mailbox("public")
    shielded.say(PUBLIC)
    home = net.routers["home"]
    assert await public.sources() == [Endpoint(OUTER, 5000)]
    home.spec = replace(home.spec, nat=None)
    shielded.say(PUBLIC)
    assert await public.sources() == [Endpoint("25.3.0.2", 5000)]
    assert await is_passed(public, Endpoint("25.3.0.2", 5000), shielded)
    home.spec = replace(home.spec, nat=Nat())
    assert not await is_passed(public, Endpoint("25.3.0.2", 5000), shielded)
    assert scene.fates_of(b"passes?")[-1] is Fate.UNROUTABLE
