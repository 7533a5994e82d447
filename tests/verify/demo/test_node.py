"""A demo node does what it is told, and reports what happens: two of them on a network in memory, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tunnel.crypto.network_keys import new_invite
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import SettingsError
from tunnel.model.settings import ServerSettings
from tunnel.node.control_lines import Lines, decode_line, encode_line, error_of
from tunnel.server.program import serve
from tunnel.verify.demo.node import run_node
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.wire.invites import encode_invite

INVITE = encode_invite(new_invite("ws://25.0.0.1:8443", None, "home", bytes(32)))
PATIENCE = 120.0


class Process:
    """The other end of one node: `ask` gives an order, `news` keeps what was reported meanwhile."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.news: list[dict[str, Any]] = []
        self.stdin, self.orders = trio.testing.memory_stream_one_way_pair()
        self.reports, stdout = trio.testing.memory_stream_one_way_pair()
        self._lines = Lines(stdout, 65536)

    async def ask(self, do: str, **details: Any) -> dict[str, Any]:
        await self.write({"do": do, **details})
        with trio.fail_after(PATIENCE):
            while (line := await self._lines.receive_untrusted()) is not None:
                report = decode_line(line)
                if report.get("ok"):
                    result: dict[str, Any] = report["result"]
                    return result
                if "ok" in report:
                    raise error_of(report["code"], report["error"])
                self.news.append(report)
        raise AssertionError("the node has ended")

    async def write(self, document: dict[str, Any]) -> None:
        await self.stdin.send_all(encode_line(document))


@pytest.fixture
async def pair(autojump_clock: trio.testing.MockClock) -> AsyncIterator[tuple[Process, Process]]:
    both = Process("desk"), Process("laptop")
    async with open_memory_internet() as internet, trio.open_nursery() as servers:
        settings = ServerSettings(listen=Endpoint("25.0.0.1", 8443), udp=(Endpoint("25.0.0.1", 3478),))
        world = internet.add_host("server", "25.0.0.1").world()
        await servers.start(partial(serve, settings, world, tls=False))
        async with trio.open_nursery() as nodes:
            for number, process in enumerate(both, 1):
                world = internet.add_host(process.name, f"26.0.0.{number}").world()
                nodes.start_soon(run_node, process.orders, process.reports, world)
                await process.write({"name": process.name, "invite": INVITE})
            for process, other in (both, both[::-1]):
                await process.ask("meet", peer=other.name)
            yield both
            for process in both:
                await process.stdin.aclose()
        servers.cancel_scope.cancel()


async def test_a_greeting_is_answered_and_reported_by_the_other_side(pair: tuple[Process, Process]) -> None:
    desk, laptop = pair
    greeting = await desk.ask("greet", text="hello, laptop")
    assert greeting["text"] == "hello, laptop"
    assert greeting["seconds"] < 5
    await laptop.ask("ping", count=2)  # the first may end in the instant in which the path is proved
    assert "hello, laptop" in [news.get("text") for news in laptop.news]
    assert "path_verified" in [news.get("event") for news in laptop.news]


async def test_round_trips_and_throughput_are_measured(pair: tuple[Process, Process]) -> None:
    desk, _ = pair
    assert len((await desk.ask("ping", count=3))["seconds"]) == 3
    bulk = await desk.ask("bulk", seconds=1.0)
    assert bulk["bytes"] > 0
    assert bulk["seconds"] == pytest.approx(1.0, abs=0.3)


async def test_a_cut_makes_a_gap_in_the_stream_that_the_relay_ends(pair: tuple[Process, Process]) -> None:
    desk, laptop = pair
    await desk.ask("greet", text="hello")
    for process in pair:
        await process.ask("flow")
    await trio.sleep(3)
    await laptop.ask("gaps")
    await trio.sleep(1)
    before = (await laptop.ask("gaps"))["longest"]
    await desk.ask("cut")
    await trio.sleep(4)
    during = (await laptop.ask("gaps"))["longest"]
    assert before < 0.5 < during < 2.5
    assert (await desk.ask("lift"))["swallowed"] > 0
    sent, arrived = (await desk.ask("halt"))["sent"], (await laptop.ask("halt"))["arrived"]
    assert 0 < arrived <= sent


async def test_an_unknown_order_is_refused_and_the_node_goes_on(pair: tuple[Process, Process]) -> None:
    desk, _ = pair
    with pytest.raises(SettingsError, match="a demo node does meet, greet"):
        await desk.ask("dance")
    assert await desk.ask("flow") == {}


async def test_a_node_whose_orders_end_before_the_first_does_nothing() -> None:
    process = Process("desk")
    await process.stdin.aclose()
    async with open_memory_internet() as internet:
        await run_node(process.orders, process.reports, internet.add_host("desk", "26.0.0.1").world())
    assert process.news == []
