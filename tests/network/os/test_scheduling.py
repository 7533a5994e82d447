"""A process that carries packets runs soon after one comes; what it starts is as ordinary as before."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.netlab

CODE = """
import os, subprocess, sys, threading
from tunnel.network.os.scheduling import run_sooner

def nice():
    return os.getpriority(os.PRIO_PROCESS, 0)

os.nice(int(sys.argv[1]))
if sys.argv[2] == "nobody":
    os.setresuid(65534, 65534, 65534)
run_sooner()
print(nice())
if sys.argv[2] == "root":
    thread = threading.Thread(target=lambda: print(nice()))
    thread.start()
    thread.join()
    print(subprocess.run(["nice"], stdout=subprocess.PIPE, text=True).stdout.strip())
"""


def nice_values(nice: int, user: str) -> list[int]:
    argv = [sys.executable, "-c", CODE, str(nice), user]
    return [int(word) for word in subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()]


def test_root_s_process_goes_first_and_what_it_starts_does_not() -> None:
    """A thread that copies files, or the UPnP helper, has no packets to carry."""
    assert nice_values(0, "root") == [-10, 0, 0]


def test_a_nice_value_that_somebody_chose_stays() -> None:
    """`nice`, or `Nice=` in a unit of systemd."""
    assert nice_values(5, "root")[0] == 5


def test_without_the_right_it_runs_as_before() -> None:
    """It is no reason to fail, nor to say anything."""
    assert nice_values(0, "nobody") == [0]
