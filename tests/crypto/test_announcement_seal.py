from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.crypto.announcement_seal import SEAL_BYTES, open_announcement, seal_announcement
from tunnel.model.errors import NotAuthentic
from tunnel.model.identity import NodeId

KEY = bytes([1]) * 32
NODE = NodeId(bytes([2]) * 16)
EPOCH = bytes([3]) * 16
NONCE = bytes([4]) * 12
BOUND: dict[str, Any] = {"node": NODE, "epoch": EPOCH, "seq": 7}
SEALED = seal_announcement(KEY, **BOUND, body=b"body", nonce=NONCE)


def test_a_sealed_body_is_these_bytes() -> None:
    assert SEALED.hex() == "04040404040404040404040489b0ed1acb9d4238f85d525b66841509b932558f"


@given(st.binary(max_size=300), st.integers(0, 2**64 - 1), st.binary(min_size=12, max_size=12))
def test_a_body_opens_as_it_was_sealed(body: bytes, seq: int, nonce: bytes) -> None:
    sealed = seal_announcement(KEY, node=NODE, epoch=EPOCH, seq=seq, body=body, nonce=nonce)
    assert len(sealed) == len(body) + SEAL_BYTES
    assert open_announcement(KEY, node=NODE, epoch=EPOCH, seq=seq, sealed=sealed) == body


@pytest.mark.parametrize(
    "change",
    [{"node": NodeId(bytes(16))}, {"epoch": bytes(16)}, {"seq": 8}],
    ids=["node", "epoch", "seq"],
)
def test_a_body_opens_only_for_what_it_was_sealed_for(change: dict[str, Any]) -> None:
    """The server cannot show one node's words as another's, nor old ones as new."""
    with pytest.raises(NotAuthentic):
        open_announcement(KEY, **(BOUND | change), sealed=SEALED)


def test_a_body_does_not_open_under_another_networks_key() -> None:
    with pytest.raises(NotAuthentic):
        open_announcement(bytes(32), **BOUND, sealed=SEALED)


@given(st.integers(0, 8 * len(SEALED) - 1))
def test_no_bit_can_be_changed(position: int) -> None:
    forged = bytearray(SEALED)
    forged[position // 8] ^= 1 << position % 8
    with pytest.raises(NotAuthentic):
        open_announcement(KEY, **BOUND, sealed=bytes(forged))


@given(st.binary(max_size=100) | st.integers(0, len(SEALED) - 1).map(lambda size: SEALED[:size]))
def test_junk_is_not_authentic_and_nothing_worse(junk: bytes) -> None:
    with pytest.raises(NotAuthentic):
        open_announcement(KEY, **BOUND, sealed=junk)


def test_a_nonce_of_another_size_is_a_bug_here() -> None:
    with pytest.raises(ValueError, match="nonce"):
        seal_announcement(KEY, **BOUND, body=b"", nonce=bytes(8))
