from __future__ import annotations

import random
from dataclasses import replace

import pytest
import trio
from tests.verify.simulation.lone_router import make_router
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.model.transport import Transport
from tunnel.verify.reachability.topology import Gateway, Lie
from tunnel.verify.simulation.internet.gateway import GatewayServer
from tunnel.verify.simulation.internet.pinholes import Pinholes
from tunnel.verify.simulation.internet.router import RouterBox
from tunnel.wire.pcp import PcpCode, PcpMapped, PcpMapRequest, PcpRefusal
from tunnel.wire.port_control import PortAnswer, decode_port_answer, encode_port_request

UDP = Transport.UDP
DESK = Endpoint("2001:db8::2", 5000)
pytestmark = pytest.mark.usefixtures("autojump_clock")


async def test_a_pinhole_is_open_until_its_lease_ends(autojump_clock: MockClock) -> None:
    pinholes = Pinholes()
    pinholes.open(UDP, DESK, 10.0)
    assert pinholes.admits(UDP, DESK)
    assert not pinholes.admits(UDP, DESK._replace(port=5001))
    assert not pinholes.admits(Transport.TCP, DESK)
    await trio.sleep(10)
    assert not pinholes.admits(UDP, DESK)


async def test_a_pinhole_is_shut_on_request_and_by_a_restart() -> None:
    pinholes = Pinholes()
    pinholes.open(UDP, DESK, 10.0)
    pinholes.shut(UDP, DESK)
    assert not pinholes.admits(UDP, DESK)
    pinholes.shut(UDP, DESK)
    pinholes.open(UDP, DESK, 10.0)
    pinholes.forget()
    assert not pinholes.admits(UDP, DESK)


# Asked for in PCP


class Home:
    def __init__(self, gateway: Gateway) -> None:
        self.router: RouterBox = make_router(gateway)
        self._gateway = GatewayServer(self.router, chance=random.Random("pinholes"))

    def ask(self, **changes: object) -> PortAnswer:
        request = PcpMapRequest(DESK.host, b"n" * 12, UDP, DESK.port, Endpoint("::", 0), 600)
        request = replace(request, **changes)  # type: ignore[arg-type]
        answer = self._gateway.handle_untrusted(encode_port_request(request), Endpoint(DESK.host, 33333))
        assert answer is not None
        return decode_port_answer(answer)

    @property
    def is_open(self) -> bool:
        return self.router.pinholes.admits(UDP, DESK)


@pytest.fixture
async def home(autojump_clock: MockClock) -> Home:
    return Home(Gateway(pcp=True, max_lease=100.0))


async def test_the_outer_endpoint_of_a_pinhole_is_the_inner_one(home: Home) -> None:
    assert home.ask() == PcpMapped(0, b"n" * 12, UDP, DESK.port, DESK, 100)
    assert home.is_open


async def test_a_lifetime_of_nothing_shuts_it(home: Home) -> None:
    home.ask()
    assert home.ask(lifetime=0) == PcpMapped(0, b"n" * 12, UDP, DESK.port, DESK, 0)
    assert not home.is_open


@pytest.mark.parametrize("changes", [{"internal_port": 0}, {"third_party": "2001:db8::3"}])
async def test_a_pinhole_for_everything_or_for_another_host_is_refused(home: Home, changes: dict[str, object]) -> None:
    answer = home.ask(**changes)
    assert isinstance(answer, PcpRefusal)
    assert answer.code in (PcpCode.NOT_AUTHORIZED, PcpCode.UNSUPP_OPTION)


async def test_gateways_lie_about_pinholes_too() -> None:
    liar, refuser = Home(Gateway(pcp=True, lie=Lie.NOT_MAPPED)), Home(Gateway(pcp=True, lie=Lie.REFUSED))
    assert isinstance(liar.ask(), PcpMapped)
    assert isinstance(refuser.ask(), PcpRefusal)
    assert (liar.is_open, refuser.is_open) == (False, False)


async def test_a_restart_of_the_router_shuts_its_pinholes(home: Home) -> None:
    home.ask()
    home.router.reboot()
    assert not home.is_open
