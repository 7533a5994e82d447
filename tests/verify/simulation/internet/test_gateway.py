"""A router's answers to NAT-PMP and PCP, true and false."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import trio
from tests.verify.simulation.lone_router import OUTSIDE, make_router, open_ports, take_ports
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import MalformedFrame
from tunnel.model.transport import Transport
from tunnel.verify.reachability.topology import Gateway, Lie
from tunnel.verify.simulation.internet.gateway import (
    LONG_REFUSAL,
    PRIVATE_ADDRESS,
    SHORT_REFUSAL,
    WRONG_ADDRESS,
    GatewayServer,
)
from tunnel.verify.simulation.internet.leases import SEARCHED
from tunnel.wire.nat_pmp import (
    PmpAddress,
    PmpAddressRequest,
    PmpCode,
    PmpMapped,
    PmpMapRequest,
    PmpRefusal,
    pmp_lost_mappings,
)
from tunnel.wire.pcp import (
    ANYWHERE,
    PcpAnnounced,
    PcpAnnounceRequest,
    PcpCode,
    PcpMapped,
    PcpMapRequest,
    PcpRefusal,
    pcp_lost_mappings,
)
from tunnel.wire.port_control import PortAnswer, PortRequest, decode_port_answer, encode_port_request

DESK, LAPTOP = Endpoint("192.168.1.7", 33333), Endpoint("192.168.1.8", 33333)
NONCE, OTHER_NONCE = b"n" * 12, b"m" * 12
BOTH = Gateway(nat_pmp=True, pcp=True, max_lease=3600.0)
UDP, TCP = Transport.UDP, Transport.TCP
BORN = 0
"""Epoch of a router that has just started."""

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Scene:
    """A gateway server and its router."""

    def __init__(self, spec: Gateway = BOTH) -> None:
        self.router = make_router(spec)
        self.gateway = GatewayServer(self.router, chance=random.Random("gateway"))

    def ask(self, request: PortRequest, source: Endpoint = DESK) -> PortAnswer:
        answer = self.hear(request, source)
        assert answer is not None
        return decode_port_answer(answer)

    def hear(self, request: PortRequest, source: Endpoint = DESK) -> bytes | None:
        return self.gateway.handle_untrusted(encode_port_request(request), source)

    @property
    def open_ports(self) -> dict[int, tuple[str, int]]:
        return {port: (inner.host, inner.port) for port, inner in open_ports(self.router).items()}


def pmp_map(internal_port: int = 5000, external_port: int = 0, lifetime: int = 600) -> PmpMapRequest:
    return PmpMapRequest(UDP, internal_port, external_port, lifetime)


def pcp_map(
    internal_port: int = 5000,
    external: Endpoint = ANYWHERE,
    lifetime: int = 600,
    *,
    client: str = DESK.host,
    nonce: bytes = NONCE,
    prefer_failure: bool = False,
    third_party: str | None = None,
) -> PcpMapRequest:
    return PcpMapRequest(client, nonce, UDP, internal_port, external, lifetime, third_party, prefer_failure)


async def test_nat_pmp_tells_the_outer_address() -> None:
    scene = Scene()
    assert scene.ask(PmpAddressRequest()) == PmpAddress(BORN, OUTSIDE)
    scene.router.change_address("25.1.0.2")
    assert scene.ask(PmpAddressRequest()) == PmpAddress(BORN, "25.1.0.2")


async def test_nat_pmp_maps_a_port_toward_who_asked() -> None:
    scene = Scene()
    assert scene.ask(pmp_map()) == PmpMapped(BORN, UDP, 5000, 5000, 600)
    assert scene.ask(pmp_map(external_port=7000), LAPTOP) == PmpMapped(BORN, UDP, 5000, 7000, 600)
    assert scene.ask(pmp_map(6000, 7000)) == PmpMapped(BORN, UDP, 6000, 7001, 600)
    assert scene.open_ports == {5000: (DESK.host, 5000), 7000: (LAPTOP.host, 5000), 7001: (DESK.host, 6000)}


async def test_nat_pmp_maps_tcp_apart_from_udp() -> None:
    scene = Scene()
    scene.ask(pmp_map())
    assert scene.ask(PmpMapRequest(TCP, 6000, 5000, 600)) == PmpMapped(BORN, TCP, 6000, 5000, 600)
    assert open_ports(scene.router, TCP) == {5000: Endpoint(DESK.host, 6000)}


async def test_a_lease_is_no_longer_than_the_router_gives_and_ends(autojump_clock: MockClock) -> None:
    scene = Scene()
    assert scene.ask(pmp_map(lifetime=7200)) == PmpMapped(BORN, UDP, 5000, 5000, 3600)
    await trio.sleep(3599)
    assert scene.open_ports == {5000: (DESK.host, 5000)}
    await trio.sleep(1)
    assert scene.open_ports == {}


async def test_nat_pmp_takes_back_one_port_or_all_of_a_host() -> None:
    """RFC 6886, section 3.4; what is not there is taken back too."""
    scene = Scene()
    for internal_port in (5000, 5001, 5002):
        scene.ask(pmp_map(internal_port))
    scene.ask(pmp_map(6000), LAPTOP)
    assert scene.ask(pmp_map(5001, lifetime=0)) == PmpMapped(BORN, UDP, 5001, 0, 0)
    assert scene.ask(pmp_map(5001, lifetime=0)) == PmpMapped(BORN, UDP, 5001, 0, 0)
    assert list(scene.open_ports) == [5000, 5002, 6000]
    assert scene.ask(pmp_map(0, lifetime=0)) == PmpMapped(BORN, UDP, 0, 0, 0)
    assert list(scene.open_ports) == [6000]


async def test_port_zero_cannot_be_mapped() -> None:
    scene = Scene()
    assert scene.ask(pmp_map(0)) == PmpRefusal(PmpCode.NOT_AUTHORIZED, 1, BORN, 0)
    refusal = scene.ask(pcp_map(0))
    assert isinstance(refusal, PcpRefusal)
    assert refusal.code is PcpCode.NOT_AUTHORIZED
    assert scene.open_ports == {}


async def test_a_router_without_free_ports_says_so() -> None:
    scene = Scene()
    take_ports(scene.router, *range(5000, 5000 + SEARCHED))
    assert scene.ask(pmp_map()) == PmpRefusal(PmpCode.OUT_OF_RESOURCES, 1, BORN, 5000)
    refusal = scene.ask(pcp_map())
    assert isinstance(refusal, PcpRefusal)
    assert (refusal.code, refusal.nonce, refusal.lifetime) == (PcpCode.NO_RESOURCES, NONCE, SHORT_REFUSAL)


async def test_pcp_announces_itself() -> None:
    assert Scene().ask(PcpAnnounceRequest(DESK.host)) == PcpAnnounced(BORN)


async def test_pcp_maps_renews_and_takes_back_a_port(autojump_clock: MockClock) -> None:
    scene = Scene()
    wish = Endpoint("0.0.0.0", 7000)
    external = Endpoint(OUTSIDE, 7000)
    assert scene.ask(pcp_map(external=wish)) == PcpMapped(BORN, NONCE, UDP, 5000, external, 600)
    await trio.sleep(500)
    assert scene.ask(pcp_map()) == PcpMapped(BORN + 500, NONCE, UDP, 5000, external, 600)
    await trio.sleep(500)
    assert scene.open_ports == {7000: (DESK.host, 5000)}
    assert scene.ask(pcp_map(external=external, lifetime=0)) == PcpMapped(BORN + 1000, NONCE, UDP, 5000, external, 0)
    assert scene.open_ports == {}
    gone = scene.ask(pcp_map(external=external, lifetime=0))
    assert gone == PcpMapped(BORN + 1000, NONCE, UDP, 5000, external, 0)


@pytest.mark.parametrize("lifetime", [0, 600])
async def test_pcp_lets_nobody_touch_a_mapping_without_its_nonce(lifetime: int) -> None:
    """RFC 6887, section 11.3."""
    scene = Scene()
    scene.ask(pcp_map())
    refusal = scene.ask(pcp_map(lifetime=lifetime, nonce=OTHER_NONCE))
    assert isinstance(refusal, PcpRefusal)
    assert (refusal.code, refusal.nonce, refusal.lifetime) == (PcpCode.NOT_AUTHORIZED, OTHER_NONCE, LONG_REFUSAL)
    assert scene.open_ports == {5000: (DESK.host, 5000)}


async def test_a_nonce_is_forgotten_with_its_mapping(autojump_clock: MockClock) -> None:
    scene = Scene()
    scene.ask(pcp_map())
    await trio.sleep(600)
    assert isinstance(scene.ask(pcp_map(nonce=OTHER_NONCE)), PcpMapped)


async def test_pcp_sees_a_nat_between_itself_and_the_client() -> None:
    """RFC 6887, section 8.2: the header names another address than the packet."""
    scene = Scene()
    for request in (pcp_map(), PcpAnnounceRequest(DESK.host)):
        refusal = scene.ask(request, LAPTOP)
        assert isinstance(refusal, PcpRefusal)
        assert refusal.code is PcpCode.ADDRESS_MISMATCH
    assert scene.open_ports == {}


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        (Endpoint("0.0.0.0", 5000), PcpCode.CANNOT_PROVIDE_EXTERNAL),
        (Endpoint("25.9.9.9", 6000), PcpCode.CANNOT_PROVIDE_EXTERNAL),
        (Endpoint(OUTSIDE, 6000), None),
        (Endpoint("::", 6000), None),
        (ANYWHERE, None),
    ],
    ids=["a taken port", "a foreign address", "what there is", "any address", "no wish"],
)
async def test_who_prefers_failure_gets_what_it_wished_or_nothing(wish: Endpoint, code: PcpCode | None) -> None:
    scene = Scene()
    scene.ask(pmp_map(), LAPTOP)
    answer = scene.ask(pcp_map(external=wish, prefer_failure=True))
    if code is None:
        assert isinstance(answer, PcpMapped)
        assert answer.external.port == (wish.port or 5001)
    else:
        assert isinstance(answer, PcpRefusal)
        assert (answer.code, answer.lifetime) == (code, SHORT_REFUSAL)


async def test_nobody_maps_ports_for_others() -> None:
    refusal = Scene().ask(pcp_map(third_party=LAPTOP.host))
    assert isinstance(refusal, PcpRefusal)
    assert refusal.code is PcpCode.UNSUPP_OPTION


@pytest.mark.parametrize(
    ("spec", "datagram", "answer"),
    [
        (Gateway(pcp=True), "0000", "0280 0001 00000708 00000000" + "00" * 12),
        (Gateway(nat_pmp=True), "0200 0000 00000000" + "00" * 16, "0080 0001 00000000 00000000"),
        (Gateway(nat_pmp=True), "0100", "0080 0001 00000000 00000000"),
        (BOTH, "0100", "0280 0001 00000708 00000000" + "00" * 12),
        (BOTH, "0003", "0083 0005 00000000"),
        (BOTH, "0202 0000 00000000" + "00" * 16 + "12345678", "0282 0004 00000708 00000000" + "00" * 12 + "12345678"),
    ],
    ids=[
        "NAT-PMP to PCP",
        "PCP to NAT-PMP",
        "another version to NAT-PMP",
        "another version to both",
        "another NAT-PMP opcode",
        "another PCP opcode",
    ],
)
async def test_what_a_router_does_not_speak_it_refuses(spec: Gateway, datagram: str, answer: str) -> None:
    """RFC 6886, section 3.5; RFC 6887, section 9 and appendix A."""
    assert Scene(spec).gateway.handle_untrusted(bytes.fromhex(datagram), DESK) == bytes.fromhex(answer)


@pytest.mark.parametrize("request_", [PmpAddressRequest(), PcpAnnounceRequest(DESK.host)], ids=["NAT-PMP", "PCP"])
async def test_a_router_that_speaks_neither_is_silent(request_: PortRequest) -> None:
    assert Scene(Gateway(upnp=True)).hear(request_) is None


async def test_an_epoch_tells_of_a_restart(autojump_clock: MockClock) -> None:
    scene = Scene()
    before = scene.ask(PmpAddressRequest())
    assert isinstance(before, PmpAddress)
    await trio.sleep(100)
    later = scene.ask(PmpAddressRequest())
    assert isinstance(later, PmpAddress)
    assert not pmp_lost_mappings(before.epoch, later.epoch, 100)
    assert not pcp_lost_mappings(before.epoch, later.epoch, 100)
    scene.router.reboot()
    await trio.sleep(5)
    anew = scene.ask(PcpAnnounceRequest(DESK.host))
    assert anew == PcpAnnounced(5)
    assert pmp_lost_mappings(later.epoch, anew.epoch, 5)
    assert pcp_lost_mappings(later.epoch, anew.epoch, 5)


QUESTIONS: tuple[PortRequest, ...] = (PmpAddressRequest(), pmp_map(), PcpAnnounceRequest(DESK.host), pcp_map())


async def test_a_silent_router_takes_questions_and_never_answers() -> None:
    scene = Scene(replace(BOTH, lie=Lie.SILENT))
    assert [scene.hear(question) for question in QUESTIONS] == [None] * len(QUESTIONS)
    assert scene.open_ports == {}


async def test_garbage_means_nothing_and_repeats_itself_with_the_seed() -> None:
    scenes = [Scene(replace(BOTH, lie=Lie.GARBAGE)) for _ in range(2)]
    first, second = ([scene.hear(question) for question in QUESTIONS] for scene in scenes)
    assert first == second
    for garbage in first:
        assert garbage is not None
        with pytest.raises(MalformedFrame):
            decode_port_answer(garbage)
    assert scenes[0].open_ports == {}


@pytest.mark.parametrize(("lie", "named"), [(Lie.WRONG_ADDRESS, WRONG_ADDRESS), (Lie.PRIVATE_ADDRESS, PRIVATE_ADDRESS)])
async def test_a_router_may_name_an_address_that_is_not_its_own(lie: Lie, named: str) -> None:
    scene = Scene(replace(BOTH, lie=lie))
    assert scene.ask(PmpAddressRequest()) == PmpAddress(BORN, named)
    mapped = scene.ask(pcp_map())
    assert isinstance(mapped, PcpMapped)
    assert mapped.external == Endpoint(named, 5000)
    assert scene.open_ports == {5000: (DESK.host, 5000)}


async def test_a_router_may_say_yes_and_map_nothing() -> None:
    scene = Scene(replace(BOTH, lie=Lie.NOT_MAPPED))
    assert scene.ask(pmp_map(external_port=7000)) == PmpMapped(BORN, UDP, 5000, 7000, 600)
    mapped = PcpMapped(BORN, NONCE, UDP, 5000, Endpoint(OUTSIDE, 5000), 600)
    assert scene.ask(pcp_map()) == mapped
    assert scene.open_ports == {}


async def test_a_router_may_refuse_and_still_tell_its_address() -> None:
    scene = Scene(replace(BOTH, lie=Lie.REFUSED))
    assert scene.ask(PmpAddressRequest()) == PmpAddress(BORN, OUTSIDE)
    assert scene.ask(pmp_map()) == PmpRefusal(PmpCode.NOT_AUTHORIZED, 1, BORN, 5000)
    refusal = scene.ask(pcp_map())
    assert isinstance(refusal, PcpRefusal)
    assert (refusal.code, refusal.nonce) == (PcpCode.NOT_AUTHORIZED, NONCE)
    assert scene.open_ports == {}


@pytest.mark.parametrize("head", ["", "0001 0000", "0200 0000", "0201 0000"], ids=["none", "PMP", "announce", "PCP"])
async def test_no_datagram_upsets_a_router(head: str) -> None:
    chance = random.Random(f"junk/{head}")
    scene = Scene()
    answered = 0
    for length in range(90):
        answer = scene.gateway.handle_untrusted(bytes.fromhex(head) + chance.randbytes(length), DESK)
        if answer is not None:
            assert decode_port_answer(answer) is not None
            answered += 1
    assert answered > 20
