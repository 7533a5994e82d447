"""Every node understands every other one, whatever their two kernels can do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import IO

import pytest
from tests.journeys.conftest import BUSY, OpenLabPrograms

from tunnel.model.endpoint import Endpoint
from tunnel.model.offload import Offload
from tunnel.verify.netlab import Host, Kind, Lab, SiteSpec
from tunnel.verify.netlab.programs import LabPrograms

pytestmark = pytest.mark.netlab

HOST_TOOL = str(Path(__file__).with_name("host_tool.py"))
TRANSFER = 4_000_000
LACKING = {
    "modern": (),
    "nouso": (Offload.UDP_SEGMENTATION,),
    "single": (Offload.UDP_SEGMENTATION, Offload.UDP_SEGMENT, Offload.UDP_GRO),
    "checksums": (Offload.TCP_SEGMENTATION, Offload.UDP_SEGMENTATION),
    "none": tuple(Offload),
}
"""Kernels, by what they lack."""
DATAGRAMS = """
import socket, sys
kind, address = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
content = [bytes([number]) * 1000 for number in range(30)] + [b"the end"]
with socket.socket(family, socket.SOCK_DGRAM) as end:
    if kind == "receive":
        end.bind((address, 7777))
        end.settimeout(SECONDS)
        print("ready", flush=True)
        print([end.recv(65536) for _ in content] == content, flush=True)
    else:
        end.connect((address, 7777))
        end.sendmsg([b"".join(content)], [(socket.SOL_UDP, 103, (1000).to_bytes(2, sys.byteorder))])
""".replace("SECONDS", str(5 * BUSY))
"""Thirty datagrams and a shorter one, handed to the kernel as one superpacket."""


Network = tuple[Lab, LabPrograms]


def open_network(open_lab_programs: OpenLabPrograms, *options: str, server_options: Sequence[str] = ()) -> Network:
    """One node of each kind, each on a public host."""
    lab, lab_programs = open_lab_programs(
        *(SiteSpec(name, Kind.PUBLIC) for name in LACKING), server_options=server_options
    )
    for name, lacking in LACKING.items():
        without = [word for offload in lacking for word in ("--without-offload", offload.value)]
        lab_programs.start_node(lab.sites[name].host, name, *without, *options)
    lab_programs.wait_ready(*LACKING)
    return lab, lab_programs


@pytest.fixture(scope="module")
def direct(open_lab_programs: OpenLabPrograms) -> Network:
    return open_network(open_lab_programs)


@pytest.fixture(scope="module")
def relayed(open_lab_programs: OpenLabPrograms) -> Network:
    """Over a server that has no offloads either."""
    return open_network(
        open_lab_programs,
        "--relay-only",
        server_options=("--without-offload", "udp-gro", "--without-offload", "udp-segment"),
    )


@pytest.fixture(scope="module")
def relayed_by_tcp(open_lab_programs: OpenLabPrograms) -> Network:
    return open_network(open_lab_programs, "--relay-only", server_options=("--no-udp-relay",))


def pass_both(network: Network, sends: str, receives: str) -> None:
    """A stream and a burst of datagrams to each tunnel address."""
    lab, lab_programs = network
    sender, receiver = lab.sites[sends].host, lab.sites[receives].host
    addresses = lab_programs.status(receives)["node"]["addresses"]
    assert len(addresses) == 2
    for address in addresses:
        pass_stream(lab, sender, receiver, address)
        pass_datagrams(lab, sender, receiver, address)


def pass_stream(lab: Lab, sender: Host, receiver: Host, address: str) -> None:
    with receiving(lab, receiver, HOST_TOOL, "receive", address) as told:
        to = str(Endpoint(address, int(told.readline())))
        sent = json.loads(lab.run(sender, [sys.executable, HOST_TOOL, "send", to, str(TRANSFER)]))
        assert json.loads(told.readline()) == [TRANSFER, sent]


def pass_datagrams(lab: Lab, sender: Host, receiver: Host, address: str) -> None:
    with receiving(lab, receiver, "-c", DATAGRAMS, "receive", address) as told:
        assert told.readline() == b"ready\n"
        lab.run(sender, [sys.executable, "-c", DATAGRAMS, "send", address])
        assert told.readline() == b"True\n"


@contextmanager
def receiving(lab: Lab, receiver: Host, *arguments: str) -> Iterator[IO[bytes]]:
    """A program on the receiver, by what it prints."""
    program = lab.popen(receiver, [sys.executable, *arguments], stdout=subprocess.PIPE)
    assert program.stdout is not None
    with program.stdout:
        yield program.stdout
    assert program.wait() == 0


PAIRS = [pair for pair in product(LACKING, LACKING) if pair[0] != pair[1] or pair[0] in ("modern", "none")]


@pytest.mark.parametrize(("sends", "receives"), PAIRS)
def test_streams_and_datagrams_pass_between_any_two_kernels(direct: Network, sends: str, receives: str) -> None:
    pass_both(direct, sends, receives)


@pytest.mark.parametrize(("sends", "receives"), [("modern", "none"), ("none", "modern"), ("modern", "modern")])
def test_they_pass_over_a_relay_that_has_no_offloads(relayed: Network, sends: str, receives: str) -> None:
    pass_both(relayed, sends, receives)


@pytest.mark.parametrize(("sends", "receives"), [("modern", "none"), ("none", "modern"), ("modern", "modern")])
def test_they_pass_over_the_connections_to_the_server(relayed_by_tcp: Network, sends: str, receives: str) -> None:
    pass_both(relayed_by_tcp, sends, receives)


@pytest.mark.parametrize("name", LACKING)
def test_status_names_the_offloads_in_use(direct: Network, name: str) -> None:
    _, lab_programs = direct
    in_use = lab_programs.status(name)["node"]["offloads"]
    lacking = {offload.value for offload in LACKING[name]}
    assert in_use == [offload.value for offload in Offload if offload.value not in lacking]
