from __future__ import annotations

from typing import Any

import pytest
import trio
from bench.studies.reenactment_detection import NatKind
from bench.studies.reenactment_hub import Hub, PeerInfo, lines_of, send_line
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.verify.memory.internet import MemoryInternet, open_memory_internet

PLACE = Endpoint("25.0.0.1", 8443)
INFO = PeerInfo(Endpoint("26.0.1.1", 19000), Endpoint("192.168.1.2", 19000), NatKind.SYMMETRIC)


class Guest:
    """A client without habits."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.told: list[list[Any]] = []

    async def listen(self) -> None:
        async for line in lines_of(self.stream):
            self.told.append(line)


async def join(internet: MemoryInternet, nursery: trio.Nursery, name: str, address: str) -> Guest:
    guest = Guest(await internet.add_host(name, address).open_stream(PLACE))
    nursery.start_soon(guest.listen)
    await send_line(guest.stream, ["name", name])
    return guest


def test_a_peer_info_survives_the_line() -> None:
    assert PeerInfo.from_json(INFO.as_json()) == INFO


@pytest.mark.parametrize(("polls", "is_served"), [(0, False), (10, True)])
async def test_a_hub_with_patience_serves_a_request_whose_info_comes_later(
    polls: int, is_served: bool, autojump_clock: MockClock
) -> None:
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        hub = Hub(polls)
        nursery.start_soon(hub.serve, await internet.add_host("hub", PLACE.host).open_listener(PLACE))
        one = await join(internet, nursery, "one", "26.0.1.1")
        other = await join(internet, nursery, "other", "26.0.2.1")
        await send_line(one.stream, ["info", INFO.as_json()])
        await send_line(one.stream, ["want", "other"])
        await trio.sleep(9.5)
        await send_line(other.stream, ["info", INFO.as_json()])
        await trio.sleep(5.0)
        assert one.told[0] == ["seen", "26.0.1.1"]
        assert [line[0] for line in other.told[1:]] == ["meet"] * is_served
        assert (hub.requests, hub.served) == (1, [1] * is_served)
        nursery.cancel_scope.cancel()


async def test_a_hub_that_gives_up_tells_nobody(autojump_clock: MockClock) -> None:
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        nursery.start_soon(Hub(10).serve, await internet.add_host("hub", PLACE.host).open_listener(PLACE))
        one = await join(internet, nursery, "one", "26.0.1.1")
        await send_line(one.stream, ["want", "nobody"])
        await trio.sleep(60.0)
        assert [line[0] for line in one.told] == ["seen"]
        nursery.cancel_scope.cancel()
