"""A peer by hand: it says exactly what a test writes, in offsets from both initial sequence numbers."""

from __future__ import annotations

from typing import NamedTuple

from tests.ip_stack.tcp.link import A_NUMBERS, A, B, on_the_wire

from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.ip_stack.tcp.connection import TcpConnection
from tunnel.wire.tcp import ACK, FIN, PSH, RST, SYN, TcpSegment, decode_tcp, encode_tcp, encode_timestamps

PEER_ISN = 7_000_000
MASK = 0xFFFFFFFF
WORDS = {SYN: "S", ACK: ".", RST: "R", FIN: "F", PSH: "P"}


class Said(NamedTuple):
    """One segment of ours, as tcpdump would write it: flags, offset, length, acknowledged offset."""

    flags: str
    offset: int
    length: int
    ack: int


class Script:
    """Without timestamps unless told; the window is 65535, not scaled unless the SYN offered that."""

    def __init__(
        self,
        config: TcpConfig | None = None,
        *,
        timestamps: bool = False,
        sack: bool = True,
        scale: int | None = None,
        mss: int = 1000,
        passive: bool = False,
    ) -> None:
        self.now = 50.0
        self.config = config or TcpConfig()
        self.timestamps, self.stamp, self.echo = timestamps, 1000, 0
        options = b"\x02\x04" + mss.to_bytes(2)
        if sack:
            options += b"\x01\x01\x04\x02"
        if scale is not None:
            options += bytes((1, 3, 3, scale))
        if timestamps:
            options += encode_timestamps(self.stamp, 0)
        self.syn_options = options
        self.last: list[TcpSegment] = []
        if passive:
            syn = decode_tcp(encode_tcp(B.port, A.port, PEER_ISN, 0, SYN, 65535, options))
            self.connection = TcpConnection.accept(A, B, self.config, A_NUMBERS, syn, self.now)
        else:
            self.connection = TcpConnection.connect(A, B, self.config, A_NUMBERS, self.now)

    def sent(self, budget: int = 1 << 20) -> list[Said]:
        """What leaves now."""
        self.last = [decode_tcp(on_the_wire(out)) for out in self.connection.take_segments(self.now, budget)]
        said = []
        for segment in self.last:
            flags = "".join(word for bit, word in WORDS.items() if segment.flags & bit)
            offset = (segment.sequence - A_NUMBERS.sequence + (1 << 31)) % (1 << 32) - (1 << 31)
            ack = (segment.acknowledgment - PEER_ISN) & MASK if segment.flags & ACK else 0
            said.append(Said(flags, offset, len(segment.payload), ack))
            if segment.timestamp is not None:
                self.echo = segment.timestamp
        return said

    def says(
        self,
        flags: int = ACK,
        offset: int = 1,
        ack: int = 1,
        data: bytes = b"",
        *,
        window: int = 65535,
        sack: tuple[tuple[int, int], ...] = (),
        stamp: int | None = None,
        options: bytes | None = None,
    ) -> list[Said]:
        """The peer's segment arrives. What leaves then."""
        if options is None:
            options = encode_timestamps(self.stamp if stamp is None else stamp, self.echo) if self.timestamps else b""
        if sack:
            edges = b"".join(((A_NUMBERS.sequence + edge) & MASK).to_bytes(4) for block in sack for edge in block)
            options += bytes((1, 1, 5, 2 + len(edges))) + edges
        sequence, acknowledgment = (PEER_ISN + offset) & MASK, (A_NUMBERS.sequence + ack) & MASK if flags & ACK else 0
        header = encode_tcp(B.port, A.port, sequence, acknowledgment, flags, window, options)
        self.connection.handle(decode_tcp(header + data), self.now)
        return self.sent()

    def after(self, seconds: float) -> list[Said]:
        """Time passes, timers end. What leaves meanwhile."""
        end, said = self.now + seconds, list[Said]()
        while self.connection.deadline <= end:
            self.now = max(self.now, self.connection.deadline)
            self.connection.timeout(self.now)
            said += self.sent()
        self.now = end
        return said

    def establish(self, window: int = 65535) -> Script:
        """The handshake."""
        if self.connection.state == "syn_sent":
            self.sent()
            self.says(SYN | ACK, 0, 1, window=window, options=self.syn_options)
        else:
            self.sent()
            self.says(ACK, 1, 1, window=window)
        assert self.connection.state == "established"
        return self

    def reach(self, state: str) -> Script:
        """From the start to a state of RFC 9293, by the shortest way."""
        if state == "syn_sent":
            self.sent()
            return self
        if state == "syn_received":
            self.sent()
            if self.connection.state == "syn_sent":
                self.says(SYN, 0, options=self.syn_options)
            return self
        self.establish()
        if state in ("close_wait", "last_ack"):
            self.says(FIN | ACK, 1, 1)
        if state not in ("established", "close_wait"):
            self.connection.shutdown()
            self.sent()
        match state:
            case "fin_wait_2" | "time_wait":
                self.says(ACK, 1, 2)
            case "closing":
                self.says(FIN | ACK, 1, 1)
            case _:
                pass
        if state == "time_wait":
            self.says(FIN | ACK, 1, 2)
        assert self.connection.state == state, self.connection.state
        return self
