"""A node cannot be used to flood third parties, whatever its members announce."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tunnel.model.candidate import Candidate, CandidateKind
from tunnel.model.endpoint import Endpoint
from tunnel.model.identity import ID_BYTES, NodeId
from tunnel.model.way import Way
from tunnel.peer.port_prediction.limits import (
    FEW_FLOWS,
    PREDICTION_FLOW_RATE,
    PREDICTION_FLOWS,
    PREDICTION_HOST_BURST,
    PREDICTION_HOST_RATE,
    PREDICTION_PACKETS,
    PREDICTION_REST,
    PREDICTION_SOCKETS,
    SOCKET_RATE,
)
from tunnel.peer.probe_budget import HOST_BURST, HOST_RATE, NODE_BURST, NODE_RATE, PredictionSlot, ProbeBudget
from tunnel.peer.probe_exchange import MAX_PROBE_BACKS
from tunnel.peer.tactics import PORTS_OF_A_HOST
from tunnel.peer.transmitter import Transmitter
from tunnel.wire.frames import BASE_SIZE

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


def node(number: int) -> NodeId:
    return NodeId(bytes([number]) * ID_BYTES)


async def slot_of(budget: ProbeBudget, patience: float = 1.0) -> PredictionSlot:
    slot = await budget.wait_slot(patience)
    assert slot is not None
    return slot


async def test_one_port_prediction_goes_on_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    budget = ProbeBudget()
    first = await slot_of(budget)
    assert await budget.wait_slot(3.0) is None
    assert trio.current_time() == 3.0
    first.end()
    (await slot_of(budget)).end()


async def test_after_a_costly_punch_the_next_one_waits_until_routers_have_forgotten(
    autojump_clock: trio.testing.MockClock,
) -> None:
    budget = ProbeBudget()
    slot = await slot_of(budget)
    while slot.flows <= FEW_FLOWS:
        slot.take_flow()
        await trio.sleep(0.01)
    slot.end()
    ended = trio.current_time()
    assert await budget.wait_slot(3.0) is None
    (await slot_of(budget, 60.0)).end()
    assert trio.current_time() == ended + PREDICTION_REST


async def test_who_gives_up_waiting_leaves_the_turn_to_others(autojump_clock: trio.testing.MockClock) -> None:
    budget = ProbeBudget()
    budget._rests_until = 10.0
    assert await budget.wait_slot(1.0) is None
    (await slot_of(budget, 10.0)).end()
    assert trio.current_time() == 10.0


async def test_flows_and_sockets_of_a_port_prediction_keep_their_pace_and_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    slot = await slot_of(ProbeBudget())
    for _ in range(200):
        while slot.take_flow():
            pass
        while slot.take_socket():
            pass
        seconds = trio.current_time()
        assert slot.flows <= min(PREDICTION_FLOWS, PREDICTION_FLOW_RATE * (seconds + 0.1) + 1)
        assert slot.sockets <= min(PREDICTION_SOCKETS, SOCKET_RATE * (seconds + 0.1) + 1)
        await trio.sleep(0.1)
    assert (slot.flows, slot.sockets, slot.is_spent) == (PREDICTION_FLOWS, PREDICTION_SOCKETS, True)


async def test_a_port_prediction_leaves_the_other_peers_some_of_the_node_s_rate(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """All flows come out of one bucket: 200 a second in the node, whoever opens them."""
    budget = ProbeBudget()
    slot = await slot_of(budget)
    others = 0
    for step in range(500):
        while slot.take_flow():
            pass
        others += budget.take(f"25.0.{step % 200}.9", trio.current_time())
        await trio.sleep(0.01)
    assert others > NODE_BURST
    assert others + slot.flows <= NODE_BURST + 5 * NODE_RATE


async def spend(slot: PredictionSlot, peer: NodeId, host: str, most: int = PREDICTION_PACKETS) -> int:
    """Send as much as is allowed, or so many packets; return how many were sent."""
    if slot.may_punch(peer, host):
        while slot.packets < most and not slot.is_spent:
            if not slot.take_flow():
                await trio.sleep(0.05)
        while slot.packets < most and slot.take_repeat():
            pass
    slot.end()
    return slot.packets


async def test_one_address_is_worth_a_few_port_predictions_an_hour(autojump_clock: trio.testing.MockClock) -> None:
    """It may be a victim's, announced by a hostile member as its own."""
    budget = ProbeBudget()
    sent = 0
    while trio.current_time() < 3600.0:
        sent += await spend(await slot_of(budget, 60.0), node(int(trio.current_time()) % 200), "66.6.6.6")
        await trio.sleep(20.0)
    assert PREDICTION_HOST_BURST < sent <= PREDICTION_HOST_BURST + 3600.0 * PREDICTION_HOST_RATE


async def test_one_peer_is_worth_as_few_wherever_it_says_that_it_is(autojump_clock: trio.testing.MockClock) -> None:
    """With a new address each time it would have third parties scanned in turn, and leave no slot to other peers."""
    budget = ProbeBudget()
    sent = 0
    while trio.current_time() < 3600.0:
        sent += await spend(await slot_of(budget, 60.0), node(1), f"66.6.6.{int(trio.current_time()) % 200}")
        await trio.sleep(20.0)
    assert PREDICTION_HOST_BURST < sent <= PREDICTION_HOST_BURST + 3600.0 * PREDICTION_HOST_RATE
    slot = await slot_of(budget, 60.0)
    assert slot.may_punch(node(2), "66.7.7.7"), "what one has used up is not another's"


async def test_a_punch_costs_what_it_sent(autojump_clock: trio.testing.MockClock) -> None:
    """A peer that starts again and again, and is found soon each time, is punched at each time."""
    budget = ProbeBudget()
    for _ in range(20):
        assert await spend(await slot_of(budget, 60.0), node(1), "66.6.6.6", most=700) == 700


def test_answers_have_a_rate_of_their_own() -> None:
    """A peer's volley comes as often as ours goes: neither silences the other."""
    budget = ProbeBudget()
    times = [step / 1000 for step in range(10_000)]
    probes = [budget.take("25.0.0.9", now) for now in times]
    assert sum(budget.take_answer("25.0.0.9", now) for now in times) == sum(probes)


async def test_a_victim_in_whose_name_a_member_asks_gets_few_answers(bench: Bench) -> None:
    """The source of a probe is easily forged, and its answer is as big as it is."""
    await bench.connect()
    await trio.sleep(5.0)
    victim = Way(0, Endpoint("66.6.6.6", 5300))
    exchange = bench.right.peer._probes._exchange
    assert exchange is not None
    before = len(bench.left.sent)
    forged: list[bytes] = []

    class Forger(Transmitter):
        def send(self, way: Way, datagram: bytes, ttl: int | None = None) -> bool:
            forged.append(datagram)
            return True

    exchange._transmitter = Forger(bench.left.keys.id, bench.right, bench.right)
    for _ in range(3000):
        exchange.ask(victim, size=BASE_SIZE)
        bench.left.receive(forged.pop(), victim)
        await trio.sleep(0.001)
    heard = [way for _, way, _, _ in bench.left.sent[before:] if way == victim]
    assert len(heard) <= HOST_BURST + 3 * HOST_RATE + MAX_PROBE_BACKS + 1


async def test_punches_with_no_rest_between_them_open_no_more_than_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Else a small one just before a big one would make 256 sockets 272."""
    budget, sockets, flows = ProbeBudget(), list[float](), list[float]()
    for wanted in (16, PREDICTION_SOCKETS, 40):
        slot = await budget.wait_slot(60.0)
        assert slot is not None
        ends = trio.current_time() + PREDICTION_REST
        while trio.current_time() < ends and len(sockets) < 1000:
            sockets += [trio.current_time()] * (slot.sockets < wanted and slot.take_socket())
            flows += [trio.current_time()] * (slot.flows < FEW_FLOWS * wanted // 16 and slot.take_flow())
            await trio.sleep(0.002)
            if slot.flows == FEW_FLOWS and wanted == 16:
                break
        slot.end()
    for begin in sockets:
        assert sum(begin <= at < begin + PREDICTION_REST for at in sockets) <= PREDICTION_SOCKETS
    for begin in flows[::20]:
        assert sum(begin <= at < begin + PREDICTION_REST for at in flows) <= PREDICTION_FLOWS
    assert len(sockets) > PREDICTION_SOCKETS
