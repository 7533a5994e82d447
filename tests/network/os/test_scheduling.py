"""A process that carries packets runs soon after one comes; what it starts is as ordinary as before."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tunnel.network.os.scheduling import run_sooner

pytestmark = pytest.mark.netlab

CODE = """
import os, subprocess, sys, threading
from tunnel.network.os.scheduling import run_sooner

def nice():
    return os.getpriority(os.PRIO_PROCESS, 0)

os.nice(int(sys.argv[1]))
os.sched_setscheduler(0, getattr(os, sys.argv[3]), os.sched_param(0))
if sys.argv[2] == "nobody":
    os.setresuid(65534, 65534, 65534)
run_sooner()
print(nice())
assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == getattr(os, sys.argv[3])
if sys.argv[2] == "root":
    thread = threading.Thread(target=lambda: print(nice()))
    thread.start()
    thread.join()
    print(subprocess.run(["nice"], stdout=subprocess.PIPE, text=True).stdout.strip())
"""


def nice_values(nice: int, user: str, policy: str = "SCHED_OTHER") -> list[int]:
    argv = [sys.executable, "-c", CODE, str(nice), user, policy]
    return [int(word) for word in subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()]


def test_root_s_process_goes_first_and_what_it_starts_does_not() -> None:
    """A thread that copies files, or the UPnP helper, has no packets to carry."""
    assert nice_values(0, "root") == [-10, 0, 0]


def test_a_nice_value_that_somebody_chose_stays() -> None:
    """`nice`, or `Nice=` in a unit of systemd."""
    assert nice_values(5, "root")[0] == 5


def test_a_policy_that_somebody_chose_stays() -> None:
    """`chrt`, or `CPUSchedulingPolicy=` in a unit of systemd."""
    assert nice_values(0, "root", "SCHED_BATCH")[0] == 0


def test_where_what_it_starts_would_go_first_too_it_runs_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter of system calls may forbid one of the two."""

    def forbid(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", forbid)
    monkeypatch.setattr(os, "setpriority", lambda *_: pytest.fail("it goes first, and so does what it starts"))
    run_sooner()


def test_without_the_right_it_runs_as_before() -> None:
    """It is no reason to fail, nor to say anything."""
    assert nice_values(0, "nobody") == [0]
