from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.crypto.derivation import derive_key, hkdf, labeled

FACTS = st.lists(st.binary(max_size=8), max_size=4).map(tuple)


@pytest.mark.parametrize(
    ("secret", "salt", "info", "expected"),
    [
        (
            bytes([0x0B] * 22),
            bytes(range(0x0D)),
            bytes(range(0xF0, 0xFA)),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            bytes(range(0x50)),
            bytes(range(0x60, 0xB0)),
            bytes(range(0xB0, 0x100)),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
            "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
            "cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            bytes([0x0B] * 22),
            b"",
            b"",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
    ids=["A.1", "A.2", "A.3"],
)
def test_hkdf_gives_what_rfc_5869_gives(secret: bytes, salt: bytes, info: bytes, expected: str) -> None:
    assert hkdf(secret, salt=salt, info=info, size=len(expected) // 2).hex() == expected


def test_a_label_is_these_bytes() -> None:
    assert labeled("use", b"", b"\x01\x02") == b"\x00\x0cp2ptunnel v1\x00\x03use\x00\x00\x00\x02\x01\x02"


@given(FACTS, FACTS)
def test_different_facts_never_give_the_same_label(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> None:
    assert (labeled("use", *one) == labeled("use", *other)) == (one == other)


def test_purpose_facts_salt_and_secret_all_change_the_key() -> None:
    keys = {
        derive_key(b"secret", "one"),
        derive_key(b"secret", "other"),
        derive_key(b"secret", "one", b"fact"),
        derive_key(b"secret", "one", b"fa", b"ct"),
        derive_key(b"secret", "one", salt=b"salt"),
        derive_key(b"Secret", "one"),
    }
    assert len(keys) == 6
    assert {len(key) for key in keys} == {32}
