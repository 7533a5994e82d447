"""Traces: a line a record, and a digest that tells runs apart."""

from __future__ import annotations

import pytest
from tests.verify.simulation.pairs import do, pair

from tunnel.model.endpoint import Endpoint
from tunnel.verify.memory.packet import Fate, MemoryPacket, Segment, SegmentKind
from tunnel.verify.simulation.runs.run import run_scenario
from tunnel.verify.simulation.runs.schedule import run_seeded
from tunnel.verify.simulation.runs.trace import (
    Ended,
    Happened,
    HostTraceHook,
    Moved,
    Passed,
    Record,
    Signalled,
    Trace,
    as_line,
)
from tunnel.wire.frames import Header, Kind, encode_header
from tunnel.wire.signals import Ping
from tunnel.wire.stun import binding_request, encode_stun

ONE, OTHER = Endpoint("25.0.0.1", 1), Endpoint("25.0.0.2", 2)


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (Happened(1.5, "kill who='desk'"), "1.5 * kill who='desk'"),
        (Ended(2.0, "desk"), "2.0 desk ended"),
        (
            Moved(0.1, "desk", "PeerConnectionChart", "abc", "requested", "introduced", ("relay",), "relayed"),
            "0.1 desk PeerConnectionChart(abc) requested --introduced[relay]--> relayed",
        ),
        (Signalled(0.1, "desk", True, "announce", "0011"), "0.1 desk says announce 0011"),
        (Signalled(0.1, "desk", False, "announced", "0011"), "0.1 desk hears announced 0011"),
        (
            Passed(0.1, "25.0.0.1:1", "25.0.0.2:2", 40, "probe", "00000001/7", "delivered"),
            "0.1 25.0.0.1:1 > 25.0.0.2:2 probe 00000001/7 40 B delivered",
        ),
    ],
)
def test_a_record_is_one_line(record: Record, line: str) -> None:
    assert as_line(record) == line


def test_times_are_exact_and_every_part_counts() -> None:
    base = Passed(0.1, "a", "b", 40, "probe", "1", "delivered")
    others = [
        base._replace(at=0.1 + 1e-16 * 2),
        base._replace(length=41),
        base._replace(number="2"),
        base._replace(fate="dropped"),
    ]
    digests = set()
    for record in (base, *others):
        trace = Trace()
        trace.note(record)
        digests.add(trace.digest())
    assert len(digests) == 5


def seen(payload: bytes, segment: Segment | None = None) -> Record:
    """What a trace notes of a packet."""
    trace = Trace()

    async def see() -> None:
        trace.see_packet(MemoryPacket(ONE, OTHER, payload, segment=segment), Fate.DELIVERED)

    run_seeded(see, 0)
    return trace.records[0]


def test_a_packet_is_named_by_its_kind_index_and_counter() -> None:
    header = encode_header(Header(Kind.DATA, 0, 0, 0x1234, 7))
    assert seen(header + bytes(20)) == Passed(0.0, str(ONE), str(OTHER), 36, "data", "00001234/7", "delivered")
    stun = encode_stun(binding_request(bytes(12)))
    assert seen(stun)[4:6] == ("stun", "0001")
    assert seen(b"\xffwhatever it is, it is long enough")[4:6] == ("datagram", "")
    assert seen(b"x", Segment(SegmentKind.DATA, 3, None))[4:6] == ("data", "3")


def test_a_hook_that_was_closed_records_nothing_more() -> None:
    trace = Trace()
    moves: list[Moved] = []

    async def look() -> None:
        trace_hook = HostTraceHook("desk", trace, moves.append)
        trace_hook.see_move("SessionChart", "x", "idle", "wanted", {"b": True, "a": True, "c": False}, "handshaking")
        trace_hook.see_signal(True, Ping(1))
        trace_hook.close()
        trace_hook.close()
        trace_hook.see_move("SessionChart", "x", "handshaking", "agreed", {}, "established")
        trace_hook.see_signal(True, Ping(2))

    run_seeded(look, 0)
    assert [type(record) for record in trace.records] == [Moved, Signalled, Ended]
    assert moves == [trace.records[0]]
    assert moves[0].facts == ("a", "b")


def test_actions_are_in_the_trace_and_the_lines_are_what_is_digested() -> None:
    outcome = run_scenario(pair(do(1.0, "kill", who="desk")), 0, keep_trace=True)
    assert outcome.trace is not None
    assert Happened(1.0, "kill who='desk'") in outcome.trace.records
    assert outcome.trace.digest() == outcome.digest
    assert len(list(outcome.trace.lines())) == len(outcome.trace.records)
