"""Which sizes are probed, in which order: a path with any common MTU is measured in a few steps."""

from __future__ import annotations

import pytest

from tunnel.model.endpoint import Endpoint
from tunnel.model.way import RELAY, Way
from tunnel.peer.mtu_search import LINK_MTUS, MtuSearch, link_mtu_of
from tunnel.wire.frames import BASE_SIZE

DIRECT4 = Way(0, Endpoint("25.2.0.1", 5000))
DIRECT6 = Way(0, Endpoint("2001:db8::1", 5000))
CIRCUIT4 = Way(0, Endpoint("25.0.0.1", 3478), 77)
CIRCUIT6 = Way(0, Endpoint("2001:db8::2", 3478), 77)
HEADERS = {DIRECT4: 28, DIRECT6: 48, CIRCUIT4: 38, CIRCUIT6: 58}


def search(way: Way, link_mtu: int) -> tuple[int, list[int]]:
    """The size that a search finds on a path of this MTU, and the sizes that it probed."""
    found, probed, one = BASE_SIZE, [], MtuSearch(way)
    while (size := one.next_size(found)) is not None:
        probed.append(size)
        if size + HEADERS[way] <= link_mtu:
            found = size
        else:
            one.note_lost(size)
    return found, probed


@pytest.mark.parametrize("way", HEADERS)
@pytest.mark.parametrize("link_mtu", LINK_MTUS)
def test_each_common_mtu_is_found_exactly_and_in_few_steps(way: Way, link_mtu: int) -> None:
    found, probed = search(way, link_mtu)
    assert found + HEADERS[way] == link_mtu == link_mtu_of(way, found)
    assert len(probed) <= 4
    assert len(set(probed)) == len(probed)


@pytest.mark.parametrize(("link_mtu", "used"), [(1300, 1280), (1499, 1492), (1600, 1500), (65535, 9000), (1279, None)])
def test_another_mtu_is_used_as_the_next_smaller_common_one(link_mtu: int, used: int | None) -> None:
    assert search(DIRECT4, link_mtu)[0] == (BASE_SIZE if used is None else used - 28)


def test_the_likeliest_size_is_asked_first() -> None:
    """Nearly every path takes Ethernet's packets: one probe, and the tunnel has all the room it will get there."""
    for way, headers in HEADERS.items():
        assert MtuSearch(way).next_size(BASE_SIZE) == 1500 - headers


def test_no_size_is_asked_that_a_path_has_already_carried() -> None:
    assert MtuSearch(DIRECT4).next_size(9000 - 28) is None


def test_the_link_to_the_server_has_no_datagrams() -> None:
    assert link_mtu_of(RELAY, BASE_SIZE) is None
