"""Which figures are taken, and what a failure costs: peers and figures without a lab."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bench.performance.peers import Tunnel
from bench.performance.results import Results
from bench.performance.runs import Recorder, measure_peer
from bench.performance.stage import Stage

from tunnel.model.errors import DeviceError, Unreachable
from tunnel.verify.netlab import Host, Lab

HOST = Host("home", "home", "25.1.0.1")


@dataclass
class Peer:
    """Counts how often it came up; `broken` says why it does not."""

    name: str = "nebula"
    broken: str = ""
    opened: int = 0
    closed: int = 0

    def missing(self) -> None:
        return None

    def version(self) -> str:
        return self.name

    @contextmanager
    def open(self, _stage: Stage) -> Iterator[Tunnel]:
        if self.broken:
            raise Unreachable(self.broken)
        self.opened += 1
        try:
            yield Tunnel("10.0.0.2")
        finally:
            self.closed += 1


@dataclass
class Figure:
    """Gives one value, or fails."""

    name: str
    error: Exception | None = None

    def measure(self, _stage: Stage, _tunnel: Tunnel, _seconds: float) -> dict[str, float]:
        if self.error is not None:
            raise self.error
        return {"gbit": 1.0}


@dataclass
class Hanging(Figure):
    """Never ends by itself."""

    def measure(self, _stage: Stage, _tunnel: Tunnel, _seconds: float) -> dict[str, float]:
        signal.pause()
        return {}


@dataclass
class Bench:
    """One round of one peer."""

    folder: Path
    results: Results = field(default_factory=lambda: Results({}))

    def run(self, peer: Peer, *figures: Figure, seconds: float = 1.0) -> None:
        lab = object.__new__(Lab)
        stage = Stage(lab, HOST, HOST, self.folder)
        measure_peer(peer, figures, stage, seconds, 1, Recorder(self.results, lambda: None))

    @property
    def measured(self) -> list[str]:
        return [one.figure for one in self.results.measurements]

    @property
    def failed(self) -> list[tuple[str, str]]:
        return [(one.figure, one.reason) for one in self.results.failures]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_all_figures_are_taken_through_one_tunnel(bench: Bench) -> None:
    peer = Peer()
    bench.run(peer, Figure("tcp-1"), Figure("udp-64"))
    assert bench.measured == ["tcp-1", "udp-64"]
    assert (peer.opened, peer.closed) == (1, 1)


@pytest.mark.parametrize("error", [DeviceError("iperf3 did not end\nits log"), ZeroDivisionError("nothing came")])
def test_a_figure_that_fails_costs_itself_alone_and_says_why_in_one_line(
    bench: Bench, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may have left the tunnel broken, so the next has a new one."""
    peer = Peer()
    bench.run(peer, Figure("tcp-1"), Figure("tcp-4", error), Figure("udp-64"))
    assert bench.measured == ["tcp-1", "udp-64"]
    assert bench.failed == [("tcp-4", f"{type(error).__name__}: {str(error).splitlines()[0]}")]
    assert (peer.opened, peer.closed) == (2, 2)
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_figure_that_hangs_is_stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.performance.runs.longest", lambda _seconds: 0.01)
    bench.run(Peer(), Hanging("tcp-1"), Figure("udp-64"))
    assert bench.measured == ["udp-64"]
    assert bench.failed == [("tcp-1", "TimeoutError: not done within 0.01 s")]


def test_a_peer_that_does_not_come_up_is_tried_once_a_round(bench: Bench) -> None:
    bench.run(Peer(broken="no answer\nlong logs"), Figure("tcp-1"), Figure("udp-64"))
    assert bench.measured == []
    assert bench.failed == [("tcp-1,udp-64", "Unreachable: no answer")]
