"""A node that only an HTTP proxy leads out, in an internet in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import h11
import pytest
import trio

from tunnel.machines.background import run_beside
from tunnel.model.endpoint import Endpoint, split_host_port
from tunnel.model.errors import SettingsError
from tunnel.model.nat import Udp
from tunnel.model.proxies import Proxies
from tunnel.model.settings import ServerSettings
from tunnel.server.program import serve

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, SimulatedNetwork

    from tunnel.model.invite import Invite
    from tunnel.network.ports import World

PROXY = Endpoint("26.0.9.9", 3128)
SETTINGS = ServerSettings(listen=Endpoint("25.0.0.1", 443), udp=(Endpoint("25.0.0.1", 3478),), http=None)


@dataclass
class HttpProxy:
    """Passes CONNECT on, for those who know the password if there is one; knows names that its clients do not."""

    world: World
    names: dict[str, str]
    password: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Target and status of each request."""

    async def serve(self) -> None:
        listener = await self.world.streams.open_listener(Endpoint("0.0.0.0", PROXY.port))
        async with trio.open_nursery() as nursery:
            while True:
                stream, _ = await listener.accept()
                nursery.start_soon(self._talk, stream)

    async def _talk(self, stream: trio.abc.Stream) -> None:
        connection = h11.Connection(h11.SERVER)
        while (request := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some()))
        assert isinstance(request, h11.Request)
        target = request.target.decode()
        said = dict(request.headers).get(b"proxy-authorization", b"").decode()
        status = 200 if said == self.password else 407
        self.asked.append((target, str(status)))
        answer = h11.Response(status_code=status, headers=[], reason=b"so there")
        await stream.send_all(connection.send(answer) or b"")
        if status != 200:
            await stream.aclose()
            return
        host, port = split_host_port(target)
        onward = await self.world.streams.open_stream(Endpoint(self.names.get(host, host), port))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pump, stream, onward)
            nursery.start_soon(_pump, onward, stream)


async def _pump(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
    try:
        while data := await source.receive_some():
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    await trio.aclose_forcefully(sink)


@pytest.fixture
def proxy(net: SimulatedNetwork) -> HttpProxy:
    """The one way out of the desk's network."""
    host = net.internet.add_host("proxy", PROXY.host)
    desk = net.host("desk")
    desk.proxies = Proxies({"HTTPS_PROXY": f"http://{PROXY}"})
    net.internet.drop = lambda packet: (
        desk.addresses[0] in (packet.source.host, packet.destination.host)
        and PROXY.host not in (packet.source.host, packet.destination.host)
    )
    return HttpProxy(host.world(), {"server.test": "25.0.0.1"})


async def test_a_node_reaches_its_server_through_the_proxy_by_a_name_that_only_the_proxy_knows(
    net: SimulatedNetwork, open_in: OpenNode, proxy: HttpProxy, home: Invite
) -> None:
    async with trio.open_nursery() as nursery, run_beside(proxy.serve):
        ready = await nursery.start(partial(serve, SETTINGS, net.server_host.world()))
        invite = replace(home, server="wss://server.test:443", pin=ready.pin)
        async with open_in("desk", invite=invite) as desk:
            with trio.fail_after(3.0):
                await desk.wait_registered()
            assert proxy.asked == [("server.test:443", "200")]
            assert desk.program.nat_discovery.own == ()
            await trio.sleep(10.0)
            assert desk.status().server.state == "registered"
            assert desk.status().nat.udp is not Udp.OPEN
        nursery.cancel_scope.cancel()


async def test_the_ports_for_udp_are_those_of_the_server_not_of_the_proxy(
    net: SimulatedNetwork, open_in: OpenNode, proxy: HttpProxy, home: Invite
) -> None:
    """Where only TCP is restricted the direct path is still to be had."""
    net.internet.drop = lambda packet: (
        packet.is_stream
        and packet.source.host == net.host("desk").addresses[0]
        and (packet.destination.host != PROXY.host)
    )
    async with trio.open_nursery() as nursery, run_beside(proxy.serve):
        ready = await nursery.start(partial(serve, SETTINGS, net.server_host.world()))
        invite = replace(home, server="wss://25.0.0.1:443", pin=ready.pin)
        async with open_in("desk", invite=invite) as desk:
            with trio.fail_after(3.0):
                await desk.wait_registered()
            assert desk.program.nat_discovery.own == (Endpoint("25.0.0.1", 3478),)
            await trio.sleep(3.0)
            assert desk.status().nat.udp is Udp.OPEN
        nursery.cancel_scope.cancel()


async def test_a_proxy_that_asks_who_we_are_is_told_by_the_url_and_the_log_says_so_without_it(
    net: SimulatedNetwork, open_in: OpenNode, proxy: HttpProxy, home: Invite, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.password = "Basic bWU6c2VjcmV0"
    async with trio.open_nursery() as nursery, run_beside(proxy.serve):
        ready = await nursery.start(partial(serve, SETTINGS, net.server_host.world()))
        invite = replace(home, server="wss://server.test:443", pin=ready.pin)
        async with open_in("desk", invite=invite) as desk:
            await trio.sleep(0.5)
            reason = desk.status().server.reason
            assert reason == f"the proxy {PROXY} (HTTPS_PROXY) gives no way to server.test:443: 407 so there"
        net.host("desk").proxies = Proxies({"HTTPS_PROXY": f"http://me:secret@{PROXY}"})
        async with open_in("desk", invite=invite) as desk:
            with trio.fail_after(3.0):
                await desk.wait_registered()
        nursery.cancel_scope.cancel()
    told = [str(record.__dict__) for record in caplog.records]
    assert any("http://USER:PASSWORD@HOST:PORT" in line for line in told)
    assert not any("secret" in line or "bWU6" in line for line in told)


async def test_a_proxy_that_does_not_answer_is_named(
    net: SimulatedNetwork, open_in: OpenNode, proxy: HttpProxy, home: Invite
) -> None:
    async with open_in("desk", invite=replace(home, server="wss://server.test:443", pin=bytes(32))) as desk:
        await trio.sleep(0.5)
        assert desk.status().server.reason == f"through the proxy {PROXY} (HTTPS_PROXY): {PROXY}: refused"


async def test_a_socks_proxy_is_said_to_be_not_spoken_and_the_server_is_dialed_directly(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    net.host("desk").proxies = Proxies({"ALL_PROXY": "socks5://127.0.0.1:9050"})
    async with net.server(), open_in("desk") as desk:
        with trio.fail_after(3.0):
            await desk.wait_registered()
        assert [note for note in desk.status().notes if note.startswith("ALL_PROXY names a socks5 proxy")]


async def test_a_variable_that_is_no_url_ends_the_node_before_anything_is_sent(
    net: SimulatedNetwork, open_in: OpenNode
) -> None:
    net.host("desk").proxies = Proxies({"ALL_PROXY": "http://"})

    async def wait_for_it() -> None:
        async with open_in("desk"):
            await trio.sleep(1.0)

    with pytest.raises(SettingsError, match="ALL_PROXY is not the URL of a proxy"):
        await wait_for_it()
