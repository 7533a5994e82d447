"""Receiver indices: sixteen bytes in, owners out."""

from __future__ import annotations

import random

import pytest

from tunnel.dataplane.flow_index import FlowIndex
from tunnel.model.errors import MalformedFrame
from tunnel.model.way import Way
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.wire.frames import Kind


class Owner:
    def handle_untrusted(self, kind: Kind, datagram: bytes, way: Way) -> None:
        raise MalformedFrame

    def fail(self, error: Exception) -> None:
        raise error


class FewTokens(MemoryEntropy):
    """Draws from three indices only."""

    def token(self, size: int) -> bytes:
        return self.chance.randrange(3).to_bytes(size)


@pytest.fixture
def indices() -> FlowIndex:
    return FlowIndex(MemoryEntropy(random.Random(1)))


def test_a_claimed_index_leads_to_its_owner_until_it_is_released(indices: FlowIndex) -> None:
    owner = Owner()
    index = indices.claim(Kind.PROBE, 7, owner)
    assert indices.owners(Kind.PROBE, index) == (owner,)
    indices.release(Kind.PROBE, index, owner)
    assert indices.owners(Kind.PROBE, index) == ()
    assert len(indices) == 0


def test_kinds_do_not_share_indices_but_data_and_control_do(indices: FlowIndex) -> None:
    owner = Owner()
    indices.claim(Kind.DATA, 7, owner)
    assert indices.owners(Kind.CONTROL, 7) == (owner,)
    assert indices.owners(Kind.HANDSHAKE, 7) == ()
    indices.release(Kind.DATA, 7, owner)
    assert len(indices) == 0


def test_two_may_share_a_derived_index_and_leave_one_by_one(indices: FlowIndex) -> None:
    first, second = Owner(), Owner()
    indices.claim(Kind.PROBE, 7, first)
    indices.claim(Kind.PROBE, 7, second)
    assert indices.owners(Kind.PROBE, 7) == (first, second)
    indices.release(Kind.PROBE, 7, first)
    assert indices.owners(Kind.PROBE, 7) == (second,)


def test_a_drawn_index_is_nobody_else_s() -> None:
    indices = FlowIndex(FewTokens(random.Random(1)))
    drawn = [indices.claim(Kind.DATA, None, Owner()) for _ in range(3)]
    assert sorted(drawn) == [0, 1, 2]


def test_an_unknown_claim_is_released_in_peace(indices: FlowIndex) -> None:
    owner = Owner()
    indices.claim(Kind.PROBE, 7, owner)
    indices.release(Kind.PROBE, 7, Owner())
    indices.release(Kind.PROBE, 8, owner)
    assert indices.owners(Kind.PROBE, 7) == (owner,)
