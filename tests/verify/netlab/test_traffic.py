"""What a lab shows of the packets that passed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError
from tunnel.verify.netlab import SERVER_ADDRESSES, Count, Flow, Host, Kind, Lab
from tunnel.verify.netlab.traffic import flow_counts

if TYPE_CHECKING:
    from tests.verify.netlab.conftest import Agent

pytestmark = pytest.mark.netlab

PRIMARY = Endpoint(SERVER_ADDRESSES[0], 3478)


def test_flows_tell_a_direct_path_from_a_relayed_one(lab: Lab, agent_on: Callable[[Host], Agent]) -> None:
    here, there = lab.add_site("here", Kind.PUBLIC), lab.add_site("there", Kind.PUBLIC)
    speaker, listener = agent_on(here.host), agent_on(there.host)
    speaker.open()
    assert speaker.seen_by(PRIMARY) is not None
    assert Flow(here.wan, there.wan, "udp") not in lab.flows()
    speaker.send(Endpoint(there.wan, listener.open()), "12345")
    listener.hear()
    flows = lab.flows()
    assert flows[Flow(here.wan, there.wan, "udp")] == Count(1, 20 + 8 + 5)
    assert flows[Flow(here.wan, PRIMARY.host, "udp")].packets == 1
    assert Flow(there.wan, here.wan, "udp") not in flows


@pytest.mark.parametrize(
    ("printed", "name"), [(17, "udp"), ("udp", "udp"), (6, "tcp"), (1, "icmp"), (58, "ipv6-icmp"), (132, "132")]
)
def test_a_protocol_has_its_name_where_nft_prints_a_number(printed: object, name: str) -> None:
    """As it does where /etc/protocols is missing."""
    element = {"elem": {"val": {"concat": ["25.1.0.1", "25.2.0.1", printed]}, "counter": {"packets": 2, "bytes": 66}}}
    text = json.dumps({"nftables": [{"set": {"name": "flows4", "elem": [element]}}]})
    assert flow_counts(text) == {Flow("25.1.0.1", "25.2.0.1", name): Count(2, 66)}


def test_counters_tell_who_sent(lab: Lab, agent_on: Callable[[Host], Agent]) -> None:
    here, there = lab.add_site("here"), lab.add_site("there", Kind.PUBLIC)
    speaker, listener = agent_on(here.host), agent_on(there.host)
    speaker.open()
    to = Endpoint(there.wan, listener.open())
    for _ in range(3):
        speaker.send(to)
    for _ in range(3):
        assert listener.hear() is not None
    counters = lab.counters()
    assert (counters["here"].sent.packets, counters["here"].received.packets) == (3, 0)
    assert (counters["there"].sent.packets, counters["there"].received.packets) == (0, 3)


def test_a_capture_holds_every_link_at_the_internet(
    lab: Lab, agent_on: Callable[[Host], Agent], tmp_path: Path
) -> None:
    site = lab.add_site("home")
    agent = agent_on(site.host)
    agent.open(5000)
    with lab.capture(tmp_path) as capture:
        assert agent.seen_by(PRIMARY) is not None
    assert set(capture.files) == {"home", "server"}
    for file in capture.files.values():
        shown = subprocess.run(["tcpdump", "-n", "-r", str(file)], capture_output=True, text=True, check=True).stdout
        assert f"{site.wan}.5000 > {PRIMARY.host}.{PRIMARY.port}" in shown
        assert len(shown.splitlines()) == 2


def test_a_capture_that_cannot_be_written_says_so(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "server.pcap").mkdir()
    with pytest.raises(DeviceError, match="tcpdump did not start"):
        lab.capture(tmp_path)
