"""NAT-PMP as a client: the outer address, the mapping, its renewal and its end."""

from __future__ import annotations

import pytest
import trio
from tests.nat.gateways.conftest import ROUTER, WAITS, Answer, AnyRequest, Lan

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused, Unreachable
from tunnel.model.port_mapping import PortProtocol
from tunnel.model.transport import Transport
from tunnel.nat.gateways.lease import PortLease
from tunnel.nat.gateways.nat_pmp import NatPmpClient
from tunnel.wire.nat_pmp import PmpAddress, PmpAddressRequest, PmpCode, PmpMapped, PmpMapRequest, PmpRefusal
from tunnel.wire.pcp import PcpCode, PcpRefusal

HOST = "25.0.0.9"


class Router:
    """Grants what is asked for."""

    def __init__(self) -> None:
        self.epoch = 100
        self.address = HOST
        self.external_port = 41000
        self.lifetime: int | None = None

    def __call__(self, request: AnyRequest) -> Answer:
        match request:
            case PmpAddressRequest():
                return PmpAddress(self.epoch, self.address)
            case PmpMapRequest(internal_port=port, lifetime=0):
                return PmpMapped(self.epoch, Transport.UDP, port, 0, 0)
            case PmpMapRequest(internal_port=port, lifetime=lifetime):
                granted = lifetime if self.lifetime is None else self.lifetime
                return PmpMapped(self.epoch, Transport.UDP, port, self.external_port, granted)
            case _:
                return None


@pytest.fixture
def router(lan: Lan) -> Router:
    made = Router()
    lan.answer = made
    return made


@pytest.fixture
def client(lan: Lan) -> NatPmpClient:
    return NatPmpClient(lan.host, WAITS)


async def test_a_mapping_is_the_outer_address_and_the_port_that_was_granted(
    lan: Lan, router: Router, client: NatPmpClient
) -> None:
    router.lifetime = 600
    lease = await client.map_port(ROUTER, 40000, 7200.0)
    external = Endpoint(HOST, 41000)
    assert lease == PortLease(PortProtocol.NAT_PMP, ROUTER, 40000, external, trio.current_time(), 600.0, 100)
    assert lan.heard[-1][1] == PmpMapRequest(Transport.UDP, 40000, 40000, 7200)


async def test_a_renewal_wishes_for_what_is_held(lan: Lan, router: Router, client: NatPmpClient) -> None:
    lease = await client.map_port(ROUTER, 40000, 7200.0)
    await client.map_port(ROUTER, 40000, 7200.0, lease)
    assert lan.heard[-1][1] == PmpMapRequest(Transport.UDP, 40000, 41000, 7200)


async def test_a_lease_is_taken_back_by_a_lifetime_and_a_port_of_nothing(
    lan: Lan, router: Router, client: NatPmpClient
) -> None:
    lease = await client.map_port(ROUTER, 40000, 7200.0)
    await client.unmap_port(lease)
    assert lan.heard[-1][1] == PmpMapRequest(Transport.UDP, 40000, 0, 0)


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "224.0.0.1"])
async def test_a_gateway_whose_address_leads_to_nobody_maps_nothing(
    lan: Lan, router: Router, client: NatPmpClient, address: str
) -> None:
    """The first is that of one that is not connected itself."""
    router.address = address
    with pytest.raises(Refused, match="no_external_address"):
        await client.map_port(ROUTER, 40000, 7200.0)
    assert [request for _, request in lan.heard] == [PmpAddressRequest()]


@pytest.mark.parametrize(("port", "lifetime"), [(0, 600), (41000, 0)])
async def test_a_grant_of_nothing_is_a_refusal(router: Router, client: NatPmpClient, port: int, lifetime: int) -> None:
    router.external_port, router.lifetime = port, lifetime
    with pytest.raises(Refused, match="not_mapped"):
        await client.map_port(ROUTER, 40000, 7200.0)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (PmpRefusal(PmpCode.NOT_AUTHORIZED, 0, 9), "not_authorized"),
        (PmpRefusal(99, 0, 9), "code_99"),
        (PcpRefusal(PcpCode.UNSUPP_VERSION, 0, 9, 30), "not_spoken"),
    ],
    ids=["its reason", "an unknown reason", "another protocol"],
)
async def test_a_refusal_ends_the_question_at_once(
    lan: Lan, client: NatPmpClient, answer: PmpRefusal | PcpRefusal, code: str
) -> None:
    lan.answer = lambda _: answer
    with pytest.raises(Refused) as refused:
        await client.map_port(ROUTER, 40000, 7200.0)
    assert refused.value.code == code
    assert len(lan.heard) == 1


async def test_a_refused_mapping_is_refused(lan: Lan, router: Router, client: NatPmpClient) -> None:
    lan.answer = lambda request: (
        router(request) if isinstance(request, PmpAddressRequest) else PmpRefusal(PmpCode.OUT_OF_RESOURCES, 1, 9, 40000)
    )
    with pytest.raises(Refused, match="out_of_resources"):
        await client.map_port(ROUTER, 40000, 7200.0)


@pytest.mark.parametrize(
    ("epoch", "address", "holds"),
    [(160, HOST, True), (152, HOST, True), (5, HOST, False), (160, "25.0.0.10", False), (160, "0.0.0.0", False)],
    ids=["same", "slow clock", "started again", "other address", "not connected"],
)
async def test_a_lease_is_held_while_epoch_and_address_go_on(
    router: Router, client: NatPmpClient, epoch: int, address: str, holds: bool
) -> None:
    lease = await client.map_port(ROUTER, 40000, 7200.0)
    await trio.sleep(60)
    router.epoch, router.address = epoch, address
    assert await client.holds_port(lease) is holds


async def test_a_lease_that_ended_in_our_sleep_is_made_anew_by_looking_at_it(
    lan: Lan, router: Router, client: NatPmpClient
) -> None:
    """Our clock stands still meanwhile, the gateway's does not, and its epoch runs on."""
    lease = await client.map_port(ROUTER, 40000, 7200.0)
    router.epoch += 20_000
    assert await client.holds_port(lease)
    assert lan.heard[-1][1] == PmpMapRequest(Transport.UDP, 40000, 41000, 7200)
    router.external_port = 41001
    assert not await client.holds_port(lease)


async def test_a_gateway_that_is_silent_may_still_hold_it(lan: Lan, router: Router, client: NatPmpClient) -> None:
    lease = await client.map_port(ROUTER, 40000, 7200.0)
    lan.answer = lambda _: None
    with pytest.raises(Unreachable):
        await client.holds_port(lease)
