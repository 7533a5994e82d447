"""One TCP stream over the long wire, 20 ms round trip, while single datagrams are lost at random, both ways.

Values: `gbit_0`, `gbit_0.1`, `gbit_1`, `gbit_5` (the number is the loss in percent), `kept_...` (through `gbit_0`),
`lost_...` (the share that was really lost) and `back`: a stream begins at 1 % loss; when the loss ends, it takes so
many seconds until a fifth of a second carries 0.9 of what is usual without loss. If that never happens, `back` is
how long was waited, `PATIENCE` seconds. `on_wire` is the least share of a stream that took the wire: the rest went
over a relay, which loses as much and is as long.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

from bench.performance.iperf import intervals, received_gbit, received_gigabytes, run_transfer, transfer
from bench.performance.peers.tunnel import Tunnel
from bench.performance.stage import Stage
from bench.performance.summary import first_reaching

from tunnel.model.errors import DeviceError

WARM_UP = 1.0
"""Seconds of a stream that goes before, uncounted: the first one of a tunnel is slower."""
PERCENTS = (0.0, 0.1, 1.0, 5.0)
PATIENCE = 10.0
_LOSSY = 3.0
"""Seconds of the last stream before the loss ends."""
_LOSSY_PERCENT = 1.0
_USUAL = 0.9
_FINE = ("-i", "0.2", "--get-server-output")


@dataclass(frozen=True, slots=True)
class Loss:
    """All rates of loss one after another, through a tunnel that stays up."""

    name: str = "loss"
    options: tuple[str, ...] = ()
    """More options of iperf3, `-C cubic` for example."""

    def measure(self, stage: Stage, tunnel: Tunnel, seconds: float) -> dict[str, float]:
        """One run. Raises DeviceError, also if frames larger than the MTU came to the place of the loss."""
        wire = stage.wire
        assert wire is not None
        way = (stage.lab, stage.home, stage.office, tunnel.address)
        values: dict[str, float] = {}
        usual, on_wire = 0.0, 1.0
        try:
            run_transfer(*way, WARM_UP, *self.options)
            for percent in PERCENTS:
                wire.lose(percent / 100)
                report = run_transfer(*way, seconds, *_FINE, *self.options)
                counts = wire.counts()
                if counts.large:
                    raise DeviceError(
                        f"{counts.large} of {counts.seen} frames were superpackets where datagrams get lost"
                    )
                values[f"gbit_{percent:g}"] = received_gbit(report)
                values[f"kept_{percent:g}"] = values[f"gbit_{percent:g}"] / values["gbit_0"]
                values[f"lost_{percent:g}"] = counts.lost / max(1, counts.seen)
                on_wire = min(on_wire, counts.bytes / received_gigabytes(report) / 1e9)
                if not percent:
                    usual = median(speed for end, speed in intervals(report) if end > seconds / 2)
            wire.lose(_LOSSY_PERCENT / 100)
            with transfer(*way, _LOSSY + PATIENCE, *_FINE, *self.options) as run:
                began = time.monotonic()
                time.sleep(_LOSSY)
                wire.lose(0.0)
                ended = time.monotonic() - began
                series = [(end - ended, speed) for end, speed in intervals(run.finish()) if end > ended]
        finally:
            wire.lose(0.0)
        back = first_reaching(series, _USUAL * usual)
        values |= {"back": PATIENCE if back is None else back, "on_wire": on_wire}
        return values
