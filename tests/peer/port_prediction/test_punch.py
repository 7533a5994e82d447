"""Port prediction between two peers over two wires: who takes part, what is told, what remains of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.model.nat import Allocation, Filtering, Mapping, NatReport, Udp
from tunnel.model.reasons import ReasonCode
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.model.way import RELAY
from tunnel.peer.port_prediction.limits import PREDICTION_FLOWS, PREDICTION_SOCKETS
from tunnel.wire.frames import Kind

if TYPE_CHECKING:
    from tests.peer.conftest import Bench, Side

HARD = NatReport(
    Mapping.ADDRESS_AND_PORT_DEPENDENT,
    Filtering.ADDRESS_AND_PORT_DEPENDENT,
    Allocation.BLOCK,
    udp=Udp.OPEN,
    block=(2048, 2559),
)


async def begin(bench: Bench, nat: NatReport = HARD) -> None:
    """The right side is behind this NAT; nothing goes directly, and the left side wants it."""
    bench.direct = False
    bench.right.card(nat=nat)
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "punching")


async def wait_relayed(bench: Bench) -> None:
    for side in (bench.left, bench.right):
        await bench.wait_state(side, "relayed")


def probes(side: Side, other: Side) -> set[int]:
    """Ports of the other's address that it did not announce and that were asked all the same."""
    asked = [way.remote for _, way, kind, _ in side.sent if kind is Kind.PROBE and way.remote is not None]
    return {remote.port for remote in asked if remote.host == other.endpoint.host and remote != other.endpoint}


async def test_one_listens_the_other_scans_and_both_say_what_they_spent(bench: Bench) -> None:
    await begin(bench)
    await wait_relayed(bench)
    left, right = bench.left.peer.status().reason, bench.right.peer.status().reason
    assert left is not None
    assert right is not None
    assert left.code is right.code is ReasonCode.GUESSING_FAILED
    assert probes(bench.left, bench.right) == set(range(2048, 2560))
    assert probes(bench.right, bench.left) == set()
    assert bench.right.opened == 16
    told = "mapping endpoint_independent, allocation unknown"
    assert "we guessed with 0 sockets and 512 flows; the peer opened with 16 and 16" in left.evidence
    assert f"here {told}; there mapping address_and_port_dependent, allocation block" in left.evidence
    assert "we opened with 16 sockets and 16 flows; the peer guessed with 0 and 512" in right.evidence


def punches(bench: Bench) -> list[int]:
    return [[target for _, target in side.moves].count("punching") for side in (bench.left, bench.right)]


async def test_afterwards_all_sockets_are_closed_and_after_one_more_try_an_hour_passes(bench: Bench) -> None:
    """One more, soon: a busy machine is no reason to wait for an hour, and a hopeless pair costs two tries."""
    await begin(bench)
    await wait_relayed(bench)
    assert bench.right.punch_sockets == []
    assert punches(bench) == [1, 1]
    await trio.sleep(60.0)
    assert punches(bench) == [2, 2]
    assert bench.right.punch_sockets == []
    await trio.sleep(DEFAULT_TIMINGS.upgrade_ladder[-1] - 120.0)
    assert punches(bench) == [2, 2]
    bench.right.card(nat=replace(HARD, allocation=Allocation.RANDOM, block=None))
    bench.meet()
    await bench.wait_state(bench.left, "punching", 5.0)


async def test_ports_that_a_hard_nat_gives_anew_are_no_reason_for_another_punch(bench: Bench) -> None:
    await begin(bench)
    await wait_relayed(bench)
    moves = len(bench.left.moves)
    body = bench.right.own_card
    assert body is not None
    candidates = tuple(replace(one, endpoint=one.endpoint._replace(port=9999)) for one in body.body.candidates)
    bench.right.card(nat=replace(HARD, load=3.0, lifetime=30.0), candidates=candidates)
    bench.meet()
    await trio.sleep(5.0)
    assert len(bench.left.moves) == moves


async def test_nothing_is_sent_to_a_peer_that_does_not_join(bench: Bench) -> None:
    """All that the right side says in probes over the relay is lost: its address may be a victim's."""
    bench.drop = lambda side, way, datagram: (
        side is bench.right and way == RELAY and bool(datagram) and datagram[0] == Kind.PROBE
    )
    await begin(bench)
    await bench.left.peer.notifier.wait_until(lambda: bench.left.peer.state != "punching")
    assert probes(bench.left, bench.right) == set()


async def test_two_that_missed_each_other_try_again_within_seconds(bench: Bench) -> None:
    """A machine that was too busy to join in time costs seconds, and none of the budget."""
    bench.drop = lambda side, way, datagram: (
        side is bench.right and way == RELAY and datagram[:1] == bytes([Kind.PROBE]) and trio.current_time() < 9.0
    )
    await begin(bench)
    await bench.wait_state(bench.left, "relayed")
    reason = bench.left.peer.status().reason
    assert reason is not None
    assert reason.code is ReasonCode.PUNCH_BUSY
    assert "did not join" in reason.evidence
    missed = trio.current_time()
    await trio.sleep(12.0)
    assert probes(bench.left, bench.right) == set(range(2048, 2560))
    assert min(at for at, way, _, _ in bench.left.sent if way.is_direct and at > missed) - missed < 4.0


async def test_a_lost_hint_is_said_again(bench: Bench) -> None:
    lost: list[float] = []

    def drop(side: Side, way: object, datagram: bytes) -> bool:
        now = trio.current_time()
        if way == RELAY and datagram[:1] == bytes([Kind.PROBE]) and 1.2 < now < 2.0:
            lost.append(now)
            return True
        return False

    bench.drop = drop
    await begin(bench)
    await wait_relayed(bench)
    assert lost
    assert probes(bench.left, bench.right) == set(range(2048, 2560))


@pytest.mark.parametrize("busy", ["left", "right"])
async def test_who_is_busy_says_so_and_both_go_on_with_the_relay(bench: Bench, busy: str) -> None:
    side = bench.left if busy == "left" else bench.right
    slot = await side.budget.wait_slot(1.0)
    assert slot is not None
    await begin(bench)
    await wait_relayed(bench)
    reasons = [each.peer.status().reason for each in (bench.left, bench.right)]
    assert [reason.code for reason in reasons if reason is not None] == [ReasonCode.PUNCH_BUSY] * 2
    assert probes(bench.left, bench.right) == set()
    assert bench.right.opened == 0
    slot.end()
    await bench.wait_state(bench.left, "punching", 20.0)


async def test_any_port_takes_the_whole_budget_and_no_more(bench: Bench) -> None:
    await begin(bench, replace(HARD, allocation=Allocation.RANDOM, block=None))
    await wait_relayed(bench)
    assert len(probes(bench.left, bench.right)) == PREDICTION_FLOWS
    assert bench.right.opened == PREDICTION_SOCKETS
    assert max(at for at, way, kind, _ in bench.left.sent if kind is Kind.PROBE and way.is_direct) < 20.0
