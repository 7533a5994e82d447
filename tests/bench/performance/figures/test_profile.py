from __future__ import annotations

import pytest
from bench.performance.figures.profile import HEAPS, Sample, heaps, samples

from tunnel.model.errors import DeviceError

REPORT = """\
# Overhead|     Samples|Command|      Pid:Command|Shared Object|Symbol
    40.00%|         400|python |    41:python    |libpython3.11.so.1.0|[.] _PyEval_EvalFrameDefault
    20.00%|         200|python |    41:python    |[kernel.kallsyms]|[k] rep_movs_alternative
    10.00%|         100|python |    42:python    |[kernel.kallsyms]|[k] udp_sendmsg
    10.00%|         100|python |    42:python    |_rust.abi3.so|[.] 0x00000000004f
    10.00%|         100|iperf3 |    50:iperf3    |[kernel.kallsyms]|[k] tcp_sendmsg
     5.00%|          50|python |    77:python    |libpython3.11.so.1.0|[.] gc_collect_main
     5.00%|          50|swapper|     0:swapper   |[kernel.kallsyms]|[k] pv_native_safe_halt
"""


def test_samples_are_read_from_a_report() -> None:
    assert next(samples(REPORT)) == Sample(400, "python", 41, "libpython3.11.so.1.0", "[.] _PyEval_EvalFrameDefault")
    assert len(list(samples(REPORT))) == 7


def test_every_busy_sample_is_in_one_heap() -> None:
    shares = heaps(list(samples(REPORT)), (41, 42), 1.0)
    assert sum(shares[heap] for heap in HEAPS) == pytest.approx(1.0)
    assert {heap: round(shares[heap] * 950) for heap in HEAPS} == {
        "seal": 100,
        "own": 400,
        "copies": 200,
        "kernel": 100,
        "streams": 100,
        "rest": 50,
    }


def test_an_empty_profile_is_an_error() -> None:
    with pytest.raises(DeviceError):
        heaps([], (), 1.0)
