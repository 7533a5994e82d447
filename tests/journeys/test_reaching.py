"""How a node reaches a server that does not stand at one plain address. Real kernels."""

from __future__ import annotations

import pytest
from tests.journeys.conftest import OpenHousehold

from tunnel.netlab import Kind, SiteSpec

pytestmark = pytest.mark.netlab

HOME = SiteSpec("home", Kind.PORT_PRESERVING)
OFFICE = SiteSpec("office", Kind.SYMMETRIC)


def test_a_server_on_the_wildcard_address_answers_from_the_address_that_was_asked(
    open_household: OpenHousehold,
) -> None:
    """The invite names its second address; the kernel alone would answer UDP from the first."""
    lab, household = open_household(HOME, OFFICE, listen=["0.0.0.0:443"], url="wss://25.0.0.2:443")
    for site in (HOME, OFFICE):
        household.start_node(lab.sites[site.name].host, site.name)
    household.wait_ready("home", "office")
    household.start_ping("home", "office", count=20).finish()
    household.wait_direct("home", "office")
    nat = household.status("home")["node"]["nat"]
    assert (nat["mapping"], nat["udp"]) == ("endpoint_independent", "open")
