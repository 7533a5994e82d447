"""pystun3 on a socket that only looks like one, against a classic server with two addresses and several NATs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import stun
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Mapping, NatReport, Udp
from tunnel.model.offload import Offload
from tunnel.nat.rfc3489_class import Rfc3489Verdict, classify_rfc3489
from tunnel.network.datagrams import Segments, Transmit
from tunnel.wire.classic_stun import ClassicRequest, decode_classic_request, encode_classic_success
from tunnel.wire.stun import Change

SERVER = Endpoint("25.0.0.1", 3478)
HOSTS, PORTS = ("25.0.0.1", "25.0.0.2"), (3478, 3479)
OWN = "25.5.5.5"


def test_every_class_of_pystun3_has_its_term_of_rfc_3489() -> None:
    """Its own words are misspelled: `Restric NAT`."""
    classes = (
        stun.Blocked,
        stun.OpenInternet,
        stun.FullCone,
        stun.SymmetricUDPFirewall,
        stun.RestricNAT,
        stun.RestricPortNAT,
        stun.SymmetricNAT,
    )
    terms = [Rfc3489Verdict(classic).term for classic in classes]
    assert len(set(terms)) == len(classes)
    assert not set(terms) & set(classes)
    assert Rfc3489Verdict(stun.RestricPortNAT).term == "port restricted cone NAT"
    assert Rfc3489Verdict(None).term is None


def switched(endpoint: Endpoint, change: Change) -> Endpoint:
    """The server's endpoint that differs from this one in what `change` says."""
    host = HOSTS[HOSTS.index(endpoint.host) ^ bool(change & Change.ADDRESS)]
    return Endpoint(host, PORTS[PORTS.index(endpoint.port) ^ bool(change & Change.PORT)])


@dataclass
class Net:
    """A `Datagrams` port with one NAT and one server in it."""

    mapped: Callable[[Endpoint], Endpoint] = lambda _: Endpoint("25.1.1.1", 40000)
    passes: Callable[[Endpoint, set[Endpoint]], bool] = lambda source, asked: True
    """Whether an answer from there passes inwards, given whom we have asked."""
    reply: Callable[[ClassicRequest, Endpoint, Endpoint], list[bytes]] | None = None
    asked: list[Endpoint] = field(default_factory=list)
    closed: int = 0
    local: Endpoint = Endpoint("0.0.0.0", 5000)

    def __post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[tuple[bytes, Endpoint]](10000)

    async def open_socket(self, local: Endpoint) -> Net:
        await trio.lowlevel.checkpoint()
        return self

    def send_nowait(self, datagram: bytes, remote: Endpoint, ttl: int | None = None) -> bool:
        self.asked.append(remote)
        request = decode_classic_request(datagram)
        source = switched(remote, request.change)
        if self.passes(source, set(self.asked)):
            other = switched(remote, Change.PORT | Change.ADDRESS)
            if self.reply is None:
                answers = [encode_classic_success(request, self.mapped(remote), source, other)]
            else:
                answers = self.reply(request, self.mapped(remote), source)
            for answer in answers:
                self._send.send_nowait((answer, source))
        return True

    @property
    def offloads(self) -> frozenset[Offload]:
        return frozenset()

    def send_batch(self, transmit: Transmit) -> int:
        raise NotImplementedError("one by one")

    def unsent_bytes(self) -> int:
        return 0

    async def receive_batch(self) -> list[tuple[bytes, Endpoint]]:
        await trio.sleep(0.01)
        return [await self._receive.receive()]

    async def receive_segments(self) -> list[Segments]:
        raise NotImplementedError("one by one")

    def close(self) -> None:
        self.closed += 1


def anybody(source: Endpoint, asked: set[Endpoint]) -> bool:
    return True


def known_hosts(source: Endpoint, asked: set[Endpoint]) -> bool:
    return source.host in {endpoint.host for endpoint in asked}


def known_endpoints(source: Endpoint, asked: set[Endpoint]) -> bool:
    return source in asked


def nobody(source: Endpoint, asked: set[Endpoint]) -> bool:
    return False


@pytest.mark.parametrize(
    ("mapped", "passes", "classic"),
    [
        (lambda _: Endpoint("25.1.1.1", 40000), anybody, "Full Cone"),
        (lambda _: Endpoint("25.1.1.1", 40000), known_hosts, "Restric NAT"),
        (lambda _: Endpoint("25.1.1.1", 40000), known_endpoints, "Restric Port NAT"),
        (lambda remote: Endpoint("25.1.1.1", remote.port + ord(remote.host[-1])), known_endpoints, "Symmetric NAT"),
        (lambda _: Endpoint(OWN, 5000), anybody, "Open Internet"),
        (lambda _: Endpoint(OWN, 5000), known_endpoints, "Symmetric UDP Firewall"),
        (lambda _: Endpoint("25.1.1.1", 40000), nobody, "Blocked"),
    ],
)
async def test_the_classic_classes_are_told_apart(
    autojump_clock: trio.testing.MockClock,
    mapped: Callable[[Endpoint], Endpoint],
    passes: Callable[[Endpoint, set[Endpoint]], bool],
    classic: str,
) -> None:
    net = Net(mapped, passes)
    assert await classify_rfc3489(net, SERVER, source=OWN) == Rfc3489Verdict(classic)
    assert net.closed == 1


def flood(request: ClassicRequest, mapped: Endpoint, source: Endpoint) -> list[bytes]:
    stranger = ClassicRequest(bytes(16))
    return [encode_classic_success(stranger, mapped, source, SERVER)] * 100


def error(request: ClassicRequest, mapped: Endpoint, source: Endpoint) -> list[bytes]:
    return [b"\x01\x11\x00\x00" + request.transaction]


def junk(request: ClassicRequest, mapped: Endpoint, source: Endpoint) -> list[bytes]:
    good = encode_classic_success(request, mapped, source, SERVER)
    unaligned = good[:2] + b"\x00\x05" + good[4:20] + bytes.fromhex("8022000161")
    ipv6 = good[:2] + b"\x00\x18" + good[4:20] + bytes.fromhex("000100140002") + bytes(18)
    return [
        b"",
        b"\0",
        good[:-1],
        good[:24],
        b"\x08\x00" + good[2:],
        good[:22] + b"\x7f\xff" + good[24:],
        ipv6,
        unaligned,
    ]


@pytest.mark.parametrize("hostile", [flood, error])
async def test_a_hostile_server_gets_few_questions(
    autojump_clock: trio.testing.MockClock, hostile: Callable[[ClassicRequest, Endpoint, Endpoint], list[bytes]]
) -> None:
    """pystun3 alone would ask again for each packet, for ever."""
    net = Net(reply=hostile)
    opinion = await classify_rfc3489(net, SERVER)
    assert opinion == Rfc3489Verdict(None, "the server answers, but not as RFC 3489 would")
    assert len(net.asked) == 4


async def test_a_lossy_way_costs_at_most_four_tries_a_question(autojump_clock: trio.testing.MockClock) -> None:
    net = Net(passes=lambda source, asked: len(net.asked) % 4 == 0)
    assert await classify_rfc3489(net, SERVER, source=OWN) == Rfc3489Verdict("Full Cone")
    assert len(net.asked) == 8


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.binary(max_size=24) | st.sampled_from([bytes.fromhex("0001000800015555aaaaaaaa")]), max_size=3))
async def test_no_attributes_upset_it(autojump_clock: trio.testing.MockClock, attributes: list[bytes]) -> None:
    def reply(request: ClassicRequest, mapped: Endpoint, source: Endpoint) -> list[bytes]:
        body = b"".join(attributes)
        return [struct.pack("!HH", 0x0101, len(body)) + request.transaction + body]

    net = Net(reply=reply)
    opinion = await classify_rfc3489(net, SERVER)
    assert opinion.classic is None
    assert len(net.asked) <= 16


async def test_a_hostile_second_address_is_not_asked(autojump_clock: trio.testing.MockClock) -> None:
    def reply(request: ClassicRequest, mapped: Endpoint, source: Endpoint) -> list[bytes]:
        other = Endpoint("255.255.255.255", 9)
        return [] if request.change else [encode_classic_success(request, mapped, source, other)]

    net = Net(reply=reply)
    assert (await classify_rfc3489(net, SERVER)).classic is None
    assert {remote.host for remote in net.asked} == {SERVER.host}


@pytest.mark.parametrize("source", [OWN, "0.0.0.0"])
async def test_a_server_with_one_address_gives_no_verdict(autojump_clock: trio.testing.MockClock, source: str) -> None:
    def without_other(request: ClassicRequest, mapped: Endpoint, server: Endpoint) -> list[bytes]:
        return [] if request.change else [encode_classic_success(request, mapped, server, None)]

    net = Net(lambda _: Endpoint(OWN, 5000), reply=without_other)
    opinion = await classify_rfc3489(net, SERVER, source=source)
    assert opinion == Rfc3489Verdict(None, "the server has no second address that answers")


async def test_all_tests_together_have_one_patience(autojump_clock: trio.testing.MockClock) -> None:
    begun = trio.current_time()
    net = Net(passes=nobody)
    opinion = await classify_rfc3489(net, SERVER, patience=1.0)
    assert opinion == Rfc3489Verdict(None, "no verdict within 1 s")
    assert trio.current_time() - begun == pytest.approx(1.0)
    assert net.closed == 1


async def test_a_cancelled_opinion_leaves_nothing_behind(autojump_clock: trio.testing.MockClock) -> None:
    net = Net(passes=nobody)
    with trio.move_on_after(0.2) as scope:
        await classify_rfc3489(net, SERVER)
    assert scope.cancelled_caught
    assert net.closed == 1


@pytest.mark.parametrize(
    ("classic", "report", "agrees"),
    [
        ("Blocked", NatReport(udp=Udp.BLOCKED), True),
        ("Blocked", NatReport(udp=Udp.OPEN), False),
        ("Blocked", NatReport(), None),
        (None, NatReport(Mapping.NONE), None),
        ("Full Cone", NatReport(), None),
        ("Open Internet", NatReport(Mapping.NONE), True),
        ("Open Internet", NatReport(Mapping.DEPENDENT), False),
        ("Symmetric UDP Firewall", NatReport(Mapping.NONE), True),
        ("Symmetric NAT", NatReport(Mapping.DEPENDENT), True),
        ("Symmetric NAT", NatReport(Mapping.ENDPOINT_INDEPENDENT), False),
        ("Full Cone", NatReport(Mapping.ADDRESS_DEPENDENT), True),
        ("Full Cone", NatReport(Mapping.NONE), False),
        ("Restric Port NAT", NatReport(Mapping.ENDPOINT_INDEPENDENT), True),
        ("Restric NAT", NatReport(Mapping.DEPENDENT), False),
    ],
)
def test_a_disagreement_with_the_survey_is_seen(classic: str | None, report: NatReport, agrees: bool | None) -> None:
    assert Rfc3489Verdict(classic).agrees(report) is agrees
