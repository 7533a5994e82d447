"""One TCP connection: its interface, and its beginning and end."""

from __future__ import annotations

from math import inf

from tunnel.ip_stack.tcp.arrival import handle_segment, handle_syn
from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.ip_stack.tcp.control_block import SYNCHRONIZED, ControlBlock
from tunnel.ip_stack.tcp.errors import IcmpError, TcpError
from tunnel.ip_stack.tcp.initial_numbers import InitialNumbers
from tunnel.ip_stack.tcp.segments import OutgoingSegment
from tunnel.ip_stack.tcp.sequence import MASK, is_before, unwrap
from tunnel.model.buffers import Buffer
from tunnel.model.endpoint import Endpoint
from tunnel.wire.tcp import ACK, RST, SYN, TcpSegment

_LEAST_MTU4, _LEAST_MTU6 = 552, 1280
"""A smaller MTU that ICMP tells is not believed (RFC 1191 section 3 gives 576; Linux takes 552; RFC 8201)."""


class TcpConnection:
    """Made by `connect`, or by a `Listener`. After each call `take_segments` may have something to send.

    `local`, `remote`: its endpoints. Nothing here blocks, and nothing raises because of what the peer sends.
    """

    __slots__ = ("_block", "local", "remote")

    def __init__(
        self, local: Endpoint, remote: Endpoint, config: TcpConfig, initial: InitialNumbers, now: float
    ) -> None:
        """In the state `listen`: use `connect` or `accept`."""
        self.local, self.remote = local, remote
        self._block = ControlBlock(config, initial, now, is_ipv6=remote.is_ipv6)

    @classmethod
    def connect(
        cls, local: Endpoint, remote: Endpoint, config: TcpConfig, initial: InitialNumbers, now: float
    ) -> TcpConnection:
        """Begin an active open: the SYN is the first of `take_segments`."""
        connection = cls(local, remote, config, initial, now)
        connection._block.move("active_open")
        return connection

    @classmethod
    def accept(
        cls,
        local: Endpoint,
        remote: Endpoint,
        config: TcpConfig,
        initial: InitialNumbers,
        syn: TcpSegment,
        now: float,
    ) -> TcpConnection:
        """Answer a SYN (without ACK and RST) that came for a listener."""
        connection = cls(local, remote, config, initial, now)
        handle_syn(connection._block, syn)
        return connection

    @property
    def state(self) -> str:
        """The state of RFC 9293 section 3.3.2, in small letters: `syn_sent`, `established`, `time_wait`, ..."""
        return self._block.state

    @property
    def is_established(self) -> bool:
        """Whether the handshake was done; it stays true when the connection ends."""
        return self._block.is_established

    @property
    def is_closed(self) -> bool:
        """Whether all is over, TIME-WAIT included: the stack takes the last segments and forgets it.

        The user may still `receive` what is `readable`.
        """
        return self._block.state == "closed"

    @property
    def error(self) -> TcpError | None:
        """Why it failed; None as long as it has not. Then nothing can be sent or received any more."""
        return self._block.error

    @property
    def deadline(self) -> float:
        """When to call `timeout`, in the clock of `now`; infinity: never. May change with every call."""
        block = self._block
        return min(
            block.sender.deadline,
            block.receiver.ack_at,
            block.keepalive.deadline,
            block.handshake.deadline,
            block.wait_until,
        )

    @property
    def send_room(self) -> int:
        """Bytes that `send` would accept. 0 after `shutdown`, `close` or an error.

        Whoever waits for room does well to wait for some ten kilobytes of it: many small pieces cost more than few.
        """
        block = self._block
        return 0 if block.is_shutdown_wanted or block.state == "closed" else block.sender.room

    @property
    def unacknowledged(self) -> int:
        """Bytes that `send` accepted and the peer has not acknowledged."""
        buffer = self._block.sender.flight.buffer
        return buffer.end - buffer.start

    @property
    def readable(self) -> int:
        """Bytes that `receive` has."""
        return self._block.receiver.buffer.readable

    @property
    def eof(self) -> bool:
        """Whether the peer has sent FIN and all before it was received."""
        receiver = self._block.receiver
        return receiver.has_fin and not receiver.buffer.readable

    @property
    def round_trip(self) -> float:
        """Smoothed, in seconds; 0: not measured yet."""
        return self._block.sender.recovery.rtt.srtt

    @property
    def congestion_window(self) -> int:
        """Bytes that may be in flight, as far as the path goes."""
        return int(self._block.sender.recovery.congestion.window)

    def handle(self, segment: TcpSegment, now: float) -> None:
        """A segment arrived. Its payload may be a superpacket, and need not outlive the call."""
        handle_segment(self._block, segment, now)

    def handle_icmp(self, error: IcmpError, sequence: int, mtu: int) -> None:
        """An ICMP error quoted a segment of this connection, with this sequence number.

        `mtu` matters for PACKET_TOO_BIG. An error about nothing in flight is ignored (RFC 5927). Others end a
        connection that is not established yet, and are else remembered as the reason if it times out.
        """
        block = self._block
        flight = block.sender.flight
        offset = unwrap(sequence, flight.initial, flight.una)
        is_opening = block.state in ("syn_sent", "syn_received")
        if block.state == "closed" or not (offset == 0 if is_opening else flight.una <= offset < flight.nxt):
            return
        if error is IcmpError.PACKET_TOO_BIG:
            least = _LEAST_MTU6 if self.remote.is_ipv6 else _LEAST_MTU4
            if mtu < block.mtu:
                self.change_mtu(max(mtu, least))
        elif is_opening:
            block.fail(TcpError.REFUSED if error is IcmpError.PORT_UNREACHABLE else TcpError.UNREACHABLE)
        else:
            block.soft_error = TcpError.UNREACHABLE

    def change_mtu(self, mtu: int) -> None:
        """The path takes packets of up to `mtu` bytes from now on, whoever said so."""
        block = self._block
        block.mtu = mtu
        if block.state in SYNCHRONIZED:
            block.sender.recovery.change_mss(block.handshake.segment_size(mtu))

    def timeout(self, now: float) -> None:
        """Do what is due. Call it at `deadline`, or later; sooner is harmless."""
        block = self._block
        receiver, recovery = block.receiver, block.sender.recovery
        if receiver.ack_at <= now:
            receiver.is_ack_due, receiver.ack_at = True, inf
        if recovery.timers.nearest <= now:
            recovery.timeout(now)
            if recovery.is_given_up:
                block.reset(block.soft_error or TcpError.TIMED_OUT)
        if block.handshake.deadline <= now and block.handshake.timeout(now):
            block.fail(block.soft_error or TcpError.TIMED_OUT)
        if block.keepalive.deadline <= now:
            self._keep_alive(now)
        if block.wait_until <= now:
            self._end_waiting()

    def send(self, data: Buffer) -> int:
        """Take data to be sent; returns how many bytes were accepted, 0 to all. `bytes` are kept without a copy."""
        room = self.send_room
        size = len(data)
        if size > room:
            data, size = memoryview(data)[:room], room
        if size:
            self._block.sender.flight.buffer.append(data)
        return size

    def receive(self, max_bytes: int) -> bytes:
        """Received data in order, at most so much, perhaps less than is there. b"" if there is none now."""
        return self._block.receiver.take(max_bytes)

    def shutdown(self) -> None:
        """Send FIN after all that was accepted. Receiving goes on. Does nothing the second time."""
        block = self._block
        if block.state in ("established", "close_wait"):
            block.shut_down()
        elif block.state in ("syn_sent", "syn_received"):
            block.is_shutdown_wanted = True

    def close(self) -> None:
        """The user is gone: as `shutdown`, but nothing is received any more.

        If data is unread, or comes later, the peer is told with RST (RFC 9293 section 3.6.1). The connection does not
        wait for the peer's FIN for longer than `orphan_timeout`. One whose SYN is unanswered ends at once.
        """
        block = self._block
        if block.state == "syn_sent" or (block.receiver.buffer.readable and block.state != "closed"):
            block.reset(TcpError.ABORTED)
            return
        block.is_orphan = True
        self.shutdown()

    def abort(self) -> None:
        """End at once, with RST where the peer knows of us. Unsent and unread data is lost."""
        if self._block.state != "closed":
            self._block.reset(TcpError.ABORTED)

    def forget(self) -> None:
        """End at once and in silence."""
        if self._block.state != "closed":
            self._block.fail(TcpError.ABORTED)

    def take_segments(self, now: float, budget: int) -> list[OutgoingSegment]:
        """What is to be sent now, in order: acks, data as far as windows and pacing allow, a RST.

        Stops when the payload reaches `budget` bytes; then more may be waiting and `deadline` is not after `now`.
        """
        block = self._block
        out: list[OutgoingSegment] = []
        if block.replies:
            out, block.replies = block.replies, out
        if block.state == "closed":
            return out
        if block.handshake.is_syn_due:
            out.append(block.syn(now))
            return out
        if block.is_orphan and block.state == "fin_wait_2" and block.wait_until == inf:
            block.wait_until = now + block.config.orphan_timeout
        receiver, sender = block.receiver, block.sender
        is_sending = block.state in SYNCHRONIZED and sender.has_work()
        if not is_sending and not receiver.is_ack_due:
            return out
        acknowledgment = receiver.acknowledgment(now)
        before = len(out)
        blocks = receiver.selective_blocks() if receiver.is_ack_due else b""
        if is_sending and not blocks:
            sender.take(now, budget, acknowledgment, out)
        if receiver.is_ack_due and len(out) == before:
            flight, options = sender.flight, acknowledgment.options + blocks
            sequence = (flight.initial + flight.nxt) & MASK
            out.append(OutgoingSegment(sequence, acknowledgment.number, ACK, acknowledgment.window, options))
        if is_sending and blocks:
            sender.take(now, budget, acknowledgment, out)
        if len(out) > before:
            receiver.acknowledge()
        return out

    def yields_to(self, syn: TcpSegment) -> bool:
        """Whether a SYN for the same endpoints may replace this connection in TIME-WAIT (RFC 6191)."""
        block = self._block
        if block.state != "time_wait" or syn.flags & (SYN | ACK | RST) != SYN:
            return False
        receiver = block.receiver
        if block.handshake.has_timestamps and syn.timestamp is not None and syn.timestamp != block.timestamps.recent:
            return is_before(block.timestamps.recent, syn.timestamp)
        return is_before((receiver.initial + receiver.next) & MASK, syn.sequence)

    def _keep_alive(self, now: float) -> None:
        block = self._block
        flight = block.sender.flight
        if flight.nxt > flight.una or block.sender.recovery.timers.persist_at < inf:
            block.keepalive.heard(now)  # what is in flight has a timeout of its own
        elif block.keepalive.timeout(now):
            block.sender.recovery.is_window_probe_due = True
        else:
            block.reset(block.soft_error or TcpError.TIMED_OUT)

    def _end_waiting(self) -> None:
        block = self._block
        if block.state == "time_wait":
            block.move("patience_ended")
        elif block.state == "fin_wait_2":
            block.move("close")
        block.stop()
