"""Two ends, a link, and whatever Hypothesis thinks of: each end's bytes are a prefix of what the other has sent."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.ip_stack.tcp.link import A_NUMBERS, B_NUMBERS, A, B, kind_of, on_the_wire
from tests.ip_stack.tcp.test_hostile import check

from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.ip_stack.tcp.connection import TcpConnection
from tunnel.machines.tcp_connection import TcpConnectionChart
from tunnel.wire.tcp import ACK, RST, SYN, decode_tcp

CONFIG = TcpConfig(receive_buffer=6000, least_buffer=6000, mtu=640)


class TwoEnds(RuleBasedStateMachine):
    """Segments in flight may be delivered, kept, lost and repeated in any order; time passes in any steps."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 10.0
        self.ends: dict[bool, TcpConnection | None] = {True: None, False: None}
        self.way: list[tuple[bool, bytes]] = []
        self.sent = {True: bytearray(), False: bytearray()}
        self.received = {True: bytearray(), False: bytearray()}
        self.hurt = False
        """Whether a RST or an abort may have cost something."""

    @initialize(simultaneous=st.booleans())
    def begin(self, simultaneous: bool) -> None:
        self.ends[True] = TcpConnection.connect(A, B, CONFIG, A_NUMBERS, self.now)
        if simultaneous:
            self.ends[False] = TcpConnection.connect(B, A, CONFIG, B_NUMBERS, self.now)
        self.flush()

    def flush(self) -> None:
        for is_a, end in self.ends.items():
            if end is None:
                continue
            state = end.state
            for segment in end.take_segments(self.now, 4000):
                kind = kind_of(segment)
                self.hurt |= kind == "rst"
                assert kind == "rst" or kind in TcpConnectionChart.sends_of[state]
                self.way.append((is_a, on_the_wire(segment)))
            del self.way[:-60]

    def deliver(self, from_a: bool, data: bytes) -> None:
        segment, end = decode_tcp(data), self.ends[not from_a]
        if end is not None:
            end.handle(segment, self.now)
        elif segment.flags & (SYN | ACK | RST) == SYN:
            self.ends[False] = TcpConnection.accept(B, A, CONFIG, B_NUMBERS, segment, self.now)

    @precondition(lambda self: self.way)
    @rule(data=st.data(), keep=st.booleans())
    def segment_arrives(self, data: st.DataObject, keep: bool) -> None:
        place = data.draw(st.integers(0, len(self.way) - 1))
        from_a, found = self.way[place]
        if not keep:
            del self.way[place]
        self.deliver(from_a, found)
        self.flush()

    @rule()
    def all_arrive(self) -> None:
        way, self.way = self.way, []
        for from_a, data in way:
            self.deliver(from_a, data)
        self.flush()

    @precondition(lambda self: self.way)
    @rule(data=st.data())
    def segment_is_lost(self, data: st.DataObject) -> None:
        del self.way[data.draw(st.integers(0, len(self.way) - 1))]

    @rule(seconds=st.sampled_from([0.001, 0.05, 0.3, 3.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for end in self.ends.values():
            if end is not None and end.deadline <= self.now:
                end.timeout(self.now)
        self.flush()

    @rule(is_a=st.booleans(), size=st.sampled_from([1, 500, 1000, 7000]), fill=st.integers(0, 255))
    def user_sends(self, is_a: bool, size: int, fill: int) -> None:
        end = self.ends[is_a]
        if end is not None:
            data = bytes((fill + place) % 256 for place in range(size))
            self.sent[is_a] += data[: end.send(data)]
            self.flush()

    @rule(is_a=st.booleans(), most=st.sampled_from([1, 100, 10_000]))
    def user_receives(self, is_a: bool, most: int) -> None:
        end = self.ends[is_a]
        if end is not None:
            self.received[is_a] += end.receive(most)
            self.flush()

    @rule(is_a=st.booleans())
    def user_shuts_down(self, is_a: bool) -> None:
        end = self.ends[is_a]
        if end is not None:
            end.shutdown()
            self.flush()

    @rule(is_a=st.booleans(), luck=st.integers(0, 5))
    def user_leaves(self, is_a: bool, luck: int) -> None:
        end = self.ends[is_a]
        if end is not None and luck == 0:
            self.hurt = True
            end.close()
            self.flush()

    @rule(is_a=st.booleans(), mtu=st.sampled_from([552, 640, 600]))
    def path_changes(self, is_a: bool, mtu: int) -> None:
        end = self.ends[is_a]
        if end is not None:
            end.change_mtu(mtu)
            self.flush()

    @invariant()
    def bytes_are_in_order(self) -> None:
        for is_a, received in self.received.items():
            assert self.sent[not is_a].startswith(received)

    @invariant()
    def both_are_sound(self) -> None:
        for is_a, end in self.ends.items():
            if end is None:
                continue
            check(end)
            if end.eof and not self.hurt:
                assert self.received[is_a] == self.sent[not is_a]

    def teardown(self) -> None:
        """On a link that is good again all that was sent arrives, unless an end was given up before."""
        if self.hurt or any(end is None or end.error or end.is_closed for end in self.ends.values()):
            return
        for _ in range(2000):
            self.all_arrive()
            for is_a, end in self.ends.items():
                assert end is not None
                while data := end.receive(10_000):
                    self.received[is_a] += data
            self.flush()
            if not self.way:
                deadline = min(end.deadline for end in self.ends.values() if end is not None)
                if self.received[True] == self.sent[False] and self.received[False] == self.sent[True]:
                    return
                assert deadline < float("inf")
                self.now = max(self.now, deadline)
                self.time_passes(0.0)
            self.now += 0.001
        raise AssertionError([len(self.sent[is_a]) - len(self.received[not is_a]) for is_a in self.ends])


TestTwoEnds = TwoEnds.TestCase
TestTwoEnds.settings = settings(max_examples=60, stateful_step_count=60, deadline=None, derandomize=True)
