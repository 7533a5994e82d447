"""Reports as iperf3 3.12 writes them, cut to what is read."""

from __future__ import annotations

import pytest
from bench.performance.iperf import (
    intervals,
    offered_datagrams,
    received_datagrams,
    received_gbit,
    received_gigabytes,
)

BOTH_WAYS = {
    "end": {
        "sum_sent": {"bytes": 1_300_000_000, "bits_per_second": 10.4e9},
        "sum_received": {"bytes": 1_250_000_000, "bits_per_second": 10.0e9},
        "sum_sent_bidir_reverse": {"bytes": 760_000_000, "bits_per_second": 6.1e9},
        "sum_received_bidir_reverse": {"bytes": 750_000_000, "bits_per_second": 6.0e9},
    }
}
FLOOD = {
    "end": {
        "sum_sent": {"bytes": 64_000_000, "packets": 1_000_000, "seconds": 2.0},
        "sum_received": {"bytes": 12_800_000, "packets": 999_000, "lost_packets": 799_000, "seconds": 2.4},
    }
}
FINE = {
    "server_output_json": {"intervals": [{"sum": {"end": 0.2, "bits_per_second": 2e9}}]},
}


def test_both_directions_count() -> None:
    assert received_gbit(BOTH_WAYS) == pytest.approx(10.0)
    assert received_gbit(BOTH_WAYS, "sum_received_bidir_reverse") == pytest.approx(6.0)
    assert received_gigabytes(BOTH_WAYS) == pytest.approx(2.0)


def test_datagrams_are_counted_by_what_arrived() -> None:
    """`packets` of the receiver is the number that it knows of: lost ones too."""
    assert received_datagrams(FLOOD, 64) == pytest.approx(100_000)
    assert offered_datagrams(FLOOD) == pytest.approx(500_000)


def test_intervals_are_the_receivers() -> None:
    assert intervals(FINE) == [(0.2, 2.0)]
