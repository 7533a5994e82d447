"""Addresses and ports as text, and how far an address reaches."""

from __future__ import annotations

import pytest

from tunnel.model.endpoint import (
    Endpoint,
    Scope,
    is_usable,
    packed_host,
    parse_endpoint,
    scope_of,
    split_host_port,
    without_ipv6_shell,
)
from tunnel.model.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("stun.example.org:3478", ("stun.example.org", 3478)),
        ("192.0.2.1:1", ("192.0.2.1", 1)),
        ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
        ("server", ("server", 8443)),
        ("[2001:db8::1]", ("2001:db8::1", 8443)),
        ("2001:db8::1", ("2001:db8::1", 8443)),
    ],
)
def test_a_host_and_a_port_are_told_apart(text: str, parts: tuple[str, int]) -> None:
    """An IPv6 address without brackets has no port: its last group would be taken for one."""
    assert split_host_port(text, 8443) == parts


@pytest.mark.parametrize(
    "text", ["", ":1", "host", "host:", "host:x", "host:65536", "host:-1", "host:²", "[::1", "[::1]1", "[]:1", "::1"]
)
def test_what_is_no_host_and_port_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(SettingsError, match="is not HOST:PORT"):
        split_host_port(text)


def test_an_endpoint_is_numeric() -> None:
    assert parse_endpoint("[2001:db8::1]:7") == Endpoint("2001:db8::1", 7)
    with pytest.raises(SettingsError, match="is not a numeric ADDRESS:PORT"):
        parse_endpoint("localhost:7")


@pytest.mark.parametrize("text", ["192.0.2.1:9", "[2001:db8::1]:9"])
def test_an_endpoint_is_shown_as_it_is_read(text: str) -> None:
    assert str(parse_endpoint(text)) == text


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("127.0.0.1", Scope.LOOPBACK),
        ("::1", Scope.LOOPBACK),
        ("169.254.1.1", Scope.LINK),
        ("fe80::1%eth0", Scope.LINK),
        ("172.31.255.255", Scope.PRIVATE),
        ("172.32.0.0", Scope.GLOBAL),
        ("fd00::1", Scope.PRIVATE),
        ("100.64.0.1", Scope.CARRIER),
        ("100.128.0.1", Scope.GLOBAL),
        ("203.0.113.1", Scope.GLOBAL),
        ("2001:db8::1", Scope.GLOBAL),
    ],
)
def test_an_address_reaches_as_far_as_its_range(host: str, scope: Scope) -> None:
    """Documentation ranges count as global: tests and examples live there."""
    assert scope_of(host) is scope


@pytest.mark.parametrize(
    ("endpoint", "usable"),
    [
        (Endpoint("192.0.2.1", 1), True),
        (Endpoint("fe80::1%eth0", 65535), True),
        (Endpoint("192.0.2.1", 0), False),
        (Endpoint("192.0.2.1", 65536), False),
        (Endpoint("0.0.0.0", 1), False),
        (Endpoint("::", 1), False),
        (Endpoint("224.0.0.1", 1), False),
        (Endpoint("ff02::1", 1), False),
        (Endpoint("255.255.255.255", 1), False),
        (Endpoint("server.example", 1), False),
    ],
)
def test_a_datagram_may_be_sent_to_a_unicast_address_and_a_real_port(endpoint: Endpoint, usable: bool) -> None:
    assert is_usable(endpoint) is usable


def test_an_ipv4_endpoint_inside_an_ipv6_one_is_taken_out() -> None:
    assert without_ipv6_shell(Endpoint("::ffff:192.0.2.1", 5)) == Endpoint("192.0.2.1", 5)
    for other in (Endpoint("192.0.2.1", 5), Endpoint("2001:db8::1", 5)):
        assert without_ipv6_shell(other) == other


def test_a_zone_is_no_part_of_the_packed_address() -> None:
    assert packed_host("fe80::1%eth0") == packed_host("fe80::1")
    assert len(packed_host("192.0.2.1")) == 4
