"""Addresses and their changes, as the kernel tells them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable

import pytest
import trio

from tunnel.network.os import interfaces, netlink
from tunnel.network.os.interfaces import RealInterfaces
from tunnel.network.os.tun_devices import RealDevices

Isolated = Callable[[Callable[[], Awaitable[None]]], None]


def test_loopback_is_an_address_of_this_machine() -> None:
    assert "127.0.0.1" in RealInterfaces().addresses()
    assert len(set(RealInterfaces().addresses())) == len(RealInterfaces().addresses())


@pytest.mark.netlab
def test_only_interfaces_that_are_up_count(run_isolated: Isolated) -> None:
    async def main() -> None:
        assert RealInterfaces().addresses() == ()  # a new namespace's loopback is down
        set_loopback(up=True)
        assert RealInterfaces().addresses() == ("127.0.0.1", "::1")
        device = await RealDevices().open_device("p2ptest0", 1280, ["10.211.0.1/16", "fd00:1::1/48"], [])
        assert RealInterfaces().addresses() == ("127.0.0.1", "::1", "10.211.0.1", "fd00:1::1")
        device.close()

    run_isolated(main)


@pytest.mark.netlab
def test_new_addresses_and_default_routes_are_changes(run_isolated: Isolated) -> None:
    async def main() -> None:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(RealInterfaces().wait_change)
                await trio.testing.wait_all_tasks_blocked()
                device = await RealDevices().open_device("p2ptest0", 1280, ["10.211.0.1/16"], [])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(RealInterfaces().wait_change)
                await trio.testing.wait_all_tasks_blocked()
                add_default_route("p2ptest0")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(RealInterfaces().wait_change)
                await trio.testing.wait_all_tasks_blocked()
                device.close()

    run_isolated(main)


@pytest.mark.netlab
def test_what_changes_nothing_for_us_is_no_change(run_isolated: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = trio.lowlevel.ParkingLot()
    snapshot = interfaces._snapshot

    def look() -> interfaces.Snapshot:
        looked.unpark_all()
        return snapshot()

    async def main() -> None:
        returned = []

        async def wait() -> None:
            await RealInterfaces().wait_change()
            returned.append("changed")

        set_loopback(up=True)
        monkeypatch.setattr(interfaces, "_snapshot", look)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await looked.park()
                (await RealDevices().open_device("p2ptest0", 1280, [], [])).close()
                await looked.park()
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        assert returned == []

    run_isolated(main)


def set_loopback(*, up: bool) -> None:
    with netlink.Netlink() as kernel:
        flags = netlink.IFF_UP if up else 0
        body = netlink.LINK.pack(socket.AF_UNSPEC, 0, socket.if_nametoindex("lo"), flags, netlink.IFF_UP)
        kernel.execute(netlink.NEW_LINK, 0, body)


def add_default_route(name: str) -> None:
    main_table, static, link = 254, 4, 253
    body = netlink.ROUTE.pack(socket.AF_INET, 0, 0, 0, main_table, static, link, netlink.UNICAST, 0)
    body += netlink.attribute(netlink.RTA_OIF, struct.pack("=i", socket.if_nametoindex(name)))
    with netlink.Netlink() as kernel:
        kernel.execute(netlink.NEW_ROUTE, netlink.CREATE, body)


def test_an_attribute_is_padded_to_four_bytes() -> None:
    assert netlink.attribute(3, b"abcde") == struct.pack("=HH", 9, 3) + b"abcde\0\0\0"


def test_the_kernels_refusal_is_an_error_with_its_reason() -> None:
    """Asking needs no privilege: this is so for every user."""
    with netlink.Netlink() as kernel, pytest.raises(OSError, match="No such device"):
        kernel.ask(netlink.GET_LINK, netlink.LINK.pack(socket.AF_UNSPEC, 0, 2**30, 0, 0))
