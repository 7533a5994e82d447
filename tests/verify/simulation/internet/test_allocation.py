"""How external ports are chosen."""

from __future__ import annotations

import random
from statistics import mean

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import SettingsError
from tunnel.model.nat import Allocation
from tunnel.verify.reachability.topology import Nat
from tunnel.verify.simulation.internet.allocation import Allocator, allocator_of, poisson

INNER, NEIGHBOR = Endpoint("192.168.1.2", 5000), Endpoint("192.168.1.3", 5000)

pytestmark = pytest.mark.usefixtures("autojump_clock")


class Ports:
    """An allocator, and the ports that it has given."""

    def __init__(self, nat: Nat, seed: int = 1) -> None:
        self.taken: dict[int, None] = {}
        self._allocator: Allocator = allocator_of(nat, random.Random(seed))

    def take(self, inner: Endpoint = INNER) -> int | None:
        port = self._allocator.take(inner, lambda port: port not in self.taken)
        if port is not None:
            self.taken[port] = None
        return port

    def some(self, count: int, inner: Endpoint = INNER) -> list[int]:
        ports = [self.take(inner) for _ in range(count)]
        assert None not in ports
        return [port for port in ports if port is not None]


async def test_preserving_keeps_the_inner_port_and_else_takes_the_next_free_one_above() -> None:
    ports = Ports(Nat(allocation=Allocation.PRESERVING))
    assert ports.some(2, INNER) == [5000, 5001]
    assert ports.some(1, NEIGHBOR) == [5002]


async def test_preserving_wraps_round_at_the_end_of_the_range() -> None:
    ports = Ports(Nat(allocation=Allocation.PRESERVING, first_port=4999, last_port=5000))
    assert ports.some(2) == [5000, 4999]
    assert ports.take() is None


async def test_preserving_keeps_no_port_outside_its_range() -> None:
    assert Ports(Nat(allocation=Allocation.PRESERVING, first_port=20000)).take() == 20000
    assert Ports(Nat(allocation=Allocation.PRESERVING, last_port=4999)).take() == 1024
    assert Ports(Nat(allocation=Allocation.PRESERVING, first_port=4000, last_port=5000)).take() == 5000
    assert Ports(Nat(allocation=Allocation.PRESERVING, first_port=5000)).take() == 5000


@pytest.mark.parametrize("step", [1, 2, 7])
async def test_sequential_goes_up_by_its_step_whoever_asks(step: int) -> None:
    ports = Ports(Nat(allocation=Allocation.SEQUENTIAL, step=step))
    one, two, three = (ports.take(inner) or 0 for inner in (INNER, NEIGHBOR, INNER))
    assert (two - one, three - two) == (step, step)


async def test_sequential_gives_every_port_of_its_range_also_where_the_step_divides_it() -> None:
    ports = Ports(Nat(allocation=Allocation.SEQUENTIAL, step=4, first_port=2000, last_port=2015))
    assert sorted(ports.some(16)) == list(range(2000, 2016))
    assert ports.take() is None


async def test_sequential_begins_anew_at_the_end_of_its_range() -> None:
    allocator = allocator_of(
        Nat(allocation=Allocation.SEQUENTIAL, first_port=2000, last_port=2002), random.Random("round")
    )
    ports = [allocator.take(INNER, lambda port: True) or 0 for _ in range(7)]
    assert [2000 + (port - 2000 + 1) % 3 for port in ports[:-1]] == ports[1:]


async def test_foreign_load_moves_a_sequential_allocator_on_with_time() -> None:
    """Ten mappings a second of others, for ten seconds: about a hundred ports further."""
    gaps = []
    for seed in range(20):
        ports = Ports(Nat(allocation=Allocation.SEQUENTIAL, foreign_load=10.0), seed)
        before = ports.take() or 0
        await trio.sleep(10)
        gaps.append(((ports.take() or 0) - before - 1) % (65535 - 1024 + 1))
    assert 90 < mean(gaps) < 110
    assert len(set(gaps)) > 5


async def test_without_foreign_load_time_changes_nothing() -> None:
    ports = Ports(Nat(allocation=Allocation.SEQUENTIAL))
    before = ports.take() or 0
    await trio.sleep(1000)
    assert ports.take() == before + 1


async def test_random_ports_are_spread_over_the_whole_range() -> None:
    ports = Ports(Nat(allocation=Allocation.RANDOM)).some(400)
    assert len(set(ports)) == 400
    assert min(ports) < 3000
    assert max(ports) > 63000
    assert 30000 < mean(ports) < 36500


async def test_random_finds_the_last_free_port() -> None:
    ports = Ports(Nat(allocation=Allocation.RANDOM, first_port=2000, last_port=2999))
    assert sorted(ports.some(1000)) == list(range(2000, 3000))
    assert ports.take() is None


async def test_each_subscriber_stays_in_a_block_of_its_own() -> None:
    ports = Ports(Nat(allocation=Allocation.BLOCK, block_size=64))
    mine, theirs = ports.some(40, INNER), ports.some(40, NEIGHBOR)
    assert max(mine) - min(mine) < 64
    assert max(theirs) - min(theirs) < 64
    assert {(port - 1024) // 64 for port in mine}.isdisjoint((port - 1024) // 64 for port in theirs)
    assert mine != sorted(mine)


async def test_a_block_is_used_up_though_others_have_room() -> None:
    ports = Ports(Nat(allocation=Allocation.BLOCK, block_size=64))
    ports.some(64, INNER)
    assert ports.take(INNER) is None
    assert ports.take(NEIGHBOR) is not None


async def test_there_are_only_so_many_blocks() -> None:
    ports = Ports(Nat(allocation=Allocation.BLOCK, block_size=1000, first_port=1024, last_port=3023))
    takers = [ports.take(Endpoint(f"100.64.0.{number}", 1)) for number in range(3)]
    assert [taken is None for taken in takers] == [False, False, True]


@pytest.mark.parametrize("allocation", [each for each in Allocation if each is not Allocation.UNKNOWN])
async def test_a_seed_repeats_its_ports(allocation: Allocation) -> None:
    nat = Nat(allocation=allocation)
    assert Ports(nat, 7).some(20) == Ports(nat, 7).some(20)


async def test_a_nat_that_does_not_know_how_it_allocates_cannot_be_built() -> None:
    with pytest.raises(SettingsError, match="how it allocates"):
        Ports(Nat(allocation=Allocation.UNKNOWN))
    assert Ports(Nat(first_port=65535)).take() == 65535
    for first, last in ((5000, 4000), (0, 5000), (5000, 65536)):
        with pytest.raises(SettingsError, match="no ports"):
            Ports(Nat(first_port=first, last_port=last))


@pytest.mark.parametrize("expected", [0.0, 0.3, 4.0, 400.0])
async def test_poisson_numbers_have_their_mean_and_variance(expected: float) -> None:
    chance = random.Random(3)
    drawn = [poisson(expected, chance) for _ in range(4000)]
    assert abs(mean(drawn) - expected) <= 0.05 * expected
    assert abs(mean((each - expected) ** 2 for each in drawn) - expected) <= 0.1 * expected
