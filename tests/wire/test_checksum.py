"""The fast sum is the slow one of RFC 1071."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.dataplane.frames import complement, sum_of

from tunnel.wire import checksum


def test_the_example_of_rfc_1071_adds_up() -> None:
    """Section 3: 0001 f203 f4f5 f6f7 makes ddf2, and its complement 220d."""
    example = bytes.fromhex("0001f203f4f5f6f7")
    assert checksum.sum_of(example).to_bytes(2, "little") == bytes.fromhex("ddf2")
    assert checksum.checksum_of(checksum.sum_of(example)).to_bytes(2, "little") == bytes.fromhex("220d")


@given(st.binary(max_size=100) | st.binary(min_size=700, max_size=740) | st.integers(1400, 1500).map(bytes))
def test_a_sum_is_that_of_words_with_end_around_carry(covered: bytes) -> None:
    """Also of an odd number of bytes, and of more than are summed at a time."""
    total = checksum.sum_of(covered)
    assert int.from_bytes(total.to_bytes(2, "little")) % 0xFFFF == sum_of(covered) % 0xFFFF
    assert checksum.sum_of(memoryview(bytearray(covered))) == total


@given(st.binary(min_size=2, max_size=2000))
def test_what_holds_its_own_checksum_sums_up_to_nothing(covered: bytes) -> None:
    rest = covered + bytes(len(covered) % 2)
    check = checksum.checksum_of(checksum.sum_of(rest)).to_bytes(2, "little")
    assert complement(sum_of(rest + check)) in (0, 0xFFFF)
    assert checksum.sum_of(rest + check) == 0


def test_a_long_sum_is_that_of_its_parts() -> None:
    packet = bytes(range(256)) * 234
    assert checksum.sum_of(packet) == sum(map(checksum.sum_of, (packet[:30_000], packet[30_000:]))) % 0xFFFF


def test_the_pseudo_header_of_either_version_is_summed_up() -> None:
    addresses4 = bytes.fromhex("0a560001 0a560002")
    addresses6 = bytes.fromhex("fd000000000000000000000000000001 fd000000000000000000000000000002")
    for addresses, rest in ((addresses4, "0011 0123"), (addresses6, "00000011 00000123")):
        expected = sum_of(addresses + bytes.fromhex(rest))
        assert checksum.pseudo_header_sum(addresses, 17, 0x123).to_bytes(2, "little") == expected.to_bytes(2)
