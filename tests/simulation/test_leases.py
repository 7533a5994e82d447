from __future__ import annotations

import pytest
import trio
from tests.simulation.port_table import PortTable
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.model.transport import Transport
from tunnel.simulation.leases import FIRST_PORT, LAST_PORT, PortLeases

DESK, LAPTOP = Endpoint("192.168.1.7", 5000), Endpoint("192.168.1.8", 5000)
UDP = Transport.UDP

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def test_a_port_that_others_hold_is_passed_over() -> None:
    table = PortTable(taken=frozenset({5001}))
    leases = PortLeases(table)
    first = leases.grant(UDP, DESK, 60, wanted=5000)
    second = leases.grant(UDP, LAPTOP, 60, wanted=5000)
    assert first is not None
    assert second is not None
    assert table.open_ports() == {5000: DESK, 5002: LAPTOP}
    assert (leases.holder(UDP, 5000), leases.holder(UDP, 5002)) == (first, second)
    assert leases.holder(UDP, 5001) is None
    assert leases.of_host(UDP, LAPTOP.host) == [second]


async def test_exactly_that_port_or_none() -> None:
    leases = PortLeases(PortTable(taken=frozenset({5000})))
    assert leases.grant(UDP, DESK, 60, wanted=5000, exact=True) is None
    assert leases.grant(UDP, DESK, 60, wanted=5001, exact=True) is not None
    assert leases.grant(UDP, DESK, 60, wanted=5002, exact=True) is None


async def test_the_search_goes_round_and_ends() -> None:
    table = PortTable(taken=frozenset(range(2000, LAST_PORT + 1)))
    leases = PortLeases(table)
    assert leases.grant(UDP, DESK, 60, wanted=60_000) is not None
    assert table.open_ports() == {FIRST_PORT: DESK}
    table.taken = frozenset(range(LAST_PORT + 1))
    assert leases.grant(UDP, LAPTOP, 60, wanted=60_000) is None


async def test_a_lease_keeps_its_port_when_it_is_renewed_and_ends_in_time(autojump_clock: MockClock) -> None:
    table = PortTable()
    leases = PortLeases(table)
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
    table = PortTable()
    leases = PortLeases(table)
    sealed = leases.grant(UDP, DESK, 60, wanted=5000)
    assert sealed is not None
    leases.seal(sealed, b"n" * 12)
    table.entries.clear()
    assert leases.find(UDP, DESK) is None
    fresh = leases.grant(UDP, DESK, 60, wanted=5000)
    assert fresh is not None
    assert fresh.nonce == b""


async def test_an_ended_lease_closes_its_port_and_no_other() -> None:
    table = PortTable()
    leases = PortLeases(table)
    ended = leases.grant(UDP, DESK, 60, wanted=5000)
    leases.grant(Transport.TCP, DESK, 60, wanted=5000)
    assert ended is not None
    leases.end(ended)
    assert table.open_ports(UDP) == {}
    assert table.open_ports(Transport.TCP) == {5000: DESK}
