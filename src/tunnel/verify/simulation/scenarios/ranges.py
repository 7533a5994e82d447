"""The range of each number in a scenario: seconds, bytes a second, shares, ports and counts, all finite."""

from __future__ import annotations

from typing import NamedTuple

from tunnel.model.protocol_version import FIRST_VERSION, LAST_VERSION

DAY = 86400.0
PORTS = 65535
MOST_OF_A_KIND = 254
"""The most hosts, and the most routers: a /24 has so many addresses."""


class Range(NamedTuple):
    """Both ends are included."""

    least: float
    most: float

    def __str__(self) -> str:
        """For messages."""
        return f"{_plain(self.least)} and {_plain(self.most)}"


TIME = Range(0.0, 1e9)
"""For numbers without a range of their own. Most are also limited by the scenario's length."""
COUNT = Range(0, PORTS)
"""For whole numbers: all are ports, bytes of a datagram, or counts of such."""
_PORT = Range(1, PORTS)
_RATE = Range(1.0, 1e9)
_PACKET = Range(68, PORTS)
"""From the smallest packet that every link must carry (RFC 791)."""
_CLOCK = Range(-2e9, 2e9)
"""For offsets of a wall clock: as far as 1970 and back."""
SHARE = Range(0.0, 1.0)
_RANGES = {
    "length": Range(0.001, DAY),
    "start": Range(0.0, DAY),
    "loss_up": SHARE,
    "loss_down": SHARE,
    "udp_loss_up": SHARE,
    "udp_loss_down": SHARE,
    "reorder": SHARE,
    "duplicate": SHARE,
    "latency": Range(0.0, 60.0),
    "jitter": Range(0.0, 60.0),
    "reorder_delay": Range(0.0, 60.0),
    "queue": Range(0.0, 60.0),
    "rate_up": _RATE,
    "rate_down": _RATE,
    "udp_rate_up": _RATE,
    "udp_rate_down": _RATE,
    "mtu_up": _PACKET,
    "mtu_down": _PACKET,
    "mtu": _PACKET,
    "path_mtu": _PACKET,
    "foreign_load": Range(0.0, 1e5),
    "step": _PORT,
    "first_port": _PORT,
    "last_port": _PORT,
    "block_size": _PORT,
    "max_mappings": _PORT,
    "count": Range(1, MOST_OF_A_KIND),
    "port": _PORT,
    "introduction_wait": Range(0.0, DAY),
    "seconds": Range(0.0, DAY),
    "JumpClock.seconds": _CLOCK,
    "clock": _CLOCK,
    "arrived_at_least": _PORT,
    "lost_share_at_most": SHARE,
    "fragments_at_least": _PORT,
    "burst": Range(1, 512),
    "protocol_version": Range(FIRST_VERSION, LAST_VERSION),
}


def range_of(kind: str, key: str, *, is_whole: bool) -> Range:
    """The range of a field of a class; `kind` is the class's name."""
    return _RANGES.get(f"{kind}.{key}") or _RANGES.get(key) or (COUNT if is_whole else TIME)


def _plain(number: float) -> str:
    return f"{number:g}".replace("e+0", "e") if abs(number) >= 1e6 or number % 1 else f"{number:.0f}"
