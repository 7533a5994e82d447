from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.crypto.circuit_seal import KEY_BYTES, open_binding, seal_binding
from tunnel.model.errors import MalformedFrame, NotAuthentic
from tunnel.wire.circuits import BINDING_BYTES, Binding, Word

KEY = bytes(range(KEY_BYTES))
BIND = Binding(Word.BIND, 0x0102030405060708, 7)


def test_a_sealed_binding_is_these_bytes() -> None:
    """HMAC-SHA256 over the first 27 bytes, cut to 16: worked out apart from the code, by `openssl dgst -mac HMAC`."""
    expected = "14 01 0102030405060708 0000000000000007 00 0000000000000000 edda64c39c3731cbfdadc5a4ff51d02e"
    assert seal_binding(KEY, BIND) == bytes.fromhex(expected)


def test_what_was_sealed_opens_under_its_key_alone() -> None:
    sealed = seal_binding(KEY, BIND)
    assert open_binding(KEY, sealed) == BIND
    with pytest.raises(NotAuthentic):
        open_binding(KEY[::-1], sealed)


@given(st.integers(0, BINDING_BYTES * 8 - 1))
def test_a_single_turned_bit_breaks_it(bit: int) -> None:
    sealed = bytearray(seal_binding(KEY, BIND))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises((NotAuthentic, MalformedFrame)):
        open_binding(KEY, bytes(sealed))


def test_an_answer_is_as_long_as_its_question() -> None:
    """Whoever pretends to be somebody else's address cannot make the server send more than he did."""
    for word in (Word.BOUND, Word.PROVE):
        answer = Binding(word, BIND.circuit, BIND.counter, cookie=b"a cookie")
        assert len(seal_binding(KEY, answer)) == len(seal_binding(KEY, BIND)) == BINDING_BYTES
