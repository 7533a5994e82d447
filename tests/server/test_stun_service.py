from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Mapping, NatReport, Udp
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.nat.rfc3489_class import Rfc3489Verdict, classify_rfc3489
from tunnel.nat.survey import Survey
from tunnel.network.datagrams import Segments
from tunnel.server.stun_service import CLIENT_MEMORY, MAX_CLIENTS, REDIRECT_BURST, StunCounts, serve_stun
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.wire.frames import Kind
from tunnel.wire.stun import (
    Attribute,
    Change,
    StunClass,
    StunMessage,
    binding_request,
    decode_stun,
    encode_stun,
)

TRANSACTION = bytes(range(12))
CLIENT = Endpoint("25.9.9.9", 5000)
FOUR = tuple(Endpoint(host, port) for host in ("25.0.0.1", "25.0.0.2") for port in (3478, 3479))
FOUR6 = tuple(Endpoint(host, port) for host in ("2001:db8::1", "2001:db8::2") for port in (3478, 3479))
ONE_ADDRESS = FOUR[:2]
CLASSIC = bytes.fromhex("00010000") + bytes(16)
CLASSIC_CHANGE = bytes.fromhex("00010008") + bytes(16) + bytes.fromhex("0003000400000006")


@dataclass
class FakeSocket:
    local: Endpoint
    log: list[tuple[Endpoint, Endpoint, bytes]]
    """(from, to, datagram) of all that was sent."""
    waiting: list[Segments] = field(default_factory=list)
    arrived: trio.Event = field(default_factory=trio.Event)

    def send_nowait(self, datagram: bytes, remote: Endpoint, source: str) -> bool:
        self.log.append((Endpoint(source, self.local.port), remote, datagram))
        return True

    def send_segments(self, segments: Segments, remote: Endpoint, source: str) -> int:
        raise NotImplementedError("it sends on nothing")

    async def receive_batch(self) -> list[tuple[bytes, Endpoint, str]]:
        raise NotImplementedError("it reads without copies")

    async def receive_segments(self) -> list[Segments]:
        await self.arrived.wait()
        batch, self.waiting, self.arrived = self.waiting, [], trio.Event()
        return batch

    def close(self) -> None:
        raise NotImplementedError("who opened it closes it")


@dataclass
class Service:
    sockets: list[FakeSocket]
    log: list[tuple[Endpoint, Endpoint, bytes]]
    counts: StunCounts

    async def ask(
        self, datagrams: Iterable[bytes], remote: Endpoint = CLIENT, at: int = 0, own: str = ""
    ) -> list[tuple[Endpoint, Any]]:
        """What came back: (from, message), and the client was always the one it went to."""
        del self.log[:]
        own = own or self.sockets[at].local.host
        self.sockets[at].waiting.extend(Segments(datagram, remote, own=own) for datagram in datagrams)
        self.sockets[at].arrived.set()
        await trio.testing.wait_all_tasks_blocked()
        assert all(target.host == remote.host for _, target, _ in self.log)
        return [(source, decode_stun(datagram)) for source, _, datagram in self.log]


@asynccontextmanager
async def serving(bound: Sequence[Endpoint], rate: float = 1000.0, **options: Any) -> Any:
    log: list[tuple[Endpoint, Endpoint, bytes]] = []
    service = Service([FakeSocket(local, log) for local in bound], log, StunCounts())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(serve_stun, service.sockets, rate_per_source=rate, counts=service.counts, **options))
        yield service
        nursery.cancel_scope.cancel()


REQUEST = encode_stun(binding_request(TRANSACTION))


def changing(change: Change) -> bytes:
    return encode_stun(binding_request(TRANSACTION, change))


async def test_a_request_is_told_where_it_came_from() -> None:
    async with serving(FOUR) as service:
        assert await service.ask([REQUEST]) == [
            (
                FOUR[0],
                StunMessage(StunClass.SUCCESS, TRANSACTION, xor_mapped=CLIENT, origin=FOUR[0], other=FOUR[3]),
            )
        ]


async def test_an_answer_has_a_fingerprint_if_the_request_had_one() -> None:
    async with serving(FOUR) as service:
        request = encode_stun(StunMessage(StunClass.REQUEST, TRANSACTION, fingerprint=True))
        [(_, answer)] = await service.ask([request])
        assert answer.fingerprint


@pytest.mark.parametrize(
    ("change", "speaker"),
    [
        (Change.NOTHING, FOUR[1]),
        (Change.PORT, FOUR[0]),
        (Change.ADDRESS, FOUR[3]),
        (Change.PORT | Change.ADDRESS, FOUR[2]),
    ],
)
async def test_the_answer_comes_from_where_the_client_wished(change: Change, speaker: Endpoint) -> None:
    async with serving(FOUR) as service:
        [(source, answer)] = await service.ask([changing(change)], at=1)
        assert (source, answer.origin, answer.other) == (speaker, speaker, FOUR[2])
        assert answer.observed == CLIENT


async def test_with_one_address_only_the_port_can_change_and_no_other_address_is_claimed() -> None:
    """RFC 5780 section 7.4: OTHER-ADDRESS would mislead the tests of others."""
    async with serving(ONE_ADDRESS) as service:
        [(source, answer)] = await service.ask([changing(Change.PORT)])
        assert (source, answer.origin, answer.other) == (FOUR[1], FOUR[1], None)
        for change in (Change.ADDRESS, Change.ADDRESS | Change.PORT):
            [(source, answer)] = await service.ask([changing(change)])
            assert (source, answer.kind, answer.error) == (FOUR[0], StunClass.ERROR, 420)
            assert answer.unknown == (Attribute.CHANGE_REQUEST,)


async def test_wildcard_sockets_change_the_port_and_name_no_address() -> None:
    wild = (Endpoint("0.0.0.0", 3478), Endpoint("0.0.0.0", 3479))
    async with serving(wild) as service:
        [(source, answer)] = await service.ask([changing(Change.PORT)])
        assert (source.port, answer.observed, answer.origin, answer.other) == (3479, CLIENT, None, None)


async def test_the_answer_comes_from_the_address_that_was_asked() -> None:
    """A machine with two addresses prefers one by its routes, and a client takes no answer from a stranger."""
    wild = (Endpoint("0.0.0.0", 3478), Endpoint("0.0.0.0", 3479))
    async with serving(wild) as service:
        for own in ("25.0.0.1", "25.0.0.2"):
            assert [source for source, _ in await service.ask([REQUEST], own=own)] == [Endpoint(own, 3478)]
            moved = await service.ask([changing(Change.PORT)], own=own)
            assert [source for source, _ in moved] == [Endpoint(own, 3479)]
            refused = await service.ask([changing(Change.ADDRESS)], own=own)
            assert [(source, answer.error) for source, answer in refused] == [(Endpoint(own, 3478), 420)]


async def test_a_wildcard_socket_is_no_other_address() -> None:
    async with serving([FOUR[0], Endpoint("0.0.0.0", 3479)]) as service:
        [(_, answer)] = await service.ask([changing(Change.ADDRESS | Change.PORT)])
        assert answer.error == 420


async def test_sockets_of_another_family_are_no_other_address() -> None:
    async with serving([FOUR[0], Endpoint("2001:db8::1", 3479)]) as service:
        [(_, answer)] = await service.ask([REQUEST])
        assert answer.other is None


async def test_the_advertised_endpoints_are_named() -> None:
    """The server stands behind a router that forwards its ports."""
    inner = (Endpoint("10.0.0.1", 3478), Endpoint("10.0.0.2", 3479))
    async with serving(inner, advertised=(FOUR[0], FOUR[3])) as service:
        [(source, answer)] = await service.ask([REQUEST])
        assert (source, answer.origin, answer.other) == (inner[0], FOUR[0], FOUR[3])


async def test_an_ipv6_client_is_answered() -> None:
    client = Endpoint("2001:db8::9", 5000)
    async with serving([Endpoint("2001:db8::1", 3478)]) as service:
        [(_, answer)] = await service.ask([REQUEST], client)
        assert answer.observed == client


def aiming(port: int) -> bytes:
    return encode_stun(binding_request(TRANSACTION, response_port=port))


BESIDE = Endpoint(CLIENT.host, 6000)
"""Another port of the client, as seen by the server."""


@pytest.mark.parametrize("port", [0, 7, BESIDE.port])
async def test_an_answer_goes_to_no_port_that_did_not_ask(port: int) -> None:
    """RESPONSE-PORT (RFC 5780 section 7.5) would let one customer of a NAT aim our answers at another's port."""
    async with serving(FOUR) as service:
        await service.ask([REQUEST], BESIDE, at=1)  # it asked another socket
        [(_, answer)] = await service.ask([aiming(port)])
        assert (answer.kind, answer.error) == (StunClass.ERROR, 403)
        assert service.log[0][1] == CLIENT


async def test_an_answer_goes_to_a_port_of_the_asker_that_asked_before() -> None:
    async with serving(FOUR) as service:
        await service.ask([REQUEST], BESIDE)
        [(source, answer)] = await service.ask([aiming(BESIDE.port)])
        assert (source, service.log[0][1], answer.observed) == (FOUR[0], BESIDE, CLIENT)


async def test_a_port_that_asked_long_ago_is_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(FOUR) as service:
        await service.ask([REQUEST], BESIDE)
        await trio.sleep(CLIENT_MEMORY - 1.0)
        [(_, answer)] = await service.ask([aiming(BESIDE.port)])
        assert answer.kind is StunClass.SUCCESS
        await trio.sleep(2.0)
        [(_, answer)] = await service.ask([aiming(BESIDE.port)])
        assert answer.error == 403


async def test_one_source_aims_seldom(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(FOUR) as service:
        await service.ask([REQUEST], BESIDE)
        answers = await service.ask([aiming(BESIDE.port)] * 25)
        assert sum(answer.kind is StunClass.SUCCESS for _, answer in answers) == REDIRECT_BURST
        await trio.sleep(3.0)
        answers = await service.ask([aiming(BESIDE.port)] * 25)
        assert sum(answer.kind is StunClass.SUCCESS for _, answer in answers) == 3


async def test_a_flood_of_askers_is_not_remembered_without_bound() -> None:
    async with serving(FOUR, rate=1e9) as service:
        await service.ask([REQUEST], BESIDE)
        for number in range(MAX_CLIENTS):
            client = Endpoint(f"25.{number >> 8 & 255}.{number & 255}.1", 5000)
            service.sockets[0].waiting.append(Segments(REQUEST, client, own=FOUR[0].host))
        service.sockets[0].arrived.set()
        await trio.testing.wait_all_tasks_blocked()
        [(_, answer)] = await service.ask([aiming(BESIDE.port)])
        assert answer.error == 403


async def test_what_must_be_understood_and_is_not_is_refused() -> None:
    """RFC 8489 section 6.3.1."""
    request = REQUEST[:2] + (16).to_bytes(2, "big") + REQUEST[4:] + bytes.fromhex("7ffe0004746869737ffd000474686174")
    async with serving(FOUR) as service:
        [(_, answer)] = await service.ask([request])
        assert (answer.kind, answer.error, answer.unknown) == (StunClass.ERROR, 420, (0x7FFE, 0x7FFD))
        assert service.counts == StunCounts(refused=1)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\x00",
        bytes(1400),
        REQUEST[:-1],
        REQUEST + b"\0\0\0\0",
        b"\x10" + REQUEST[1:],
        encode_stun(StunMessage(StunClass.INDICATION, TRANSACTION)),
        encode_stun(StunMessage(StunClass.SUCCESS, TRANSACTION, xor_mapped=CLIENT)),
        encode_stun(StunMessage(StunClass.ERROR, TRANSACTION, error=420)),
        encode_stun(StunMessage(StunClass.REQUEST, TRANSACTION, method=3)),
        CLASSIC[:-1],
        b"\x01\x01" + CLASSIC[2:],
    ],
    ids=["empty", "byte", "zeros", "cut", "long", "ours", "indication", "success", "error", "allocate", "cut classic",
         "classic answer"],
)  # fmt: skip
async def test_what_is_no_request_is_never_answered(datagram: bytes) -> None:
    """Two servers that answer each other's answers would never stop."""
    async with serving(FOUR) as service:
        assert await service.ask([datagram]) == []
        assert service.counts == StunCounts(ignored=1)
        assert len(await service.ask([REQUEST])) == 1


async def test_datagrams_of_one_read_are_answered_each() -> None:
    """The kernel joins what one client sends in a row (UDP_GRO)."""
    async with serving(FOUR) as service:
        service.sockets[0].waiting.append(Segments(REQUEST * 3, CLIENT, len(REQUEST), FOUR[0].host))
        assert [source for source, _ in await service.ask([REQUEST])] == [FOUR[0]] * 4


async def test_what_is_relayed_is_told_apart_within_one_read() -> None:
    """A node asks and relays from one socket: the kernel may join a short request to the fragments before it."""
    taken: list[tuple[int, list[bytes]]] = []
    passed = bytes([Kind.RELAYED]) + bytes(len(REQUEST) - 1)

    def take(socket: int, segments: Segments) -> None:
        taken.append((socket, segments.datagrams()))

    async with serving(FOUR, on_relayed=take) as service:
        for mixed in ([passed, passed], [passed, REQUEST], [REQUEST, passed[:-1]]):
            service.sockets[1].waiting.append(Segments(b"".join(mixed), CLIENT, len(REQUEST), FOUR[1].host))
        answers = await service.ask([], at=1)
        assert [source for source, _ in answers] == [FOUR[1]] * 2
        assert taken == [(1, [passed, passed]), (1, [passed]), (1, [passed[:-1]])]


async def test_random_junk_does_not_end_the_service() -> None:
    chance = random.Random(1)
    junk = [chance.randbytes(chance.randrange(60)) for _ in range(200)]
    junk += [REQUEST[:2] + len(rest).to_bytes(2, "big") + REQUEST[4:] + rest for rest in junk]
    async with serving(FOUR) as service:
        await service.ask(junk)
        assert len(await service.ask([REQUEST])) == 1


@pytest.mark.parametrize("remote", [Endpoint("25.9.9.9", 0), Endpoint("224.0.0.1", 9), Endpoint("255.255.255.255", 9)])
async def test_a_source_that_cannot_be_is_not_answered(remote: Endpoint) -> None:
    async with serving(FOUR) as service:
        assert await service.ask([REQUEST], remote) == []


async def test_a_source_is_answered_so_often_and_others_as_before(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(FOUR, rate=10.0) as service:
        assert len(await service.ask([REQUEST] * 25)) == 10
        assert service.counts == StunCounts(answered=10, limited=15)
        other_port = Endpoint(CLIENT.host, 6000)
        assert await service.ask([REQUEST], other_port) == []
        assert len(await service.ask([REQUEST], Endpoint("25.9.9.8", 5000))) == 1
        await trio.sleep(0.55)
        assert len(await service.ask([REQUEST] * 25)) == 5


async def test_an_ipv6_subscriber_is_one_source(autojump_clock: trio.testing.MockClock) -> None:
    async with serving([Endpoint("2001:db8::1", 3478)], rate=3.0) as service:
        answers = 0
        for number in range(10):
            answers += len(await service.ask([REQUEST], Endpoint(f"2001:db8:9::{number + 1}", 5000)))
        assert answers == 3


@pytest.mark.parametrize(
    ("server", "client", "expected"), [(FOUR, CLIENT, 56), (FOUR6, Endpoint("2001:db8:9::9", 5000), 92)]
)
async def test_the_least_question_gets_so_many_bytes(
    server: tuple[Endpoint, ...], client: Endpoint, expected: int
) -> None:
    """docs/security.md says how little an amplifier this is; RFC 5780 asks for both attributes that make it one."""
    question = encode_stun(binding_request(TRANSACTION))
    async with serving(server) as service:
        await service.ask([question], client)
        assert [len(answer) for _, _, answer in service.log] == [expected]
        assert len(question) == 20


async def ask_classic(service: Any, datagram: bytes) -> list[tuple[Endpoint, bytes]]:
    del service.log[:]
    service.sockets[0].waiting.append(Segments(datagram, CLIENT, own=FOUR[0].host))
    service.sockets[0].arrived.set()
    await trio.testing.wait_all_tasks_blocked()
    return [(source, answer) for source, _, answer in service.log]


async def test_a_classic_client_is_answered_where_its_tests_mean_something() -> None:
    async with serving(FOUR) as service:
        [(source, answer)] = await ask_classic(service, CLASSIC)
        assert (source, answer[:4]) == (FOUR[0], bytes.fromhex("01010024"))
        assert [source for source, _ in await ask_classic(service, CLASSIC_CHANGE)] == [FOUR[3]]
    async with serving(ONE_ADDRESS) as service:
        [(_, answer)] = await ask_classic(service, CLASSIC)
        assert len(answer) == 20 + 12 + 12
        for change in ("02", "04", "06"):
            assert await ask_classic(service, CLASSIC_CHANGE[:-1] + bytes.fromhex(change)) == []
        assert service.counts == StunCounts(answered=1, ignored=3)


async def test_a_classic_client_over_ipv6_does_not_exist() -> None:
    async with serving([Endpoint("2001:db8::1", 3478)]) as service:
        assert await service.ask([CLASSIC], Endpoint("2001:db8::9", 5000)) == []
        assert service.counts == StunCounts(ignored=1)


async def test_it_serves_in_an_internet_in_memory(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_internet() as internet:
        server, client = internet.add_host("server", "25.0.0.1"), internet.add_host("client", "25.9.9.9")
        bound = [await server.world().services.open_service_socket(endpoint) for endpoint in ONE_ADDRESS]
        socket = await client.world().datagrams.open_socket(Endpoint("0.0.0.0", 5000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(serve_stun, bound, rate_per_source=10.0))
            assert socket.send_nowait(REQUEST, ONE_ADDRESS[0])
            [(datagram, remote)] = await socket.receive_batch()
            assert remote == ONE_ADDRESS[0]
            assert decode_stun(datagram).observed == CLIENT
            nursery.cancel_scope.cancel()
        for five_tuple in bound:
            five_tuple.close()
        socket.close()


async def test_a_survey_against_the_service_gets_its_verdict(autojump_clock: trio.testing.MockClock) -> None:
    """Both ends of the STUN service in one internet: the node's survey and the server's answers."""
    async with open_memory_internet(latency=0.02) as internet:
        server, client = internet.add_host("server", "25.0.0.1", "25.0.0.2"), internet.add_host("client", "25.9.9.9")
        bound = [await server.world().services.open_service_socket(endpoint) for endpoint in FOUR]
        world = client.world()
        socket = await world.datagrams.open_socket(Endpoint("0.0.0.0", 5000))
        survey = Survey(
            [socket],
            world.resolver,
            own=[CLIENT],
            servers=[*map(str, FOUR), "nowhere.test:3478"],
            timings=DEFAULT_TIMINGS,
            token=world.entropy.token,
        )

        async def read() -> None:
            while True:
                for datagram, remote in await socket.receive_batch():
                    survey.receive_untrusted(socket, datagram, remote)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(serve_stun, bound, rate_per_source=10.0))
            nursery.start_soon(read)
            result = await survey.run()
            opinion = await classify_rfc3489(world.datagrams, FOUR[0], source=CLIENT.host)
            nursery.cancel_scope.cancel()
        assert result.report == NatReport(mapping=Mapping.NONE, udp=Udp.OPEN)
        assert result.reflexive == (CLIENT,)
        assert opinion == Rfc3489Verdict("Open Internet")
        assert opinion.agrees(result.report)
        for five_tuple in bound:
            five_tuple.close()
        socket.close()
