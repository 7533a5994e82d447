"""Where netlink is forbidden the machine's addresses and routers are still known, and a node runs."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import NoReturn

import pytest
import trio
import trio.testing

from tunnel.model.errors import DeviceError
from tunnel.network.os import netlink, tun_devices, without_netlink
from tunnel.network.os.interfaces import RealInterfaces
from tunnel.network.os.tun_devices import RealDevices

IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000007 02 40 00 00     eth0
20010db8000000000000000000000008 02 40 00 40     eth0
"""
ROUTE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
wlan0\t00000000\t010200C6\t0003\t0\t0\t50\t00000000\t0\t0\t0
ppp0\t00000000\t00000000\t0001\t0\t0\t10\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
gone0\t00000000\t010200C0\t0003\t0\t0\t1\t00000000\t0\t0\t0
"""


def _refused(*_: object) -> NoReturn:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink.Netlink, "__init__", _refused)
    monkeypatch.setattr(netlink, "open_watch", _refused)


def test_addresses_are_those_that_netlink_tells() -> None:
    """The machine itself: both ways must see loopback and agree on IPv4."""
    told = sorted(address for address in RealInterfaces().addresses() if ":" not in address)
    assert [address for address in without_netlink.read_addresses() if ":" not in address] == told
    assert "127.0.0.1" in told


def test_ipv6_addresses_come_from_proc_once_they_are_usable(tmp_path: Path) -> None:
    (tmp_path / "if_inet6").write_text(IF_INET6)
    found = without_netlink.read_addresses(tmp_path)
    assert [address for address in found if ":" in address] == ["2001:db8::7", "::1"]


def test_default_routes_through_a_router_come_by_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "route").write_text(ROUTE)
    own = [("eth0", "192.0.2.7"), ("eth0", "192.0.2.8"), ("wlan0", "198.0.2.9")]
    monkeypatch.setattr(without_netlink, "_ipv4", lambda: iter(own))
    assert without_netlink.read_gateways(tmp_path) == (("198.0.2.1", "198.0.2.9"), ("192.0.2.1", "192.0.2.7"))


def test_a_hidden_proc_leaves_out_what_is_in_it(tmp_path: Path) -> None:
    assert "127.0.0.1" in without_netlink.read_addresses(tmp_path / "none")
    assert without_netlink.read_gateways(tmp_path / "none") == ()


@pytest.mark.usefixtures("forbidden")
def test_forbidden_netlink_is_told_once_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A seccomp filter or a container's policy: the node ended with a traceback."""
    interfaces = RealInterfaces()
    with caplog.at_level(logging.WARNING):
        assert "127.0.0.1" in interfaces.addresses()
        interfaces.gateways()
    assert len(caplog.messages) == 1
    assert "netlink cannot be used here (Permission denied)" in caplog.messages[0]


@pytest.mark.usefixtures("forbidden")
async def test_without_word_of_changes_somebody_looks_again(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    answers = iter([("127.0.0.1",), ("127.0.0.1",), ("127.0.0.1",), ("127.0.0.1", "192.0.2.7")])
    monkeypatch.setattr(without_netlink, "read_addresses", lambda: next(answers))
    monkeypatch.setattr(without_netlink, "read_gateways", lambda: ())
    began = trio.current_time()
    await RealInterfaces().wait_change()
    assert trio.current_time() - began == 2 * 15


@pytest.mark.usefixtures("forbidden")
async def test_an_interface_that_cannot_be_set_up_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tun_devices, "open_tun", lambda *_: (os.open("/dev/null", os.O_RDWR), "lo", frozenset()))
    with pytest.raises(DeviceError, match=r"netlink is closed to this process .* or use --userspace"):
        await RealDevices().open_device("lo", 1280, [], [])
