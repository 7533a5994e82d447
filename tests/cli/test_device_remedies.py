"""Where a port or a device is not available the error names the option that helps, and what each remedy costs."""

from __future__ import annotations

import errno
import os
import socket
import sys

import pytest
import trio

from tunnel.cli.device_remedies import adding_remedies
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError
from tunnel.network.os.world import real_world

PYTHON = os.path.realpath(sys.executable)
"""Capabilities belong to the file, not to a link to it, which a virtual environment's is."""


async def test_a_port_that_is_really_taken_names_its_option() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        local = Endpoint(*taken.getsockname())
        with pytest.raises(DeviceError) as caught, adding_remedies({f"UDP {local}": "--udp"}):
            await real_world(None).datagrams.open_socket(local)
    assert str(caught.value) == (
        f"UDP {local} is taken by another program: choose another port with --udp, or 0 for a free one"
    )


async def test_without_the_right_to_a_tun_root_comes_first_and_setcap_with_its_cost_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DeviceError) as caught, adding_remedies({}):
        await real_world(None).devices.open_device("p2pt0", 1280, (), ())
    told = str(caught.value)
    assert told.index("root (sudo)") < told.index("--userspace") < told.index("setcap") < told.index("every program")
    assert f"setcap cap_net_admin+ep {PYTHON}`" in told


def test_errors_in_groups_get_a_remedy_too_and_others_stay_as_they_are() -> None:
    lost = DeviceError("TCP 192.0.2.9:1 cannot be used: no such address")
    lost.__cause__ = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    other = DeviceError("the interface is gone")
    with pytest.raises(ExceptionGroup), adding_remedies({"TCP 192.0.2.9:1": "--listen"}):
        raise ExceptionGroup("", [lost, other])
    assert str(lost) == "TCP 192.0.2.9:1 cannot be used: no such address (--listen)"
    assert str(other) == "the interface is gone"


async def test_a_cancellation_passes(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(1) as scope, adding_remedies({}):
        await trio.sleep_forever()
    assert scope.cancelled_caught
