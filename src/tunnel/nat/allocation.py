"""How a NAT chooses external ports (RFC 4787 section 4.2), told from new mappings of ours in the order of their making.

    fresh sockets at random local ports --> one question each --> samples --> judged, in this order:

    preserving   the outer port is the inner one
    sequential   the outer ports go on in one direction: a step, and a few ports between ours that others took
    block        they lie so close together that ports drawn from all could not
    random       what is left

Pure. The sockets' ports are drawn at random, so a NAT that follows them is told from one that counts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation

FIRST_PORT, LAST_PORT = 1024, 65535
ALL_PORTS = LAST_PORT - FIRST_PORT + 1
"""What a NAT without blocks draws from."""
LARGEST_BLOCK = 16384
"""A wider range is no use: a punch could not cover it."""
FALSE_BLOCKS = 1e-5
"""So seldom may a NAT that draws from all ports be taken for one with a block."""
FEWEST = 4
"""Samples for a word of any kind; a NAT that preserves ports shows it in four."""
FEWEST_TO_JUDGE = 8
"""Samples for the words sequential, block and random."""
ENOUGH_FOR_A_STRAY = 11
"""Samples of which one may be out of line: random ones look so orderly once in 50,000 times (of eight, once in 80)."""
_FARTHEST_STEP = 512
"""Ports from one of ours to the next, at once; with others between, so much and `_MOST_LOAD` a second."""
_MOST_LOAD = 4000.0


@dataclass(frozen=True, slots=True)
class PortSample:
    """One new mapping. `NatDiscovery.sample_ports()` makes a few now, for who must predict the next one."""

    at: float
    """Trio time at which its first packet left."""
    local: int
    """The port of our socket."""
    mapped: Endpoint
    """Where the server saw it."""


@dataclass(frozen=True, slots=True)
class PortHabits:
    """What the samples show; the words and numbers are those of `model.nat.NatReport`."""

    allocation: Allocation = Allocation.UNKNOWN
    step: int = 0
    load: float = 0.0
    block: tuple[int, int] | None = None


def habits_of(samples: Sequence[PortSample], ours: int = 0) -> PortHabits:
    """Judge samples that stand in the order in which they left. Of several outer addresses the most seen one counts.

    `ours` are the ports that we took ourselves meanwhile, for other ends: they are no load.
    """
    if not samples:
        return PortHabits()
    host = Counter(sample.mapped.host for sample in samples).most_common(1)[0][0]
    samples = [sample for sample in samples if sample.mapped.host == host]
    count = len(samples)
    preserved = sum(sample.mapped.port == sample.local for sample in samples)
    if count >= FEWEST and preserved >= 2 and 4 * preserved >= 3 * count:
        return PortHabits(Allocation.PRESERVING)
    if count < FEWEST_TO_JUDGE:
        return PortHabits()
    if 4 * preserved > count:
        return PortHabits()
    return (
        _sequence(samples, ours) or _block([sample.mapped.port for sample in samples]) or PortHabits(Allocation.RANDOM)
    )


def _sequence(samples: Sequence[PortSample], ours: int) -> PortHabits | None:
    """All steps go one way and are small; one may not: the range began anew, or two packets overtook each other."""
    ports, times = [sample.mapped.port for sample in samples], [sample.at for sample in samples]
    sign = 1 if sum(later > sooner for sooner, later in pairwise(ports)) * 2 >= len(ports) else -1
    strays = [index for index, step in enumerate(_steps(ports, sign)) if not _is_near(step, times, index)]
    if len(strays) > 1:
        return None
    if strays and len(samples) < ENOUGH_FOR_A_STRAY:
        return PortHabits()
    if strays and abs(_steps(ports, sign)[strays[0]]) <= _FARTHEST_STEP:  # a small step back: they overtook
        ports.sort(reverse=sign < 0)
        strays = []
    good = [
        (step, later - sooner)
        for index, (step, (sooner, later)) in enumerate(zip(_steps(ports, sign), pairwise(times), strict=True))
        if index not in strays
    ]
    size = math.gcd(*(step for step, _ in good))
    taken, seconds = max(0, sum(step // size - 1 for step, _ in good) - ours), sum(gap for _, gap in good)
    return PortHabits(Allocation.SEQUENTIAL, step=sign * size, load=taken / seconds if taken and seconds else 0.0)


def _steps(ports: Sequence[int], sign: int) -> list[int]:
    return [sign * (later - sooner) for sooner, later in pairwise(ports)]


def _is_near(step: int, times: Sequence[float], index: int) -> bool:
    return 0 < step <= _FARTHEST_STEP + _MOST_LOAD * max(0.0, times[index + 1] - times[index])


def _block(ports: Sequence[int]) -> PortHabits | None:
    first, last, count = min(ports), max(ports), len(ports)
    share = (last - first) / ALL_PORTS
    chance = count * share ** (count - 1) - (count - 1) * share**count  # of so small a range, drawn from all ports
    size = (last - first + 1) * (count + 1) / (count - 1)  # the range of n uniform draws is (n - 1) / (n + 1) of all
    if chance > FALSE_BLOCKS or size > LARGEST_BLOCK:
        return None
    if (aligned := _aligned(first, last)) is not None and aligned[1] - aligned[0] < 2 * size:
        return PortHabits(Allocation.BLOCK, block=aligned)
    margin = math.ceil((size - (last - first + 1)) / 2)
    return PortHabits(Allocation.BLOCK, block=(max(FIRST_PORT, first - margin), min(LAST_PORT, last + margin)))


def _aligned(first: int, last: int) -> tuple[int, int] | None:
    """The smallest block that carriers would cut and that holds both: a power of two, counted from 0 or from 1024."""
    for power in range(LARGEST_BLOCK.bit_length()):
        size = 1 << power
        for origin in (0, FIRST_PORT):
            begin = (first - origin) // size * size + origin
            if begin >= FIRST_PORT and last < begin + size <= LAST_PORT + 1:
                return begin, begin + size - 1
    return None
