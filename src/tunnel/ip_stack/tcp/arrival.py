"""What a segment does to a connection (RFC 9293 section 3.10.7), with the checks of RFC 5961 and RFC 7323."""

from __future__ import annotations

from math import inf

from tunnel.ip_stack.tcp.control_block import ControlBlock
from tunnel.ip_stack.tcp.errors import TcpError
from tunnel.ip_stack.tcp.segments import OutgoingSegment
from tunnel.ip_stack.tcp.sequence import unwrap
from tunnel.wire.tcp import ACK, FIN, RST, SYN, TcpSegment

_RECEIVING = frozenset({"established", "fin_wait_1", "fin_wait_2"})
"""States in which the peer's data is taken."""


def handle_syn(block: ControlBlock, syn: TcpSegment) -> None:
    """The SYN that came for a listener (section 3.10.7.2). Data in it is not taken; the peer sends it again."""
    _read_syn(block, syn)
    block.move("syn")


def handle_segment(block: ControlBlock, segment: TcpSegment, now: float) -> None:
    """Any segment, in any state but `listen`."""
    if block.state == "syn_sent":
        _handle_in_syn_sent(block, segment, now)
    elif block.state != "closed":
        _handle_in_window(block, segment, now)


def _read_syn(block: ControlBlock, syn: TcpSegment) -> None:
    block.receiver.initial = syn.sequence
    block.handshake.read(syn)
    if syn.timestamp is not None:
        block.timestamps.recent = syn.timestamp


def _handle_in_syn_sent(block: ControlBlock, segment: TcpSegment, now: float) -> None:
    """Section 3.10.7.3."""
    flags, flight = segment.flags, block.sender.flight
    if flags & ACK and segment.acknowledgment != (flight.initial + 1) & 0xFFFFFFFF:
        if not flags & RST:
            block.replies.append(OutgoingSegment(segment.acknowledgment, 0, RST, 0, b""))
        return
    if flags & RST:
        if flags & ACK:
            block.fail(TcpError.REFUSED)
        return
    if not flags & SYN:
        return
    _read_syn(block, segment)
    if not flags & ACK:
        block.move("syn")
        block.handshake.is_syn_due = True
        return
    block.move("syn_ack")
    block.establish(now)
    flight.offer(1, segment.window)
    block.update = 0, 1
    block.receiver.is_ack_due = True
    _take_text(block, segment, 1, now)
    if block.is_shutdown_wanted:
        block.shut_down()


def _handle_in_window(block: ControlBlock, segment: TcpSegment, now: float) -> None:
    """Section 3.10.7.4: all states behind the peer's SYN."""
    flags, receiver = segment.flags, block.receiver
    start = unwrap(segment.sequence, receiver.initial, receiver.next)
    if flags & SYN and start == 0 and block.state == "syn_received":
        if flags & ACK and _take_acknowledgment(block, segment, 1, now):  # both opened at the same time
            receiver.is_ack_due = True
        elif not flags & ACK and block.challenges.allows(now):
            block.handshake.is_syn_due = True
        return
    if block.handshake.has_timestamps and not flags & RST:
        if segment.timestamp is None:
            return
        if block.timestamps.is_old(segment.timestamp, now):
            block.challenge(now)
            return
    if not receiver.is_acceptable(start, segment.length):
        _refuse(block, segment, start, now)
        return
    if flags & (RST | SYN):
        if flags & RST and start == receiver.next:
            block.be_reset()
        else:
            block.challenge(now)
        return
    if not flags & ACK:
        return
    if segment.timestamp is not None and start <= receiver.acknowledged:
        block.timestamps.see(segment.timestamp, now)
    if _take_acknowledgment(block, segment, start, now):
        _take_text(block, segment, start, now)


def _refuse(block: ControlBlock, segment: TcpSegment, start: int, now: float) -> None:
    """A segment outside of the window. One with data was sent again for nothing, or probes a closed window."""
    flags, receiver = segment.flags, block.receiver
    if flags & RST:
        return
    if flags & SYN:
        block.challenge(now)
        return
    end = start + segment.length
    if block.state == "time_wait" and flags & FIN and end == receiver.next:
        block.move("fin")
        block.wait_until = now + block.config.time_wait
    if segment.payload and start < receiver.next:
        receiver.note_duplicate(start, start + len(segment.payload))
    elif segment.payload and start == receiver.next:
        receiver.is_ack_due = True
        if flags & ACK:
            _take_acknowledgment(block, segment, start, now)
    else:
        block.challenge(now)


def _take_acknowledgment(block: ControlBlock, segment: TcpSegment, start: int, now: float) -> bool:
    """Step five, "check the ACK field". Whether the rest of the segment counts."""
    sender = block.sender
    flight = sender.flight
    number = unwrap(segment.acknowledgment, flight.initial, flight.una)
    if block.state == "syn_received":
        if number != 1:
            block.replies.append(OutgoingSegment(segment.acknowledgment, 0, RST, 0, b""))
            return False
        block.establish(now)
        block.move("syn_acknowledged")
        flight.offer(1, segment.window << block.handshake.peer_scale)
        block.update = start, number
        if block.is_shutdown_wanted:
            block.shut_down()
        return True
    if number > flight.nxt or number < flight.una - max(flight.most_window, 1):
        block.challenge(now)
        return False
    block.keepalive.heard(now)
    if number < flight.una:
        return True
    window = segment.window << block.handshake.peer_scale
    is_update = (start, number) >= block.update
    is_same = number + window == flight.edge
    if is_update:
        block.update = start, number
        flight.offer(number, window)
    is_duplicate = number == flight.una < flight.nxt and is_same and not segment.payload and not segment.flags & FIN
    timers = sender.recovery.timers
    if timers.persist_at != inf:
        _answer_window_probe(block, now)
    if number > flight.una or segment.sack or is_duplicate:
        _take_news(block, segment, number, now, is_duplicate=is_duplicate)
        if flight.has_fin and flight.una == flight.end:
            _take_fin_acknowledgment(block, now)
    return block.state != "closed"


def _answer_window_probe(block: ControlBlock, now: float) -> None:
    """The peer is there: its window may stay closed as long as it likes, while the user waits."""
    timers, flight = block.sender.recovery.timers, block.sender.flight
    if not block.is_orphan:
        timers.since, timers.is_window_probed = now, False
    if flight.edge > flight.nxt:
        timers.persist_at = inf
        block.sender.recovery.rtt.reset_backoff()


def _take_news(block: ControlBlock, segment: TcpSegment, number: int, now: float, *, is_duplicate: bool) -> None:
    recovery, flight = block.sender.recovery, block.sender.flight
    blocks: list[tuple[int, int]] = []
    has_dsack = False
    if segment.sack and recovery.has_sack:
        initial, una = flight.initial, flight.una
        for left, right in segment.sack:
            blocks.append((unwrap(left, initial, una), unwrap(right, initial, una)))
        first = blocks[0]
        has_dsack = first[1] <= number or (len(blocks) > 1 and blocks[1][0] <= first[0] and first[1] <= blocks[1][1])
        blocks = [block for block in blocks if number < block[1] <= flight.nxt and block[0] < block[1]]
    echo_at = block.timestamps.sent_at(segment.echo, now) if segment.timestamp is not None else None
    recovery.acknowledge(number, blocks, echo_at, now, is_duplicate=is_duplicate, has_dsack=has_dsack)


def _take_fin_acknowledgment(block: ControlBlock, now: float) -> None:
    if block.state not in ("fin_wait_1", "closing", "last_ack"):
        return
    block.move("fin_acknowledged")
    if block.state == "time_wait":
        block.wait_until = now + block.config.time_wait
    elif block.state == "closed":
        block.stop()


def _take_text(block: ControlBlock, segment: TcpSegment, start: int, now: float) -> None:
    """Steps seven and eight: data and FIN. Urgent data is data (step six is left out)."""
    payload, has_fin, receiver = segment.payload, bool(segment.flags & FIN), block.receiver
    if (not payload and not has_fin) or block.state not in _RECEIVING:
        return
    if block.is_orphan and payload and start + len(payload) > receiver.next:
        block.reset(TcpError.ABORTED)
        return
    receiver.store(start, payload, has_fin, now)
    if receiver.has_fin:
        block.move("fin")
        if block.state == "time_wait":
            block.wait_until = now + block.config.time_wait
