"""One end of a TCP connection as the proof sees it: its chart, and what segments and its user do to it.

There is no data, so a sequence number is 0 (SYN), 1 (behind it) or 2 (behind FIN). What is stated here is what
ip_stack/tcp/arrival.py does; arrows, events and duties are read from the chart's class.
"""

from __future__ import annotations

from typing import NamedTuple

from tunnel.machines.table import ChartTable
from tunnel.verify.proof.rules import NO_FACTS, Fault

SYN_SENT, PEER_SYN, SYN_ACKED = "our SYN is sent", "the peer's SYN has come", "our SYN is acknowledged"
FIN_SENT, FIN_ACKED = "our FIN follows our data", "our FIN is acknowledged"
PEER_FIN, PEER_FIN_FIRST = "the peer's FIN has come", "the peer's FIN came before ours was sent"

_OPEN = frozenset({SYN_SENT, PEER_SYN, SYN_ACKED})
MEANING = {
    "listen": frozenset[str](),
    "syn_sent": frozenset({SYN_SENT}),
    "syn_received": frozenset({SYN_SENT, PEER_SYN}),
    "established": _OPEN,
    "fin_wait_1": _OPEN | {FIN_SENT},
    "fin_wait_2": _OPEN | {FIN_SENT, FIN_ACKED},
    "close_wait": _OPEN | {PEER_FIN, PEER_FIN_FIRST},
    "closing": _OPEN | {FIN_SENT, PEER_FIN},
    "last_ack": _OPEN | {FIN_SENT, PEER_FIN, PEER_FIN_FIRST},
    "time_wait": _OPEN | {FIN_SENT, FIN_ACKED, PEER_FIN},
}
"""What each state says about the connection (RFC 9293 section 3.3.2)."""
_LEARNED = {
    "active_open": {SYN_SENT},
    "syn": {SYN_SENT, PEER_SYN},
    "syn_ack": {PEER_SYN, SYN_ACKED},
    "syn_acknowledged": {SYN_ACKED},
    "shutdown": {FIN_SENT},
    "fin_acknowledged": {FIN_ACKED},
}
"""What becomes true with each event, whatever the chart makes of it."""


class Segment(NamedTuple):
    """One without data, by its numbers."""

    kind: str
    """`syn`, `syn_ack`, `ack`, `fin` or `rst`."""
    sequence: int
    acknowledgment: int
    """0: it acknowledges nothing."""


class TcpEnd(NamedTuple):
    """Where it is, and why."""

    state: str
    facts: frozenset[str] = frozenset()
    """What is true of the connection, of those in MEANING."""
    is_shutdown_wanted: bool = False
    """The user has shut down while the handshake was not done."""
    is_hurt: bool = False
    """Closed, but not by two FINs."""

    @property
    def next_received(self) -> int:
        """RCV.NXT."""
        return 2 if PEER_FIN in self.facts else 1 if PEER_SYN in self.facts else 0

    @property
    def next_sent(self) -> int:
        """SND.NXT."""
        return 2 if FIN_SENT in self.facts else 1

    @property
    def says(self) -> tuple[Segment, ...]:
        """What it sends now, again and again: by its timers, and in answer to what is sent to it again."""
        facts = self.facts
        if self.state == "closed" or SYN_SENT not in facts:
            return ()
        if PEER_SYN not in facts:
            return (Segment("syn", 0, 0),)
        if SYN_ACKED not in facts:
            return (Segment("syn_ack", 0, 1),)
        ack = Segment("ack", self.next_sent, self.next_received)
        return (Segment("fin", 1, self.next_received), ack) if FIN_SENT in facts and FIN_ACKED not in facts else (ack,)

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of segments that it may have to send, data among them."""
        facts = self.facts
        if SYN_ACKED not in facts:
            return frozenset({"syn_ack", "ack"} if PEER_SYN in facts else {"syn"} if SYN_SENT in facts else ())
        kinds = {"ack"} if FIN_ACKED in facts else {"ack", "data", "fin"} if FIN_SENT in facts else {"ack", "data"}
        return frozenset(kinds)


class Rules:
    """What happens to an end, by one table of the chart. Raises Fault where the chart does not allow it."""

    def __init__(self, table: ChartTable) -> None:
        self.table = table

    def move(self, end: TcpEnd, event: str) -> TcpEnd:
        """The end takes an event of its own."""
        if event not in self.table.events_of[end.state] | {"close", "patience_ended"}:
            raise Fault(f"{end.state} may not return {event}")
        target = self.table.target(end.state, event, NO_FACTS)
        if target is None:
            raise Fault(f"{event} is not enabled in {end.state}")
        facts = end.facts | _LEARNED.get(event, set())
        if event == "fin":
            facts |= {PEER_FIN} if FIN_SENT in facts else {PEER_FIN, PEER_FIN_FIRST}
        is_over = event in ("close", "patience_ended") or {FIN_ACKED, PEER_FIN_FIRST} <= facts
        moved = TcpEnd(target, facts, end.is_shutdown_wanted, event == "close" and end.state != "time_wait")
        if is_over != (target == "closed") or (not is_over and MEANING[target] != facts):
            raise Fault(f"{target} although it is not true that {_said(MEANING.get(target, frozenset()) ^ facts)}")
        if not is_over and moved.kinds != self.table.sends_of[target]:
            raise Fault(f"{target} may not send what it has to")
        if SYN_ACKED in facts and not is_over and moved.is_shutdown_wanted:
            return self.move(moved._replace(is_shutdown_wanted=False), "shutdown")
        return moved

    def shut_down(self, end: TcpEnd) -> TcpEnd:
        """The user has nothing more to send."""
        if SYN_ACKED not in end.facts:
            return end._replace(is_shutdown_wanted=True)
        return self.move(end, "shutdown")

    def receive(self, end: TcpEnd, segment: Segment) -> tuple[TcpEnd, Segment | None]:
        """A segment arrives: the end then, and a RST in answer. All other answers are what the end `says` anyway."""
        match end.state:
            case "closed":
                return end, self._reset_for(segment)
            case "listen":
                return (self.move(end, "syn"), None) if segment.kind == "syn" else (end, self._reset_for(segment))
            case "syn_sent":
                return self._receive_in_syn_sent(end, segment)
            case _:
                return self._receive_in_window(end, segment)

    def _reset_for(self, segment: Segment) -> Segment | None:
        if segment.kind == "rst":
            return None
        if segment.acknowledgment:
            return Segment("rst", segment.acknowledgment, 0)
        return Segment("rst", 0, segment.sequence + 1)

    def _receive_in_syn_sent(self, end: TcpEnd, segment: Segment) -> tuple[TcpEnd, Segment | None]:
        if segment.acknowledgment not in (0, 1):
            return end, self._reset_for(segment)
        match segment.kind:
            case "rst" if segment.acknowledgment:
                return self.move(end, "close"), None
            case "syn":
                return self.move(end, "syn"), None
            case "syn_ack":
                return self.move(end, "syn_ack"), None
            case _:
                return end, None

    def _receive_in_window(self, end: TcpEnd, segment: Segment) -> tuple[TcpEnd, Segment | None]:
        kind, sequence, acknowledgment = segment
        if kind == "rst":
            return (self.move(end, "close") if sequence == end.next_received else end), None
        if kind in ("syn", "syn_ack") and not (kind == "syn_ack" and end.state == "syn_received"):
            return end, None
        is_acceptable = sequence + (kind == "fin") > end.next_received or sequence == end.next_received
        if not is_acceptable and kind != "syn_ack":
            is_repeated = end.state == "time_wait" and kind == "fin"
            return (self.move(end, "fin") if is_repeated else end), None
        if end.state == "syn_received":
            if acknowledgment != 1:
                return end, Segment("rst", acknowledgment, 0)
            end = self.move(end, "syn_acknowledged")
        elif acknowledgment > end.next_sent:
            return end, None
        if acknowledgment == 2 and FIN_SENT in end.facts and FIN_ACKED not in end.facts:
            end = self.move(end, "fin_acknowledged")
        if kind == "fin" and end.state != "closed" and sequence == end.next_received:
            end = self.move(end, "fin")
        return end, None


def _said(facts: frozenset[str]) -> str:
    return ", ".join(sorted(facts)) or "all is over"
