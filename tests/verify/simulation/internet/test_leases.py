from __future__ import annotations

import pytest
import trio
from tests.verify.simulation.lone_router import make_router, open_ports, take_ports
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.model.transport import Transport
from tunnel.verify.reachability.topology import Gateway
from tunnel.verify.simulation.internet.leases import FIRST_PORT, LAST_PORT, SEARCHED, PortLeases

DESK, LAPTOP = Endpoint("192.168.1.7", 5000), Endpoint("192.168.1.8", 5000)
UDP = Transport.UDP

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def test_a_port_that_others_hold_is_passed_over() -> None:
    router = make_router(Gateway())
    take_ports(router, 5001)
    leases = PortLeases(router.statics)
    first = leases.grant(UDP, DESK, 60, wanted=5000)
    second = leases.grant(UDP, LAPTOP, 60, wanted=5000)
    assert first is not None
    assert second is not None
    assert open_ports(router) == {5000: DESK, 5002: LAPTOP}
    assert (leases.holder(UDP, 5000), leases.holder(UDP, 5002)) == (first, second)
    assert leases.holder(UDP, 5001) is None
    assert leases.of_host(UDP, LAPTOP.host) == [second]


async def test_exactly_that_port_or_none() -> None:
    router = make_router(Gateway())
    take_ports(router, 5000)
    leases = PortLeases(router.statics)
    assert leases.grant(UDP, DESK, 60, wanted=5000, exact=True) is None
    assert leases.grant(UDP, DESK, 60, wanted=5001, exact=True) is not None
    assert leases.grant(UDP, DESK, 60, wanted=5002, exact=True) is None


async def test_the_search_goes_round_and_ends() -> None:
    router = make_router(Gateway())
    take_ports(router, *range(65_500, LAST_PORT + 1))
    leases = PortLeases(router.statics)
    assert leases.grant(UDP, DESK, 60, wanted=65_500) is not None
    assert open_ports(router) == {FIRST_PORT: DESK}
    take_ports(router, *range(FIRST_PORT + 1, FIRST_PORT + SEARCHED))
    assert leases.grant(UDP, LAPTOP, 60, wanted=65_500) is None


async def test_a_lease_keeps_its_port_when_it_is_renewed_and_ends_in_time(autojump_clock: MockClock) -> None:
    router = make_router(Gateway())
    leases = PortLeases(router.statics)
    leases.grant(UDP, DESK, 60, wanted=7000)
    await trio.sleep(50)
    renewed = leases.grant(UDP, DESK, 60, wanted=8000)
    assert renewed is not None
    assert (renewed.external_port, renewed.until) == (7000, 110.0)
    await trio.sleep(59)
    assert leases.find(UDP, DESK) == renewed
    await trio.sleep(1)
    assert leases.find(UDP, DESK) is None
    again = leases.grant(UDP, DESK, 60, wanted=8000)
    assert again is not None
    assert again.external_port == 8000


async def test_a_lease_that_the_router_forgot_is_none() -> None:
    router = make_router(Gateway())
    leases = PortLeases(router.statics)
    sealed = leases.grant(UDP, DESK, 60, wanted=5000)
    assert sealed is not None
    leases.seal(sealed, b"n" * 12)
    router.reboot()
    assert leases.find(UDP, DESK) is None
    fresh = leases.grant(UDP, DESK, 60, wanted=5000)
    assert fresh is not None
    assert fresh.nonce == b""


async def test_a_port_that_another_host_has_taken_since_is_not_ours_any_more() -> None:
    router = make_router(Gateway())
    leases = PortLeases(router.statics)
    leases.grant(UDP, DESK, 60, wanted=5000)
    router.reboot()
    taken = leases.grant(UDP, LAPTOP, 60, wanted=5000)
    assert leases.find(UDP, DESK) is None
    assert leases.of_host(UDP, DESK.host) == []
    assert leases.holder(UDP, 5000) == taken


async def test_an_ended_lease_closes_its_port_and_no_other() -> None:
    router = make_router(Gateway())
    leases = PortLeases(router.statics)
    ended = leases.grant(UDP, DESK, 60, wanted=5000)
    kept = leases.grant(Transport.TCP, DESK, 60, wanted=5000)
    assert ended is not None
    assert leases.of_host(UDP, DESK.host) == [ended]
    assert leases.holder(Transport.TCP, 5000) == kept
    leases.end(ended)
    assert open_ports(router, UDP) == {}
    assert open_ports(router, Transport.TCP) == {5000: DESK}
