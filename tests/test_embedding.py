"""A node inside somebody's own Trio program."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any

import pytest
import trio

from tunnel.crypto.network_keys import derive_network_keys
from tunnel.embedding import Node, open_node
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, PeerUnreachable, SettingsError
from tunnel.model.invite import Invite
from tunnel.model.settings import NodeSettings, ServerSettings
from tunnel.model.settings_check import fit_name
from tunnel.node.inboxes import PEER_DATAGRAMS
from tunnel.node.peer_changes import PeerChange
from tunnel.server.program import serve
from tunnel.verify.memory.internet import MemoryInternet, open_memory_internet
from tunnel.verify.memory.packet import Fate, MemoryPacket
from tunnel.wire.invites import encode_invite
from tunnel.wire.records import APPLICATION

SECRET = sha256(b"a secret for tests").digest()
INVITE = Invite("ws://25.0.0.1:8443", None, "home", derive_network_keys("home", SECRET).network_id, SECRET)


class SimulatedNetwork:
    """A server, and nodes on hosts of their own."""

    def __init__(self, internet: MemoryInternet) -> None:
        self.internet = internet
        self.sent: list[MemoryPacket] = []
        internet.watch = self._note

    def _note(self, packet: MemoryPacket, fate: Fate) -> None:
        self.sent.append(packet)

    @asynccontextmanager
    async def node(self, name: str, invite: str | Invite = INVITE, **changes: Any) -> AsyncIterator[Node]:
        hosts = len(self.internet._owners)
        host = self.internet.add_host(f"{name} {hosts}", f"26.0.0.{hosts}")
        settings = NodeSettings(name=name, default_stun=False, **changes)
        async with open_node(invite=invite, settings=settings, world=host.world()) as node:
            yield node


@pytest.fixture
async def net(autojump_clock: trio.testing.MockClock) -> AsyncIterator[SimulatedNetwork]:
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        settings = ServerSettings(listen=Endpoint("25.0.0.1", 8443), udp=(Endpoint("25.0.0.1", 3478),))
        world = internet.add_host("server", "25.0.0.1").world()
        await nursery.start(partial(serve, settings, world, tls=False))
        yield SimulatedNetwork(internet)
        nursery.cancel_scope.cancel()


def damaged_invites() -> list[str]:
    text = encode_invite(INVITE)
    chance = random.Random(1)
    mistyped = []
    for _ in range(20):
        place = chance.randrange(6, len(text))
        mistyped.append(text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :])
    return [*mistyped, text[:-1], text[:40], text[1:], "", "p2pt1-", "hello", text + "AAAA", text.upper(), text * 9]


@pytest.mark.parametrize("invite", damaged_invites())
async def test_a_damaged_invite_is_found_before_anything_is_sent(net: SimulatedNetwork, invite: str) -> None:
    with pytest.raises(SettingsError) as caught:
        async with net.node("desk", invite):
            pytest.fail("it must not start")
    assert "\n" not in str(caught.value)
    assert len(invite) < 40 or invite[6:] not in str(caught.value)
    assert net.sent == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": bytes(32)},
        {"network": "office"},
        {"server": "ws://25.0.0.1:99999"},
        {"server": "ws://:8443"},
        {"server": "http://25.0.0.1:8443"},
        {"server": "ws://25.0.0.1:8443/path"},
        {"secret": b"short"},
        {"pin": b"short"},
    ],
    ids=str,
)
async def test_an_invite_whose_parts_do_not_fit_is_found_before_anything_is_sent(
    net: SimulatedNetwork, wrong: dict[str, Any]
) -> None:
    with pytest.raises(SettingsError):
        async with net.node("desk", replace(INVITE, **wrong)):
            pytest.fail("it must not start")
    assert net.sent == []


@pytest.mark.parametrize("name", ["x" * 64, "two\nlines", "\x1b[31m"])
async def test_a_name_that_no_node_may_have_is_found_before_anything_is_sent(net: SimulatedNetwork, name: str) -> None:
    with pytest.raises(SettingsError, match="name"):
        async with net.node(name):
            pytest.fail("it must not start")
    assert net.sent == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("udp_port", 99999),
        ("udp_port", -1),
        ("udp_port", "4242"),
        ("external", "1.2.3.4"),
        ("external", Endpoint("0.0.0.0", 1)),
        ("stun", ("foo",)),
        ("stun", "stun.test:3478"),
        ("address", "10.86.0.300"),
        ("tun", "a/b"),
    ],
    ids=str,
)
async def test_a_wrong_setting_is_named_before_anything_is_sent(net: SimulatedNetwork, field: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"^{field} "):
        async with net.node("desk", **{field: value}):
            pytest.fail("it must not start")
    assert net.sent == []


@pytest.mark.parametrize("server", ["stun.test:port", "", ":3478", "stun.test:99999"])
async def test_a_stun_server_that_is_none_is_found_before_anything_is_sent(net: SimulatedNetwork, server: str) -> None:
    with pytest.raises(SettingsError, match="HOST:PORT"):
        async with net.node("desk", stun=(server,)):
            pytest.fail("it must not start")
    assert net.sent == []


async def test_an_error_of_the_block_leaves_bare_and_the_node_has_left(net: SimulatedNetwork) -> None:
    async def fail() -> None:
        async with net.node("desk") as desk:
            await desk.wait_registered()
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await fail()
    await trio.sleep(1.0)
    quiet = len(net.sent)
    await trio.sleep(60.0)
    assert len(net.sent) == quiet


async def test_a_device_error_leaves_bare(net: SimulatedNetwork) -> None:
    host = net.internet.add_host("busy", "26.0.9.9")
    await host.open_socket(Endpoint("0.0.0.0", 4242))
    settings = NodeSettings(name="desk", udp_port=4242)
    with pytest.raises(DeviceError, match="4242"):
        async with open_node(invite=INVITE, settings=settings, world=host.world()):
            pytest.fail("it must not start")


async def test_datagrams_go_both_ways_and_keep_their_boundaries(net: SimulatedNetwork) -> None:
    async with net.node("desk") as desk, net.node("laptop") as laptop:
        there, back = await desk.connect("laptop"), await laptop.connect("desk")
        for datagram in (b"", b"hello", bytes(1279)):
            await there.send_datagram(datagram)
            assert await back.receive_datagram() == datagram
            await back.send_datagram(datagram)
            assert await there.receive_datagram() == datagram


async def test_a_datagram_that_is_too_long_is_an_error_and_not_sent(net: SimulatedNetwork) -> None:
    async with net.node("desk") as desk, net.node("laptop"):
        peer = await desk.connect("laptop")
        with pytest.raises(SettingsError, match="1279"):
            await peer.send_datagram(bytes(1280))


async def test_what_is_not_read_is_bounded_and_the_oldest_is_dropped(net: SimulatedNetwork) -> None:
    async with net.node("desk") as desk, net.node("laptop") as laptop:
        there, back = await desk.connect("laptop"), await laptop.connect("desk")
        for number in range(PEER_DATAGRAMS + 10):
            await there.send_datagram(b"%d" % number)
        await trio.sleep(1.0)
        assert await back.receive_datagram() == b"10"


async def test_where_nobody_reads_nothing_is_kept(net: SimulatedNetwork) -> None:
    """`up` hands datagrams to nobody: members with key after key would fill its memory."""
    async with net.node("desk") as desk, net.node("laptop", keep_datagrams=False) as laptop:
        there, back = await desk.connect("laptop"), await laptop.connect("desk")
        for _ in range(PEER_DATAGRAMS):
            await there.send_datagram(bytes(1279))
        await trio.sleep(1.0)
        assert laptop.program.inboxes.size == 0
        assert laptop.program.inboxes.counts.unread == PEER_DATAGRAMS
        with pytest.raises(SettingsError, match="keep_datagrams"):
            await back.receive_datagram()
        with pytest.raises(SettingsError, match="keep_datagrams"):
            await laptop.receive_datagram()


async def test_a_datagram_that_no_honest_node_makes_is_dropped_when_it_comes(net: SimulatedNetwork) -> None:
    """The relay carries up to 64 kB, and an inbox of those would be 16 MB for each key of a hostile member."""
    async with net.node("desk", relay_only=True) as desk, net.node("laptop") as laptop:
        there, back = await desk.connect("laptop"), await laptop.connect("desk")
        there._connection.send_packet(APPLICATION + bytes(20_000))
        await there.send_datagram(b"hello")
        assert await back.receive_datagram() == b"hello"
        assert laptop.program.inboxes.counts.too_long == 1


async def test_datagrams_of_anybody_are_read_in_one_place(net: SimulatedNetwork) -> None:
    async with net.node("desk") as desk, net.node("laptop") as laptop, net.node("phone") as phone:
        for node in (laptop, phone):
            peer = await node.connect("desk")
            for _ in range(2):
                await peer.send_datagram(node.name.encode())
        await trio.sleep(1.0)
        heard = []
        for _ in range(4):
            peer, datagram = await desk.receive_datagram()
            heard.append((peer.name, datagram))
            await peer.send_datagram(datagram.upper())
        assert heard[0] != heard[1]
        assert sorted(heard) == [("laptop", b"laptop")] * 2 + [("phone", b"phone")] * 2
        assert await laptop.peer("desk").receive_datagram() == b"LAPTOP"


async def test_who_is_there_is_known_when_the_server_knows_us(net: SimulatedNetwork) -> None:
    async with net.node("laptop") as laptop, net.node("phone") as phone:
        for node in (laptop, phone):
            await node.connect("phone" if node is laptop else "laptop")
        async with net.node("desk") as desk:
            await desk.wait_registered()
            assert sorted(peer.name for peer in desk.status().peers) == ["laptop", "phone"]


async def test_name_and_settings_go_together(net: SimulatedNetwork) -> None:
    """The name says who, the settings say how: neither has to repeat the other."""
    world = net.internet.add_host("desk", "26.0.1.1").world()
    settings = NodeSettings(default_stun=False, udp_port=4242)
    async with open_node(invite=INVITE, name="desk", settings=settings, world=world) as desk:
        assert (desk.name, desk.program.settings.udp_port) == ("desk", 4242)


async def test_without_any_name_the_host_name_is_taken(net: SimulatedNetwork) -> None:
    world = net.internet.add_host("desk", "26.0.1.1").world()
    async with open_node(invite=INVITE, settings=NodeSettings(default_stun=False), world=world) as desk:
        assert desk.name == fit_name(socket.gethostname())


async def test_settled_is_connected_or_relayed_for_a_reason(net: SimulatedNetwork) -> None:
    async with net.node("desk") as desk, net.node("laptop"), net.node("phone", relay_only=True):
        laptop = await desk.connect("laptop")
        assert laptop.state != "connected"
        assert await laptop.wait_settled() == "connected"
        phone = await desk.connect("phone")
        assert await phone.wait_settled() == "relayed"
        assert phone.reason is not None


async def test_what_is_not_settled_in_time_is_told_as_it_is(net: SimulatedNetwork) -> None:
    async with net.node("desk") as desk:
        async with net.node("laptop"):
            peer = await desk.connect("laptop")
        began = trio.current_time()
        await peer.wait_settled(3.0)
        assert trio.current_time() - began <= 3.0


async def test_a_peer_that_nobody_knows_is_unreachable_after_thirty_seconds(net: SimulatedNetwork) -> None:
    async with net.node("desk") as desk:
        await desk.wait_registered()
        began = trio.current_time()
        with pytest.raises(PeerUnreachable, match="nobody yet"):
            await desk.connect("laptop")
        assert trio.current_time() - began == pytest.approx(30.0)


@pytest.mark.parametrize("way", ["connect", "ping"])
async def test_this_node_itself_is_not_waited_for(net: SimulatedNetwork, way: str) -> None:
    async with net.node("desk") as desk:
        await desk.wait_registered()
        for wanted in ("desk", desk.id, *desk.addresses):
            began = trio.current_time()
            with pytest.raises(PeerUnreachable, match="is this node itself"):
                await getattr(desk, way)(wanted)
            assert trio.current_time() == began


@pytest.mark.parametrize("way", ["connect", "ping"])
async def test_without_the_server_the_cause_is_named(net: SimulatedNetwork, way: str) -> None:
    async with net.node("desk", replace(INVITE, server="ws://25.9.9.9:8443")) as desk:
        with pytest.raises(PeerUnreachable, match=r"no way to 'laptop'.*: no link to the server \(no answer for 10 s"):
            await getattr(desk, way)("laptop")


async def test_connecting_waits_for_a_peer_that_comes_later(net: SimulatedNetwork) -> None:
    async with net.node("desk") as desk, trio.open_nursery() as nursery:
        found: list[str] = []

        async def look() -> None:
            found.append((await desk.connect("laptop")).name)

        nursery.start_soon(look)
        await trio.sleep(10.0)
        assert found == []
        async with net.node("laptop"):
            await trio.sleep(1.0)
            assert found == ["laptop"]


async def test_a_ping_measures_and_says_which_path_carried_it(net: SimulatedNetwork) -> None:
    async with net.node("desk", relay_only=True) as desk, net.node("laptop"):
        result = await desk.ping("laptop")
        assert 0.039 < result.rtt < 0.1
        assert result.path is not None
        assert result.path.kind == "relay-websocket"


async def test_an_unanswered_ping_is_an_error_that_says_why(net: SimulatedNetwork) -> None:
    async with net.node("desk") as desk:
        async with net.node("laptop"):
            peer = await desk.connect("laptop")
        with pytest.raises(PeerUnreachable, match=r"laptop did not answer for 5 s \(peer_offline"):
            await peer.ping()


async def test_every_move_of_a_peer_is_told_to_all_who_watch(net: SimulatedNetwork) -> None:
    async with net.node("desk") as desk, net.node("laptop"), trio.open_nursery() as nursery:
        seen: list[list[PeerChange]] = [[], []]

        async def watch(changes: list[PeerChange]) -> None:
            async for change in desk.watch():
                changes.append(change)  # noqa: PERF401 - it never ends, and each is looked at as it comes

        for changes in seen:
            nursery.start_soon(watch, changes)
        peer = await desk.connect("laptop")
        await trio.sleep(5.0)
        moves = [change.move for change in seen[0]]
        assert moves == list(peer.status().history)
        assert seen[0] == seen[1]
        assert [change.peer.state for change in seen[0]] == [move.target for move in moves]
        assert moves[-1].target == "connected"
        nursery.cancel_scope.cancel()


async def test_netcheck_surveys_now(net: SimulatedNetwork) -> None:
    async with net.node("desk") as desk:
        await desk.wait_registered()
        await trio.sleep(5.0)
        before = trio.current_time()
        result = await desk.netcheck()
        assert result.survey.answers
        assert result.took == pytest.approx(trio.current_time() - before)
        assert result.took < 10.0


async def test_netcheck_tells_the_link_to_the_server_and_what_was_declared(net: SimulatedNetwork) -> None:
    declared = Endpoint("25.7.0.1", 4242)
    async with net.node("desk", udp_port=4242, external=declared) as desk:
        await desk.wait_registered()
        result = await desk.netcheck()
        assert result.server is not None
        assert (result.server.url, result.server.state) == (INVITE.server, "registered")
        assert result.external == declared


async def test_netcheck_without_any_server_to_ask_says_so_and_does_not_hang(net: SimulatedNetwork) -> None:
    nowhere = replace(INVITE, server="ws://25.9.9.9:8443")
    async with net.node("desk", nowhere) as desk:
        with trio.fail_after(5.0):
            result = await desk.netcheck()
        assert result.survey.answers == ()
        assert result.survey.report.udp.value == "unknown"


async def test_netcheck_of_a_node_that_does_no_surveys_is_an_error(net: SimulatedNetwork) -> None:
    async with net.node("desk", survey=False) as desk:
        with pytest.raises(SettingsError, match="--no-survey"):
            await desk.netcheck()
