"""A sealed record is cut into datagrams that join to the same bytes again, and no view is older than its record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tunnel.dataplane.fragmentation as fragmentation_module
from tunnel.dataplane.fragmentation import MAX_SEALED, Fragmentation, count_fragments
from tunnel.dataplane.reassembly import Reassembly, ReassemblyBudget
from tunnel.network.datagrams import MAX_RECEIVED, MAX_SEGMENTS
from tunnel.wire.circuits import HEAD_BYTES, encode_head
from tunnel.wire.frames import BASE_SIZE, HEADER_BYTES, Header, Kind, decode_header, encode_header

PATTERN = bytes(number % 251 for number in range(MAX_SEALED))


def cut(fragmentation: Fragmentation, size: int, datagram_size: int, head: bytes = b"") -> tuple[list[bytes], int]:
    """The datagrams of a record of so many bytes, as they leave, and the segment size."""
    fragmentation.room(size)[:] = PATTERN[:size]
    header = encode_header(Header(Kind.DATA, 0, count_fragments(size, datagram_size), 7, 5))
    buffers, parts, segment_size = fragmentation.cut(head + header, size, datagram_size)
    return [b"".join(buffers[at : at + parts]) for at in range(0, len(buffers), parts)], segment_size


def check(datagrams: list[bytes], segment_size: int, size: int, datagram_size: int, head: bytes = b"") -> None:
    headers = [decode_header(datagram[len(head) :]) for datagram in datagrams]
    assert headers == [Header(Kind.DATA, number, len(datagrams), 7, 5) for number in range(len(datagrams))]
    assert all(datagram.startswith(head) for datagram in datagrams)
    assert b"".join(datagram[len(head) + HEADER_BYTES :] for datagram in datagrams) == PATTERN[:size]
    if len(datagrams) > 1:
        assert {len(datagram) for datagram in datagrams[:-1]} == {segment_size} == {datagram_size + len(head)}
        assert len(head) + HEADER_BYTES < len(datagrams[-1]) <= segment_size
    else:
        assert segment_size == 0


@given(
    st.lists(
        st.tuples(st.integers(16, MAX_SEALED), st.integers(BASE_SIZE, 9000), st.sampled_from((b"", encode_head(9)))),
        min_size=1,
        max_size=20,
    )
)
def test_what_is_cut_joins_to_the_same_record_whatever_was_cut_before(records: list[tuple[int, int, bytes]]) -> None:
    """The views are kept from record to record: more sizes than are kept, circuits or none, long or short."""
    fragmentation = Fragmentation()
    for size, datagram_size, head in records:
        check(*cut(fragmentation, size, datagram_size, head), size, datagram_size, head)


def test_however_many_sizes_there_are_few_views_are_kept() -> None:
    fragmentation = Fragmentation()
    for datagram_size in range(BASE_SIZE, BASE_SIZE + 100):
        check(*cut(fragmentation, 5000, datagram_size), 5000, datagram_size)
    assert len(fragmentation._views) <= 16


def test_of_sixteen_sizes_a_new_one_pushes_out_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fragmentation, made = Fragmentation(), list[int]()

    class Views(fragmentation_module._Views):
        def __init__(self, sealed: memoryview, prefix_size: int, piece: int) -> None:
            made.append(piece + HEADER_BYTES)
            super().__init__(sealed, prefix_size, piece)

    monkeypatch.setattr(fragmentation_module, "_Views", Views)
    sizes = range(BASE_SIZE, BASE_SIZE + 16)
    for datagram_size in (*sizes, 9000, *sizes[1:]):
        check(*cut(fragmentation, 5000, datagram_size), 5000, datagram_size)
    assert made == [*sizes, 9000]


@pytest.mark.parametrize("datagram_size", [BASE_SIZE, 1232, 1452, 8972])
@pytest.mark.parametrize("pieces", [1, 2, 6])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_at_the_borders_of_a_piece_no_fragment_is_empty(datagram_size: int, pieces: int, more: int) -> None:
    size = pieces * (datagram_size - HEADER_BYTES) + more
    datagrams, segment_size = cut(Fragmentation(), size, datagram_size)
    check(datagrams, segment_size, size, datagram_size)
    assert len(datagrams) == count_fragments(size, datagram_size) == (pieces + 1 if more == 1 else pieces)


def test_the_largest_record_fits_one_call_of_a_socket_on_every_path() -> None:
    for head in (b"", bytes(HEAD_BYTES)):
        datagrams, _ = cut(Fragmentation(), MAX_SEALED, BASE_SIZE, head)
        assert len(datagrams) <= MAX_SEGMENTS
        assert sum(map(len, datagrams)) <= MAX_RECEIVED - 8 - 20, "less the headers of UDP and IPv4"


@given(size=st.integers(2, MAX_SEALED), datagram_size=st.integers(BASE_SIZE, 9000), data=st.data())
def test_what_is_cut_is_joined_by_reassembly_in_any_order(size: int, datagram_size: int, data: st.DataObject) -> None:
    datagrams, _ = cut(Fragmentation(), size, datagram_size)
    if len(datagrams) == 1:
        return
    reassembly, joined = Reassembly(ReassemblyBudget(), lambda *_: None), []
    for datagram in data.draw(st.permutations(datagrams)):
        _, fragment, fragments, index, counter = decode_header(datagram)
        joined.append(reassembly.add((index, counter), fragment, fragments, datagram[HEADER_BYTES:], 0.0))
    assert joined == [None] * (len(datagrams) - 1) + [PATTERN[:size]]
