from __future__ import annotations

from typing import Any

import pytest

from tunnel.crypto.node_keys import NodeKeys
from tunnel.crypto.pair_keys import HandshakeKeys, ProbeKeys, derive_handshake_keys, derive_probe_keys
from tunnel.model.identity import NodeId

HERE, THERE = NodeKeys(bytes([1]) * 32), NodeKeys(bytes([2]) * 32)
HERE_EPOCH, THERE_EPOCH = bytes([3]) * 16, bytes([4]) * 16
PSK = bytes([5]) * 32
SHARED = HERE.exchange(THERE.public)
FACTS: dict[str, Any] = {"own": HERE.id, "own_epoch": HERE_EPOCH, "peer": THERE.id, "peer_epoch": THERE_EPOCH}
MIRRORED: dict[str, Any] = {"own": THERE.id, "own_epoch": THERE_EPOCH, "peer": HERE.id, "peer_epoch": HERE_EPOCH}


def test_handshake_keys_are_these() -> None:
    keys = derive_handshake_keys(SHARED, PSK, **FACTS)
    assert (keys.send_mac.hex(), keys.send_index) == (
        "65c6cb34892c4bd89010ab226941a8fa915bc63758568b444cfcb086a9beb158",
        0x0EF436F7,
    )


def test_probe_keys_are_these() -> None:
    keys = derive_probe_keys(SHARED, PSK, **FACTS)
    assert (keys.send_key.hex(), keys.send_index) == (
        "d25ef087712995f779b5fb7d6c4896c26a72fd50bcdedec71cc7e13856977f03",
        0xA664491F,
    )


def test_what_one_side_sends_with_the_other_receives_with() -> None:
    here, there = (
        derive_handshake_keys(SHARED, PSK, **FACTS),
        derive_handshake_keys(THERE.exchange(HERE.public), PSK, **MIRRORED),
    )
    assert here == HandshakeKeys(there.receive_mac, there.send_mac, there.receive_index, there.send_index)
    probes_here = derive_probe_keys(SHARED, PSK, **FACTS)
    probes_there = derive_probe_keys(THERE.exchange(HERE.public), PSK, **MIRRORED)
    assert probes_here == ProbeKeys(
        probes_there.receive_key, probes_there.send_key, probes_there.receive_index, probes_there.send_index
    )


def test_the_two_directions_share_nothing() -> None:
    """What we sent, sent back to us, opens under no key of ours."""
    handshake, probe = derive_handshake_keys(SHARED, PSK, **FACTS), derive_probe_keys(SHARED, PSK, **FACTS)
    assert len({handshake.send_mac, handshake.receive_mac, probe.send_key, probe.receive_key}) == 4
    assert len({handshake.send_index, handshake.receive_index, probe.send_index, probe.receive_index}) == 4


def test_indexes_fit_the_header() -> None:
    keys = [
        derive_handshake_keys(SHARED, PSK, **FACTS | {"peer": NodeId(bytes([number]) * 16)}) for number in range(32)
    ]
    indexes = {index for pair in keys for index in (pair.send_index, pair.receive_index)}
    assert len(indexes) == 64
    assert all(0 <= index < 2**32 for index in indexes)


@pytest.mark.parametrize("fact", ["own_epoch", "peer_epoch"])
def test_a_new_process_start_on_either_side_gives_new_handshake_keys(fact: str) -> None:
    """Else one fragment that a stranger recorded before could hold up every handshake after it."""
    before = derive_handshake_keys(SHARED, PSK, **FACTS)
    after = derive_handshake_keys(SHARED, PSK, **FACTS | {fact: bytes(16)})
    assert before.send_mac != after.send_mac
    assert before.receive_mac != after.receive_mac
    assert before.receive_index != after.receive_index


@pytest.mark.parametrize("fact", ["own_epoch", "peer_epoch"])
def test_a_new_process_start_on_either_side_gives_new_probe_keys(fact: str) -> None:
    before, after = derive_probe_keys(SHARED, PSK, **FACTS), derive_probe_keys(SHARED, PSK, **FACTS | {fact: bytes(16)})
    assert before.send_key != after.send_key
    assert before.receive_key != after.receive_key


def test_probe_keys_need_both_the_node_key_and_the_psk() -> None:
    true = derive_probe_keys(SHARED, PSK, **FACTS)
    assert derive_probe_keys(bytes(32), PSK, **FACTS).send_key != true.send_key
    assert derive_probe_keys(SHARED, bytes(32), **FACTS).send_key != true.send_key


def test_handshake_keys_need_both_the_node_key_and_the_psk() -> None:
    """Another member has the psk, but not the node key: it cannot ask for handshakes in the peer's name."""
    true = derive_handshake_keys(SHARED, PSK, **FACTS)
    assert derive_handshake_keys(bytes(32), PSK, **FACTS).send_mac != true.send_mac
    assert derive_handshake_keys(SHARED, bytes(32), **FACTS).send_mac != true.send_mac


def test_a_node_has_no_pair_keys_with_itself() -> None:
    with pytest.raises(ValueError, match="itself"):
        derive_handshake_keys(SHARED, PSK, **FACTS | {"peer": HERE.id})
    with pytest.raises(ValueError, match="itself"):
        derive_probe_keys(SHARED, PSK, **FACTS | {"peer": HERE.id})


def test_no_text_of_the_keys_shows_a_secret() -> None:
    texts = repr(derive_handshake_keys(SHARED, PSK, **FACTS)) + repr(derive_probe_keys(SHARED, PSK, **FACTS))
    assert "_key" not in texts
    assert "_mac" not in texts
