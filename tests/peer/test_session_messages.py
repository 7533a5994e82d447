"""What two peers tell each other inside the session: echoes, tallies, farewell."""

from __future__ import annotations

import random

import pytest
import trio
from tests.dataplane.flows import DIRECT, agree, open_flow

from tunnel.dataplane.flow import Overflows
from tunnel.dataplane.outbound import Outbound
from tunnel.machines.stalls import Stalls
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.network.datagrams import Transmit
from tunnel.peer.session_messages import ECHO_BURST, ECHO_RATE, SessionMessages
from tunnel.peer.throughput import Phase, Throughput
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.wire.session_packets import Control, Echo, EchoReply, Farewell, Keep, Tally, decode_control

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Said:
    """One side. What it says is opened with the other side's keys."""

    def __init__(self, *, is_ready: bool = True, overflows: Overflows | None = None) -> None:
        self.flow, _ = open_flow(overflows=overflows)
        self.theirs = open_flow()[0]
        if is_ready:
            agree(self.flow, 1, 2)
            self.flow.route = (DIRECT,)
        self.keys = agree(self.theirs, 2, 1, is_initiator=False)
        self.heard: list[Control] = []
        self.throughput = Throughput(DEFAULT_TIMINGS, Stalls(), self.flow.received)
        outbound = Outbound({DIRECT.socket: self.send})
        self.messages = SessionMessages(self.flow, outbound, self.throughput, MemoryEntropy(random.Random(1)))

    def send(self, transmit: Transmit) -> int:
        datagrams = [b"".join(parts) for parts in transmit.datagrams()]
        for datagram in datagrams:
            counter = int.from_bytes(datagram[8:16])
            self.heard.append(decode_control(self.keys.opener.open(datagram, counter)))
        return len(datagrams)


async def test_an_echo_is_answered_with_its_token_and_counts_as_use() -> None:
    side = Said()
    side.messages.hear(Echo(b"12345678"))
    assert side.heard == [EchoReply(b"12345678")]
    assert side.flow.used == trio.current_time()


async def test_echoes_are_answered_within_a_rate() -> None:
    """A peer that asks without end would fill our socket, and what programs here send would find no room in it."""
    side = Said()
    for _ in range(1000):
        side.messages.hear(Echo(b"12345678"))
    assert len(side.heard) == ECHO_BURST
    await trio.sleep(1.0)
    for _ in range(1000):
        side.messages.hear(Echo(b"12345678"))
    assert len(side.heard) == ECHO_BURST + ECHO_RATE


async def test_an_echo_ends_with_its_own_reply_alone() -> None:
    side = Said()
    token = side.messages.say_echo()
    assert side.heard == [Echo(token)]
    side.messages.hear(EchoReply(b"another!"))
    with trio.move_on_after(1.0) as waited:
        await side.messages.wait_echo(token)
    assert waited.cancelled_caught
    token = side.messages.say_echo()
    side.messages.hear(EchoReply(token))
    with trio.fail_after(1.0):
        await side.messages.wait_echo(token)


async def test_a_peer_that_cannot_be_reached_now_is_neither_asked_nor_told_farewell() -> None:
    """They would wait for keys, and say later what is no longer so."""
    side = Said(is_ready=False)
    side.messages.ask()
    side.messages.say_farewell()
    assert side.flow.waiting.is_empty(trio.current_time())
    side = Said()
    side.messages.ask()
    side.messages.say_farewell()
    assert [type(message) for message in side.heard] == [Echo, Farewell]


async def test_a_keep_says_nothing_and_asks_for_nothing() -> None:
    side = Said()
    side.messages.hear(Keep())
    assert side.heard == []


async def test_a_tally_is_told_while_much_comes_in() -> None:
    side = Said()
    side.messages.note_got_data(trio.current_time())
    assert side.heard == []
    side.flow.received.by_udp = 1_000_000
    await trio.sleep(DEFAULT_TIMINGS.tally)
    side.messages.note_got_data(trio.current_time())
    assert side.heard == [Tally(1_000_000, 0)]


async def test_no_tally_tells_what_a_full_socket_of_ours_lost() -> None:
    """News of the link are a tally too: they told it as loss of the path."""
    side = Said(overflows=(full := Overflows()))
    for counter in (0, 9):
        side.flow.received.note(7, counter, 1, is_udp=True)
    full.count += 1
    side.throughput.phase = Phase.LINK
    side.messages.tell_news()
    (tally,) = side.heard
    assert isinstance(tally, Tally)
    assert tally.avoids_udp
    assert tally.counted == tally.came
