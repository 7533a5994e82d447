"""One question to a gateway: patient, bounded, and deaf to everybody else."""

from __future__ import annotations

import random

import pytest
import trio
from tests.nat.gateways.conftest import ROUTER, WAITS, Lan

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused, Unreachable
from tunnel.model.routes import Gateway
from tunnel.model.transport import Transport
from tunnel.nat.gateways.exchange import MAX_NOISE, ask_gateway
from tunnel.wire.nat_pmp import PmpAddress, PmpAddressRequest, PmpMapped
from tunnel.wire.port_control import PORT, PortAnswer, encode_port_answer

ADDRESS = PmpAddress(7, "25.0.0.9")


def pick(answer: PortAnswer) -> PmpAddress | None:
    return answer if isinstance(answer, PmpAddress) else None


async def ask(lan: Lan, gateway: Gateway = ROUTER) -> PmpAddress:
    return await ask_gateway(lan.host, gateway, PmpAddressRequest(), pick, waits=WAITS)


async def test_an_answer_ends_the_question(lan: Lan) -> None:
    lan.answer = lambda _: ADDRESS
    assert await ask(lan) == ADDRESS
    assert trio.current_time() == pytest.approx(0.002)
    assert len(lan.heard) == 1


async def test_a_gateway_that_is_silent_is_asked_four_times_within_three_seconds(lan: Lan) -> None:
    with pytest.raises(Unreachable, match=r"192\.168\.1\.1 does not answer"):
        await ask(lan)
    assert [at for at, _ in lan.heard] == pytest.approx([0.001, 0.251, 0.751, 1.751])
    assert trio.current_time() == pytest.approx(2.75)


async def test_a_lost_question_is_asked_again(lan: Lan) -> None:
    lan.answer = lambda _: ADDRESS if len(lan.heard) == 2 else None
    assert await ask(lan) == ADDRESS


async def test_garbage_and_answers_to_other_questions_are_passed_over(lan: Lan) -> None:
    other = PmpMapped(7, Transport.UDP, 5000, 5000, 600)
    chance = random.Random(4)
    lan.answer = lambda _: [*(chance.randbytes(chance.randrange(40)) for _ in range(20)), other, ADDRESS]
    assert await ask(lan) == ADDRESS


async def test_a_gateway_that_talks_nonsense_all_the_time_is_not_listened_to(lan: Lan) -> None:
    """Its flood must not keep us busy for as long as it likes."""
    lan.answer = lambda _: [b"\xff" * 20] * (MAX_NOISE + 1)
    with pytest.raises(Unreachable, match="talks nonsense"):
        await ask(lan)
    assert trio.current_time() < 0.1


async def test_a_little_nonsense_and_then_silence_is_told_as_nonsense(lan: Lan) -> None:
    lan.answer = lambda _: b"?"
    with pytest.raises(Unreachable, match="talks nonsense"):
        await ask(lan)
    assert trio.current_time() == pytest.approx(2.75)


async def test_nobody_else_is_believed(lan: Lan) -> None:
    """Whoever else is on the LAN could otherwise name an endpoint of his."""
    lan.answer = lambda _: ADDRESS
    lan.speaks_from = PORT + 1
    with pytest.raises(Unreachable):
        await ask(lan)


async def test_the_question_leaves_from_the_address_that_the_gateway_knows(lan: Lan) -> None:
    with pytest.raises(Unreachable, match="not an address"):
        await ask(lan, Gateway(ROUTER.address, "192.168.1.77"))


async def test_a_refusal_is_an_answer_and_the_socket_is_closed(lan: Lan) -> None:
    def refuse(_: PortAnswer) -> None:
        raise Refused("not_authorized")

    lan.answer = lambda _: encode_port_answer(ADDRESS)
    ports = []
    lan.host.on_sent = lambda packet: ports.append(packet.source.port)
    with pytest.raises(Refused, match="not_authorized"):
        await ask_gateway(lan.host, ROUTER, PmpAddressRequest(), refuse, waits=WAITS)
    (await lan.host.open_socket(Endpoint(ROUTER.own, ports[0]))).close()
