from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from bench.studies.reenactment_detection import Detection, NatKind, detect, serve_public_stun
from trio.testing import MockClock

from tunnel.model.endpoint import Endpoint
from tunnel.verify.memory.internet import open_memory_internet

STUN = Endpoint("24.0.0.1", 3478)
ALIVE, DEAD = str(STUN), "24.0.0.2:3478"


async def detected(address: str, servers: Sequence[str]) -> tuple[Detection, float]:
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        nursery.start_soon(serve_public_stun, await internet.add_host("stun", STUN.host).open_socket(STUN))
        host = internet.add_host("host", address)
        found = await detect(host.world(), servers)
        nursery.cancel_scope.cancel()
    return found, trio.current_time()


@pytest.mark.parametrize(
    ("address", "servers", "found", "seconds"),
    [
        ("26.0.1.1", [ALIVE], Detection(NatKind.NONE, is_told=True), 0.02),
        ("26.0.1.1", [DEAD, DEAD, ALIVE], Detection(NatKind.NONE, is_told=True), 10.02),
        ("26.0.1.1", [DEAD], Detection(NatKind.NONE, is_told=False), 5.0),
        ("100.64.0.2", [DEAD], Detection(NatKind.NONE, is_told=False), 5.0),
        ("192.168.1.2", [DEAD, DEAD], Detection(NatKind.SYMMETRIC, is_told=False), 10.0),
        ("192.168.1.2", ["nobody.example:3478"], Detection(NatKind.SYMMETRIC, is_told=False), 0.001),
    ],
)
async def test_servers_are_asked_in_turn_and_silence_is_taken_for_a_kind(
    address: str, servers: list[str], found: Detection, seconds: float, autojump_clock: MockClock
) -> None:
    result, took = await detected(address, servers)
    assert result == found
    assert took == pytest.approx(seconds, abs=0.01)
