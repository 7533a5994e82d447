"""One connection to the server: the right one, at whichever of its addresses answers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.settings import ServerSettings
from tunnel.server.program import ServerReady, serve
from tunnel.verify.memory.packet import SegmentKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.node.conftest import OpenNode, PuppetServer, SimulatedNetwork

    from tunnel.model.invite import Invite
    from tunnel.verify.memory.packet import Fate, MemoryPacket

SETTINGS = ServerSettings(listen=Endpoint("25.0.0.1", 8443), udp=(Endpoint("25.0.0.1", 3478),), http=None)


@asynccontextmanager
async def tls_server(net: SimulatedNetwork) -> AsyncIterator[ServerReady]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(serve, SETTINGS, net.server_host.world()))
        nursery.cancel_scope.cancel()


@pytest.fixture
def invite(home: Invite) -> Invite:
    return replace(home, server="wss://25.0.0.1:8443")


async def test_the_pin_of_the_invite_opens_the_right_server(
    net: SimulatedNetwork, open_in: OpenNode, invite: Invite
) -> None:
    async with tls_server(net) as ready, open_in("desk", invite=replace(invite, pin=ready.pin)) as desk:
        with trio.fail_after(5.0):
            await desk.wait_registered()


async def test_who_does_not_fit_the_pin_hears_nothing_of_the_node_and_is_dialed_again(
    net: SimulatedNetwork, open_in: OpenNode, invite: Invite
) -> None:
    sent: list[bytes] = []

    def watch(packet: MemoryPacket, _: Fate) -> None:
        if packet.segment is not None and packet.segment.kind is SegmentKind.DATA and packet.source.host != "25.0.0.1":
            sent.append(packet.payload)

    async with tls_server(net), open_in("desk", invite=replace(invite, pin=bytes(32))) as desk:
        net.internet.watch = watch
        await trio.sleep(2.0)
        dials = [at for at, _, _, target in desk.program.link.moves if target == "connecting"]
        assert len(dials) == 2
        reason = desk.status().server.reason
        assert reason is not None
        assert reason.startswith("wrong_pin: the invite expects ")
    assert len(b"".join(sent)) < 4000
    assert not any(b"p2ptunnel" in payload for payload in sent)


async def test_a_certificate_of_no_authority_is_no_end_without_a_pin_either(
    net: SimulatedNetwork, open_in: OpenNode, invite: Invite
) -> None:
    async with tls_server(net), open_in("desk", invite=invite) as desk:
        await trio.sleep(2.0)
        reason = desk.status().server.reason
        assert reason is not None
        assert reason.startswith("wrong_certificate: ")


async def test_a_portal_at_the_start_is_told_and_waited_out(
    net: SimulatedNetwork, open_in: OpenNode, invite: Invite, caplog: pytest.LogCaptureFixture
) -> None:
    """In a hotel everybody's address leads to the portal until somebody has logged in: that can be any minute."""
    async with tls_server(net) as ready, trio.open_nursery() as nursery:
        portal = net.internet.add_host("portal", "25.0.9.9")
        pretends = replace(SETTINGS, listen=Endpoint("25.0.9.9", 8443), udp=(Endpoint("25.0.9.9", 3478),))
        await nursery.start(partial(serve, pretends, portal.world()))
        net.internet.names["server.test"] = ("25.0.9.9",)
        named = replace(invite, server="wss://server.test:8443", pin=ready.pin)
        async with open_in("desk", invite=named) as desk:
            await trio.sleep(60.0)
            told = [record for record in caplog.records if record.message == "no link to the server"]
            assert "open a web page" in told[0].__dict__["remedy"]
            assert len(told) == 3, "at the 1st, 2nd and 4th time"
            net.internet.names["server.test"] = ("25.0.0.1",)
            with trio.fail_after(40.0):
                await desk.wait_registered()
        nursery.cancel_scope.cancel()


async def test_one_address_of_a_portal_does_not_hide_the_server_at_another(
    net: SimulatedNetwork, open_in: OpenNode, invite: Invite
) -> None:
    async with tls_server(net) as ready, trio.open_nursery() as nursery:
        other = net.internet.add_host("other", "25.0.9.9")
        pretends = replace(SETTINGS, listen=Endpoint("25.0.9.9", 8443), udp=(Endpoint("25.0.9.9", 3478),))
        await nursery.start(partial(serve, pretends, other.world()))
        net.internet.names["server.test"] = ("25.0.9.9", "25.0.0.1")
        named = replace(invite, server="wss://server.test:8443", pin=ready.pin)
        async with open_in("desk", invite=named) as desk:
            await desk.wait_registered()
            assert trio.current_time() < 1.0
        nursery.cancel_scope.cancel()


async def test_an_address_that_does_not_answer_costs_a_quarter_of_a_second(
    net: SimulatedNetwork, open_in: OpenNode, puppet: PuppetServer, home: Invite
) -> None:
    """Happy eyeballs (RFC 8305): a name with a dead IPv6 address must not keep a node away."""
    net.internet.names["server.test"] = ("25.0.9.9", "25.0.9.8", "25.0.0.1")
    net.internet.drop = lambda packet: packet.destination.host in ("25.0.9.9", "25.0.9.8")
    async with open_in("desk", invite=replace(home, server="ws://server.test:8443")) as desk:
        await desk.wait_registered()
        assert 0.5 < trio.current_time() < 1.0
        assert desk.program.nat_discovery.own == (Endpoint("25.0.0.1", 3478),)


async def test_an_address_that_refuses_costs_no_wait(
    net: SimulatedNetwork, open_in: OpenNode, puppet: PuppetServer, home: Invite
) -> None:
    net.internet.add_host("other", "25.0.9.9")
    net.internet.names["server.test"] = ("25.0.9.9", "25.0.0.1")
    async with open_in("desk", invite=replace(home, server="ws://server.test:8443")) as desk:
        await desk.wait_registered()
        assert trio.current_time() < 0.25


async def test_every_address_that_failed_is_named_as_people_write_it(
    net: SimulatedNetwork, open_in: OpenNode, home: Invite
) -> None:
    for number in (8, 9):
        net.internet.add_host(f"other {number}", f"25.0.9.{number}")
    net.internet.names["server.test"] = ("25.0.9.8", "25.0.9.9")
    async with open_in("desk", invite=replace(home, server="ws://server.test:8443")) as desk:
        await trio.sleep(0.5)
        assert desk.status().server.reason == "25.0.9.8:8443: refused; 25.0.9.9:8443: refused"


async def test_a_name_that_nobody_knows_is_said_so(net: SimulatedNetwork, open_in: OpenNode, home: Invite) -> None:
    async with open_in("desk", invite=replace(home, server="ws://nowhere.test:8443")) as desk:
        await trio.sleep(0.5)
        reason = desk.status().server.reason
        assert reason is not None
        assert "nowhere.test" in reason


SIX = "2a25::1"
BOTH = ServerSettings(
    listen=Endpoint(SIX, 8443),
    also_listen=(Endpoint("25.0.0.1", 8443),),
    udp=(Endpoint("25.0.0.1", 3478),),
    http=None,
)


def swallow_ipv6(net: SimulatedNetwork) -> list[float]:
    """A way over IPv6 that lets connections open and nothing after that; when somebody connected over it."""
    net.server_host.change_addresses("25.0.0.1", SIX)
    net.hosts["desk"] = net.internet.add_host("desk", "26.0.0.1", "2a26::1")
    net.internet.names["server.test"] = (SIX, "25.0.0.1")
    connects: list[float] = []

    def drop(packet: MemoryPacket) -> bool:
        segment = packet.segment
        if segment is None or ":" not in packet.destination.host:
            return False
        if segment.kind is SegmentKind.CONNECT:
            connects.append(trio.current_time())
        return segment.kind is SegmentKind.DATA

    net.internet.drop = drop
    return connects


async def test_an_address_that_connects_and_carries_nothing_costs_a_second_and_goes_last_the_next_time(
    net: SimulatedNetwork, open_in: OpenNode, invite: Invite
) -> None:
    """A broken IPv6 tunnel: happy eyeballs alone would choose it for ever."""
    connects = swallow_ipv6(net)
    async with trio.open_nursery() as nursery:
        ready = await nursery.start(partial(serve, BOTH, net.server_host.world()))
        named = replace(invite, server="wss://server.test:8443", pin=ready.pin)
        async with open_in("desk", invite=named) as desk:
            await desk.wait_registered()
            assert 1.0 < trio.current_time() < 1.5
            desk.program.link.redial()
            await trio.sleep(0.1)
            await desk.wait_registered()
            assert trio.current_time() < 2.0
        nursery.cancel_scope.cancel()
    assert len(connects) == 1


async def test_an_address_that_goes_silent_before_the_welcome_goes_last_the_next_time(
    net: SimulatedNetwork, open_in: OpenNode, home: Invite
) -> None:
    """Without TLS there is nothing to hear before it: the attempt runs out, the next one is elsewhere."""
    connects = swallow_ipv6(net)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, BOTH, net.server_host.world(), tls=False))
        async with open_in("desk", invite=replace(home, server="ws://server.test:8443")) as desk:
            await desk.wait_registered()
            assert 5.0 < trio.current_time() < 7.0
        nursery.cancel_scope.cancel()
    assert len(connects) == 1


async def test_an_address_that_goes_silent_later_goes_last_the_next_time(
    net: SimulatedNetwork, open_in: OpenNode, home: Invite
) -> None:
    """As one does that carries small packets alone: it comes as far as the welcome."""
    connects = swallow_ipv6(net)
    swallow, net.internet.drop = net.internet.drop, None
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, BOTH, net.server_host.world(), tls=False))
        async with open_in("desk", invite=replace(home, server="ws://server.test:8443")) as desk:
            await desk.wait_registered()
            net.internet.drop = swallow
            registrations = desk.program.link.registrations
            with trio.fail_after(60.0):
                while desk.program.link.registrations == registrations:  # noqa: ASYNC110 - a lost link notifies nobody
                    await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert connects == []
