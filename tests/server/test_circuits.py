"""Circuits are made for pairs who are online, told to both, bounded in number, and end when nobody binds them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import trio
from tests.server.counting_entropy import CountingEntropy

from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.rates import TokenBucket
from tunnel.server import circuits as module
from tunnel.server.circuits import ABSENCE, BIND_LIFE, REPEAT_WINDOW, CircuitEntry, Circuits
from tunnel.server.presence import Member, Presence
from tunnel.wire.signals import Allocate, Circuit, NoCircuit, Signal

HOME = NetworkId(b"h" * 16)
WORK = NetworkId(b"w" * 16)


@dataclass
class Box:
    signals: list[Signal] = field(default_factory=list)

    def send_signal(self, signal: Signal) -> None:
        self.signals.append(signal)

    def queue_relay(self, handle: bytes, datagram: bytes) -> bool:
        return False

    def flush_relay(self) -> None:
        pass


class Desk:
    """Members of networks, and the circuits between them."""

    def __init__(self) -> None:
        self.presence = Presence(2000)
        self.circuits = Circuits(self.presence, CountingEntropy())
        self.boxes: dict[Member, Box] = {}

    def join(self, name: str, network: NetworkId = HOME) -> Member:
        box = Box()
        member = Member(
            network, NodeId(name.encode().ljust(16, b".")), box, lambda code, text: None, TokenBucket(1e6, 1e6, 0.0)
        )
        self.presence.join(member)
        self.boxes[member] = box
        return member

    def ask(self, asker: Member, peer: Member) -> None:
        self.circuits.allocate(asker, Allocate(peer.node.raw))

    def refusals(self, member: Member) -> list[str]:
        return [signal.why for signal in self.boxes[member].signals if isinstance(signal, NoCircuit)]

    def entry(self, told: Circuit) -> CircuitEntry:
        found = self.circuits.find(told.circuit)
        assert found is not None
        return found


async def told(member: Member) -> Circuit:
    """The one circuit that this member is still to be told of."""
    assert len(member.updates) == 1
    word = member.updates.take_nowait()
    assert isinstance(word, Circuit)
    return word


@pytest.fixture
def desk(autojump_clock: trio.testing.MockClock) -> Desk:
    return Desk()


async def test_both_sides_hear_of_one_circuit_and_each_gets_a_key_of_its_own(desk: Desk) -> None:
    laptop, till = desk.join("laptop"), desk.join("till")
    desk.ask(laptop, till)
    ours, theirs = await told(laptop), await told(till)
    assert ours.circuit == theirs.circuit
    assert (ours.peer, theirs.peer) == (till.node.raw, laptop.node.raw)
    assert ours.key != theirs.key
    assert len(desk.circuits) == 1


async def test_requests_that_cross_get_the_same_circuit(desk: Desk) -> None:
    laptop, till = desk.join("laptop"), desk.join("till")
    desk.ask(laptop, till)
    first = await told(till)
    await told(laptop)
    desk.ask(till, laptop)
    assert await told(till) == first
    assert len(laptop.updates) == 0
    assert len(desk.circuits) == 1


async def test_who_asks_again_later_gets_a_new_one_and_two_a_pair_are_the_most(desk: Desk) -> None:
    """It has lost the old one, or the old one does not work; what is on its way over that still arrives."""
    laptop, till = desk.join("laptop"), desk.join("till")
    numbers = []
    for _ in range(4):
        desk.ask(laptop, till)
        numbers.append((await told(laptop)).circuit)
        await told(till)
        await trio.sleep(REPEAT_WINDOW)
    assert len(set(numbers)) == 4
    assert [desk.circuits.find(number) is not None for number in numbers] == [False, False, True, True]


async def test_a_node_that_has_registered_again_gets_keys_of_its_own_at_once(desk: Desk) -> None:
    """The keys of its former process are gone, and its binds count from the beginning."""
    laptop, till = desk.join("laptop"), desk.join("till")
    desk.ask(laptop, till)
    before = await told(laptop)
    again = desk.join("laptop")
    desk.ask(again, till)
    assert (await told(again)).key != before.key


@pytest.mark.parametrize("whom", ["nobody", "stranger", "itself", "leaver"])
async def test_there_is_no_circuit_to_who_is_not_there(desk: Desk, whom: str) -> None:
    laptop, leaver = desk.join("laptop"), desk.join("leaver")
    desk.join("stranger", WORK)
    desk.presence.withdraw(leaver)
    name = "laptop" if whom == "itself" else whom
    desk.circuits.allocate(laptop, Allocate(name.encode().ljust(16, b".")))
    assert desk.refusals(laptop) == ["peer_offline"]
    assert len(desk.circuits) == 0


async def test_a_circuit_that_nobody_binds_ends(desk: Desk) -> None:
    laptop, till = desk.join("laptop"), desk.join("till")
    desk.ask(laptop, till)
    desk.circuits.sweep(BIND_LIFE)
    assert len(desk.circuits) == 1
    desk.circuits.sweep(BIND_LIFE + 1)
    assert len(desk.circuits) == 0
    assert desk.circuits.statistics.ended == 1


async def test_what_has_lasted_its_time_is_swept_away_by_itself(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there are more than are looked at in one go."""
    monkeypatch.setattr(module, "SWEPT_AT_ONCE", 3)
    members = [desk.join(f"node {number}") for number in range(6)]
    for number, member in enumerate(members):
        for peer in members[number + 1 :]:
            desk.ask(member, peer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.circuits.sweep_often)
        await trio.sleep(BIND_LIFE)
        assert len(desk.circuits) == 15
        await trio.sleep(2 * module.SWEEP_INTERVAL)
        assert len(desk.circuits) == 0
        nursery.cancel_scope.cancel()


async def test_a_circuit_lives_on_while_it_is_bound_until_a_side_is_away_for_long(desk: Desk) -> None:
    laptop, till = desk.join("laptop"), desk.join("till")
    desk.ask(laptop, till)
    entry = desk.entry(await told(laptop))
    for now in range(0, 600, 10):
        entry.low.bound_at = entry.high.bound_at = float(now)
        desk.circuits.sweep(float(now))
    assert len(desk.circuits) == 1
    desk.presence.leave(till)
    for now in range(600, 590 + int(ABSENCE), 10):
        entry.low.bound_at = entry.high.bound_at = float(now)
        desk.circuits.sweep(float(now))
    assert len(desk.circuits) == 1
    desk.circuits.sweep(591 + ABSENCE)
    assert len(desk.circuits) == 0


async def test_a_node_a_network_and_the_server_have_only_so_many(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CIRCUITS_PER_NODE", 2)
    monkeypatch.setattr(module, "MAX_CIRCUITS_PER_NETWORK", 3)
    members = [desk.join(f"node {number}") for number in range(6)]
    for peer in members[1:4]:
        desk.ask(members[0], peer)
    assert desk.refusals(members[0]) == ["full"]
    desk.ask(members[4], members[5])
    assert len(desk.circuits) == 3
    desk.ask(members[2], members[3])
    assert desk.refusals(members[2]) == ["full"]
    assert len(desk.circuits) == 3


async def test_the_network_with_most_circuits_gives_way_to_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes networks by the dozen takes circuits from himself."""
    monkeypatch.setattr(module, "MAX_CIRCUITS", 4)
    crowd = [desk.join(f"crowd {number}", WORK) for number in range(5)]
    for peer in crowd[1:]:
        desk.ask(crowd[0], peer)
    laptop, till = desk.join("laptop"), desk.join("till")
    desk.ask(laptop, till)
    assert desk.refusals(laptop) == []
    assert desk.circuits.find((await told(laptop)).circuit) is not None
    assert desk.circuits.find(1) is None
    assert len(desk.circuits) == 4
    desk.ask(crowd[0], crowd[1])
    assert desk.refusals(crowd[0]) == ["full"]


async def test_what_is_counted_is_given_back_when_a_circuit_ends(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CIRCUITS_PER_NODE", 1)
    monkeypatch.setattr(module, "MAX_CIRCUITS_PER_NETWORK", 1)
    laptop, till = desk.join("laptop"), desk.join("till")
    for round_number in range(3):
        desk.ask(laptop, till)
        assert desk.refusals(laptop) == []
        await told(laptop)
        await trio.sleep(BIND_LIFE + 1)
        desk.circuits.sweep(trio.current_time())
        assert len(desk.circuits) == 0, round_number
