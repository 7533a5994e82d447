"""On a link that is slower than this machine, others do not wait for what one stream has sent."""

from __future__ import annotations

import statistics
import subprocess
import sys

import pytest
from tests.journeys.conftest import OpenLabPrograms

from tunnel.verify.netlab import Kind, SiteSpec

pytestmark = pytest.mark.netlab

RATE = "50mbit"
SINK = """
import socket, sys
with socket.create_server((sys.argv[1], 7777)) as listener:
    print("ready", flush=True)
    end, _ = listener.accept()
    while end.recv(1 << 20):
        pass
"""
SOURCE = """
import socket, sys
with socket.socket() as end:
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    end.connect((sys.argv[1], 7777))
    while True:
        end.sendall(bytes(1 << 20))
"""


def test_a_ping_does_not_wait_behind_an_upload(open_lab_programs: OpenLabPrograms) -> None:
    """The upload fills whatever queue there is: one of 2 MB takes 300 ms of this link, and the node's sockets may hold
    four times that.
    """
    lab, lab_programs = open_lab_programs(SiteSpec("home", Kind.PUBLIC), SiteSpec("office", Kind.PUBLIC))
    home, office = lab.sites["home"].host, lab.sites["office"].host
    for host in (home, office):
        lab_programs.start_node(host, host.name)
    lab_programs.wait_ready("home", "office")
    lab_programs.start_ping("home", "office", count=5).finish()
    lab_programs.wait_direct("home", "office")
    shape = f"tc qdisc add dev wan root tbf rate {RATE} burst 64kb limit 50mb"
    lab.run(home, shape.split())
    address = lab_programs.address("office")
    sink = lab.popen(office, [sys.executable, "-c", SINK, address], stdout=subprocess.PIPE)
    assert sink.stdout is not None
    assert sink.stdout.readline() == b"ready\n"
    source = lab.popen(home, [sys.executable, "-c", SOURCE, address])
    try:
        lab_programs.start_ping("home", "office", count=100, interval=0.01).finish()  # by then it fills the queue
        pings = lab_programs.start_ping("home", "office", count=100, interval=0.01).finish()
    finally:
        for process in (source, sink):
            process.terminate()
            process.wait()
        sink.stdout.close()
    assert len(pings.answers) >= 95
    assert statistics.median(answer.rtt for answer in pings.answers) < 0.06
