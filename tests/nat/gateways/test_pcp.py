"""PCP as a client: what it asks, what it believes, and what it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import trio
from tests.nat.gateways.conftest import NONCE, ROUTER, ROUTER6, WAITS, AnyRequest, Lan

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused, Unreachable
from tunnel.model.port_mapping import PortProtocol
from tunnel.model.routes import Gateway
from tunnel.model.transport import Transport
from tunnel.nat.gateways.lease import PortLease
from tunnel.nat.gateways.pcp import PcpClient
from tunnel.wire.nat_pmp import PmpCode, PmpRefusal
from tunnel.wire.pcp import PcpCode, PcpMapped, PcpMapRequest, PcpRefusal

OUTSIDE = Endpoint("25.0.0.9", 41000)
MAP = 1


def client(lan: Lan) -> PcpClient:
    return PcpClient(lan.host, NONCE, WAITS)


def grant(epoch: int = 100, external: Endpoint = OUTSIDE, lifetime: int = 600) -> Callable[[AnyRequest], PcpMapped]:
    def answer(request: AnyRequest) -> PcpMapped:
        assert isinstance(request, PcpMapRequest)
        return PcpMapped(epoch, request.nonce, Transport.UDP, request.internal_port, external, lifetime)

    return answer


async def test_a_port_is_asked_for_at_the_same_number_and_what_was_granted_is_kept(lan: Lan) -> None:
    lan.answer = grant()
    lease = await client(lan).map_port(ROUTER, 40000, 7200.0)
    assert lease == PortLease(PortProtocol.PCP, ROUTER, 40000, OUTSIDE, trio.current_time(), 600.0, 100)
    request = PcpMapRequest(ROUTER.own, NONCE, Transport.UDP, 40000, Endpoint("0.0.0.0", 40000), 7200)
    assert [heard for _, heard in lan.heard] == [request]


async def test_a_renewal_wishes_for_what_is_held(lan: Lan) -> None:
    lan.answer = grant()
    lease = await client(lan).map_port(ROUTER, 40000, 7200.0)
    await client(lan).map_port(ROUTER, 40000, 7200.0, lease)
    assert isinstance(lan.heard[1][1], PcpMapRequest)
    assert lan.heard[1][1].external == OUTSIDE


async def test_a_pinhole_is_asked_for_from_our_global_address(lan: Lan) -> None:
    ours = Endpoint(ROUTER6.own, 40000)
    lan.answer = grant(external=ours)
    lease = await client(lan).map_port(ROUTER6, 40000, 7200.0)
    assert lease.external == ours
    request = PcpMapRequest(ROUTER6.own, NONCE, Transport.UDP, 40000, Endpoint("::", 40000), 7200)
    assert lan.heard[0][1] == request


async def test_a_lease_is_taken_back_by_a_lifetime_of_nothing(lan: Lan) -> None:
    lan.answer = grant()
    lease = await client(lan).map_port(ROUTER, 40000, 7200.0)
    lan.answer = grant(external=Endpoint("0.0.0.0", 0), lifetime=0)
    await client(lan).unmap_port(lease)
    request = PcpMapRequest(ROUTER.own, NONCE, Transport.UDP, 40000, Endpoint("0.0.0.0", 0), 0)
    assert lan.heard[1][1] == request


@pytest.mark.parametrize(
    ("gateway", "external", "lifetime"),
    [
        (ROUTER, Endpoint("25.0.0.9", 0), 600),
        (ROUTER, OUTSIDE, 0),
        (ROUTER, Endpoint("2001:db8::9", 41000), 600),
        (ROUTER6, OUTSIDE, 600),
    ],
    ids=["no port", "no time", "IPv6 for IPv4", "IPv4 for IPv6"],
)
async def test_a_grant_of_nothing_is_a_refusal(lan: Lan, gateway: Gateway, external: Endpoint, lifetime: int) -> None:
    lan.answer = grant(external=external, lifetime=lifetime)
    with pytest.raises(Refused, match="not_mapped"):
        await client(lan).map_port(gateway, 40000, 7200.0)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "224.0.0.1"])
async def test_an_address_that_leads_to_nobody_is_a_refusal(lan: Lan, host: str) -> None:
    """Else it would win the race, and show as a mapped port."""
    lan.answer = grant(external=Endpoint(host, 41000))
    with pytest.raises(Refused, match="no_external_address"):
        await client(lan).map_port(ROUTER, 40000, 7200.0)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (PcpRefusal(PcpCode.NOT_AUTHORIZED, MAP, 9, 30), "not_authorized"),
        (PcpRefusal(77, MAP, 9, 30, NONCE + bytes(24)), "code_77"),
        (PmpRefusal(PmpCode.UNSUPPORTED_VERSION, 1, 9), "not_spoken"),
    ],
    ids=["its reason", "an unknown reason", "another protocol"],
)
async def test_a_refusal_ends_the_question_at_once(lan: Lan, answer: PcpRefusal | PmpRefusal, code: str) -> None:
    lan.answer = lambda _: answer
    with pytest.raises(Refused) as refused:
        await client(lan).map_port(ROUTER, 40000, 7200.0)
    assert refused.value.code == code
    assert len(lan.heard) == 1


@pytest.mark.parametrize("change", [{"nonce": b"m" * 12}, {"internal_port": 40001}, {"transport": Transport.TCP}])
async def test_an_answer_to_another_request_is_none(lan: Lan, change: dict[str, object]) -> None:
    lan.answer = lambda request: replace(grant()(request), **change)  # type: ignore[arg-type]
    with pytest.raises(Unreachable):
        await client(lan).map_port(ROUTER, 40000, 7200.0)


async def test_a_refusal_of_another_request_is_none(lan: Lan) -> None:
    lan.answer = lambda _: PcpRefusal(PcpCode.NOT_AUTHORIZED, MAP, 9, 30, b"m" * 12 + bytes(24))
    with pytest.raises(Unreachable):
        await client(lan).map_port(ROUTER, 40000, 7200.0)


@pytest.mark.parametrize(
    ("epoch", "external", "holds"),
    [
        (160, OUTSIDE, True),
        (158, OUTSIDE, True),
        (5, OUTSIDE, False),
        (100_000, OUTSIDE, False),
        (160, Endpoint("25.0.0.10", 41000), False),
        (160, Endpoint("25.0.0.9", 41001), False),
    ],
    ids=["same", "slow clock", "started again", "another machine", "other address", "other port"],
)
async def test_a_lease_is_held_while_epoch_and_endpoint_go_on(
    lan: Lan, epoch: int, external: Endpoint, holds: bool
) -> None:
    lan.answer = grant(epoch=100)
    lease = await client(lan).map_port(ROUTER, 40000, 7200.0)
    await trio.sleep(60)
    lan.answer = grant(epoch=epoch, external=external)
    assert await client(lan).holds_port(lease) is holds


async def test_a_gateway_that_refuses_what_it_granted_does_not_hold_it(lan: Lan) -> None:
    lan.answer = grant()
    lease = await client(lan).map_port(ROUTER, 40000, 7200.0)
    lan.answer = lambda _: PcpRefusal(PcpCode.NO_RESOURCES, MAP, 9, 30)
    assert not await client(lan).holds_port(lease)


async def test_a_gateway_that_is_silent_may_still_hold_it(lan: Lan) -> None:
    lan.answer = grant()
    lease = await client(lan).map_port(ROUTER, 40000, 7200.0)
    lan.answer = lambda _: None
    with pytest.raises(Unreachable):
        await client(lan).holds_port(lease)
