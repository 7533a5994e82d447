"""The rounds of a run: each peer once a round, one after another, in an order that turns from round to round.

What fails or hangs costs its own figure of its round alone, and says why in one line.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.performance.peers import OURS, Ours, Peer, Tunnel
from bench.performance.results import Failure, Measurement, Results
from bench.performance.stage import Stage, open_stage
from bench.performance.time_limit import time_limit

from bench.performance.figures import OwnFigure, TunnelFigure
from tunnel.model.errors import TunnelError

OPENING = 90.0
"""Seconds that a tunnel gets to come up."""
OWN = 600.0
"""Seconds that a figure gets that has a lab of its own."""
_TROUBLE = (TunnelError, OSError, subprocess.SubprocessError, ValueError, LookupError, ArithmeticError)
"""What one figure of one peer may end with; the run goes on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure."""

    peers: Sequence[Peer]
    plain: Sequence[TunnelFigure]
    long: Sequence[TunnelFigure]
    own: Sequence[OwnFigure]
    rounds: int
    seconds: float


def run_rounds(plan: Plan, results: Results, folder: Path, on_progress: Callable[[], None]) -> None:
    """Measure, and add to the results. `on_progress` is called after each figure."""
    recorder = Recorder(results, on_progress)
    for number in range(1, plan.rounds + 1):
        start = (number - 1) % max(1, len(plan.peers))
        peers = [*plan.peers[start:], *plan.peers[:start]]
        for figures, is_long in ((plan.plain, False), (plan.long, True)):
            if figures and peers:
                with open_stage(folder, long=is_long) as stage:
                    for peer in peers if not is_long else filter(_is_on_wire, peers):
                        measure_peer(peer, figures, stage, plan.seconds, number, recorder)
        for ours in (peer for peer in peers if isinstance(peer, Ours) and peer.name == OURS):
            for figure in plan.own:
                recorder.take(number, ours.name, figure.name, OWN, partial(figure.measure, ours, folder, plan.seconds))


def _is_on_wire(peer: Peer) -> bool:
    """Whether its traffic takes the wire between the hosts: a relay's does not."""
    return not isinstance(peer, Ours) or peer.path == "direct"


def measure_peer(
    peer: Peer, figures: Sequence[TunnelFigure], stage: Stage, seconds: float, number: int, recorder: Recorder
) -> None:
    """All figures through one tunnel. One that fails may leave it broken: those after it get a new one."""
    left = list(figures)
    try:
        while left:
            with ExitStack() as opened:
                with time_limit(OPENING):
                    tunnel = opened.enter_context(peer.open(stage))
                is_whole = True
                while left and is_whole:
                    figure = left.pop(0)
                    measure = partial(_measure, figure, stage, tunnel, seconds)
                    is_whole = recorder.take(number, peer.name, figure.name, longest(seconds), measure)
    except _TROUBLE as error:  # it did not come up, or did not end
        recorder.fail(number, peer.name, ",".join(figure.name for figure in left or figures), error)


def _measure(figure: TunnelFigure, stage: Stage, tunnel: Tunnel, seconds: float) -> Mapping[str, float]:
    values = figure.measure(stage, tunnel, seconds)
    tunnel.check()
    return values


def longest(seconds: float) -> float:
    """How long a figure may take: twice what the longest takes, and some seconds for the ends of full paths."""
    return 60.0 + 10.0 * seconds


class Recorder:
    """Takes figures, and keeps what came of them."""

    def __init__(self, results: Results, on_progress: Callable[[], None]) -> None:
        self._results = results
        self._on_progress = on_progress

    def take(
        self, number: int, peer: str, figure: str, longest: float, measure: Callable[[], Mapping[str, float]]
    ) -> bool:
        """Keep the values of one measurement, or why it failed; False if it did."""
        began = time.monotonic()
        try:
            with time_limit(longest):
                values = measure()
        except _TROUBLE as error:
            self.fail(number, peer, figure, error)
            return False
        self._results.measurements.append(Measurement(number, peer, figure, dict(values)))
        told = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        took = time.monotonic() - began
        print(f"{number}  {peer:<20} {figure:<10} {took:5.1f} s  {told}", file=sys.stderr, flush=True)
        self._on_progress()
        return True

    def fail(self, number: int, peer: str, figure: str, error: BaseException) -> None:
        """Keep a failure."""
        failure = Failure(number, peer, figure, f"{type(error).__name__}: {error}")
        self._results.failures.append(failure)
        print(f"{number}  {peer:<20} {figure:<10} failed: {failure.reason}", file=sys.stderr, flush=True)
        self._on_progress()
