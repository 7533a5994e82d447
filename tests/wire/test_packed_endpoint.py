from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.endpoint import Endpoint, is_usable
from tunnel.model.errors import MalformedFrame
from tunnel.wire.packed_endpoint import decode_endpoint, encode_endpoint


@pytest.mark.parametrize(
    ("endpoint", "packed"),
    [
        (Endpoint("192.0.2.1", 3478), "c0000201 0d96"),
        (Endpoint("2001:db8::1", 1), "20010db8000000000000000000000001 0001"),
        (Endpoint("127.0.0.1", 65535), "7f000001 ffff"),
    ],
)
def test_an_endpoint_is_these_bytes(endpoint: Endpoint, packed: str) -> None:
    assert encode_endpoint(endpoint) == bytes.fromhex(packed)
    assert decode_endpoint(bytes.fromhex(packed)) == endpoint


def test_a_zone_does_not_travel() -> None:
    """A zone index means something on the sender's machine only."""
    assert decode_endpoint(encode_endpoint(Endpoint("fe80::1%eth0", 9))) == Endpoint("fe80::1", 9)


@given(st.ip_addresses(), st.integers(1, 65535))
def test_a_usable_endpoint_comes_back_in_its_shortest_form(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    endpoint = Endpoint(str(address), port)
    if is_usable(endpoint) and not (address.version == 6 and address.ipv4_mapped is not None):
        assert decode_endpoint(encode_endpoint(endpoint)) == endpoint
    else:
        with pytest.raises(MalformedFrame):
            decode_endpoint(encode_endpoint(endpoint))


@given(st.binary(max_size=20))
def test_junk_is_a_usable_endpoint_or_malformed(junk: bytes) -> None:
    try:
        decoded = decode_endpoint(junk)
    except MalformedFrame:
        return
    assert is_usable(decoded)
    assert encode_endpoint(decoded) == junk
