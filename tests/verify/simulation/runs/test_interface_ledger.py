"""What a node writes to its interface was read from another's, as it is, and once: each breach is found."""

from __future__ import annotations

import pytest
from tests.verify.simulation.pairs import do, expect, pair_with_tun

from tunnel.dataplane.superpacket import to_plain
from tunnel.model.buffers import Buffer
from tunnel.riders.tun_plane import TunPlane
from tunnel.verify.memory.inner_udp import InnerFlow, encode_frame, encode_packet
from tunnel.verify.simulation.runs.interface_ledger import InterfaceLedger
from tunnel.verify.simulation.runs.run import run_scenario
from tunnel.verify.simulation.runs.schedule import run_seeded

FLOW = InnerFlow(bytes([10, 86, 0, 1]), bytes([10, 86, 0, 2]), 20000, 20001)
GIVEN, WRITTEN = [b"one", b"two", b"six"], "laptop writes to its interface a packet "
TALK = do(1.0, "send", who="desk", to="laptop", until=3.0, ip=4, burst=3)
ALL = expect(who="desk", to="laptop", lost_at_most=0, arrived_at_least=30)


def told(*written: bytes, by: str = "laptop") -> list[str]:
    """The desk gives a superpacket, and these frames are written."""
    ledger = InterfaceLedger()

    async def script() -> None:
        ledger.note_given("desk", encode_frame(FLOW, GIVEN))
        for frame in written:
            ledger.note_written(by, frame)

    run_seeded(script, 0)
    return [fault.text.partition(" s ")[2] for fault in ledger.faults]


def test_a_superpacket_may_be_written_as_it_is_or_as_plain_packets() -> None:
    assert told(encode_frame(FLOW, GIVEN)) == []
    assert told(*(encode_packet(FLOW, payload) for payload in GIVEN)) == []
    assert told(*map(bytes, to_plain(encode_frame(FLOW, GIVEN)))) == []


def test_what_is_written_twice_or_was_never_given_is_a_fault() -> None:
    one = encode_packet(FLOW, b"one")
    assert told(one, one) == [WRITTEN + "again that it has written before"]
    assert told(encode_packet(FLOW, b"ten")) == [WRITTEN + "that no peer's interface gave"]
    assert told(one[:-1] + b"x") == [WRITTEN + "that no peer's interface gave"]
    assert len(told(one, by="desk")) == 1, "it gave that itself"


def test_errors_of_the_node_s_own_are_none() -> None:
    assert told(one_icmp := bytes([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1]) + bytes(18), one_icmp) == []


@pytest.mark.parametrize("breach", ["twice", "changed"])
def test_a_run_in_which_a_node_does_so_has_failed(monkeypatch: pytest.MonkeyPatch, breach: str) -> None:
    scenario = pair_with_tun(TALK, ALL)
    assert run_scenario(scenario, 0).failures == ()
    write = TunPlane._write

    def breaks(plane: TunPlane, frame: Buffer) -> bool:
        if breach == "changed":
            return write(plane, bytes(frame[:-1]) + b"?")
        return write(plane, frame) and write(plane, frame)

    monkeypatch.setattr(TunPlane, "_write", breaks)
    assert any("writes to its interface a packet" in failure for failure in run_scenario(scenario, 0).failures)
