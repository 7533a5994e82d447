"""A node is no means to flood strangers, whatever its members announce."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tunnel.model.candidate import Candidate, CandidateKind
from tunnel.model.endpoint import Endpoint
from tunnel.peer.budget import HOST_BURST, HOST_RATE, NODE_BURST, NODE_RATE, ProbeBudget
from tunnel.peer.tactics import PORTS_OF_A_HOST

if TYPE_CHECKING:
    from tests.peer.conftest import Bench


def test_one_address_gets_its_burst_and_then_its_rate() -> None:
    budget = ProbeBudget()
    assert sum(budget.take("25.0.0.9", step / 1000) for step in range(10_000)) <= HOST_BURST + 10 * HOST_RATE
    assert budget.refused > 9000


def test_all_addresses_together_get_the_node_s_rate() -> None:
    budget = ProbeBudget()
    taken = sum(budget.take(f"25.0.{step % 200}.9", step / 1000) for step in range(10_000))
    assert taken <= NODE_BURST + 10 * NODE_RATE


async def test_a_victim_that_a_member_announces_hears_little(bench: Bench) -> None:
    """Every candidate of the other side is a port of a third party: few are tried, and those at a bounded rate."""
    victim = "66.6.6.6"
    ports = tuple(Candidate(Endpoint(victim, 1000 + port), CandidateKind.REFLEXIVE) for port in range(24))
    bench.direct = False
    bench.right.card(candidates=ports)
    bench.meet()
    for _ in range(100):
        bench.left.peer.want()
        bench.right.card(candidates=ports)
        bench.introduce()
        await trio.sleep(0.1)
    heard = [way.remote for _, way, _, _ in bench.left.sent if way.remote is not None and way.remote.host == victim]
    assert len(set(heard)) == PORTS_OF_A_HOST
    assert len(heard) <= HOST_BURST + 12 * HOST_RATE
