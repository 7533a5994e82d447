"""How a NAT allocates external ports (RFC 4787 section 4.2), judged from new mappings of ours, oldest first.

    fresh sockets at random local ports --> one request each --> samples --> judged, in this order:

    preserving   the external port is the internal one
    sequential   the external ports go on in one direction: a step, and a few ports between ours that others took
    block        they lie closer together than ports drawn from all would
    random       everything else

Pure. The sockets' ports are drawn at random, so a NAT that preserves them is told from one that counts.
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
"""How many ports a NAT without blocks draws from."""
LARGEST_BLOCK = 16384
"""A wider range is of no use: a punch could not cover it."""
FALSE_BLOCKS = 1e-5
"""The probability at which a NAT that draws from all ports may be taken for one with a block."""
FEWEST = 4
"""Samples for any judgment; a NAT that preserves ports shows it in four."""
FEWEST_TO_JUDGE = 8
"""Samples to judge it sequential, block or random."""
ENOUGH_FOR_A_STRAY = 11
"""Samples of which one may be out of line: random ones look so orderly once in 50,000 times (of eight, once in 80)."""
_FARTHEST_STEP = 512
"""Ports from one of ours to the next at most, plus `_MOST_LOAD` for each second between them."""
_MOST_LOAD = 4000.0


@dataclass(frozen=True, slots=True)
class PortSample:
    """One new mapping."""

    at: float
    """Trio time at which its first packet left."""
    local: int
    """The port of our socket."""
    mapped: Endpoint
    """The external endpoint that the server saw."""


@dataclass(frozen=True, slots=True)
class PortAllocation:
    """What the samples show; the fields are those of `model.nat.NatReport`."""

    allocation: Allocation = Allocation.UNKNOWN
    step: int = 0
    load: float = 0.0
    block: tuple[int, int] | None = None


def judge_allocation(samples: Sequence[PortSample], ours: int = 0) -> PortAllocation:
    """Judge samples, oldest first. Of several external addresses only the most frequent one counts.

    `ours` is the number of ports that our other tests took meanwhile: they are not load.
    """
    if not samples:
        return PortAllocation()
    host = Counter(sample.mapped.host for sample in samples).most_common(1)[0][0]
    samples = [sample for sample in samples if sample.mapped.host == host]
    count = len(samples)
    preserved = sum(sample.mapped.port == sample.local for sample in samples)
    if count >= FEWEST and preserved >= 2 and 4 * preserved >= 3 * count:
        return PortAllocation(Allocation.PRESERVING)
    if count < FEWEST_TO_JUDGE:
        return PortAllocation()
    if 4 * preserved > count:
        return PortAllocation()
    return (
        _sequence(samples, ours)
        or _block([sample.mapped.port for sample in samples])
        or PortAllocation(Allocation.RANDOM)
    )


def _sequence(samples: Sequence[PortSample], ours: int) -> PortAllocation | None:
    """All steps but one must go one way and be small. That one: the counter wrapped, or two packets were reordered."""
    ports, times = [sample.mapped.port for sample in samples], [sample.at for sample in samples]
    sign = 1 if sum(later > sooner for sooner, later in pairwise(ports)) * 2 >= len(ports) else -1
    strays = [index for index, step in enumerate(_steps(ports, sign)) if not _is_near(step, times, index)]
    if len(strays) > 1:
        return None
    if strays and len(samples) < ENOUGH_FOR_A_STRAY:
        return PortAllocation()
    if strays and abs(_steps(ports, sign)[strays[0]]) <= _FARTHEST_STEP:  # a small step back: they were reordered
        ports.sort(reverse=sign < 0)
        strays = []
    good = [
        (step, later - sooner)
        for index, (step, (sooner, later)) in enumerate(zip(_steps(ports, sign), pairwise(times), strict=True))
        if index not in strays
    ]
    size = math.gcd(*(step for step, _ in good))
    taken, seconds = max(0, sum(step // size - 1 for step, _ in good) - ours), sum(gap for _, gap in good)
    return PortAllocation(Allocation.SEQUENTIAL, step=sign * size, load=taken / seconds if taken and seconds else 0.0)


def _steps(ports: Sequence[int], sign: int) -> list[int]:
    return [sign * (later - sooner) for sooner, later in pairwise(ports)]


def _is_near(step: int, times: Sequence[float], index: int) -> bool:
    return 0 < step <= _FARTHEST_STEP + _MOST_LOAD * max(0.0, times[index + 1] - times[index])


def _block(ports: Sequence[int]) -> PortAllocation | None:
    first, last, count = min(ports), max(ports), len(ports)
    share = (last - first) / ALL_PORTS
    chance = count * share ** (count - 1) - (count - 1) * share**count  # of so small a range, drawn from all ports
    size = (last - first + 1) * (count + 1) / (count - 1)  # the range of n uniform draws is (n - 1) / (n + 1) of all
    if chance > FALSE_BLOCKS or size > LARGEST_BLOCK:
        return None
    if (aligned := _aligned(first, last)) is not None and aligned[1] - aligned[0] < 2 * size:
        return PortAllocation(Allocation.BLOCK, block=aligned)
    margin = math.ceil((size - (last - first + 1)) / 2)
    return PortAllocation(Allocation.BLOCK, block=(max(FIRST_PORT, first - margin), min(LAST_PORT, last + margin)))


def _aligned(first: int, last: int) -> tuple[int, int] | None:
    """The smallest aligned block that holds both: a power of two, counted from 0 or from 1024, as CGNs cut it."""
    for power in range(LARGEST_BLOCK.bit_length()):
        size = 1 << power
        for origin in (0, FIRST_PORT):
            begin = (first - origin) // size * size + origin
            if begin >= FIRST_PORT and last < begin + size <= LAST_PORT + 1:
                return begin, begin + size - 1
    return None
