"""What a lab can do to its sites while programs run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import SettingsError
from tunnel.verify.netlab import SERVER_ADDRESSES, Host, Kind, Lab

if TYPE_CHECKING:
    from tests.verify.netlab.conftest import Agent

pytestmark = pytest.mark.netlab

PRIMARY = Endpoint(SERVER_ADDRESSES[0], 3478)
SILENCE = 0.3


def test_a_cut_stops_udp_between_two_sites_both_ways_until_lifted(lab: Lab, agent_on: Callable[[Host], Agent]) -> None:
    """The server stays in reach of both, and so do other sites."""
    sites = [lab.add_site(name, Kind.PUBLIC) for name in ("one", "two", "three")]
    one, two, three = (agent_on(site.host) for site in sites)
    here, there, elsewhere = (
        Endpoint(site.wan, agent.open()) for site, agent in zip(sites, (one, two, three), strict=True)
    )
    lab.cut(sites[0], sites[1])
    one.send(there)
    two.send(here)
    assert one.hear(SILENCE) is None
    assert two.hear(SILENCE) is None
    assert one.seen_by(PRIMARY) == here
    assert two.seen_by(PRIMARY) == there
    one.send(elsewhere)
    assert three.hear() == ("hello", here)
    lab.lift(sites[0], sites[1])
    one.send(there)
    assert two.hear() == ("hello", here)


def test_a_line_of_another_mtu_drops_in_silence_what_is_longer(lab: Lab, agent_on: Callable[[Host], Agent]) -> None:
    """Both ways; and a host that is not told goes on sending it."""
    home, away = lab.add_site("home"), lab.add_site("away", Kind.PUBLIC)
    inside, outside = agent_on(home.host), agent_on(away.host)
    there = Endpoint(away.wan, outside.open())
    inside.open()
    inside.send(there)
    heard = outside.hear()
    assert heard is not None
    for mtu in (1300, 1400):
        lab.change_mtu(home, mtu)
        fits, exceeds = "x" * (mtu - 28), "x" * (mtu - 27)
        for speaker, listener, to in ((inside, outside, there), (outside, inside, heard[1])):
            speaker.send(to, exceeds)
            assert listener.hear(SILENCE) is None
            speaker.send(to, fits)
            arrived = listener.hear()
            assert arrived is not None
            assert arrived[0] == fits


def test_a_cut_follows_a_site_that_moves(lab: Lab, agent_on: Callable[[Host], Agent]) -> None:
    one, two = lab.add_site("one", Kind.PUBLIC), lab.add_site("two", Kind.PUBLIC)
    speaker, listener = agent_on(one.host), agent_on(two.host)
    lab.cut(one, two)
    lab.change_wan(one)
    speaker.open()
    speaker.send(Endpoint(two.wan, listener.open()))
    assert listener.hear(SILENCE) is None


def test_cuts_do_not_disturb_each_other(lab: Lab, agent_on: Callable[[Host], Agent]) -> None:
    one, two, three = (lab.add_site(name, Kind.PUBLIC) for name in ("one", "two", "three"))
    lab.cut(one, two)
    lab.cut(one, three)
    lab.lift(three, one)
    speaker = agent_on(one.host)
    speaker.open()
    deaf, listener = agent_on(two.host), agent_on(three.host)
    speaker.send(Endpoint(two.wan, deaf.open()))
    speaker.send(Endpoint(three.wan, listener.open()))
    assert listener.hear() is not None
    assert deaf.hear(SILENCE) is None


def test_a_site_cannot_be_cut_from_itself(lab: Lab) -> None:
    site = lab.add_site("home", hosts=2)
    with pytest.raises(SettingsError, match="home"):
        lab.cut(site, site)


@pytest.mark.parametrize("kind", [Kind.PORT_PRESERVING, Kind.FULL_CONE, Kind.DOUBLE], ids=lambda kind: kind.value)
def test_a_site_that_moves_speaks_from_its_new_address_and_forgets_the_old(
    lab: Lab, agent_on: Callable[[Host], Agent], kind: Kind
) -> None:
    """An open socket goes on without knowing; what was sent to the old address is lost."""
    site = lab.add_site("home", kind)
    stranger = agent_on(lab.add_site("away", Kind.PUBLIC).host)
    stranger.open()
    agent = agent_on(site.host)
    port = agent.open()
    assert agent.seen_by(PRIMARY) == Endpoint("25.1.0.1", port)
    assert lab.change_wan(site) == site.wan == "25.1.0.2"
    assert agent.seen_by(PRIMARY) == Endpoint("25.1.0.2", port)
    stranger.send(Endpoint("25.1.0.1", port))
    assert agent.hear(SILENCE) is None


def test_a_public_site_that_moves_changes_the_address_of_its_host(lab: Lab, agent_on: Callable[[Host], Agent]) -> None:
    site = lab.add_site("home", Kind.PUBLIC)
    lab.change_wan(site)
    lab.change_wan(site)
    agent = agent_on(site.host)
    port = agent.open()
    assert site.host.address == "25.1.0.3"
    assert agent.seen_by(PRIMARY) == Endpoint("25.1.0.3", port)
    assert "25.1.0.2" not in lab.run(site.host, ["ip", "-4", "addr", "show", "dev", "wan"])


@pytest.mark.parametrize("kind", [Kind.PORT_PRESERVING, Kind.FULL_CONE, Kind.SYMMETRIC], ids=lambda kind: kind.value)
def test_a_router_that_forgets_its_mappings_admits_nothing_until_spoken_through(
    lab: Lab, agent_on: Callable[[Host], Agent], kind: Kind
) -> None:
    site, away = lab.add_site("home", kind), lab.add_site("away", Kind.PUBLIC)
    inside, outside = agent_on(site.host), agent_on(away.host)
    there = Endpoint(away.wan, outside.open())
    inside.open()
    inside.send(there)
    heard = outside.hear()
    assert heard is not None
    outside.send(heard[1], "before")
    assert inside.hear() == ("before", there)
    lab.forget_mappings(site)
    outside.send(heard[1], "after")
    assert inside.hear(SILENCE) is None
    inside.send(there)
    assert outside.hear() is not None
