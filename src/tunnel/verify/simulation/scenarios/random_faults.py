"""Faults of random scenarios beside the first kinds: stopped programs, full disks, lines bad for UDP or for size."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence

from tunnel.verify.reachability.topology import SERVER
from tunnel.verify.simulation.scenarios.action import Action, ChangeLine, FillDisk, Freeze

LENGTHS = (2.0, 8.0, 20.0)
"""Seconds."""
UNPOLICED = 1e9
"""Bytes a second: more than any host sends."""
MTUS = (1000, 1240, 1280, 1300, 1400, 1492, 1500)
"""Two that are too small for a direct path, and five that are not."""


def mtu_trouble(chance: random.Random, hosts: Sequence[str], first: float, last: float) -> Iterator[Action]:
    """Up to three changes of the MTU of one line, or none; in the end Ethernet's passes."""
    host = chance.choice(hosts)
    for at in sorted(chance.uniform(first, last) for _ in range(chance.randrange(4))):
        up, down = chance.choices(MTUS, k=2)
        yield ChangeLine(at=round(at, 2), of=host, mtu_up=up, mtu_down=down)
    yield ChangeLine(at=last, of=host, mtu_up=MTUS[-1], mtu_down=MTUS[-1])


def newer_trouble(
    chance: random.Random, hosts: Sequence[str], stopped: Collection[str], first: float, last: float
) -> Iterator[Action]:
    """One fault that begins and ends between these moments.

    `stopped` are the hosts that this scenario tells to end: a program that is frozen could not obey in time.
    """
    begin = round(chance.uniform(first, last - 1.0), 2)
    end = round(min(begin + chance.choice(LENGTHS), last), 2)
    host = chance.choice(hosts)
    match chance.randrange(5):
        case 0:
            who = chance.choice((host, SERVER))
            if who not in stopped:
                yield Freeze(at=begin, who=who, seconds=round(end - begin, 2))
        case 1:
            where = chance.choice((host, SERVER))
            yield FillDisk(at=begin, host=where)
            yield FillDisk(at=end, host=where, full=False)
        case 2:
            yield ChangeLine(at=begin, of=host, udp_loss_up=chance.choice((0.3, 1.0)))
            yield ChangeLine(at=end, of=host, udp_loss_up=0.0)
        case 3:
            yield ChangeLine(at=begin, of=host, udp_loss_down=chance.choice((0.3, 1.0)))
            yield ChangeLine(at=end, of=host, udp_loss_down=0.0)
        case _:
            rate = chance.choice((500.0, 5000.0))
            yield ChangeLine(at=begin, of=host, udp_rate_up=rate, udp_rate_down=rate)
            yield ChangeLine(at=end, of=host, udp_rate_up=UNPOLICED, udp_rate_down=UNPOLICED)
