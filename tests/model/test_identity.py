"""Ids as bytes and as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.model.identity import ID_BYTES, NetworkId, NodeId


@given(st.binary(min_size=ID_BYTES, max_size=ID_BYTES))
def test_an_id_is_read_as_it_is_shown(raw: bytes) -> None:
    node = NodeId(raw)
    assert NodeId.parse(str(node)) == node
    assert len(str(node)) == 26
    assert node.handle == raw[:8]


@pytest.mark.parametrize("text", ["", "a" * 25, "a" * 27, "A" * 26, "1" * 26, "a" * 25 + "\n"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a node id has 26 characters"):
        NodeId.parse(text)


@pytest.mark.parametrize("kind", [NodeId, NetworkId])
@pytest.mark.parametrize("size", [0, ID_BYTES - 1, ID_BYTES + 1])
def test_an_id_has_its_length(kind: type[NodeId | NetworkId], size: int) -> None:
    with pytest.raises(ValueError, match="id has 16 bytes"):
        kind(bytes(size))
