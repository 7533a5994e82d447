"""How a NAT allocates ports, told from samples of NATs whose truth is known."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation
from tunnel.nat.allocation import ALL_PORTS, LARGEST_BLOCK, PortAllocation, PortSample, judge_allocation

HOST = "25.1.1.1"
TIMES = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.75, 0.76, 0.77, 0.78, 0.79, 0.80)


def samples(ports: Sequence[int], locals_: Sequence[int] | None = None) -> list[PortSample]:
    """Mappings with these outer ports, in this order."""
    inner = locals_ or random.Random(7).sample(range(20000, 40000), len(ports))
    return [PortSample(at, local, Endpoint(HOST, port)) for at, local, port in zip(TIMES, inner, ports, strict=False)]


def counting(start: int, step: int, between: Sequence[int] = (), first: int = 1024, last: int = 65535) -> list[int]:
    """What a counter gives us when others take `between[i]` ports after our i'th."""
    ports, offset = [], start - first
    for index in range(len(TIMES)):
        ports.append(first + offset % (last - first + 1))
        offset += step * (1 + (between[index] if index < len(between) else 0))
    return ports


@pytest.mark.parametrize("count", [4, 8, 12])
def test_outer_ports_that_are_the_inner_ones_are_preserving(count: int) -> None:
    inner = random.Random(1).sample(range(20000, 40000), count)
    assert judge_allocation(samples(inner, inner)) == PortAllocation(Allocation.PRESERVING)


def test_a_quarter_of_ports_that_were_taken_leaves_it_preserving() -> None:
    inner = random.Random(1).sample(range(20000, 40000), 12)
    assert judge_allocation(samples([51000, 52000, 53000, *inner[3:]], inner)).allocation is Allocation.PRESERVING


def test_half_preserved_is_no_word() -> None:
    inner = random.Random(1).sample(range(20000, 40000), 12)
    outer = [port if index % 2 else port + 7 for index, port in enumerate(inner)]
    assert judge_allocation(samples(outer, inner)) == PortAllocation()


@pytest.mark.parametrize("step", [1, 2, 4, 7, -1, -2, 64])
@pytest.mark.parametrize("count", [8, 12])
def test_a_counter_is_sequential_and_its_step_is_told(step: int, count: int) -> None:
    found = judge_allocation(samples(counting(40000, step)[:count]))
    assert found == PortAllocation(Allocation.SEQUENTIAL, step=step)


@pytest.mark.parametrize("step", [1, 2, -3])
def test_ports_that_others_take_are_its_load(step: int) -> None:
    """35 of them in 0.8 s."""
    found = judge_allocation(samples(counting(40000, step, between=(0, 1, 0, 2, 0, 30, 0, 1, 0, 1, 0))))
    assert (found.allocation, found.step) == (Allocation.SEQUENTIAL, step)
    assert found.load == pytest.approx(35 / 0.8)


def test_ports_that_we_took_ourselves_are_no_load() -> None:
    ports = counting(40000, 1, between=(0, 0, 0, 0, 0, 4))
    assert judge_allocation(samples(ports)).load == pytest.approx(4 / 0.8)
    assert judge_allocation(samples(ports), ours=4).load == 0.0
    assert judge_allocation(samples(ports), ours=5) == PortAllocation(Allocation.SEQUENTIAL, step=1)


def test_a_counter_that_begins_anew_stays_one() -> None:
    found = judge_allocation(samples(counting(65532, 1)))
    assert found == PortAllocation(Allocation.SEQUENTIAL, step=1)
    found = judge_allocation(samples(counting(40010, 3, first=40000, last=40039)))
    assert found.allocation is Allocation.SEQUENTIAL


def test_two_packets_that_overtook_each_other_do_not_hide_the_step() -> None:
    ports = counting(40000, 2)
    ports[4], ports[5] = ports[5], ports[4]
    assert judge_allocation(samples(ports)) == PortAllocation(Allocation.SEQUENTIAL, step=2)


def test_few_samples_of_which_one_is_out_of_line_give_no_word() -> None:
    """Ports drawn from a small block look so once in eighty times."""
    assert judge_allocation(samples([40000, 40001, 40002, 40003, 30000, 30001, 30002, 30003])) == PortAllocation()


def test_fewer_than_eight_samples_say_nothing_but_preserving() -> None:
    assert judge_allocation([]) == PortAllocation()
    assert judge_allocation(samples(counting(40000, 1)[:7])) == PortAllocation()


def drawn(draw: Callable[[random.Random], int], runs: int, count: int) -> list[PortAllocation]:
    """What is told of so many NATs."""
    chance = random.Random(11)
    return [judge_allocation(samples([draw(chance) for _ in range(count)])) for _ in range(runs)]


@pytest.mark.parametrize("count", [8, 12])
def test_a_nat_that_draws_from_all_ports_is_random_and_never_a_block(count: int) -> None:
    found = drawn(lambda chance: chance.randint(1024, 65535), 5000, count)
    assert {port_allocation.allocation for port_allocation in found} == {Allocation.RANDOM}


@pytest.mark.parametrize("size", [256, 512, 2048, 4096, 8192])
def test_an_aligned_block_is_told_to_the_port(size: int) -> None:
    """Carriers cut blocks at powers of two: most of the time the two ends come out right."""
    first = 40960
    found = drawn(lambda chance: first + chance.randrange(size), 2000, 12)
    assert sum(port_allocation.allocation is Allocation.BLOCK for port_allocation in found) >= 1998
    assert sum(port_allocation.block == (first, first + size - 1) for port_allocation in found) >= 1800


@pytest.mark.parametrize("size", [512, 2048, 4096])
def test_blocks_that_are_counted_from_the_first_port_are_told_too(size: int) -> None:
    first = 1024 + 7 * size
    found = drawn(lambda chance: first + chance.randrange(size), 2000, 12)
    assert sum(port_allocation.block == (first, first + size - 1) for port_allocation in found) >= 1700


@pytest.mark.parametrize("first", [40100, 33333])
def test_a_block_that_lies_askew_is_covered_in_the_main(first: int) -> None:
    size = 1000
    found = drawn(lambda chance: first + chance.randrange(size), 2000, 12)
    covered = []
    for port_allocation in found:
        assert port_allocation.block is not None
        low, high = port_allocation.block
        covered.append((min(high, first + size - 1) - max(low, first) + 1) / size)
        assert high - low < 2.6 * size
    assert sum(covered) / len(covered) > 0.9


def test_a_range_that_chance_might_have_made_is_no_block() -> None:
    """Eight ports from all of them lie within 12,000 once in 15,000 times, twelve once in two hundred million."""
    ports = [30000, 41900, 35000, 33000, 39000, 31000, 37000, 34000, 40000, 32000, 38000, 36000]
    assert judge_allocation(samples(ports[:8])).allocation is Allocation.RANDOM
    assert judge_allocation(samples(ports)).allocation is Allocation.BLOCK


def test_half_of_all_ports_is_hardly_ever_a_block() -> None:
    """And then it is one that covers what was seen."""
    found = drawn(lambda chance: chance.randint(32768, 60999), 2000, 12)
    assert sum(port_allocation.allocation is Allocation.RANDOM for port_allocation in found) >= 1980


def test_a_block_is_never_larger_than_a_punch_could_cover() -> None:
    found = drawn(lambda chance: 16384 + chance.randrange(ALL_PORTS // 3), 2000, 12)
    for port_allocation in found:
        if port_allocation.block is not None:
            assert port_allocation.block[1] - port_allocation.block[0] < 2 * LARGEST_BLOCK


def test_of_several_outer_addresses_the_most_seen_counts() -> None:
    """A carrier that gives each mapping another address (RFC 4787 section 4.1, arbitrary pooling)."""
    counted = samples(counting(40000, 1))
    stray = [PortSample(0.5, 20001, Endpoint("25.9.9.9", 1111)), PortSample(0.51, 20003, Endpoint("25.9.9.9", 9999))]
    assert judge_allocation([*counted[:6], *stray, *counted[6:]]) == PortAllocation(Allocation.SEQUENTIAL, step=1)
