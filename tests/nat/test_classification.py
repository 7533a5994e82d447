from __future__ import annotations

import random

import pytest

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import HARD_MAPPINGS, Allocation, Mapping
from tunnel.nat.classification import StunAnswer, allocation_of, mapping_of, ranked, telling

OWN = Endpoint("192.168.1.5", 5000)


def seen(*observations: str) -> list[StunAnswer]:
    """`A1=m` reads: port 1 of server A saw us at m. A letter is a server address, a mapping letter an endpoint."""
    answers = []
    for text in observations:
        destination, _, mapped = text.partition("=")
        remote = Endpoint(f"25.0.0.{ord(destination[0])}", 3478 + int(destination[1]))
        answers.append(StunAnswer(destination, remote, Endpoint("25.1.1.1", 40000 + ord(mapped)), 0.01))
    return answers


@pytest.mark.parametrize(
    ("observations", "mapping"),
    [
        ("", Mapping.UNKNOWN),
        ("A1=m", Mapping.UNKNOWN),
        ("A1=m A2=m", Mapping.ENDPOINT_INDEPENDENT),
        ("A1=m B1=m", Mapping.ENDPOINT_INDEPENDENT),
        ("A1=m B1=m C1=m", Mapping.ENDPOINT_INDEPENDENT),
        ("A1=m B1=m C1=x", Mapping.ENDPOINT_INDEPENDENT),
        ("C1=x A1=m B1=m", Mapping.ENDPOINT_INDEPENDENT),
        ("A1=m A2=x B1=m", Mapping.ENDPOINT_INDEPENDENT),
        ("A1=m B1=m C1=m D1=x E1=y", Mapping.ENDPOINT_INDEPENDENT),
        ("A1=m B1=x", Mapping.UNKNOWN),
        ("A1=m A2=m B1=x", Mapping.UNKNOWN),
        ("A1=m A2=n", Mapping.DEPENDENT),
        ("A1=m A2=n A3=o", Mapping.DEPENDENT),
        ("A1=m B1=n C1=o", Mapping.DEPENDENT),
        ("A1=m B1=m C1=n D1=n", Mapping.DEPENDENT),
        ("A1=m A2=m B1=n B2=n", Mapping.ADDRESS_DEPENDENT),
        ("A1=m A2=m B1=n C1=o", Mapping.ADDRESS_DEPENDENT),
        ("A1=m A2=m B1=n B2=o", Mapping.ADDRESS_AND_PORT_DEPENDENT),
        ("A1=m A2=n B1=o", Mapping.ADDRESS_AND_PORT_DEPENDENT),
        ("A1=m A2=n B1=o B2=p", Mapping.ADDRESS_AND_PORT_DEPENDENT),
    ],
)
def test_what_the_servers_saw_is_this_mapping(observations: str, mapping: Mapping) -> None:
    assert mapping_of(seen(*observations.split()), [OWN]) is mapping


def test_one_liar_never_makes_us_hard() -> None:
    """Whatever one server out of three or more says, at whatever place in the order."""
    chance = random.Random(5)
    for _ in range(500):
        servers = [f"{letter}1" for letter in "ABCDEFGHIJK"[: chance.randrange(3, 12)]]
        liar = chance.choice(servers)
        answers = seen(*(f"{server}={chance.choice('xyzm') if server == liar else 'm'}" for server in servers))
        assert mapping_of(answers, [OWN]) is Mapping.ENDPOINT_INDEPENDENT


def test_a_symmetric_nat_is_hard_from_three_servers_on_even_beside_a_liar() -> None:
    for count in range(3, 12):
        answers = seen(*(f"{letter}1={letter}" for letter in "ABCDEFGHIJK"[:count]))
        assert mapping_of(answers, [OWN]) in HARD_MAPPINGS
    assert mapping_of(seen("A1=a", "B1=b", "C1=c", "D1=a"), [OWN]) in HARD_MAPPINGS


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_mapped_endpoint_of_our_own_is_no_nat(count: int) -> None:
    answers = [StunAnswer("s", Endpoint(f"25.0.0.{number}", 1), OWN, 0.0) for number in range(count)]
    assert mapping_of(answers, [OWN]) is Mapping.NONE


def test_our_address_with_another_port_is_a_nat() -> None:
    """A rule on this very machine rewrites the port: peers must use what was seen."""
    answers = [StunAnswer("s", Endpoint(f"25.0.0.{number}", 1), Endpoint(OWN.host, 7), 0.0) for number in range(2)]
    assert mapping_of(answers, [OWN]) is Mapping.ENDPOINT_INDEPENDENT


def test_a_carrier_address_of_our_own_behind_a_public_one_is_a_nat() -> None:
    """100.64/10 is not public, though it is not RFC 1918 either."""
    assert mapping_of(seen("A1=m", "B1=m"), [Endpoint("100.64.0.2", 5000)]) is Mapping.ENDPOINT_INDEPENDENT


def test_a_server_inside_the_site_says_nothing_of_the_nat() -> None:
    inside = [StunAnswer("lan", Endpoint("192.168.1.1", port), OWN, 0.0) for port in (1, 2, 3)]
    assert mapping_of(inside, [OWN]) is Mapping.NONE
    assert mapping_of([*inside, *seen("A1=m", "B1=m")], [OWN]) is Mapping.ENDPOINT_INDEPENDENT
    assert mapping_of([*inside, *seen("A1=m", "A2=n", "B1=o")], [OWN]) is Mapping.ADDRESS_AND_PORT_DEPENDENT


def test_ipv4_is_judged_where_both_families_answered() -> None:
    """IPv6 seldom has a NAT; the report is about the family that has one."""
    six = StunAnswer("six", Endpoint("2001:db8::1", 1), Endpoint("2001:db8::2", 5000), 0.0)
    assert telling([six]) == [six]
    assert telling([six, *seen("A1=m")]) == seen("A1=m")


def test_a_port_kept_by_a_nat_is_preserving() -> None:
    answers = seen("A1=m", "B1=m")
    port = answers[0].mapped.port
    assert allocation_of(answers, Mapping.ENDPOINT_INDEPENDENT, port) is Allocation.PRESERVING
    assert allocation_of(answers, Mapping.ENDPOINT_INDEPENDENT, port + 1) is Allocation.UNKNOWN
    assert allocation_of(answers, Mapping.NONE, port) is Allocation.UNKNOWN
    assert allocation_of([], Mapping.UNKNOWN, port) is Allocation.UNKNOWN


def test_the_most_seen_endpoint_comes_first() -> None:
    mapped = [answer.mapped for answer in seen("A1=x", "A1=m", "A1=y")]
    assert ranked(seen("A1=x", "B1=m", "C1=m", "D1=y")) == (mapped[1], mapped[0], mapped[2])
