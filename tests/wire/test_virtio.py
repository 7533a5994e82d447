"""The virtio-net header, byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import MalformedFrame
from tunnel.wire.virtio import (
    DATA_VALID,
    GSO_ECN,
    GSO_NONE,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    NEEDS_CSUM,
    VIRTIO_BYTES,
    VirtioHeader,
    decode_virtio,
    encode_virtio,
)

WORDS = st.integers(0, 0xFFFF)
HEADERS = st.builds(VirtioHeader, st.integers(0, 3), st.integers(0, 255), WORDS, WORDS, WORDS, WORDS)


@pytest.mark.parametrize(
    ("header", "written"),
    [
        (VirtioHeader(), "00 00 0000 0000 0000 0000"),
        (VirtioHeader(DATA_VALID), "02 00 0000 0000 0000 0000"),
        (VirtioHeader(NEEDS_CSUM, GSO_NONE, 0, 0, 20, 6), "01 00 0000 0000 1400 0600"),
        (VirtioHeader(NEEDS_CSUM, GSO_TCPV4, 52, 1348, 20, 16), "01 01 3400 4405 1400 1000"),
        (VirtioHeader(NEEDS_CSUM, GSO_TCPV6 | GSO_ECN, 72, 1328, 40, 16), "01 84 4800 3005 2800 1000"),
        (VirtioHeader(NEEDS_CSUM, GSO_UDP_L4, 48, 64, 40, 6), "01 05 3000 4000 2800 0600"),
    ],
    ids=["none", "verified", "partial", "TCP over IPv4", "TCP over IPv6 with ECN", "UDP"],
)
def test_a_header_is_ten_bytes_little_endian(header: VirtioHeader, written: str) -> None:
    """Virtio 1.2 section 5.1.6, as Linux reads it from a TUN."""
    assert encode_virtio(header) == bytes.fromhex(written)
    assert decode_virtio(bytes.fromhex(written) + b"packet") == header


@given(HEADERS)
def test_a_header_comes_back_as_it_was(header: VirtioHeader) -> None:
    assert decode_virtio(memoryview(encode_virtio(header))) == header


@given(st.binary(max_size=20))
def test_junk_is_a_header_or_malformed(junk: bytes) -> None:
    """The first byte tells a header from a plain packet, whose first byte is at least 0x40."""
    if len(junk) < VIRTIO_BYTES or junk[0] > 3:
        with pytest.raises(MalformedFrame):
            decode_virtio(junk)
    else:
        assert encode_virtio(decode_virtio(junk)) == junk[:VIRTIO_BYTES]
