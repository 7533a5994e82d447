"""The routes and resolvers of this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tunnel.model.routes import Route
from tunnel.network.os.interfaces import RealInterfaces
from tunnel.network.os.routes import read_resolvers
from tunnel.network.os.tun_devices import RealDevices

Isolated = Callable[[Callable[[], Awaitable[None]]], None]


def make_lan() -> None:
    """In this thread's network namespace."""
    for words in (
        "link add lan type veth peer name other",
        "link set lan up",
        "address add 10.86.1.2/24 dev lan",
        "route add 10.86.4.0/24 via 10.86.1.1 dev lan",
        "route add 100.64.0.0/10 dev lan table 52",
        "route add default via 10.86.1.1 dev lan",
    ):
        subprocess.run(["ip", *words.split()], check=True)


@pytest.mark.netlab
def test_routes_are_told_with_their_interface_and_whether_others_may_be_there(run_isolated: Isolated) -> None:
    """Those of other tables too, where other VPNs keep theirs; no default route, none to ourselves."""

    async def main() -> None:
        make_lan()
        device = await RealDevices().open_device("p2ptest0", 1280, ["10.211.0.1/16", "fd00:1::1/48"], [])
        assert set(RealInterfaces().routes()) == {
            Route("10.86.1.0/24", "lan", is_shared=True),
            Route("10.86.4.0/24", "lan", is_shared=True),
            Route("100.64.0.0/10", "lan", is_shared=True),
            Route("10.211.0.0/16", "p2ptest0", is_shared=False),
        }
        device.close()

    run_isolated(main)


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ("nameserver 10.86.1.53\nnameserver 2a25::53\n", "nameserver 9.9.9.9\n", ("10.86.1.53", "2a25::53")),
        ("# stub\nnameserver 127.0.0.53\n", "nameserver 10.86.1.53\n", ("127.0.0.53", "10.86.1.53")),
        ("nameserver fe80::1%eth0\n", "", ("fe80::1",)),
        ("nameserver\nnameserver nonsense\nsearch 10.86.0.1\n\xff", None, ()),
        (None, None, ()),
    ],
)
def test_resolvers_are_those_of_the_file_and_behind_a_stub_those_that_it_asks(
    tmp_path: Path, first: str | None, second: str | None, found: tuple[str, ...]
) -> None:
    files = tmp_path / "resolv.conf", tmp_path / "upstream.conf"
    for file, text in zip(files, (first, second), strict=True):
        if text is not None:
            file.write_bytes(text.encode("latin-1"))
    assert read_resolvers(files) == found
