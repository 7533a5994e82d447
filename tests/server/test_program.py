"""The whole server over an internet in memory, spoken to by scripted nodes."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.crypto.admission import prove
from tunnel.crypto.circuit_seal import open_binding, seal_binding
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, Refused, SettingsError
from tunnel.model.settings import ServerSettings
from tunnel.network.os.world import real_world
from tunnel.server.program import ServerReady, serve
from tunnel.wire.circuits import Binding, Word, encode_passed
from tunnel.wire.signals import Allocate, Challenge, Circuit, ErrorSignal, Introduced, NoCircuit, PeerUp, Pending

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.server.conftest import Dial, DialReal, Serve

    from tunnel.verify.memory.host import MemoryHost
    from tunnel.verify.memory.internet import MemoryInternet


async def test_two_nodes_register_are_introduced_and_relay(run_server: Serve, dial: Dial) -> None:
    """The whole of it in one conversation."""
    async with run_server() as server, dial("desk") as desk, dial("laptop") as laptop:
        welcome = await desk.register()
        await laptop.register()
        announce = await laptop.announce(b"laptop's body")
        assert await desk.hear(PeerUp) == PeerUp(laptop.raw, announce.epoch, 1, b"laptop's body")
        own = await desk.announce(b"desk's body")

        desk.connect(7, laptop)
        assert await desk.hear(Pending) == Pending(7, laptop.raw, "")
        to_desk, to_laptop = await desk.hear(Introduced), await laptop.hear(Introduced)
        assert to_desk.id == to_laptop.id
        assert (to_desk.peer, to_desk.body, to_desk.own_seq) == (laptop.raw, b"laptop's body", 1)
        assert (to_laptop.peer, to_laptop.body, to_laptop.epoch) == (desk.raw, b"desk's body", own.epoch)

        desk.link.send_relay(laptop.handle, b"sealed datagram")
        assert await laptop.hear_frames(1) == [(desk.handle, b"sealed datagram")]
        assert server.ready.url == "ws://25.0.0.1:8443"
        assert server.ready.stun == (Endpoint("25.0.0.1", 3478), Endpoint("25.0.0.1", 3479))
        assert welcome.stun == (Endpoint("0.0.0.0", 3478), Endpoint("0.0.0.0", 3479))


async def test_two_nodes_relay_over_udp(
    run_server: Serve,
    dial: Dial,
    add_client_host: Callable[[str], MemoryHost],
    fetch: Callable[..., Awaitable[tuple[int, bytes]]],
) -> None:
    async with run_server() as server, dial("desk") as desk, dial("laptop") as laptop:
        welcome = await desk.register()
        assert welcome.relay == welcome.stun
        await laptop.register()
        desk.say(Allocate(laptop.raw))
        told, heard = await desk.hear(Circuit), await laptop.hear(Circuit)
        assert (told.peer, heard.peer, told.circuit) == (laptop.raw, desk.raw, heard.circuit)
        sockets = [
            await add_client_host(name).world().datagrams.open_socket(Endpoint("0.0.0.0", 5000))
            for name in ("desk", "laptop")
        ]
        for socket, circuit in zip(sockets, (told, heard), strict=True):
            answer = Binding(Word.PROVE, circuit.circuit, 0)
            for word in (Word.PROVE, Word.BOUND):
                bind = Binding(Word.BIND, circuit.circuit, 1, cookie=answer.cookie)
                socket.send_nowait(seal_binding(circuit.key, bind), server.ready.stun[0])
                [(datagram, _)] = await socket.receive_batch()
                answer = open_binding(circuit.key, datagram)
                assert (answer.word, answer.counter) == (word, 1)
        datagram = encode_passed(told.circuit, b"sealed datagram")
        sockets[0].send_nowait(datagram, server.ready.stun[0])
        assert await sockets[1].receive_batch() == [(datagram, server.ready.stun[0])]
        status = json.loads((await fetch("/status"))[1])["udp_relay"]
        assert (status["circuits"], status["binds"], status["datagrams"], status["bytes"]) == (1, 2, 1, 15)
        metrics = (await fetch("/metrics"))[1].decode().splitlines()
        assert "p2ptunnel_udp_relay_circuits 1.0" in metrics
        assert "p2ptunnel_udp_relay_bytes_total 15.0" in metrics


async def test_a_server_without_udp_relay_says_so_and_passes_nothing_on(
    run_server: Serve, dial: Dial, fetch: Callable[..., Awaitable[tuple[int, bytes]]]
) -> None:
    async with run_server(udp_relay=False), dial("desk") as desk, dial("laptop") as laptop:
        assert (await desk.register()).relay == ()
        await laptop.register()
        desk.say(Allocate(laptop.raw))
        assert await desk.hear(NoCircuit) == NoCircuit(laptop.raw, "off")
        assert json.loads((await fetch("/status"))[1])["udp_relay"] is None


async def test_nodes_meet_whichever_of_the_addresses_they_dialed(run_server: Serve, dial: Dial) -> None:
    """One with IPv4 alone and one with IPv6 alone have no address of the server in common."""
    other = Endpoint("25.0.0.1", 9000)
    async with run_server(also_listen=(other,)), dial("desk") as desk, dial("laptop", at=other) as laptop:
        await desk.register()
        await laptop.register()
        await laptop.announce(b"laptop's body")
        assert (await desk.hear(PeerUp)).body == b"laptop's body"


async def test_a_server_that_stops_says_so_within_a_second(run_server: Serve, dial: Dial) -> None:
    async with run_server() as server, dial("desk") as desk, dial("laptop") as laptop:
        await desk.register()
        await laptop.register()
        began = trio.current_time()
        server.stop()
        for node in (desk, laptop):
            assert await node.hear(ErrorSignal) == ErrorSignal(
                "shutting_down", "the server is stopping; dial again later"
            )
        await server.ended.wait()
        assert trio.current_time() - began <= 1.0


async def test_a_client_that_takes_no_bytes_holds_a_stopping_server_for_a_second_at_most(
    run_server: Serve, dial: Dial, internet: MemoryInternet
) -> None:
    async with run_server() as server, dial("desk") as desk:
        await desk.register()
        internet.drop = lambda packet: True
        began = trio.current_time()
        server.stop()
        await server.ended.wait()
        assert trio.current_time() - began <= 1.0


async def test_a_restarted_server_keeps_the_leases(run_server: Serve, dial: Dial, tmp_path: Path) -> None:
    async with run_server(state=tmp_path) as server, dial("desk") as desk, dial("laptop") as laptop:
        first = [await desk.register(wanted_address="10.86.7.7"), await laptop.register()]
        server.stop()
        await server.ended.wait()
    async with run_server(state=tmp_path), dial("laptop") as laptop, dial("desk") as desk:
        second = [await laptop.register(), await desk.register()]
    assert first[0].address == "10.86.7.7/16"
    assert [(lease.address, lease.leased_since) for lease in reversed(second)] == [
        (lease.address, lease.leased_since) for lease in first
    ]


async def test_the_database_holds_no_secret_and_nothing_that_was_announced(
    run_server: Serve, dial: Dial, tmp_path: Path
) -> None:
    async with run_server(state=tmp_path), dial("desk") as desk:
        await desk.register()
        announce = await desk.announce(b"a sealed announcement")
        kept, modes = content_and_modes(tmp_path)
    network = desk.network
    assert desk.raw in kept, "the file does hold what it is for"
    for secret in (
        network.private_key,
        network.public_key,
        network.psk,
        network.announcement_key,
        desk.keys.public,
        announce.epoch,
        announce.body,
        b"26.0.0.1",
        b"home",
    ):
        assert secret not in kept
    assert modes == {0o600}


async def test_a_port_that_is_taken_is_a_device_error(run_server: Serve, server_host: MemoryHost) -> None:
    await server_host.open_listener(Endpoint("25.0.0.1", 9443))
    with pytest.RaisesGroup(DeviceError, flatten_subgroups=True):
        async with run_server():
            pytest.fail("it must not start")
    async with run_server(http=None) as server:
        assert server.ready.http is None


async def test_a_bad_address_pool_is_a_settings_error(run_server: Serve) -> None:
    with pytest.RaisesGroup(SettingsError, flatten_subgroups=True):
        async with run_server(addresses="10.0.0.0/31"):
            pytest.fail("it must not start")


async def test_status_and_metrics_are_served_and_name_no_node(
    run_server: Serve, dial: Dial, fetch: Callable[..., Awaitable[tuple[int, bytes]]]
) -> None:
    async with run_server(), dial("desk") as desk, dial("laptop") as laptop:
        await desk.register()
        await laptop.register()
        await laptop.announce()
        desk.link.send_relay(laptop.handle, b"12345")
        await laptop.hear_frames(1)
        assert await fetch("/healthz") == (200, b"ok\n")
        code, body = await fetch("/status")
        status = json.loads(body)
        assert code == 200
        assert (status["version"], status["nodes"], status["networks"], status["leases"]) == (1, 2, 1, 2)
        assert status["relay"]["bytes"] == 5
        assert status["largest_networks"][0]["announced"] == 1
        code, metrics = await fetch("/metrics")
        lines = metrics.decode().splitlines()
        assert code == 200
        assert "p2ptunnel_nodes 2.0" in lines
        assert "p2ptunnel_relay_bytes_total 5.0" in lines
        assert all(line.startswith(("p2ptunnel_", "# HELP p2ptunnel_", "# TYPE p2ptunnel_")) for line in lines)
        for text in (body.decode(), metrics.decode()):
            assert str(desk.keys.id) not in text
            assert "26.0.0" not in text


async def test_over_real_sockets_the_pin_the_leases_and_the_clean_end_hold(tmp_path: Path, dial_real: DialReal) -> None:
    """The one test of this floor without doubles: TCP, TLS, SQLite and files of this machine."""
    free = Endpoint("127.0.0.1", 0)
    settings = ServerSettings(listen=free, udp=(free, free), http=free, state=tmp_path)
    pins, leases = set(), set()
    for _ in range(2):
        async with trio.open_nursery() as nursery, AsyncExitStack() as links:
            ready: ServerReady = await nursery.start(serve, settings, real_world(tmp_path))
            desk = await links.enter_async_context(dial_real("desk", ready))
            laptop = await links.enter_async_context(dial_real("laptop", ready))
            leases.add((await desk.register()).address)
            await laptop.register()
            desk.link.send_relay(laptop.handle, b"sealed")
            assert await laptop.hear_frames(1) == [(desk.handle, b"sealed")]
            pins.add(ready.pin)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                for node in (desk, laptop):
                    assert (await node.hear(ErrorSignal)).code == "shutting_down"
                    await node.hear_end()
    assert len(pins) == len(leases) == 1
    assert content_and_modes(tmp_path)[1] == {0o600}


async def test_a_client_that_expects_another_pin_says_nothing(tmp_path: Path, dial_real: DialReal) -> None:
    settings = ServerSettings(listen=Endpoint("127.0.0.1", 0), udp=(Endpoint("127.0.0.1", 0),))
    async with trio.open_nursery() as nursery:
        ready: ServerReady = await nursery.start(serve, settings, real_world(None))
        with pytest.raises(Refused, match="wrong_pin"):
            async with dial_real("desk", replace(ready, pin=bytes(32))):
                pytest.fail("it must not connect")
        async with dial_real("desk", ready) as desk:
            await desk.register()
        nursery.cancel_scope.cancel()


async def test_a_hello_that_was_said_to_another_server_s_certificate_is_refused(
    tmp_path: Path, dial_real: DialReal
) -> None:
    """A hostile server that passes our challenge on gets a hello over its own certificate."""
    settings = ServerSettings(listen=Endpoint("127.0.0.1", 0), udp=(Endpoint("127.0.0.1", 0),))
    async with trio.open_nursery() as nursery:
        ready: ServerReady = await nursery.start(serve, settings, real_world(None))
        for binding in (b"", bytes(32)):
            async with dial_real("desk", ready) as desk:
                challenge = await desk.hear(Challenge)
                desk.say(prove(challenge, desk.network, desk.keys, binding=binding))
                assert (await desk.hear(ErrorSignal)).code == "not_authentic"
        nursery.cancel_scope.cancel()


def content_and_modes(folder: Path) -> tuple[bytes, set[int]]:
    """All bytes in a folder, and the permissions of its files."""
    files = sorted(folder.iterdir())
    return b"".join(path.read_bytes() for path in files), {path.stat().st_mode & 0o777 for path in files}
