"""Whether two sides agree on their path: judged from the trace alone."""

from __future__ import annotations

from tunnel.verify.simulation.runs.agreement import PATIENCE, faults_in_agreement
from tunnel.verify.simulation.runs.trace import Ended, Moved, Record

NAMES = {"d" * 8: "desk", "w" * 8: "work"}
TALK = [float(second) for second in range(100)]


def moved(at: float, host: str, target: str) -> Moved:
    about = next(node for node, name in NAMES.items() if name != host)
    return Moved(at, host, "PeerConnectionChart", about, "punching", "path_verified", (), target)


def linked(at: float, host: str, target: str = "registered") -> Moved:
    return Moved(at, host, "ServerLinkChart", "", "connecting", "welcomed", (), target)


BOTH: list[Record] = [
    linked(0.0, "desk"),
    linked(0.0, "work"),
    moved(1.0, "desk", "connected"),
    moved(1.0, "work", "connected"),
]


def faults(records: list[Record], times: list[float] = TALK) -> list[str]:
    return [fault.text for fault in faults_in_agreement(records, NAMES, {("desk", "work"): times}, 100.0)]


def test_two_that_agree_are_no_fault() -> None:
    assert faults(BOTH) == []
    assert faults([*BOTH, moved(30.0, "desk", "relayed"), moved(30.0 + PATIENCE, "work", "relayed")]) == []


def test_one_side_alone_connected_for_long_is_a_fault() -> None:
    told = faults([*BOTH, moved(30.0, "desk", "relayed")])
    assert told == ["desk and work talked for 69.0 s after 30.000 s while one alone was connected"]


def test_nobody_can_find_out_without_talk_or_without_a_server() -> None:
    """Silence proves nothing, and without the server the side that lost the path cannot tell the other."""
    lost: list[Record] = [*BOTH, moved(30.0, "desk", "relayed")]
    assert faults(lost, [float(second) for second in range(0, 100, 20)]) == []
    assert faults([*lost, linked(40.0, "work", "backing_off")]) == []


def test_a_program_that_ended_disagrees_with_nobody() -> None:
    assert faults([*BOTH, moved(30.0, "desk", "relayed"), Ended(40.0, "work")]) == []
