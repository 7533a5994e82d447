"""Receiver indices: sixteen bytes in, owners out."""

from __future__ import annotations

import random

import pytest
from tests.dataplane.flows import open_flow

from tunnel.dataplane.flow_index import FlowIndex
from tunnel.model.errors import MalformedFrame
from tunnel.model.way import Way
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.wire.frames import Header, Kind


class Owner:
    def handle_untrusted(self, header: Header, datagram: bytes, way: Way) -> None:
        raise MalformedFrame

    def fail(self, error: Exception) -> None:
        raise error


class FewTokens(MemoryEntropy):
    """Draws from three indices only."""

    def token(self, size: int) -> bytes:
        return self.chance.randrange(3).to_bytes(size)


@pytest.fixture
def index() -> FlowIndex:
    return FlowIndex(MemoryEntropy(random.Random(1)))


def test_a_claimed_index_leads_to_its_owner_until_it_is_released(index: FlowIndex) -> None:
    owner = Owner()
    index.claim(Kind.PROBE, 7, owner)
    assert index.owners(Kind.PROBE, 7) == (owner,)
    index.release(Kind.PROBE, 7, owner)
    assert index.owners(Kind.PROBE, 7) == ()
    assert len(index) == 0


def test_kinds_do_not_share_indices(index: FlowIndex) -> None:
    flow, _ = open_flow(index)
    drawn = index.draw(flow)
    index.claim(Kind.PROBE, drawn, Owner())
    assert index.owners(Kind.HANDSHAKE, drawn) == ()
    assert index.flows == {drawn: flow}
    index.give_back(drawn)
    assert len(index) == 1


def test_two_may_share_a_derived_index_and_leave_one_by_one(index: FlowIndex) -> None:
    first, second = Owner(), Owner()
    index.claim(Kind.PROBE, 7, first)
    index.claim(Kind.PROBE, 7, second)
    assert index.owners(Kind.PROBE, 7) == (first, second)
    index.release(Kind.PROBE, 7, first)
    assert index.owners(Kind.PROBE, 7) == (second,)


def test_a_drawn_index_is_nobody_else_s() -> None:
    index = FlowIndex(FewTokens(random.Random(1)))
    drawn = [index.draw(open_flow(index)[0]) for _ in range(3)]
    assert sorted(drawn) == [0, 1, 2]


def test_what_was_not_claimed_is_released_in_peace(index: FlowIndex) -> None:
    owner = Owner()
    index.claim(Kind.PROBE, 7, owner)
    index.release(Kind.PROBE, 7, Owner())
    index.release(Kind.PROBE, 8, owner)
    index.give_back(7)
    assert index.owners(Kind.PROBE, 7) == (owner,)
