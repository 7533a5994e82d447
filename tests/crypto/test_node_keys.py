from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.crypto.node_keys import NodeKeys, node_id_of
from tunnel.model.errors import NotAuthentic

BOB = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
ALICE_PUBLIC = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")

LOW_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]
"""Points whose product with any private key is zero (RFC 7748, section 7)."""


def test_an_exchange_gives_what_rfc_7748_gives() -> None:
    bob = NodeKeys(BOB)
    assert bob.public.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    assert bob.exchange(ALICE_PUBLIC).hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_point_of_low_order_is_refused(point: str) -> None:
    with pytest.raises(NotAuthentic):
        NodeKeys(BOB).exchange(bytes.fromhex(point))


@given(st.binary(max_size=40))
def test_junk_is_exchanged_with_or_refused(junk: bytes) -> None:
    try:
        assert len(NodeKeys(BOB).exchange(junk)) == 32
    except NotAuthentic:
        assert len(junk) != 32 or junk.hex() in LOW_ORDER


def test_a_node_id_is_these_bytes() -> None:
    assert NodeKeys(BOB).id == node_id_of(NodeKeys(BOB).public)
    assert NodeKeys(BOB).id.raw.hex() == "39a198c73c74dfc1d5253d2a0959857f"


def test_what_is_derived_is_this_node_s_alone_and_one_for_each_purpose() -> None:
    derived = NodeKeys(BOB).derive("one", size=12)
    assert len(derived) == 12
    assert NodeKeys(BOB).derive("one", size=12) == derived
    assert NodeKeys(BOB).derive("other", size=12) != derived
    assert NodeKeys(bytes(31) + b"\1").derive("one", size=12) != derived


def test_no_text_of_the_keys_shows_the_private_half() -> None:
    keys = NodeKeys(BOB)
    assert repr(keys) == str(keys) == f"NodeKeys(id={keys.id})"
