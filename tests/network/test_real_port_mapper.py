"""UPnP through a gateway double that fails as miniupnpc does: with plain exceptions."""

from __future__ import annotations

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused, Unreachable
from tunnel.network.real_port_mapper import TRIES, RealPortMapper


class Gateway:
    """What `miniupnpc.UPnP()` gives; the class attributes set the scene."""

    found = 1
    outside = "25.0.0.9"
    taken: frozenset[int] = frozenset()
    lanaddr = "192.168.1.7"
    mapped: dict[int, tuple[str, int, int]]
    discoverdelay = 0

    def discover(self) -> int:
        if self.found == 0:
            raise Exception("Success")
        return self.found

    def selectigd(self) -> None:
        pass

    def externalipaddress(self) -> str:
        return self.outside

    def addportmapping(
        self, outer: int, protocol: str, host: str, inner: int, label: str, remote: str, lease: int
    ) -> bool:
        assert (protocol, label, remote) == ("UDP", "p2ptunnel-trio", "")
        if outer in self.taken:
            raise Exception("ConflictInMappingEntry")
        self.mapped[outer] = (host, inner, lease)
        return True

    def deleteportmapping(self, outer: int, protocol: str) -> bool:
        if outer not in self.mapped:
            raise Exception("NoSuchEntryInArray")
        del self.mapped[outer]
        return True


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> type[Gateway]:
    scene = type("Scene", (Gateway,), {"mapped": {}})
    monkeypatch.setattr("miniupnpc.UPnP", scene)
    return scene


async def test_a_port_is_mapped_towards_this_machine_and_unmapped(gateway: type[Gateway]) -> None:
    mapper = RealPortMapper()
    assert await mapper.map_port(40000, 7200.0) == Endpoint("25.0.0.9", 40000)
    assert gateway.mapped == {40000: ("192.168.1.7", 40000, 7200)}
    await mapper.unmap_port(40000)
    assert gateway.mapped == {}
    with pytest.raises(Refused, match="NoSuchEntry"):
        await mapper.unmap_port(40000)


async def test_a_taken_port_is_passed_over(gateway: type[Gateway]) -> None:
    gateway.taken = frozenset({40000, 40001})
    assert await RealPortMapper().map_port(40000, 60) == Endpoint("25.0.0.9", 40002)
    gateway.taken = frozenset(range(40000, 40000 + TRIES))
    with pytest.raises(Refused, match="ConflictInMappingEntry"):
        await RealPortMapper().map_port(40000, 60)


@pytest.mark.parametrize("outside", ["", "0", "not an address"])
async def test_a_gateway_without_an_address_refuses(gateway: type[Gateway], outside: str) -> None:
    gateway.outside = outside
    with pytest.raises(Refused, match="no_external_address"):
        await RealPortMapper().map_port(40000, 60)


async def test_no_gateway_is_unreachable(gateway: type[Gateway]) -> None:
    gateway.found = 0
    with pytest.raises(Unreachable, match="no UPnP gateway"):
        await RealPortMapper().map_port(40000, 60)


async def test_cancelling_does_not_wait_for_the_thread(gateway: type[Gateway], monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    release = threading.Event()
    monkeypatch.setattr(gateway, "discover", lambda self: release.wait(10))
    with trio.fail_after(5):
        with trio.move_on_after(0.01) as scope:
            await RealPortMapper().map_port(40000, 60)
        assert scope.cancelled_caught
    release.set()
