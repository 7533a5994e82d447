"""A picture becomes an internet on which the real programs run unchanged."""

from __future__ import annotations

from functools import partial
from hashlib import sha256

import trio
from trio.testing import MockClock

from tunnel.crypto.network_keys import derive_network_keys
from tunnel.embedding import open_node
from tunnel.model.endpoint import Endpoint
from tunnel.model.invite import Invite
from tunnel.model.settings import NodeSettings, ServerSettings
from tunnel.network.memory import open_memory_internet
from tunnel.server.program import serve
from tunnel.simulation.picture import Host, Picture, Router
from tunnel.simulation.town import build_town

SECRET = sha256(b"a simulated secret").digest()
INVITE = Invite("ws://25.0.0.1:8443", None, "home", derive_network_keys("home", SECRET).network_id, SECRET)

TWO_HOMES = Picture(
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
        town = build_town(internet, TWO_HOMES, seed=1)
        await nursery.start(partial(serve, settings, town.hosts["server"].world(), tls=False))
        a_settings, b_settings = (NodeSettings(name=name, default_stun=False) for name in ("a", "b"))
        async with (
            open_node(invite=INVITE, settings=a_settings, world=town.hosts["a"].world()) as a,
            open_node(invite=INVITE, settings=b_settings, world=town.hosts["b"].world()) as b,
        ):
            to_b = await a.connect("b")
            await to_b.send_datagram(b"hello")
            assert await (await b.connect("a")).receive_datagram() == b"hello"
            with trio.fail_after(10):
                while to_b.state != "connected":
                    await a.program.pulse.wait()
            assert to_b.path is not None
            assert to_b.path.endpoint is not None
            assert to_b.path.endpoint.host == "26.0.0.2"
        nursery.cancel_scope.cancel()
