"""Filtering, against servers and boxes in memory: what is heard, and when silence is believed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Filtering
from tunnel.nat.filtering import FilteringResult, Heard, StunAddresses, discover_filtering, filtering_of
from tunnel.nat.stun_client import open_stun_client
from tunnel.network.datagrams import DatagramSocket
from tunnel.server.stun_service import serve_stun
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.memory.machine import MemoryEntropy
from tunnel.verify.memory.packet import MemoryPacket
from tunnel.wire.stun import StunClass, binding_success, decode_stun, encode_stun

YES, NO, VOID = Heard.YES, Heard.NO, Heard.VOID
FOUR = tuple(Endpoint(host, port) for host in ("25.0.0.1", "25.0.0.2") for port in (3478, 3479))
ADDRESSES = StunAddresses(FOUR[0], FOUR[1], FOUR[3])
HOME = "26.0.0.1"

Lets = Callable[[MemoryPacket, int], bool]
"""Whether the n'th packet to us gets through."""


@pytest.mark.parametrize(
    ("both", "port", "filtering"),
    [
        (YES, YES, Filtering.ENDPOINT_INDEPENDENT),
        (YES, VOID, Filtering.ENDPOINT_INDEPENDENT),
        (YES, NO, Filtering.ENDPOINT_INDEPENDENT),
        (NO, YES, Filtering.ADDRESS_DEPENDENT),
        (NO, NO, Filtering.ADDRESS_AND_PORT_DEPENDENT),
        (VOID, NO, Filtering.ADDRESS_AND_PORT_DEPENDENT),
        (VOID, YES, Filtering.UNKNOWN),
        (NO, VOID, Filtering.UNKNOWN),
        (VOID, VOID, Filtering.UNKNOWN),
    ],
)
def test_what_both_tests_mean_together(both: Heard, port: Heard, filtering: Filtering) -> None:
    assert filtering_of(both, port) is filtering


class Box:
    """A firewall without NAT in front of one host: it remembers whom the host sent to, by `key`."""

    def __init__(self, key: Callable[[Endpoint], object]) -> None:
        self._key = key
        self._opened: set[tuple[int, object]] = set()

    def note_sent(self, packet: MemoryPacket) -> None:
        self._opened.add((packet.source.port, self._key(packet.destination)))

    def lets(self, packet: MemoryPacket, _: int) -> bool:
        return (packet.destination.port, self._key(packet.source)) in self._opened


async def learned(
    lets: Lets,
    note_sent: Callable[[MemoryPacket], None] = lambda _: None,
    *,
    served: tuple[Endpoint, ...] = FOUR,
    addresses: StunAddresses = ADDRESSES,
    is_steady: bool = True,
) -> tuple[Heard, Heard, int]:
    """What is heard through this box, and how many packets it took."""
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        server = internet.add_host("server", *dict.fromkeys(endpoint.host for endpoint in FOUR))
        sockets = [await server.open_service_socket(endpoint) for endpoint in served]
        nursery.start_soon(partial(serve_stun, sockets, rate_per_source=100.0))
        host = internet.add_host("home", HOME)
        sent, came = 0, 0
        route = internet.transmit

        def transmit(packet: MemoryPacket) -> None:
            nonlocal sent, came
            if packet.source.host == HOME:
                sent += 1
                note_sent(packet)
                route(packet)
            else:
                came += 1
                if lets(packet, came):
                    route(packet)

        internet.transmit = transmit  # type: ignore[method-assign]
        async with open_stun_client(host, MemoryEntropy(random.Random(3))) as stun_client:
            found = await discover_filtering(stun_client, [addresses], is_steady=is_steady)
        nursery.cancel_scope.cancel()
    return found.both, found.port, sent


@pytest.mark.parametrize(
    ("key", "heard"),
    [
        (lambda _: None, (YES, YES)),
        (lambda remote: remote.host, (NO, YES)),
        (lambda remote: remote, (NO, NO)),
    ],
    ids=["independent", "address", "port"],
)
@pytest.mark.parametrize("is_steady", [True, False])
async def test_each_kind_of_filter_is_heard(
    autojump_clock: trio.testing.MockClock,
    key: Callable[[Endpoint], object],
    heard: tuple[Heard, Heard],
    is_steady: bool,
) -> None:
    box = Box(key)
    both, port, sent = await learned(box.lets, box.note_sent, is_steady=is_steady)
    assert (both, port) == heard or (both is YES and heard[0] is YES)
    assert sent <= 19


async def test_one_address_tells_whether_ports_are_told_apart(autojump_clock: trio.testing.MockClock) -> None:
    one = {"served": FOUR[:2], "addresses": StunAddresses(FOUR[0], FOUR[1])}
    for key, heard in ((lambda remote: remote.host, YES), (lambda remote: remote, NO)):
        box = Box(key)
        both, port, _ = await learned(box.lets, box.note_sent, **one)  # type: ignore[arg-type]
        assert (both, port) == (VOID, heard)


async def test_a_server_that_cannot_answer_from_elsewhere_proves_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its second address is there, but what it says from there in another's name is lost: by its own firewall, say."""
    owed: Counter[tuple[int, Endpoint]] = Counter()

    def note_sent(packet: MemoryPacket) -> None:
        owed[packet.source.port, packet.destination] += 1

    def lets(packet: MemoryPacket, _: int) -> bool:
        owed[packet.destination.port, packet.source] -= 1
        return owed[packet.destination.port, packet.source] >= 0

    both, port, _ = await learned(lets, note_sent)
    assert (both, port) == (VOID, VOID)


@pytest.mark.parametrize("is_steady", [True, False])
async def test_a_server_that_is_alone_in_truth_proves_nothing(
    autojump_clock: trio.testing.MockClock, is_steady: bool
) -> None:
    """It claims another address that nobody answers at, and is silent about wishes that it cannot fulfill."""

    def lets(packet: MemoryPacket, _: int) -> bool:
        return decode_stun(packet.payload).kind is StunClass.SUCCESS

    both, port, _ = await learned(lets, served=FOUR[:1], is_steady=is_steady)
    assert (both, port) == (VOID, VOID)


async def test_a_server_that_can_is_asked_after_one_that_cannot(autojump_clock: trio.testing.MockClock) -> None:
    """As coturn, which answers from elsewhere when it is asked at one of its endpoints and not at all of them."""
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        server = internet.add_host("server", "25.0.0.1", "25.0.0.2", "25.0.0.3")
        sockets = [await server.open_service_socket(one) for one in FOUR]
        nursery.start_soon(partial(serve_stun, sockets, rate_per_source=100.0))
        poor = Endpoint("25.0.0.3", 3478)
        nursery.start_soon(answer_from_here, await server.open_socket(poor))
        async with open_stun_client(internet.add_host("home", HOME), MemoryEntropy(random.Random(3))) as stun_client:
            found = await discover_filtering(
                stun_client, [StunAddresses(poor, None, FOUR[3]), ADDRESSES], is_steady=True
            )
        nursery.cancel_scope.cancel()
    assert found.addresses == ADDRESSES
    assert found.both is YES


async def test_silence_of_the_whole_line_is_no_filter(autojump_clock: trio.testing.MockClock) -> None:
    """The line dies after the control: not even plain questions are answered then."""
    box = Box(lambda remote: remote)
    both, port, _ = await learned(lambda packet, count: count <= 6 and box.lets(packet, count), box.note_sent)
    assert (both, port) == (VOID, VOID)


async def test_one_lost_answer_does_not_make_a_filter(autojump_clock: trio.testing.MockClock) -> None:
    """Of whatever number it is."""
    for lost in range(1, 12):
        both, _, _ = await learned(lambda packet, count, lost=lost: count != lost)  # type: ignore[misc]
        assert both is YES


async def test_an_answer_from_where_we_asked_fulfills_no_wish(autojump_clock: trio.testing.MockClock) -> None:
    """Some servers ignore CHANGE-REQUEST."""
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        server = internet.add_host("server", "25.0.0.1", "25.0.0.2")
        for endpoint in FOUR:
            nursery.start_soon(answer_from_here, await server.open_socket(endpoint))
        async with open_stun_client(internet.add_host("home", HOME), MemoryEntropy(random.Random(3))) as stun_client:
            assert await discover_filtering(stun_client, [ADDRESSES], is_steady=True) == FilteringResult(
                ADDRESSES, VOID, VOID
            )
        nursery.cancel_scope.cancel()


async def answer_from_here(socket: DatagramSocket) -> None:
    while True:
        for datagram, remote in await socket.receive_batch():
            socket.send_nowait(encode_stun(binding_success(decode_stun(datagram), remote)), remote)
