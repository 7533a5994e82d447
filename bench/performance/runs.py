"""The rounds of a run: each peer once a round, one after another, in an order that turns from round to round."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.performance.peers import OURS, Ours, Peer
from bench.performance.results import Failure, Measurement, Results
from bench.performance.stage import Stage, open_stage

from bench.performance.figures import OwnFigure, TunnelFigure
from tunnel.model.errors import TunnelError

_TROUBLE = (TunnelError, OSError, subprocess.SubprocessError, ValueError, LookupError)
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
    recorder = _Recorder(results, on_progress)
    for number in range(1, plan.rounds + 1):
        start = (number - 1) % max(1, len(plan.peers))
        peers = [*plan.peers[start:], *plan.peers[:start]]
        for figures, is_long in ((plan.plain, False), (plan.long, True)):
            if figures and peers:
                with open_stage(folder, long=is_long) as stage:
                    for peer in peers if not is_long else filter(_is_on_wire, peers):
                        _measure_peer(peer, figures, stage, plan.seconds, number, recorder)
        for ours in (peer for peer in peers if isinstance(peer, Ours) and peer.name == OURS):
            for figure in plan.own:
                with recorder.record(number, ours.name, figure.name) as note:
                    note(figure.measure(ours, folder, plan.seconds))


def _is_on_wire(peer: Peer) -> bool:
    """Whether its traffic takes the wire between the hosts: a relay's does not."""
    return not isinstance(peer, Ours) or peer.path == "direct"


def _measure_peer(
    peer: Peer, figures: Sequence[TunnelFigure], stage: Stage, seconds: float, number: int, recorder: _Recorder
) -> None:
    try:
        with peer.open(stage) as tunnel:
            for figure in figures:
                with recorder.record(number, peer.name, figure.name) as note:
                    values = figure.measure(stage, tunnel, seconds)
                    tunnel.check()
                    note(values)
    except _TROUBLE as error:  # it did not come up
        recorder.fail(number, peer.name, ",".join(figure.name for figure in figures), error)


class _Recorder:
    def __init__(self, results: Results, on_progress: Callable[[], None]) -> None:
        self._results = results
        self._on_progress = on_progress

    @contextmanager
    def record(self, number: int, peer: str, figure: str) -> Iterator[Callable[[Mapping[str, float]], None]]:
        """Pass the values of one measurement on, or how it failed."""

        def note(values: Mapping[str, float]) -> None:
            self._results.measurements.append(Measurement(number, peer, figure, dict(values)))
            told = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
            took = time.monotonic() - began
            print(f"{number}  {peer:<20} {figure:<10} {took:5.1f} s  {told}", file=sys.stderr, flush=True)

        began = time.monotonic()
        try:
            yield note
        except _TROUBLE as error:
            self.fail(number, peer, figure, error)
        else:
            self._on_progress()

    def fail(self, number: int, peer: str, figure: str, error: BaseException) -> None:
        """Keep a failure."""
        self._results.failures.append(Failure(number, peer, figure, f"{type(error).__name__}: {error}"))
        print(f"{number}  {peer:<20} {figure:<10} failed: {error}", file=sys.stderr, flush=True)
        self._on_progress()
