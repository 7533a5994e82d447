"""A link that takes time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tunnel.model.endpoint import Endpoint
from tunnel.verify.netlab import SERVER_ADDRESSES, Host, Kind, Lab

if TYPE_CHECKING:
    from tests.verify.netlab.conftest import Agent

pytestmark = pytest.mark.netlab

PRIMARY = Endpoint(SERVER_ADDRESSES[0], 3478)
STREAMS = Endpoint(SERVER_ADDRESSES[0], 443)


@pytest.mark.parametrize("delay", [10.0, 40.0])
def test_a_round_trip_takes_twice_the_delay(lab: Lab, agent_on: Callable[[Host], Agent], delay: float) -> None:
    """Never less; the best of ten is at most 5 ms more, however busy the machine is."""
    agent = agent_on(lab.add_site("home", Kind.PORT_PRESERVING, delay=delay).host)
    agent.open()
    trips = [agent.round_trip(PRIMARY) for _ in range(10)]
    assert 2 * delay <= min(trips) * 1000 < 2 * delay + 5


def test_delays_of_two_sites_add_up(lab: Lab, agent_on: Callable[[Host], Agent]) -> None:
    """And the first packet between them waits for no ARP."""
    near, far = lab.add_site("near", Kind.PUBLIC, delay=10), lab.add_site("far", Kind.PUBLIC, delay=30)
    lab.run(near.host, ["ping", "-c", "1", "-W", "5", far.wan])
    text = lab.run(near.host, ["ping", "-c", "5", "-i", "0.05", "-W", "5", far.wan])
    fastest = float(text.rpartition("= ")[2].split("/")[0])
    assert 80 <= fastest < 85


def test_a_delayed_link_carries_a_long_stream_whole(lab: Lab, agent_on: Callable[[Host], Agent]) -> None:
    """Superpackets and checksums that the kernel left incomplete pass unharmed."""
    agent = agent_on(lab.add_site("home", Kind.FULL_CONE, delay=2).host)
    assert agent.pump(STREAMS, 8 << 20)
    assert lab.counters()["home"].sent.bytes > 8 << 20


def test_a_moved_site_keeps_its_delay(lab: Lab, agent_on: Callable[[Host], Agent]) -> None:
    site = lab.add_site("home", Kind.PUBLIC, delay=20)
    lab.change_wan(site)
    agent = agent_on(site.host)
    agent.open()
    assert agent.round_trip(PRIMARY) >= 0.04
