"""What handshake messages carry: fixed fields, room for a newer peer's, nothing less."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.errors import MalformedFrame
from tunnel.peer.session_payloads import AskPayload, FirstPayload, SecondPayload

EPOCHS = st.binary(min_size=16, max_size=16)
U64, U32 = st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)
PAYLOADS = st.one_of(
    st.builds(FirstPayload, EPOCHS, EPOCHS, U64, U32),
    st.builds(SecondPayload, EPOCHS, U32),
    st.builds(AskPayload, EPOCHS, U64),
)


@given(PAYLOADS, st.binary(max_size=8))
def test_a_payload_comes_back_and_a_newer_peer_s_rest_is_ignored(
    payload: FirstPayload | SecondPayload | AskPayload, rest: bytes
) -> None:
    assert type(payload).decode(payload.encode() + rest) == payload


@given(PAYLOADS, st.integers(1, 16))
def test_a_payload_that_is_cut_off_is_malformed(payload: FirstPayload | SecondPayload | AskPayload, cut: int) -> None:
    with pytest.raises(MalformedFrame):
        type(payload).decode(payload.encode()[:-cut])


def test_the_sizes_are_those_of_the_protocol() -> None:
    epoch = bytes(16)
    assert len(FirstPayload(epoch, epoch, 1, 2).encode()) == 44
    assert len(SecondPayload(epoch, 2).encode()) == 20
    assert len(AskPayload(epoch, 1).encode()) == 24
    assert FirstPayload(epoch, epoch, 1, 2).encode()[32:] == b"\0" * 7 + b"\1" + b"\0\0\0\2"
