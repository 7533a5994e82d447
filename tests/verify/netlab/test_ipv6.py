"""Sites with routed IPv6."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError
from tunnel.verify.netlab import SERVER_ADDRESSES, SERVER_ADDRESSES_V6, Host, Kind, Lab

if TYPE_CHECKING:
    from tests.verify.netlab.conftest import Agent

pytestmark = pytest.mark.netlab

SILENCE = 0.3
PING = ["ping", "-6", "-c", "1", "-W", "5"]


@pytest.mark.parametrize(
    "kind", [Kind.PUBLIC, Kind.PORT_PRESERVING, Kind.SYMMETRIC, Kind.DOUBLE], ids=lambda kind: kind.value
)
def test_a_host_with_ipv6_reaches_both_addresses_of_the_server(lab: Lab, kind: Kind) -> None:
    host = lab.add_site("home", kind, ipv6=True, hosts=1 if kind is Kind.PUBLIC else 2).hosts[-1]
    for address in SERVER_ADDRESSES_V6:
        assert "1 received" in lab.run(host, [*PING, address])


def test_a_host_without_ipv6_has_no_way_there(lab: Lab) -> None:
    lab.add_site("other", ipv6=True)
    site = lab.add_site("home")
    assert site.host.address_v6 is None
    with pytest.raises(DeviceError):
        lab.run(site.host, [*PING, SERVER_ADDRESSES_V6[0]])


def test_a_host_with_ipv6_alone_has_no_ipv4_and_its_site_needs_no_wish_for_ipv6(lab: Lab) -> None:
    site = lab.add_site("home", Kind.IPV6_ONLY, hosts=2)
    for host in site.hosts:
        assert host.address == host.address_v6
        assert "inet " not in lab.run(host, ["ip", "address", "show", "dev", "eth0"])
        assert "1 received" in lab.run(host, [*PING, SERVER_ADDRESSES_V6[1]])
        with pytest.raises(DeviceError):
            lab.run(host, ["ping", "-4", "-c", "1", "-W", "5", SERVER_ADDRESSES[0]])


@pytest.mark.parametrize("inner", [Kind.DOUBLE, Kind.IPV6_ONLY, Kind.FIREWALL], ids=lambda kind: kind.value)
def test_a_router_filters_ipv6_by_state_so_that_both_must_speak(
    lab: Lab, agent_on: Callable[[Host], Agent], inner: Kind
) -> None:
    sites = lab.add_site("here", inner, ipv6=True), lab.add_site("there", Kind.SYMMETRIC, ipv6=True)
    here, there = (agent_on(site.host) for site in sites)
    ends = []
    for site, agent in zip(sites, (here, there), strict=True):
        assert site.host.address_v6 is not None
        ends.append(Endpoint(site.host.address_v6, agent.open(5000, ipv6=True)))
    here.send(ends[1], "unheard")
    assert there.hear(SILENCE) is None
    there.send(ends[0], "heard")
    assert here.hear() == ("heard", ends[1])
    here.send(ends[1], "answer")
    assert there.hear() == ("answer", ends[0])


def test_a_cut_stops_ipv6_too(lab: Lab, agent_on: Callable[[Host], Agent]) -> None:
    one, two = (lab.add_site(name, Kind.PUBLIC, ipv6=True) for name in ("one", "two"))
    speaker, listener = agent_on(one.host), agent_on(two.host)
    speaker.open(ipv6=True)
    there = Endpoint(two.wan_v6, listener.open(ipv6=True))
    lab.cut(one, two)
    speaker.send(there, "lost")
    assert listener.hear(SILENCE) is None
    lab.lift(one, two)
    speaker.send(there, "found")
    heard = listener.hear()
    assert heard is not None
    assert heard[0] == "found"
