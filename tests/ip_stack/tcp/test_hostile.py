"""Segments that nobody should send: random ones, and true ones with something changed."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from tests.ip_stack.tcp.link import A_NUMBERS, A, B, Faults, Link, on_the_wire, pump
from tests.ip_stack.tcp.script import PEER_ISN, Script

from tunnel.ip_stack.tcp.config import TcpConfig
from tunnel.ip_stack.tcp.connection import TcpConnection
from tunnel.ip_stack.tcp.errors import IcmpError
from tunnel.model.errors import MalformedFrame
from tunnel.wire.tcp import ACK, RST, SYN, decode_tcp, encode_sack, encode_tcp, encode_timestamps

STATES = (
    "syn_sent",
    "syn_received",
    "established",
    "fin_wait_1",
    "fin_wait_2",
    "close_wait",
    "closing",
    "last_ack",
    "time_wait",
)


def junk(chance: random.Random, connection: TcpConnection, now: float) -> bytes:
    """A segment whose numbers are often nearly right."""
    flight, receiver = connection._block.sender.flight, connection._block.receiver
    flags = chance.choice((ACK, ACK, ACK, chance.randrange(256), chance.randrange(32)))
    near = (receiver.next, receiver.edge, 0, 1, receiver.next - 10)
    sequence = receiver.initial + chance.choice(near) + chance.choice((0, 0, 1, -1, chance.randint(-9000, 9000)))
    ours = (flight.una, flight.nxt, flight.end, 0, 1)
    acknowledgment = flight.initial + chance.choice(ours) + chance.choice((0, 0, 1, -1, chance.randint(-9000, 9000)))
    options = b""
    if chance.random() < 0.8:
        stamp = connection._block.timestamps.recent + chance.choice((0, 1, 5, -5, chance.randrange(1 << 32)))
        echo = connection._block.timestamps.value(now) - chance.choice((0, 5, 100, chance.randrange(1 << 32)))
        options = encode_timestamps(stamp & 0xFFFFFFFF, echo & 0xFFFFFFFF)
    if chance.random() < 0.4:
        blocks = []
        for _ in range(chance.randint(1, 3)):
            left = chance.randint(flight.una - 100, flight.nxt + 100)
            blocks.append(
                ((flight.initial + left) & 0xFFFFFFFF, (flight.initial + left + chance.randint(-5, 5000)) & 0xFFFFFFFF)
            )
        options += encode_sack(blocks)
    if chance.random() < 0.1:
        options = chance.randbytes(4 * chance.randint(0, 10))
    window = chance.choice((0, 1, 100, 65535))
    header = encode_tcp(B.port, A.port, sequence & 0xFFFFFFFF, acknowledgment & 0xFFFFFFFF, flags, window, options)
    return header + chance.randbytes(chance.choice((0, 0, 1, 100, 1348, 20_000)))


@pytest.mark.parametrize("state", STATES)
def test_random_segments_raise_nothing_in_any_state(state: str) -> None:
    """Whatever comes, the connection lives on or is closed, its deadline is a number, and its buffers are bounded."""
    for seed in range(12):
        chance = random.Random(f"{state} {seed}")
        script = Script(TcpConfig(receive_buffer=30_000), timestamps=chance.random() < 0.5, sack=chance.random() < 0.8)
        script.reach(state)
        connection = script.connection
        for _ in range(150):
            match chance.randrange(8):
                case 0:
                    connection.send(chance.randbytes(chance.choice((1, 5000, 50_000))))
                case 1:
                    connection.receive(chance.randint(1, 10_000))
                case 2:
                    script.now += chance.choice((0.001, 0.05, 1.0))
                    connection.timeout(script.now)
                case 3 if chance.random() < 0.05:
                    chance.choice((connection.shutdown, connection.close))()
                case 4:
                    offset = chance.randint(-5, 50_000)
                    sequence = (A_NUMBERS.sequence + offset) & 0xFFFFFFFF
                    connection.handle_icmp(chance.choice([*IcmpError]), sequence, chance.randint(0, 2000))
                case _:
                    connection.handle(decode_tcp(junk(chance, connection, script.now)), script.now)
            for segment in connection.take_segments(script.now, chance.choice((0, 1, 10_000, 1 << 20))):
                decode_tcp(on_the_wire(segment))
            assert connection.deadline == connection.deadline
            assert connection.readable + connection._block.receiver.buffer.reordered <= 30_000
            check(connection)


def check(connection: TcpConnection) -> None:
    """What always holds."""
    flight = connection._block.sender.flight
    board = flight.board
    assert flight.una <= flight.nxt <= flight.end + 1
    assert board.sacked == sum(found.end - found.start for found in board.ranges if found.is_sacked)
    assert board.lost == sum(found.end - found.start for found in board.ranges if found.is_lost)
    if board.ranges:
        assert (board.ranges[0].start, board.ranges[-1].end) == (flight.una, flight.nxt)
    if connection.is_closed:
        assert connection.deadline == float("inf")
        assert connection.send(b"x") == 0


@pytest.mark.parametrize("seed", range(10))
def test_bits_that_flip_on_the_way_raise_nothing(seed: int) -> None:
    """As if no checksum were there. The bytes may then be wrong, but both ends come to an end."""
    link = Link(seed, Faults(), TcpConfig(user_timeout=20.0, connect_timeout=10.0, keepalive_idle=30.0))
    chance = random.Random(seed)
    deliver = link._deliver

    def damaged(from_a: bool, data: bytes) -> None:
        if chance.random() < 0.1:
            changed = bytearray(data)
            changed[chance.randrange(4, min(len(changed), 60))] ^= 1 << chance.randrange(8)
            data = bytes(changed)
        try:
            decode_tcp(data)
        except MalformedFrame:
            return
        deliver(from_a, data)

    link._deliver = damaged  # type: ignore[method-assign]
    pump(link, bytes(30_000), bytes(3_000))
    link.run(lambda: len(link.ends) == 2 and any(end.connection.is_closed for end in link.ends), seconds=2000)
    for end in link.ends:
        check(end.connection)


def test_a_blind_stranger_cannot_reset_or_inject() -> None:
    """It knows the endpoints, and none of the numbers: ten thousand guesses change nothing."""
    chance = random.Random(1)
    script = Script(timestamps=True).establish()
    for _ in range(10_000):
        flags = chance.choice((RST, RST | ACK, SYN, ACK, SYN | ACK))
        numbers = chance.randrange(1 << 32), chance.randrange(1 << 32)
        options = encode_timestamps(chance.randrange(1 << 32), chance.randrange(1 << 32))
        header = encode_tcp(B.port, A.port, *numbers, flags, 0, options)
        script.connection.handle(decode_tcp(header + b"evil"), script.now)
        assert len(script.connection.take_segments(script.now, 1000)) <= 1
    assert script.connection.state == "established"
    assert script.connection.readable == 0


def test_memory_is_bounded_against_a_peer_that_sends_crumbs() -> None:
    """Single bytes with gaps, over a window of four megabytes."""
    script = Script(scale=7).establish()
    receiver = script.connection._block.receiver
    tracemalloc.start()
    try:
        for offset in range(3, 3_000, 2):
            header = encode_tcp(B.port, A.port, PEER_ISN + offset, A_NUMBERS.sequence + 1 & 0xFFFFFFFF, ACK, 100)
            script.connection.handle(decode_tcp(header + b"x"), script.now)
            script.connection.take_segments(script.now, 1000)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert receiver.buffer.reordered < 1000
    assert used < 500_000


def test_two_ends_that_disagree_do_not_answer_each_other_for_ever() -> None:
    """An acknowledgment that is not acceptable is answered by one; both are limited, so the storm ends."""
    script = Script().establish()
    answers = 0
    for _ in range(1000):
        answers += len(script.says(ACK, 1_000_000, 1))
    assert answers == 10


def test_an_idle_connection_is_small() -> None:
    """A thousand of them fit into some megabytes."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        scripts = [Script().establish().connection for _ in range(100)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(scripts) == 100
    assert (after - before) / 100 < 10_000
