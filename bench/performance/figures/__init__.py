"""All figures that can be measured, by where: on the plain wire, on the long one, or in a lab of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from bench.performance.figures.first_byte import FirstByte
from bench.performance.figures.idle_peers import IdlePeers
from bench.performance.figures.latency import Latency
from bench.performance.figures.loss import Loss
from bench.performance.figures.many_pairs import ManyPairs
from bench.performance.figures.profile import Profile
from bench.performance.figures.tcp import Tcp
from bench.performance.figures.udp import Udp, udp_buffer
from bench.performance.peers import Ours, Tunnel
from bench.performance.stage import Stage


class TunnelFigure(Protocol):
    """One that every peer has."""

    @property
    def name(self) -> str: ...

    def measure(self, stage: Stage, tunnel: Tunnel, seconds: float) -> dict[str, float]:
        """Its values, once, through a tunnel that is up."""
        ...


class OwnFigure(Protocol):
    """One that only this program has."""

    @property
    def name(self) -> str: ...

    def measure(self, ours: Ours, folder: Path, seconds: float) -> dict[str, float]:
        """Its values, once."""
        ...


PLAIN: tuple[TunnelFigure, ...] = (
    Tcp("tcp-1"),
    Tcp("tcp-4", streams=4),
    Tcp("tcp-both", both=True),
    Udp("udp-64", 64),
    Udp("udp-1200", 1200),
    Latency(),
    Profile(),
)
LONG: tuple[TunnelFigure, ...] = (Loss(),)
OWN: tuple[OwnFigure, ...] = (FirstByte(), IdlePeers(), ManyPairs())

NAMES = (*(figure.name for figure in (*PLAIN, *LONG)), *(figure.name for figure in OWN))

__all__ = ["LONG", "NAMES", "OWN", "PLAIN", "Loss", "ManyPairs", "OwnFigure", "TunnelFigure", "Udp", "udp_buffer"]
