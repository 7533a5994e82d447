"""Ranks of interfaces, on real kernels, with the interfaces that real machines have besides their network card."""

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tunnel.network.os import interfaces, netlink
from tunnel.network.os.interface_ranking import Link, Rank
from tunnel.network.os.interfaces import RealInterfaces
from tunnel.network.os.tun_devices import RealDevices

Isolated = Callable[[Callable[[], Awaitable[None]]], None]
BRIDGES = 22


def ip(*lines: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


def cable(name: str, address: str) -> Iterator[str]:
    """An interface with a carrier, and this address."""
    yield f"link add {name} type veth peer name far-{name}"
    yield f"link set far-{name} up"
    yield f"link set {name} up"
    yield f"address add {address} dev {name}"


@pytest.mark.netlab
def test_the_way_out_comes_first_and_bridges_of_containers_late(run_isolated: Isolated) -> None:
    """By their numbers 172.17 to 172.31 come before 192.168: with two dozen of them the LAN was not told to anybody."""

    async def main() -> None:
        ip("link set lo up", *cable("eth0", "192.168.1.10/24"), "route add default via 192.168.1.1")
        for number in range(BRIDGES):
            ip(
                f"link add br{number} type bridge",
                f"link set br{number} up",
                f"address add 172.{17 + number}.0.1/16 dev br{number}",
            )
        found = RealInterfaces().addresses()
        assert found[:2] == ("192.168.1.10", "127.0.0.1")
        assert len(found) == BRIDGES + 2 + 1, "and the IPv6 loopback"

    run_isolated(main)


@pytest.mark.netlab
def test_what_leads_through_another_tunnel_is_known_and_comes_late(run_isolated: Isolated) -> None:
    async def main() -> None:
        ip(*cable("eth0", "192.168.1.10/24"), "route add default via 192.168.1.1")
        device = await RealDevices().open_device("another0", 1420, ("10.8.0.2/24",), ())
        ip(
            "link add ovl0 type vxlan id 7 dstport 4789 local 192.168.1.10 remote 192.168.1.11",
            "link set ovl0 up",
            "address add 10.99.0.1/24 dev ovl0",
        )
        interfaces = RealInterfaces()
        assert interfaces.addresses()[0] == "192.168.1.10"
        assert interfaces.is_nested("10.8.0.9")
        assert interfaces.is_nested("10.99.0.2")
        assert not interfaces.is_nested("192.168.1.11")
        assert not interfaces.is_nested("25.0.0.1")
        assert not interfaces.is_nested("fd00::1"), "there is no way to it at all"
        device.close()

    run_isolated(main)


@pytest.mark.netlab
def test_containers_that_come_and_go_are_no_change_of_the_network(run_isolated: Isolated) -> None:
    """A bridge has a carrier while a container runs: the order of our addresses changes with it, not the addresses."""

    async def main() -> None:
        ip("link add br0 type bridge", "link set br0 up", "address add 172.17.0.1/16 dev br0")
        ip("link set lo up", *cable("eth0", "192.168.1.10/24"))
        before = interfaces._snapshot()
        with netlink.open_watch() as watch:
            ip("link add box0 type veth peer name far-box0", "link set box0 master br0", "link set box0 up")
            ip("link set far-box0 up")
            netlink.drain(watch)
        ip("address flush dev far-box0")
        assert interfaces._snapshot()[0] == before[0]

    run_isolated(main)


@pytest.mark.parametrize(
    ("flags", "kind", "rank"),
    [
        (0x11043, "", Rank.WAY_OUT),
        (0x11043, "bridge", Rank.WAY_OUT),
        (0x11043, "wireguard", Rank.NESTED),
        (0x1003, "", Rank.UNPLUGGED),
        (0x110D1, "tun", Rank.NESTED),
        (0x110D1, "", Rank.NESTED),
    ],
)
def test_the_rank_of_an_interface_on_a_default_route(flags: int, kind: str, rank: Rank) -> None:
    """The last one is point-to-point, whatever made it. A VPN that took the default route is no LAN either."""
    assert Link(7, flags, kind).rank({7}) is rank


@pytest.mark.parametrize(("kind", "rank"), [("", Rank.CABLE), ("vlan", Rank.CABLE), ("bridge", Rank.INSIDE)])
def test_the_rank_of_an_interface_beside_the_way_out(kind: str, rank: Rank) -> None:
    assert Link(8, 0x11043, kind).rank({7}) is rank
