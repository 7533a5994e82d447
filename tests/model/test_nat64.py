"""RFC 6052: an IPv4 address inside an IPv6 one; RFC 7050: the prefix found in the answer for one well-known name."""

from __future__ import annotations

import ipaddress

import pytest

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat64 import MAX_ADDRESSES, MAX_PREFIXES, WELL_KNOWN_PREFIX, Nat64Prefix, prefixes_in

TABLE = [  # RFC 6052 section 2.4, and the same prefixes with 192.0.0.170
    ("2001:db8::/32", "2001:db8:c000:221::", "2001:db8:c000:aa::"),
    ("2001:db8:100::/40", "2001:db8:1c0:2:21::", "2001:db8:1c0:0:aa::"),
    ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::", "2001:db8:122:c000:0:aa00::"),
    ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::", "2001:db8:122:3c0:0:aa::"),
    ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::", "2001:db8:122:344:c0:0:aa00::"),
    ("2001:db8:122:344::/96", "2001:db8:122:344::c000:221", "2001:db8:122:344::c000:aa"),
]


@pytest.mark.parametrize(("prefix", "embedded", "told"), TABLE)
def test_addresses_are_embedded_and_prefixes_found_as_the_standards_have_it(
    prefix: str, embedded: str, told: str
) -> None:
    known = Nat64Prefix(ipaddress.IPv6Network(prefix))
    assert known.embed("192.0.2.33") == str(ipaddress.IPv6Address(embedded))
    assert prefixes_in(["192.0.0.170", told]) == (known,)
    assert str(known) == prefix


def test_several_prefixes_are_each_told_once() -> None:
    told = ["64:ff9b::c000:aa", "64:ff9b::c000:ab", "2001:db8::c000:ab"]
    assert [str(prefix) for prefix in prefixes_in(told)] == ["64:ff9b::/96", "2001:db8::/96"]


def test_an_answer_without_the_well_known_addresses_tells_nothing() -> None:
    assert prefixes_in(["2001:db8::1", "192.0.0.170"]) == ()


def test_only_global_ipv4_endpoints_lead_through() -> None:
    """192.168.1.5 behind the NAT64 is somebody else's."""
    asked = [Endpoint(host, 7) for host in ("25.0.0.1", "192.168.1.5", "100.64.0.1", "127.0.0.1", "2001:db8::1")]
    assert WELL_KNOWN_PREFIX.reach(asked) == (Endpoint("64:ff9b::1900:1", 7),)


def test_no_resolver_has_each_address_tried_in_a_thousand_ways() -> None:
    told = [f"2001:db8:{number:x}::c000:aa" for number in range(1, 2300)]
    first = [f"2001:db8:{number:x}::/96" for number in range(1, MAX_PREFIXES + 1)]
    assert [str(prefix) for prefix in prefixes_in(told)] == first
    junk = [f"2001:db8::{number:x}" for number in range(MAX_ADDRESSES)]
    assert prefixes_in([*junk, "64:ff9b::c000:aa"]) == ()
