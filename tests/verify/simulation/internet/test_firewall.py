"""Stateful filtering without translation (RFC 6092)."""

from __future__ import annotations

import pytest

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Filtering
from tunnel.verify.simulation.internet.firewall import Firewall
from tunnel.verify.simulation.internet.openings import Policy

INNER, NEIGHBOR = Endpoint("2001:db8::2", 5000), Endpoint("2001:db8::3", 5000)
REMOTES = (Endpoint("2001:db8:1::1", 1), Endpoint("2001:db8:1::1", 2), Endpoint("2001:db8:2::1", 1))


@pytest.mark.parametrize(
    ("filtering", "admitted"),
    [
        (Filtering.NONE, [True, True, True]),
        (Filtering.ENDPOINT_INDEPENDENT, [True, True, True]),
        (Filtering.ADDRESS_DEPENDENT, [True, True, False]),
        (Filtering.ADDRESS_AND_PORT_DEPENDENT, [True, False, False]),
    ],
)
def test_whoever_sent_out_is_open_to_those_whom_the_filtering_names(filtering: Filtering, admitted: list[bool]) -> None:
    wall = Firewall(Policy(filtering=filtering))
    wall.leave(INNER, REMOTES[0], 0.0)
    assert [wall.enter(INNER, remote, 1.0) for remote in REMOTES] == admitted


@pytest.mark.parametrize("filtering", [each for each in Filtering if each not in (Filtering.UNKNOWN, Filtering.NONE)])
def test_who_never_sent_is_shut(filtering: Filtering) -> None:
    wall = Firewall(Policy(filtering=filtering))
    wall.leave(NEIGHBOR, REMOTES[0], 0.0)
    assert not wall.enter(INNER, REMOTES[0], 0.0)


def test_without_filtering_all_come_in() -> None:
    assert Firewall(Policy(filtering=Filtering.NONE)).enter(INNER, REMOTES[0], 0.0)


def test_an_opening_closes_after_its_lifetime() -> None:
    wall = Firewall(Policy(filtering=Filtering.ENDPOINT_INDEPENDENT, lifetime=120.0, unanswered_lifetime=30.0))
    wall.leave(INNER, REMOTES[0], 0.0)
    wall.leave(NEIGHBOR, REMOTES[0], 0.0)
    assert wall.enter(INNER, REMOTES[0], 29.0)
    assert wall.enter(INNER, REMOTES[0], 148.0)
    assert not wall.enter(INNER, REMOTES[0], 268.0)
    assert not wall.enter(NEIGHBOR, REMOTES[0], 30.0)
    wall.leave(NEIGHBOR, REMOTES[0], 300.0)
    assert wall.enter(NEIGHBOR, REMOTES[0], 301.0)


def test_what_goes_to_others_takes_nothing_from_those_who_were_asked_before() -> None:
    wall = Firewall(Policy(filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT))
    for remote in (REMOTES[0], REMOTES[2]):
        wall.leave(INNER, remote, 0.0)
    assert [wall.enter(INNER, remote, 1.0) for remote in REMOTES] == [True, False, True]
