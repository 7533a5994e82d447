"""Of acknowledgements that would arrive together the last is sent, and nothing else is ever left out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dataplane.frames import ACK, FIN, PSH, UDP, VIRTIO, Flow

from tunnel.dataplane.ack_filter import filter_acks
from tunnel.model.buffers import Buffer

SYN, ECE = 0x02, 0x40
TIMESTAMPS = bytes.fromhex("0101080a0000000100000002")
SACK = bytes.fromhex("0101050a0000000100000002")
KINDS = [Flow(is_ipv4=is_ipv4, tcp_options=options) for is_ipv4 in (True, False) for options in (b"", TIMESTAMPS)]
PLAIN = pytest.mark.parametrize("is_plain", [False, True], ids=["with a virtio header", "plain"])
EACH = pytest.mark.parametrize("flow", KINDS, ids=["IPv4", "IPv4 with timestamps", "IPv6", "IPv6 with timestamps"])


def ack(
    flow: Flow, number: int, *, window: int = 500, flags: int = ACK, sequence: int = 7, payload: bytes = b"",
    is_plain: bool = False,
) -> bytes:  # fmt: skip
    frame = flow.frame(payload, sequence=sequence, ident=number % 2**16, flags=flags)
    tcp = VIRTIO.size + flow.start
    frame = frame[: tcp + 8] + (number % 2**32).to_bytes(4) + frame[tcp + 12 :]
    frame = frame[: tcp + 14] + window.to_bytes(2) + frame[tcp + 16 :]
    return frame[VIRTIO.size :] if is_plain else frame


@PLAIN
@EACH
def test_the_last_acknowledgement_says_all(flow: Flow, is_plain: bool) -> None:
    burst = [ack(flow, 1000 * number, window=500 - number, is_plain=is_plain) for number in range(8)]
    assert filter_acks(burst) == [burst[-1]]
    assert filter_acks([memoryview(frame) for frame in burst]) == [burst[-1]]


@EACH
def test_numbers_may_wrap(flow: Flow) -> None:
    burst = [ack(flow, 2**32 - 1000), ack(flow, 500)]
    assert filter_acks(burst) == [burst[1]]
    assert filter_acks(burst[::-1]) == burst[::-1]


@EACH
def test_what_acknowledges_nothing_new_stays(flow: Flow) -> None:
    """A duplicate tells of a loss; the same number with another window tells that there is room again."""
    burst = [ack(flow, 1000), ack(flow, 1000), ack(flow, 1000, window=900), ack(flow, 2000)]
    assert filter_acks(burst) == burst


@pytest.mark.parametrize(
    "other",
    [
        ack(KINDS[0], 2000, payload=b"data"),
        ack(KINDS[0], 2000, flags=ACK | FIN),
        ack(KINDS[0], 2000, flags=ACK | SYN),
        ack(KINDS[0], 2000, flags=ACK | PSH),
        ack(KINDS[0], 2000, flags=ACK | ECE),
        ack(KINDS[0], 2000, sequence=8),
        ack(replace(KINDS[0], tcp_options=SACK), 2000),
        ack(replace(KINDS[0], tos=3), 2000),
        ack(replace(KINDS[0], ports=(4000, 81)), 2000),
        ack(replace(KINDS[0], protocol=UDP), 2000),
        ack(KINDS[0], 2000, is_plain=True),
    ],
)
def test_what_says_more_neither_goes_nor_makes_another_go(other: bytes) -> None:
    burst = [ack(KINDS[0], 1000), other, other]
    assert filter_acks(burst) == burst
    assert filter_acks(burst[::-1]) == burst[::-1]


def test_flows_are_told_apart_and_their_order_stays() -> None:
    here, there = KINDS[1], replace(KINDS[1], ports=(4000, 81))
    data = ack(here, 1500, payload=b"data")
    burst = [ack(here, 1000), ack(there, 1000), data, ack(here, 2000), ack(there, 2000), ack(here, 3000)]
    assert filter_acks(burst) == [data, burst[4], burst[5]]


@given(st.lists(st.binary(max_size=90), max_size=8), st.integers(0, 81), st.integers(0, 255))
def test_whatever_a_burst_holds_only_acknowledgements_are_left_out(junk: list[bytes], at: int, value: int) -> None:
    acks = [ack(flow, number, is_plain=is_plain) for flow in KINDS for number in (0, 9) for is_plain in (False, True)]
    changed = [frame[: at % len(frame)] + bytes([value]) + frame[at % len(frame) + 1 :] for frame in acks]
    burst: list[Buffer] = [*junk, *changed]
    kept = filter_acks(burst)
    assert [frame for frame in kept if frame in junk] == [frame for frame in burst if frame in junk]
    assert set(map(bytes, kept)) <= set(map(bytes, burst))
    assert filter_acks(kept) == kept
