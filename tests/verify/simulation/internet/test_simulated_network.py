"""A topology becomes an internet on which the real programs run unchanged, and which changes while they run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from tunnel.crypto.network_keys import derive_network_keys
from tunnel.embedding import open_node
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import SettingsError, Unreachable
from tunnel.model.invite import Invite
from tunnel.model.settings import NodeSettings, ServerSettings
from tunnel.server.program import serve
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.memory.packet import Fate, MemoryPacket
from tunnel.verify.reachability.topology import Host, Line, Router, Server, StunServer, Topology
from tunnel.verify.simulation.internet.simulated_network import build_network

if TYPE_CHECKING:
    from tests.verify.simulation.conftest import Mailbox, Scene

    Passes = Callable[[Mailbox, Endpoint, Mailbox], Awaitable[bool]]

SECRET = sha256(b"a simulated secret").digest()
INVITE = Invite("ws://25.0.0.1:8443", None, "home", derive_network_keys("home", SECRET).network_id, SECRET)

TWO_HOMES = Topology(
    routers={
        "router-a": Router(address="26.0.0.1", inner="192.168.1.1"),
        "router-b": Router(address="26.0.0.2", inner="192.168.1.1"),
    },
    hosts={
        "a": Host(addresses=("192.168.1.2",), behind="router-a"),
        "b": Host(addresses=("192.168.1.2",), behind="router-b"),
    },
)


async def test_the_real_programs_connect_through_two_port_restricted_nats(autojump_clock: MockClock) -> None:
    """The smoke test of the whole: server, two nodes behind NATs with equal inner addresses, a direct path."""
    settings = ServerSettings(listen=Endpoint("25.0.0.1", 8443), udp=TWO_HOMES.server.stun)
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        net = build_network(internet, TWO_HOMES, seed=1)
        await nursery.start(partial(serve, settings, net.hosts["server"].world(), tls=False))
        a_settings, b_settings = (NodeSettings(name=name, default_stun=False) for name in ("a", "b"))
        async with (
            open_node(invite=INVITE, settings=a_settings, world=net.hosts["a"].world()) as a,
            open_node(invite=INVITE, settings=b_settings, world=net.hosts["b"].world()) as b,
        ):
            to_b = await a.connect("b")
            await to_b.send_datagram(b"hello")
            assert await (await b.connect("a")).receive_datagram() == b"hello"
            with trio.fail_after(10):
                while to_b.state != "connected":
                    await a.program.notifier.wait()
            assert to_b.path is not None
            assert to_b.path.endpoint is not None
            assert to_b.path.endpoint.host == "26.0.0.2"
        nursery.cancel_scope.cancel()


# --- what is built ---

A_OUTER, B_OUTER = Endpoint("26.0.0.1", 5000), Endpoint("26.0.0.2", 5000)
SERVER = Endpoint("25.0.0.1", 5000)


async def opened(scene: Scene) -> tuple[Mailbox, Mailbox, Mailbox]:
    """`a`, `b` and the server, each of which has just spoken to the other two."""
    a, b, server = [await scene.mailbox(name) for name in ("a", "b", "server")]
    for _ in range(2):
        a.say(B_OUTER)
        b.say(A_OUTER)
        a.say(SERVER)
        b.say(SERVER)
        await a.hear()
    return a, b, server


async def test_the_core_takes_its_latency_and_each_line_its_own(scene: Scene) -> None:
    line = Line(latency=0.1)
    routers = {name: replace(router, line=line) for name, router in TWO_HOMES.routers.items()}
    hosts = {name: replace(host, line=line) for name, host in TWO_HOMES.hosts.items()}
    scene.build(replace(TWO_HOMES, routers=routers, hosts=hosts, latency=0.05))
    a, server = await scene.mailbox("a"), await scene.mailbox("server")
    a.say(SERVER)
    await server.socket.receive_batch()
    assert trio.current_time() == pytest.approx(0.25)


async def test_a_latency_of_two_names_holds_in_both_directions(scene: Scene) -> None:
    scene.build(replace(TWO_HOMES, latency=0.01, latencies={("router-a", "server"): 0.4}))
    a, server = await scene.mailbox("a"), await scene.mailbox("server")
    a.say(SERVER)
    ((_, source),) = await server.socket.receive_batch()
    assert trio.current_time() == pytest.approx(0.4)
    server.say(source)
    await a.socket.receive_batch()
    assert trio.current_time() == pytest.approx(0.8)


async def test_the_server_has_the_addresses_of_its_stun_service_too(scene: Scene) -> None:
    place = Server(address="25.0.0.1", stun=(Endpoint("25.0.0.1", 3478), Endpoint("25.0.0.2", 3479)))
    net = scene.build(replace(TWO_HOMES, server=place, stun_servers=(StunServer(name="stun", address="25.0.0.3"),)))
    assert net.hosts["server"].addresses == ("25.0.0.1", "25.0.0.2")
    assert net.hosts["stun"].addresses == ("25.0.0.3",)
    assert await net.hosts["a"].world().resolver.resolve("stun", 3478) == (Endpoint("25.0.0.3", 3478),)


async def test_what_a_host_sends_is_told_as_it_sends_it(autojump_clock: MockClock) -> None:
    told: list[tuple[str, MemoryPacket]] = []
    async with open_memory_internet() as internet:
        net = build_network(internet, TWO_HOMES, seed=1, on_sent=lambda host, packet: told.append((host, packet)))
        socket = await net.hosts["a"].open_socket(Endpoint("0.0.0.0", 5000))
        socket.send_nowait(b"?", SERVER)
    assert told == [("a", MemoryPacket(Endpoint("192.168.1.2", 5000), SERVER, b"?"))]


async def test_one_seed_gives_one_course_of_events(autojump_clock: MockClock) -> None:
    """Losses and delays come from generators of each line's own: what one host does changes nothing for another."""
    line = Line(latency=0.01, jitter=0.01, loss_up=0.3)
    topology = replace(TWO_HOMES, hosts={name: replace(host, line=line) for name, host in TWO_HOMES.hosts.items()})

    async def course(seed: int, speakers: tuple[str, ...]) -> list[tuple[float, bytes, Fate]]:
        seen: list[tuple[float, bytes, Fate]] = []
        async with open_memory_internet() as internet:
            begun = trio.current_time()
            internet.watch = lambda packet, fate: seen.append(
                (round(trio.current_time() - begun, 9), packet.payload, fate)
            )
            net = build_network(internet, topology, seed=seed)
            for name in speakers:
                socket = await net.hosts[name].open_socket(Endpoint("0.0.0.0", 5000))
                for _ in range(20):
                    socket.send_nowait(name.encode(), SERVER)
            await trio.sleep(1)
        return seen

    both = await course(1, ("a", "b"))
    assert both == await course(1, ("a", "b"))
    assert [event for event in both if event[1] == b"a"] == await course(1, ("a",))
    assert both != await course(2, ("a", "b"))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"hosts": {"a": Host(addresses=("192.168.1.2",), behind="nothing")}}, "which is no router"),
        ({"hosts": {"a": Host(addresses=("25.0.0.1",))}}, "belongs to server"),
        ({"hosts": {"router-a": Host(addresses=("25.9.0.1",))}}, "two things"),
        ({"routers": {"one": Router(address="26.0.0.1", inner="10.0.0.1", behind="one")}}, "leads out"),
        ({"latencies": {("a", "server"): 0.1}}, "not plugged into"),
    ],
)
async def test_an_impossible_topology_is_refused(scene: Scene, change: dict[str, object], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        scene.build(replace(TWO_HOMES, **change))  # type: ignore[arg-type]


# --- what happens in it ---


async def test_a_host_that_roams_is_behind_another_router_and_its_streams_hang(scene: Scene) -> None:
    net = scene.build(TWO_HOMES)
    listener = await net.hosts["server"].open_listener(Endpoint("0.0.0.0", 80))
    stream = await net.hosts["a"].open_stream(Endpoint("25.0.0.1", 80))
    served, _ = await listener.accept()
    a, server = await scene.mailbox("a"), await scene.mailbox("server")
    net.move("a", "router-b", "192.168.1.9")
    a.say(SERVER)
    assert [source.host for source in await server.sources()] == ["26.0.0.2"]
    await stream.send_all(b"never heard")
    with trio.move_on_after(60) as patience:
        await served.receive_some()
    assert patience.cancelled_caught
    net.move("a", None, "25.4.0.1")
    a.say(SERVER)
    assert await server.sources() == [Endpoint("25.4.0.1", 5000)]


async def test_an_unplugged_host_is_gone_until_it_is_plugged_in_again(scene: Scene) -> None:
    net = scene.build(TWO_HOMES)
    a, _, server = await opened(scene)
    await server.hear()
    net.unplug("a")
    net.unplug("a")
    assert net.hosts["a"].addresses == ()
    server.say(A_OUTER, b"where are you")
    await server.hear()
    assert scene.fates_of(b"where are you") == [Fate.UNROUTABLE]
    net.plug("a")
    net.plug("a")
    a.say(SERVER)
    assert await server.sources() == [A_OUTER]


async def test_a_roaming_host_may_be_unplugged_before(scene: Scene) -> None:
    net = scene.build(TWO_HOMES)
    net.unplug("a")
    net.move("a", "router-b", "192.168.1.9")
    net.plug("a")
    assert net.hosts["a"].addresses == ("192.168.1.9",)


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("router-a", "b"), ("router-a", "router-b"), ("b", "a")])
async def test_a_cut_is_between_two_and_nobody_else(scene: Scene, is_passed: Passes, one: str, other: str) -> None:
    net = scene.build(TWO_HOMES)
    a, b, server = await opened(scene)
    net.cut(one, other)
    assert not await is_passed(a, B_OUTER, b)
    assert not await is_passed(b, A_OUTER, a)
    assert await is_passed(a, SERVER, server)
    assert await is_passed(server, B_OUTER, b)
    assert set(scene.fates_of(b"passes?")) == {Fate.DROPPED, Fate.DELIVERED}
    net.lift(other, one)
    assert await is_passed(a, B_OUTER, b)


@pytest.mark.parametrize(("one", "other", "out", "back"), [("a", "server", False, True), ("server", "a", True, False)])
async def test_a_cut_may_be_of_one_direction(
    scene: Scene, is_passed: Passes, one: str, other: str, out: bool, back: bool
) -> None:
    net = scene.build(TWO_HOMES)
    a, _, server = await opened(scene)
    net.cut(one, other, both_ways=False)
    assert (await is_passed(a, SERVER, server), await is_passed(server, A_OUTER, a)) == (out, back)


@pytest.mark.parametrize("udp", [True, False])
async def test_a_cut_may_be_of_datagrams_or_streams_alone(scene: Scene, is_passed: Passes, udp: bool) -> None:
    net = scene.build(TWO_HOMES)
    a, _, server = await opened(scene)
    await net.hosts["server"].open_listener(Endpoint("0.0.0.0", 80))
    net.cut("a", "server", udp=udp, tcp=not udp)
    assert await is_passed(a, SERVER, server) is not udp
    with trio.move_on_after(10) as patience:
        await net.hosts["a"].open_stream(Endpoint("25.0.0.1", 80))
    assert patience.cancelled_caught is not udp


async def test_a_cut_goes_where_its_host_goes(scene: Scene, is_passed: Passes) -> None:
    net = scene.build(TWO_HOMES)
    a, _, server = await opened(scene)
    net.cut("a", "server")
    net.move("a", "router-b", "192.168.1.9")
    assert not await is_passed(a, SERVER, server)
    net.lift("a", "server")
    assert await is_passed(a, SERVER, server)


async def test_a_second_cut_after_a_move_replaces_the_first(scene: Scene, is_passed: Passes) -> None:
    """The first stood at the line of the host behind a router; out there it stands at the other's."""
    net = scene.build(TWO_HOMES)
    a, _, server = await opened(scene)
    net.cut("server", "a", both_ways=False)
    net.move("a", None, "27.0.0.9")
    net.cut("server", "a", both_ways=False)
    assert not await is_passed(server, Endpoint("27.0.0.9", 5000), a)
    net.lift("server", "a")
    assert await is_passed(server, Endpoint("27.0.0.9", 5000), a)


async def test_neighbors_can_be_cut_apart_within_their_lan(scene: Scene, is_passed: Passes) -> None:
    neighbor = Host(addresses=("192.168.1.3",), behind="router-a")
    net = scene.build(replace(TWO_HOMES, hosts={**TWO_HOMES.hosts, "neighbor": neighbor}))
    a, mate = await scene.mailbox("a"), await scene.mailbox("neighbor")
    assert await is_passed(a, Endpoint("192.168.1.3", 5000), mate)
    net.cut("neighbor", "a")
    assert not await is_passed(a, Endpoint("192.168.1.3", 5000), mate)


async def test_a_line_can_be_changed_by_its_name(scene: Scene, is_passed: Passes) -> None:
    net = scene.build(TWO_HOMES)
    a, _, server = await opened(scene)
    net.lines["router-a"].conditions = Line(loss_up=1.0)
    assert not await is_passed(a, SERVER, server)
    net.lines["router-a"].conditions = Line()
    net.lines["server"].conditions = Line(loss_down=1.0)
    assert not await is_passed(a, SERVER, server)


async def test_names_are_lost_on_one_host_and_found_again(scene: Scene) -> None:
    net = scene.build(TWO_HOMES)
    a, b = (net.hosts[name].world().resolver for name in ("a", "b"))
    net.lose_names("a")
    with pytest.raises(Unreachable):
        await a.resolve("server", 1)
    assert await b.resolve("server", 1) == (Endpoint("25.0.0.1", 1),)
    net.lose_names("a", lost=False)
    net.lose_names("a", hang=True, names=["b"])
    assert await a.resolve("server", 1) == (Endpoint("25.0.0.1", 1),)
    with trio.move_on_after(100) as patience:
        await a.resolve("b", 1)
    assert patience.cancelled_caught
    net.lose_names("a", lost=False, names=["b"])
    assert await a.resolve("b", 1) == (Endpoint("192.168.1.2", 1),)
