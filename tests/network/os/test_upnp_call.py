"""Calls to a gateway double on loopback, by the real miniupnpc. What the calls do: test_port_mapper.py."""

from __future__ import annotations

import json

import pytest
from tests.network.igd_double import open_igd

from tunnel.network.os.upnp_call import host_of, run_call


def ask_to_map(url: str) -> bytes:
    return json.dumps(
        {"word": "map", "url": url, "arguments": {"internal_port": 40000, "first_port": 40000, "lease": 60}}
    ).encode()


@pytest.mark.upnp
@pytest.mark.parametrize("control", ["/control", "control"])
def test_what_the_gateway_itself_controls_is_asked(control: str) -> None:
    with open_igd() as igd:
        igd.control = control
        answer = json.loads(run_call(ask_to_map(igd.url("/igd.xml")), lambda: False))
        assert igd.posted == ["GetExternalIPAddress"]
    assert answer["refused"][0] == "no_external_address"


@pytest.mark.upnp
@pytest.mark.parametrize("by", ["control URL", "base URL"])
def test_nothing_is_posted_to_another_host(by: str) -> None:
    """Else a router, or who speaks in its name, would have us post to a service that trusts this machine."""
    with open_igd() as igd, open_igd("127.0.0.2") as victim:
        if by == "base URL":
            igd.base = f"<URLBase>{victim.url('/')}</URLBase>"
        else:
            igd.control = victim.url("/control")
        answer = json.loads(run_call(ask_to_map(igd.url("/igd.xml")), lambda: False))
        assert (igd.posted, victim.posted) == ([], [])
    assert answer == {"failed": "the gateway's UPnP service sends us to another host"}


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://192.168.1.1:5000/igd.xml", "192.168.1.1"),
        ("http://192.168.1.1/", "192.168.1.1"),
        ("http://192.168.1.1", None),
        ("http://192.168.1.1@127.0.0.1/", None),
        ("http://127.0.0.1\\@192.168.1.1/", None),
        ("http://localhost/igd.xml", None),
        ("http://192.168.1.1:5000:80/", None),
        ("http://192.168.1.1/a b", None),
        ("http://192.168.1.1/\n", None),
        ("https://192.168.1.1/", None),
        ("file:///etc/passwd", None),
        ("http://[::1]/", None),
        ("http://192.168.1.1/" + "x" * 1001, None),
    ],
)
def test_only_a_plain_url_with_a_numeric_host_has_one(url: str, host: str | None) -> None:
    assert host_of(url) == host
