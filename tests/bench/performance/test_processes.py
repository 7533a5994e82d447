from __future__ import annotations

import os
import subprocess
import sys

import pytest
from bench.performance.processes import cpu_seconds, interface_bytes, memory, status_bytes, threads, with_descendants

STATUS = "Name:\tpython\nVmHWM:\t   72000 kB\nVmRSS:\t   70000 kB\nThreads:\t1\n"
DEVICES = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop
    lo:     120       2    0    0    0     0          0         0      120       2    0    0
t-b0:123456789    1000    0    0    0     0          0         0     4321      60    0    0
"""


def test_sizes_are_told_in_bytes() -> None:
    assert status_bytes(STATUS, "VmRSS") == 70_000 * 1024
    assert status_bytes(STATUS, "VmHWM") == 72_000 * 1024
    assert status_bytes(STATUS, "VmSwap") == 0


def test_descendants_belong_to_their_process() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        try:
            assert {os.getpid(), child.pid} <= set(with_descendants([os.getpid()]))
        finally:
            child.kill()


def test_what_has_ended_uses_nothing() -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait()
    assert cpu_seconds([child.pid]) == 0.0
    assert memory([child.pid]).now == 0


def test_this_process_uses_something() -> None:
    used = memory([os.getpid()])
    assert 0 < used.proportional <= used.now <= used.peak


def test_an_interface_tells_what_it_has_received() -> None:
    """The kernel leaves no blank after the colon where a number is long."""
    assert interface_bytes(DEVICES, "t-b0") == 123_456_789
    assert interface_bytes(DEVICES, "lo") == 120
    with pytest.raises(LookupError):
        interface_bytes(DEVICES, "t-b1")


def test_threads_belong_to_their_process() -> None:
    assert set(threads([os.getpid()])) >= {os.getpid()}
