"""The survey against a small internet of its own: servers with a delay and a character, and a NAT as a function."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import SettingsError, Unreachable
from tunnel.model.nat import Allocation, Mapping, NatReport, Udp
from tunnel.model.offload import Offload
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.nat.survey import Survey, SurveyResult
from tunnel.network.datagrams import Segments, Transmit
from tunnel.wire.stun import StunClass, StunMessage, decode_stun, encode_stun

LOCAL = Endpoint("0.0.0.0", 5000)
LOCAL6 = Endpoint("::", 5006)
OWN = Endpoint("192.168.1.5", 5000)
OWN6 = Endpoint("2001:db8:5::5", 5006)
OUTER = Endpoint("25.1.1.1", 40000)
CAP = DEFAULT_TIMINGS.survey_cap
SETTLE = DEFAULT_TIMINGS.survey_settle

Answer = Callable[[StunMessage, Endpoint, Endpoint], Iterator[tuple[bytes, Endpoint]]]
"""(request, our mapped endpoint, the server's own) to the (datagram, source)s that come back."""


def honest(request: StunMessage, seen: Endpoint, server: Endpoint) -> Iterator[tuple[bytes, Endpoint]]:
    yield encode_stun(StunMessage(StunClass.SUCCESS, request.transaction, xor_mapped=seen)), server


def lying(mapped: Endpoint) -> Answer:
    return lambda request, _, server: honest(request, mapped, server)


@dataclass
class Server:
    delay: float = 0.02
    answer: Answer = honest
    deaf_to: int = 0
    """It misses so many requests before it hears one."""


@dataclass
class FakeSocket:
    local: Endpoint
    internet: Internet

    @property
    def offloads(self) -> frozenset[Offload]:
        return frozenset()

    def send_nowait(self, datagram: bytes, remote: Endpoint, ttl: int | None = None) -> bool:
        return self.internet.carry(self, datagram, remote)

    def send_batch(self, transmit: Transmit) -> int:
        raise NotImplementedError("one by one")

    def unsent_bytes(self) -> int:
        return 0

    async def receive_batch(self) -> list[tuple[bytes, Endpoint]]:
        raise NotImplementedError("the node reads, not the survey")

    async def receive_segments(self) -> list[Segments]:
        raise NotImplementedError("the node reads, not the survey")

    def close(self) -> None:
        raise NotImplementedError("the node closes, not the survey")


def preserving(source: Endpoint, _: Endpoint) -> Endpoint:
    return Endpoint(OUTER.host, source.port)


def independent(_: Endpoint, __: Endpoint) -> Endpoint:
    return OUTER


def symmetric(_: Endpoint, remote: Endpoint) -> Endpoint:
    return Endpoint(OUTER.host, 20000 + 100 * int(remote.host.rpartition(".")[2]) + remote.port % 100)


def address_dependent(_: Endpoint, remote: Endpoint) -> Endpoint:
    return Endpoint(OUTER.host, 20000 + int(remote.host.rpartition(".")[2]))


@dataclass
class Internet:
    nursery: trio.Nursery
    nat: Callable[[Endpoint, Endpoint], Endpoint] = independent
    servers: dict[Endpoint, Server] = field(default_factory=dict)
    own: tuple[Endpoint, ...] = (OWN, OWN6)
    names: dict[str, tuple[str, ...] | float] = field(default_factory=dict)
    """Addresses, or how long a name takes to fail. An unknown name fails at once."""
    name_delay: float = 0.0
    routed: Callable[[Endpoint], bool] = lambda _: True
    sent: list[tuple[float, Endpoint]] = field(default_factory=list)
    transactions: list[bytes] = field(default_factory=list)
    survey: Survey | None = None

    def carry(self, socket: FakeSocket, datagram: bytes, remote: Endpoint) -> bool:
        self.sent.append((trio.current_time(), remote))
        self.transactions.append(decode_stun(datagram).transaction)
        if not self.routed(remote):
            return False
        server = self.servers.get(remote)
        if server is not None and server.deaf_to == 0:
            self.nursery.start_soon(self._bring_back, server, socket, decode_stun(datagram), remote)
        elif server is not None:
            server.deaf_to -= 1
        return True

    async def _bring_back(self, server: Server, socket: FakeSocket, request: StunMessage, remote: Endpoint) -> None:
        assert self.survey is not None
        await trio.sleep(server.delay)
        for datagram, source in server.answer(request, self.nat(socket.local, remote), remote):
            self.survey.receive_untrusted(socket, datagram, source)

    async def resolve(self, host: str, port: int) -> tuple[Endpoint, ...]:
        await trio.lowlevel.checkpoint()
        known = self.names.get(host, (host,) if host[0].isdigit() or ":" in host else 0.0)
        if isinstance(known, float):
            await trio.sleep(known)
            raise Unreachable(host)
        if host in self.names:
            await trio.sleep(self.name_delay)
        return tuple(Endpoint(address, port) for address in known)

    async def run(
        self,
        *asked: str,
        sockets: tuple[Endpoint, ...] = (LOCAL,),
        own_servers: tuple[Endpoint, ...] = (),
        unresponsive: tuple[str, ...] = (),
    ) -> tuple[SurveyResult, float]:
        """A survey that asks these servers, and how long it took."""
        survey = self.survey = Survey(
            [FakeSocket(local, self) for local in sockets],
            self,
            own=self.own,
            servers=asked,
            own_servers=own_servers,
            unresponsive=unresponsive,
            timings=DEFAULT_TIMINGS,
            token=random.Random(1).randbytes,
        )
        begun = trio.current_time()
        return await survey.run(), trio.current_time() - begun


@pytest.fixture
def internet(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> Internet:
    """Two addresses of our server with two ports each, and a third party. The clock jumps."""
    hosts = {"25.0.0.1": 0.02, "25.0.0.2": 0.03, "25.0.0.3": 0.04}
    return Internet(
        nursery,
        servers={Endpoint(host, port): Server(delay) for host, delay in hosts.items() for port in (3478, 3479)},
    )


OURS = ("25.0.0.1:3478", "25.0.0.1:3479", "25.0.0.2:3478", "25.0.0.2:3479")


async def test_a_preserving_nat_is_endpoint_independent_after_two_addresses_answered(internet: Internet) -> None:
    internet.nat = preserving
    result, duration = await internet.run("25.0.0.1:3478", "25.0.0.2:3478", "25.0.0.3:3478")
    outer = Endpoint(OUTER.host, LOCAL.port)
    assert result.report == NatReport(
        mapping=Mapping.ENDPOINT_INDEPENDENT, allocation=Allocation.PRESERVING, udp=Udp.OPEN
    )
    assert result.reflexive == (outer,)
    assert {(answer.server, answer.remote, answer.mapped) for answer in result.answers} == {
        (f"25.0.0.{at}:3478", Endpoint(f"25.0.0.{at}", 3478), outer) for at in (1, 2)
    }
    assert [answer.rtt for answer in result.answers] == pytest.approx([0.02, 0.03])
    assert duration == pytest.approx(0.03)


async def test_two_ports_of_one_address_do_not_end_the_survey_before_an_address_dependent_nat(
    internet: Internet,
) -> None:
    """They agree there, and only somebody at another address can say that they should not be believed."""
    internet.nat = address_dependent
    result, duration = await internet.run("25.0.0.1:3478", "25.0.0.1:3479", "25.0.0.2:3478", "25.0.0.3:3478")
    assert result.report.mapping is Mapping.ADDRESS_DEPENDENT
    assert duration == pytest.approx(0.04)


async def test_where_no_other_address_answers_one_is_believed_in_the_end(internet: Internet) -> None:
    del internet.servers[Endpoint("25.0.0.2", 3478)]
    result, duration = await internet.run("25.0.0.1:3478", "25.0.0.1:3479", "25.0.0.2:3478")
    assert result.report.mapping is Mapping.ENDPOINT_INDEPENDENT
    assert result.observers == 1
    assert duration == pytest.approx(0.02 + DEFAULT_TIMINGS.survey_settle)


async def test_a_nat_that_chooses_ports_is_endpoint_independent_and_not_preserving(internet: Internet) -> None:
    result, _ = await internet.run("25.0.0.1:3478", "25.0.0.2:3478")
    assert result.report == NatReport(mapping=Mapping.ENDPOINT_INDEPENDENT, udp=Udp.OPEN)
    assert result.reflexive == (OUTER,)
    assert result.observers == 2


async def test_a_symmetric_nat_is_address_and_port_dependent(internet: Internet) -> None:
    internet.nat = symmetric
    result, duration = await internet.run(*OURS)
    assert result.report.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT
    assert result.report.is_hard
    assert len(result.reflexive) == len(result.answers) >= 3
    assert duration == pytest.approx(0.03)


async def test_three_that_disagree_are_enough(internet: Internet) -> None:
    internet.nat = symmetric
    internet.servers[Endpoint("25.0.0.3", 3478)].delay = 2.0
    result, duration = await internet.run(*OURS, "25.0.0.3:3478")
    assert result.report.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT
    assert duration == pytest.approx(0.03)


async def test_a_symmetric_nat_seen_from_one_address_is_dependent(internet: Internet) -> None:
    internet.nat = symmetric
    result, _ = await internet.run(*OURS[:2])
    assert result.report.mapping is Mapping.DEPENDENT
    assert result.observers == 1


@pytest.mark.parametrize("name", ["25.0.0.1", "our.test"])
async def test_our_own_server_is_believed_when_its_two_addresses_differ(internet: Internet, name: str) -> None:
    """It proved itself on the link; of two strangers one may lie."""
    internet.nat = symmetric
    internet.names = {"our.test": ("25.0.0.1",)}
    ours = Endpoint(name, 3478), Endpoint("25.0.0.2", 3479)
    result, _ = await internet.run(own_servers=ours)
    assert result.report.mapping is Mapping.DEPENDENT
    assert all(answer.is_own for answer in result.answers)
    result, _ = await internet.run("25.0.0.1:3478", "25.0.0.2:3479")
    assert result.report.mapping is Mapping.UNKNOWN
    result, _ = await internet.run("25.0.0.2:3479", own_servers=ours[:1])
    assert result.report.mapping is Mapping.UNKNOWN


async def test_an_address_dependent_nat_is_told_from_a_symmetric_one(internet: Internet) -> None:
    internet.nat = address_dependent
    internet.servers[Endpoint("25.0.0.1", 3479)].delay = 0.05
    result, _ = await internet.run(*OURS)
    assert result.report.mapping is Mapping.ADDRESS_DEPENDENT


async def test_a_machine_without_nat_knows_it(internet: Internet) -> None:
    internet.own, internet.nat = (Endpoint("25.5.5.5", 5000),), lambda *_: Endpoint("25.5.5.5", 5000)
    result, duration = await internet.run(*OURS)
    assert result.report == NatReport(mapping=Mapping.NONE, udp=Udp.OPEN)
    assert result.reflexive == internet.own
    assert duration == pytest.approx(0.02)


async def test_one_server_alone_does_not_convince_us_that_there_is_no_nat(internet: Internet) -> None:
    internet.own, internet.nat = (Endpoint("25.5.5.5", 5000),), lambda *_: OUTER
    internet.servers[Endpoint("25.0.0.1", 3478)].answer = lying(Endpoint("25.5.5.5", 5000))
    result, duration = await internet.run("25.0.0.1:3478", "25.0.0.2:3478", "25.0.0.3:3478")
    assert result.report.mapping is Mapping.ENDPOINT_INDEPENDENT
    assert duration == pytest.approx(0.04)


async def test_silence_until_the_cap_is_blocked_udp(internet: Internet) -> None:
    internet.servers.clear()
    result, duration = await internet.run(*OURS)
    assert result.report == NatReport(udp=Udp.BLOCKED)
    assert (result.reflexive, result.answers, result.silent) == ((), (), OURS)
    assert duration == pytest.approx(CAP)


async def test_each_destination_is_asked_on_the_ladder_until_the_cap(internet: Internet) -> None:
    internet.servers.clear()
    begun = trio.current_time()
    await internet.run("25.0.0.1:3478")
    assert [at - begun for at, _ in internet.sent] == pytest.approx([0.0, 0.25, 0.75, 1.75])


async def test_a_server_that_hardly_ever_answers_is_asked_once_more_only(internet: Internet) -> None:
    internet.servers.clear()
    begun = trio.current_time()
    await internet.run("25.0.0.1:3478", "25.0.0.2:3478", unresponsive=("25.0.0.2:3478",))
    assert [at - begun for at, remote in internet.sent if remote.host == "25.0.0.2"] == pytest.approx([0.0, 0.25])
    assert len(internet.sent) == 6


async def test_answers_after_the_verdict_speak_for_their_servers(internet: Internet) -> None:
    internet.servers[Endpoint("25.0.0.3", 3478)].delay = 0.4
    result, _ = await internet.run("25.0.0.1:3478", "25.0.0.2:3478", "25.0.0.3:3478")
    assert result.silent == ("25.0.0.3:3478",)
    await trio.sleep(1.0)
    assert internet.survey is not None
    assert internet.survey.heard() == pytest.approx(
        {"25.0.0.1:3478": 0.02, "25.0.0.2:3478": 0.03, "25.0.0.3:3478": 0.4}
    )


async def test_dead_names_alone_are_no_proof_of_blocked_udp(internet: Internet) -> None:
    """No name service, no evidence: and nothing to wait for."""
    result, duration = await internet.run("stun.one.test:3478", "stun.two.test:3478")
    assert result.report == NatReport()
    assert result.unresolved == ("stun.one.test:3478", "stun.two.test:3478")
    assert (result.silent, duration) == ((), 0.0)


async def test_dead_and_slow_names_hold_nobody_up(internet: Internet) -> None:
    internet.names = {"slow.test": 30.0, "good.test": ("25.0.0.3",)}
    result, duration = await internet.run("dead.test:3478", "slow.test:3478", "good.test:3478", OURS[0])
    assert result.report.mapping is Mapping.ENDPOINT_INDEPENDENT
    assert {answer.server for answer in result.answers} == {"good.test:3478", OURS[0]}
    assert result.unresolved == ("dead.test:3478",)
    assert result.silent == result.unnamed == ("slow.test:3478",)
    assert "no answer from DNS on slow.test:3478; names not found: dead.test:3478" in result.evidence
    assert internet.survey is not None
    assert internet.survey.unresolved == {"slow.test:3478", "dead.test:3478"}, "its server is not called silent"
    assert duration == pytest.approx(0.04)


async def test_names_that_never_come_are_capped(internet: Internet) -> None:
    internet.names = {"slow.test": 30.0}
    result, duration = await internet.run("slow.test:3478")
    assert result.report.udp is Udp.UNKNOWN
    assert duration == pytest.approx(CAP)


async def test_a_machine_without_route_gives_up_at_once(internet: Internet) -> None:
    internet.routed = lambda _: False
    result, duration = await internet.run(*OURS)
    assert result.report == NatReport()
    assert duration == 0.0


async def test_a_lost_question_is_asked_again_and_its_round_trip_stays_true(internet: Internet) -> None:
    for server in internet.servers.values():
        server.deaf_to = 2
    result, duration = await internet.run("25.0.0.1:3478", "25.0.0.2:3478")
    assert result.report.mapping is Mapping.ENDPOINT_INDEPENDENT
    assert [answer.rtt for answer in result.answers] == pytest.approx([0.02, 0.03])
    assert duration == pytest.approx(0.75 + 0.03)


async def test_one_answer_alone_settles_after_half_a_second(internet: Internet) -> None:
    del internet.servers[Endpoint("25.0.0.2", 3478)]
    result, duration = await internet.run("25.0.0.1:3478", "25.0.0.2:3478")
    assert result.report == NatReport(udp=Udp.OPEN)
    assert result.reflexive == (OUTER,)
    assert result.silent == ("25.0.0.2:3478",)
    assert duration == pytest.approx(0.02 + SETTLE)


@pytest.mark.parametrize(("delay", "answers"), [(0.51, 2), (0.53, 1)])
async def test_a_late_second_answer_counts_until_the_verdict(internet: Internet, delay: float, answers: int) -> None:
    internet.servers[Endpoint("25.0.0.2", 3478)].delay = delay
    result, duration = await internet.run("25.0.0.1:3478", "25.0.0.2:3478")
    assert len(result.answers) == answers
    assert duration == pytest.approx(min(delay, 0.02 + SETTLE))


async def test_a_second_answer_does_not_put_the_verdict_off(internet: Internet) -> None:
    internet.nat = symmetric
    internet.servers[Endpoint("25.0.0.2", 3478)].delay = 0.4
    internet.servers[Endpoint("25.0.0.3", 3478)].delay = 9.0
    result, duration = await internet.run("25.0.0.1:3478", "25.0.0.2:3478", "25.0.0.3:3478")
    assert len(result.answers) == 2
    assert duration == pytest.approx(0.02 + SETTLE)


async def test_a_very_late_answer_changes_nothing(internet: Internet, nursery: trio.Nursery) -> None:
    internet.servers[Endpoint("25.0.0.2", 3478)].delay = 9.0
    result, _ = await internet.run("25.0.0.1:3478", "25.0.0.2:3478")
    before = replace(result)
    await trio.sleep(10.0)
    assert result == before


@pytest.mark.parametrize("liar", [0, 1, 2])
async def test_a_lying_server_among_three_does_not_make_us_hard(internet: Internet, liar: int) -> None:
    asked = [Endpoint(f"25.0.0.{number}", 3478) for number in (1, 2, 3)]
    internet.servers[asked[liar]].answer = lying(Endpoint("25.66.66.66", 666))
    result, duration = await internet.run(*map(str, asked))
    assert result.report.mapping is Mapping.ENDPOINT_INDEPENDENT
    assert result.reflexive[0] == OUTER
    assert duration < SETTLE


async def test_a_liar_and_an_honest_server_leave_it_open(internet: Internet) -> None:
    internet.servers[Endpoint("25.0.0.1", 3478)].answer = lying(Endpoint("25.66.66.66", 666))
    result, _ = await internet.run("25.0.0.1:3478", "25.0.0.2:3478")
    assert result.report.mapping is Mapping.UNKNOWN
    assert not result.report.is_hard
    assert set(result.reflexive) == {OUTER, Endpoint("25.66.66.66", 666)}


FORGED = Endpoint("25.66.66.66", 666)


def from_elsewhere(request: StunMessage, _: Endpoint, server: Endpoint) -> Iterator[tuple[bytes, Endpoint]]:
    for source in (Endpoint("25.66.66.66", server.port), Endpoint(server.host, server.port + 7)):
        yield encode_stun(StunMessage(StunClass.SUCCESS, request.transaction, xor_mapped=FORGED)), source


def of_another_transaction(request: StunMessage, _: Endpoint, server: Endpoint) -> Iterator[tuple[bytes, Endpoint]]:
    yield encode_stun(StunMessage(StunClass.SUCCESS, bytes(12), xor_mapped=FORGED)), server


def of_another_class(request: StunMessage, _: Endpoint, server: Endpoint) -> Iterator[tuple[bytes, Endpoint]]:
    for kind in (StunClass.REQUEST, StunClass.INDICATION):
        yield encode_stun(StunMessage(kind, request.transaction, xor_mapped=FORGED)), server


def of_another_method(request: StunMessage, _: Endpoint, server: Endpoint) -> Iterator[tuple[bytes, Endpoint]]:
    yield encode_stun(StunMessage(StunClass.SUCCESS, request.transaction, method=3, xor_mapped=FORGED)), server


def without_address(request: StunMessage, _: Endpoint, server: Endpoint) -> Iterator[tuple[bytes, Endpoint]]:
    yield encode_stun(StunMessage(StunClass.SUCCESS, request.transaction)), server


def with_impossible_addresses(request: StunMessage, _: Endpoint, server: Endpoint) -> Iterator[tuple[bytes, Endpoint]]:
    for host in ("0.0.0.0", "224.0.0.1", "255.255.255.255", "2001:db8::1"):
        seen = Endpoint(host, 9)
        yield encode_stun(StunMessage(StunClass.SUCCESS, request.transaction, xor_mapped=seen)), server
    seen = Endpoint("25.1.1.1", 0)
    yield encode_stun(StunMessage(StunClass.SUCCESS, request.transaction, xor_mapped=seen)), server


def junk(request: StunMessage, seen: Endpoint, server: Endpoint) -> Iterator[tuple[bytes, Endpoint]]:
    good = encode_stun(StunMessage(StunClass.SUCCESS, request.transaction, xor_mapped=FORGED))
    for datagram in (b"", b"\x01", good[:-1], good + b"\0", good[:4] + bytes(4) + good[8:], bytes(1400)):
        yield datagram, server


def with_a_riddle(request: StunMessage, _: Endpoint, server: Endpoint) -> Iterator[tuple[bytes, Endpoint]]:
    """An attribute that must be understood, and is not (RFC 8489 section 6.3.3)."""
    body = (
        bytes.fromhex("7ffe0000")
        + encode_stun(StunMessage(StunClass.SUCCESS, request.transaction, xor_mapped=FORGED))[20:]
    )
    head = encode_stun(StunMessage(StunClass.SUCCESS, request.transaction))
    yield head[:2] + len(body).to_bytes(2, "big") + head[4:] + body, server


@pytest.mark.parametrize(
    "hostile",
    [
        from_elsewhere,
        of_another_transaction,
        of_another_class,
        of_another_method,
        without_address,
        with_impossible_addresses,
        junk,
        with_a_riddle,
    ],
)
async def test_what_is_no_answer_to_our_question_changes_nothing(internet: Internet, hostile: Answer) -> None:
    internet.servers[Endpoint("25.0.0.1", 3478)].answer = hostile
    result, duration = await internet.run("25.0.0.1:3478")
    assert result == SurveyResult(NatReport(udp=Udp.BLOCKED), silent=("25.0.0.1:3478",))
    assert duration == pytest.approx(CAP)


async def test_an_answer_after_hostile_ones_still_counts(internet: Internet) -> None:
    def first_hostile(request: StunMessage, seen: Endpoint, server: Endpoint) -> Iterator[tuple[bytes, Endpoint]]:
        for hostile in (from_elsewhere, of_another_transaction, with_impossible_addresses, junk, honest):
            yield from hostile(request, seen, server)

    for server in internet.servers.values():
        server.answer = first_hostile
    result, duration = await internet.run("25.0.0.1:3478", "25.0.0.2:3478")
    assert result.reflexive == (OUTER,)
    assert duration == pytest.approx(0.03)


async def test_a_second_answer_of_one_server_is_not_a_second_opinion(internet: Internet) -> None:
    def twice(request: StunMessage, seen: Endpoint, server: Endpoint) -> Iterator[tuple[bytes, Endpoint]]:
        yield from honest(request, seen, server)
        yield from honest(request, FORGED, server)

    internet.servers[Endpoint("25.0.0.1", 3478)].answer = twice
    result, _ = await internet.run("25.0.0.1:3478")
    assert [answer.mapped for answer in result.answers] == [OUTER]


async def test_an_answer_on_another_socket_is_not_ours(internet: Internet) -> None:
    """The mapping belongs to the socket that asked."""
    stranger = FakeSocket(Endpoint("0.0.0.0", 9), internet)

    def astray(request: StunMessage, seen: Endpoint, server: Endpoint) -> Iterator[tuple[bytes, Endpoint]]:
        assert internet.survey is not None
        for datagram, source in honest(request, seen, server):
            internet.survey.receive_untrusted(stranger, datagram, source)
        yield from ()

    internet.servers[Endpoint("25.0.0.1", 3478)].answer = astray
    result, _ = await internet.run("25.0.0.1:3478")
    assert result.answers == ()


async def test_a_server_that_refuses_proves_that_udp_is_open(internet: Internet) -> None:
    def refusing(request: StunMessage, _: Endpoint, server: Endpoint) -> Iterator[tuple[bytes, Endpoint]]:
        yield encode_stun(StunMessage(StunClass.ERROR, request.transaction, error=420)), server

    internet.servers[Endpoint("25.0.0.1", 3478)].answer = refusing
    result, duration = await internet.run("25.0.0.1:3478")
    assert result.report == NatReport(udp=Udp.OPEN)
    assert result.silent == ()
    assert duration == pytest.approx(0.02)


async def test_an_old_server_with_a_plain_address_is_understood(internet: Internet) -> None:
    def plain(request: StunMessage, seen: Endpoint, server: Endpoint) -> Iterator[tuple[bytes, Endpoint]]:
        yield encode_stun(StunMessage(StunClass.SUCCESS, request.transaction, mapped=seen)), server

    internet.servers[Endpoint("25.0.0.1", 3478)].answer = plain
    result, _ = await internet.run("25.0.0.1:3478")
    assert result.reflexive == (OUTER,)


async def test_a_server_inside_the_site_does_not_end_the_survey(internet: Internet) -> None:
    inside = Endpoint("192.168.1.1", 3478), Endpoint("192.168.1.1", 3479)
    internet.servers |= {endpoint: Server(0.001) for endpoint in inside}
    internet.nat = lambda _, remote: OWN if remote in inside else OUTER
    result, duration = await internet.run(*map(str, inside), "25.0.0.1:3478", "25.0.0.2:3478")
    assert result.report.mapping is Mapping.ENDPOINT_INDEPENDENT
    assert set(result.reflexive) == {OWN, OUTER}
    assert duration == pytest.approx(0.03)


async def test_a_private_world_of_its_own_is_done_when_all_have_answered(internet: Internet) -> None:
    """A demo on one machine: servers and nodes on loopback."""
    asked = Endpoint("127.0.0.1", 3478), Endpoint("127.0.0.1", 3479)
    internet.servers |= {endpoint: Server(0.001) for endpoint in asked}
    internet.own = (Endpoint("127.0.0.1", 5000),)
    internet.nat = lambda *_: internet.own[0]
    result, duration = await internet.run(*map(str, asked))
    assert result.report.mapping is Mapping.NONE
    assert duration == pytest.approx(0.001)


async def test_both_families_of_a_name_are_asked(internet: Internet) -> None:
    internet.names = {"dual.test": ("25.0.0.1", "25.0.0.2", "2001:db8::1")}
    internet.servers[Endpoint("2001:db8::1", 3478)] = Server(0.001)
    internet.nat = lambda source, _: OWN6 if source.is_ipv6 else OUTER
    result, _ = await internet.run("dual.test:3478", sockets=(LOCAL, LOCAL6))
    assert set(result.reflexive) == {OWN6, OUTER}
    assert {answer.remote for answer in result.answers} == {
        Endpoint("25.0.0.1", 3478),
        Endpoint("2001:db8::1", 3478),
    }


async def test_a_fast_ipv6_verdict_waits_for_ipv4(internet: Internet) -> None:
    """The NAT is on IPv4."""
    six = Endpoint("2001:db8::1", 3478), Endpoint("2001:db8::2", 3478)
    internet.servers |= {endpoint: Server(0.001) for endpoint in six}
    internet.nat = lambda source, remote: OWN6 if source.is_ipv6 else symmetric(source, remote)
    result, duration = await internet.run(*map(str, six), *OURS, sockets=(LOCAL, LOCAL6))
    assert result.report.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT
    assert OWN6 in result.reflexive
    assert duration == pytest.approx(0.03)


async def test_a_fast_ipv6_verdict_waits_for_names_that_may_lead_to_ipv4(internet: Internet) -> None:
    six = Endpoint("2001:db8::1", 3478), Endpoint("2001:db8::2", 3478), Endpoint("2001:db8::3", 3478)
    internet.servers |= {endpoint: Server(0.001) for endpoint in six}
    internet.servers[six[2]].delay = 9.0
    internet.names, internet.name_delay = {"one.test": ("25.0.0.1",), "two.test": ("25.0.0.2",)}, 0.1
    internet.nat = lambda source, _: OWN6 if source.is_ipv6 else OUTER
    result, duration = await internet.run(*map(str, six), "one.test:3478", "two.test:3478", sockets=(LOCAL, LOCAL6))
    assert result.report.mapping is Mapping.ENDPOINT_INDEPENDENT
    assert duration == pytest.approx(0.13)


async def test_ipv6_without_a_route_holds_nobody_up(internet: Internet) -> None:
    internet.routed = lambda remote: not remote.is_ipv6
    result, duration = await internet.run("[2001:db8::1]:3478", "25.0.0.1:3478", sockets=(LOCAL, LOCAL6))
    assert result.report.udp is Udp.OPEN
    assert result.silent == ("[2001:db8::1]:3478",)
    assert duration == pytest.approx(0.02)


async def test_a_machine_with_ipv6_only_is_surveyed(internet: Internet) -> None:
    six = Endpoint("2001:db8::1", 3478), Endpoint("2001:db8::2", 3478)
    internet.servers |= {endpoint: Server(0.01) for endpoint in six}
    internet.nat = lambda *_: OWN6
    result, duration = await internet.run(*map(str, six), "25.0.0.1:3478", sockets=(LOCAL6,))
    assert result.report == NatReport(mapping=Mapping.NONE, udp=Udp.OPEN)
    assert duration == pytest.approx(0.01)


async def test_two_names_of_one_server_are_one_destination(internet: Internet) -> None:
    internet.names = {"one.test": ("25.0.0.1",), "two.test": ("25.0.0.1",)}
    result, _ = await internet.run("one.test:3478", "two.test:3478")
    assert [answer.remote for answer in result.answers] == [Endpoint("25.0.0.1", 3478)]
    assert result.silent == ()
    assert len(internet.sent) == 1


async def test_a_name_that_leads_nowhere_is_not_asked(internet: Internet) -> None:
    """A hijacked name must not make us send to broadcast addresses."""
    internet.names = {"bad.test": ("255.255.255.255", "224.0.0.1", "0.0.0.0")}
    result, _ = await internet.run("bad.test:3478")
    assert internet.sent == []
    assert result.silent == ("bad.test:3478",)


async def test_no_servers_at_all_is_no_knowledge(internet: Internet) -> None:
    result, duration = await internet.run()
    assert (result, duration) == (SurveyResult(NatReport()), 0.0)


async def test_each_transaction_is_new(internet: Internet) -> None:
    """An answer to an old question must not look like an answer to a new one."""
    internet.servers.clear()
    await internet.run("25.0.0.1:3478", "25.0.0.2:3478")
    assert len(set(internet.transactions)) == len(internet.transactions) == 8


async def test_the_evidence_says_who_answered_and_who_did_not(internet: Internet) -> None:
    del internet.servers[Endpoint("25.0.0.2", 3478)]
    result, _ = await internet.run("25.0.0.1:3478", "25.0.0.2:3478", "dead.test:3478")
    assert result.evidence == (
        "1 answer from 1 server address; no answer from 25.0.0.2:3478; names not found: dead.test:3478"
    )


def test_a_server_that_is_not_host_and_port_is_a_settings_error() -> None:
    with pytest.raises(SettingsError):
        Survey([], Unused(), own=[], servers=["[::1"], timings=DEFAULT_TIMINGS, token=bytes)


class Unused:
    async def resolve(self, host: str, port: int) -> tuple[Endpoint, ...]:
        raise NotImplementedError


async def test_a_private_address_seen_by_a_server_out_there_is_no_verdict(internet: Internet) -> None:
    """A container's port forward puts its own address in the place of ours; peers would be sent to a stranger's LAN."""
    internet.servers[Endpoint("25.0.0.1", 3478)].answer = lying(Endpoint("172.17.0.1", 40001))
    internet.servers[Endpoint("25.0.0.1", 3479)].answer = lying(Endpoint("172.17.0.1", 40002))
    result, _ = await internet.run("25.0.0.1:3478", "25.0.0.1:3479")
    assert result.report == NatReport(udp=Udp.OPEN)
    assert (result.reflexive, result.answers, result.silent) == ((), (), ())
    assert {answer.mapped for answer in result.worthless} == {
        Endpoint("172.17.0.1", 40001),
        Endpoint("172.17.0.1", 40002),
    }
    assert "25.0.0.1:3478 sees us at 172.17.0.1" in result.hidden
    assert "inside its own network, at 172.17.0.1" in result.evidence


async def test_others_still_give_a_verdict_beside_a_worthless_word(internet: Internet) -> None:
    internet.servers[Endpoint("25.0.0.1", 3478)].answer = lying(Endpoint("127.0.0.1", 40001))
    result, _ = await internet.run("25.0.0.1:3478", "25.0.0.2:3478", "25.0.0.3:3478")
    assert result.report.mapping is Mapping.ENDPOINT_INDEPENDENT
    assert result.reflexive == (OUTER,)
    assert len(result.worthless) == 1


async def test_a_private_address_that_is_ours_is_believed(internet: Internet) -> None:
    """A server that has a global address, in the same routed network: nothing translates between us."""
    internet.nat = lambda source, _: Endpoint(OWN.host, source.port)
    result, _ = await internet.run("25.0.0.1:3478", "25.0.0.2:3478")
    assert result.reflexive == (OWN,)
    assert (result.worthless, result.hidden) == ((), "")


async def test_an_ipv4_address_seen_over_ipv6_counts_as_ipv4(internet: Internet) -> None:
    """Behind a NAT64 that is our only IPv4 address (RFC 6146); peers without IPv6 punch it."""
    translated = Endpoint("25.99.0.1", 5006)
    internet.nat = lambda _, __: translated
    synthesized = [Endpoint(host, 3478) for host in ("64:ff9b::1900:1", "64:ff9b::1900:2")]
    internet.servers |= {remote: Server() for remote in synthesized}
    result, _ = await internet.run(*map(str, synthesized), sockets=(LOCAL6,))
    assert result.reflexive == (translated,)
    assert (result.report.mapping, result.report.allocation) == (Mapping.ENDPOINT_INDEPENDENT, Allocation.PRESERVING)


async def test_a_nat64_says_nothing_where_ipv4_itself_is_asked(internet: Internet) -> None:
    """It is another NAT, and another socket: the two never agree."""
    internet.nat = lambda source, _: OUTER if source == LOCAL else Endpoint("25.99.0.1", 5006)
    internet.servers[Endpoint("64:ff9b::1900:1", 3478)] = Server(delay=0.001)
    result, _ = await internet.run("25.0.0.1:3478", "25.0.0.2:3478", "[64:ff9b::1900:1]:3478", sockets=(LOCAL, LOCAL6))
    assert result.report.mapping is Mapping.ENDPOINT_INDEPENDENT
    assert result.reflexive[0] == OUTER
