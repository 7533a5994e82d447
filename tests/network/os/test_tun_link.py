"""Another program changes our interface in the kernel: what is missing is noticed and restored."""

from __future__ import annotations

import ctypes
import socket
import struct
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tunnel.model.errors import DeviceError
from tunnel.network.os.tun_devices import RealDevice, RealDevices
from tunnel.network.os.tun_link import DOWN, GONE, SMALL

Isolated = Callable[[Callable[[], Awaitable[None]]], None]
pytestmark = pytest.mark.netlab

NAME = "p2ptest0"
ADDRESS4, ADDRESS6 = "10.211.0.1/16", "fd00:1::1/48"
ROUTE4, ROUTE6, EXTRA = "the route to 10.211.0.0/16", "the route to fd00:1::/48", "the route to 10.99.0.0/24"


async def open_device() -> RealDevice:
    return await RealDevices().open_device(NAME, 1280, (ADDRESS4, ADDRESS6), ("10.99.0.0/24",))


def addresses() -> str:
    return subprocess.run(["ip", "-br", "address"], check=True, capture_output=True, text=True).stdout


def switch_ipv6_off() -> None:
    """In this thread's network namespace."""
    for scope in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1")


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


async def wait_disturbed(device: RealDevice) -> tuple[str, ...]:
    with trio.fail_after(5):
        return await device.link.wait_disturbed()


async def carries(device: RealDevice) -> bool:
    """Whether what an application sends to a peer comes out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as application:
        application.sendto(b"hello", ("10.211.0.9", 7))
    with trio.fail_after(5):
        return any(bytes(frame).endswith(b"hello") for frame in await device.read_batch())


@pytest.mark.parametrize(
    ("words", "lost"),
    [
        (f"address flush dev {NAME}", (ADDRESS4, ADDRESS6, ROUTE4, ROUTE6, EXTRA)),
        (f"-4 address flush dev {NAME}", (ADDRESS4, ROUTE4, EXTRA)),
        (f"address delete {ADDRESS6} dev {NAME}", (ADDRESS6, ROUTE6)),
        (f"link set {NAME} down", (DOWN, ADDRESS6, ROUTE4, ROUTE6, EXTRA)),
        (f"route delete 10.211.0.0/16 dev {NAME}", (ROUTE4,)),
        (f"-6 route delete fd00:1::/48 dev {NAME}", (ROUTE6,)),
        (f"route delete 10.99.0.0/24 dev {NAME}", (EXTRA,)),
        (f"link set {NAME} mtu 9000", (SMALL.format(1280),)),
        (f"link delete {NAME}", (GONE,)),
    ],
)
def test_what_is_taken_away_is_seen_and_put_back(run_isolated: Isolated, words: str, lost: tuple[str, ...]) -> None:
    async def main() -> None:
        device = await open_device()
        assert device.link.missing() == ()
        ip(words)
        assert await wait_disturbed(device) == lost
        device.link.restore()
        assert device.link.missing() == ()
        assert await carries(device)
        device.close()

    run_isolated(main)


def test_a_smaller_mtu_is_the_choice_of_whoever_set_it(run_isolated: Isolated) -> None:
    async def main() -> None:
        device = await open_device()
        ip(f"link set {NAME} mtu 1281")
        assert device.link.missing() == (SMALL.format(1280),)
        device.link.restore()
        ip(f"-6 address flush dev {NAME}")
        device.link.readdress((ADDRESS4,), ())
        ip(f"link set {NAME} mtu 1000")
        assert device.link.missing() == ()
        device.close()

    run_isolated(main)


def mtu() -> int:
    shown = subprocess.run(["ip", "link", "show", NAME], check=True, capture_output=True, text=True).stdout
    return int(shown.partition(" mtu ")[2].split()[0])


def test_a_smaller_mtu_stays_when_something_else_is_put_back_or_replaced(run_isolated: Isolated) -> None:
    """Only a new interface gets ours, and one with too little for the IPv6 address that it should have."""

    async def main() -> None:
        device = await RealDevices().open_device(NAME, 1400, (ADDRESS4, ADDRESS6), ("10.99.0.0/24",))
        ip(f"link set {NAME} mtu 1300")
        ip("route delete 10.99.0.0/24")
        device.link.restore()
        assert (mtu(), device.link.missing()) == (1300, ())
        device.link.readdress(("10.212.0.7/16", ADDRESS6), ())
        assert mtu() == 1300
        ip(f"link set {NAME} mtu 1000")
        device.link.restore()
        assert (mtu(), device.link.missing()) == (1400, ())
        ip(f"link set {NAME} mtu 1300")
        ip(f"link delete {NAME}")
        device.link.restore()
        assert mtu() == 1400
        device.close()

    run_isolated(main)


def test_a_link_that_went_down_and_came_up_again_has_its_addresses_back(run_isolated: Isolated) -> None:
    """The kernel takes the IPv6 addresses of a link that goes down."""

    async def main() -> None:
        device = await open_device()
        ip(f"link set {NAME} down")
        ip(f"link set {NAME} up")
        assert await wait_disturbed(device) == (ADDRESS6, ROUTE6, EXTRA)
        device.link.restore()
        assert device.link.missing() == ()
        device.close()

    run_isolated(main)


def test_a_reader_sleeps_while_the_interface_is_gone_and_reads_of_the_next_one(run_isolated: Isolated) -> None:
    """A descriptor whose interface was removed is always readable: asked again and again it would cost a core."""

    async def main() -> None:
        device = await open_device()
        batches: list[list[bytes]] = []

        async def read() -> None:
            while not any(packet.endswith(b"hello") for batch in batches for packet in batch):
                batches.append([bytes(frame) for frame in await device.read_batch()])

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                ip(f"link delete {NAME}")
                assert await device.link.wait_disturbed() == (GONE,)
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert not device.write_nowait(b"\x45" + bytes(39))
                device.link.restore()
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as application:
                    application.sendto(b"hello", ("10.211.0.9", 7))
        device.close()

    run_isolated(main)


def test_all_of_it_takes_one_right_alone(run_isolated: Isolated) -> None:
    """A node keeps CAP_NET_ADMIN and nothing else: /dev/net/tun itself may be out of its reach by then."""

    async def main() -> None:
        device = await open_device()
        keep_one_capability(12)
        ip(f"link delete {NAME}")
        await wait_disturbed(device)
        device.link.restore()
        device.link.readdress(("10.212.0.1/16",), ())
        assert device.link.missing() == ()
        device.close()

    run_isolated(main)


def keep_one_capability(number: int) -> None:
    """Of this thread, and of the programs that it starts as root."""
    header, bits = struct.pack("=Ii", 0x20080522, 0), 1 << number
    assert ctypes.CDLL(None, use_errno=True).capset(header, struct.pack("=6I", bits, bits, bits, 0, 0, 0)) == 0


def test_a_new_address_takes_the_place_of_the_old_one(run_isolated: Isolated) -> None:
    async def main() -> None:
        device = await open_device()
        device.link.readdress(("10.212.0.7/16", ADDRESS6), ())
        told = addresses()
        assert "10.212.0.7/16" in told
        assert "fd00:1::1/48" in told
        assert "10.211.0.1" not in told
        ip(f"address flush dev {NAME}")
        await wait_disturbed(device)
        device.link.restore()
        assert device.link.missing() == ()
        ip(f"link delete {NAME}")
        device.link.readdress((ADDRESS4,), ())
        assert device.link.missing() == (GONE,)
        device.link.restore()
        assert await carries(device)
        device.close()

    run_isolated(main)


def test_what_could_not_be_had_at_first_is_not_missed(run_isolated: Isolated) -> None:
    """IPv6 on a machine without it; a network's route that another interface has already."""

    async def main() -> None:
        switch_ipv6_off()
        device = await open_device()
        assert device.link.missing() == ()
        ip(f"address flush dev {NAME}")
        assert await wait_disturbed(device) == (ADDRESS4, ROUTE4, EXTRA)
        device.link.restore()
        assert device.link.missing() == ()
        device.close()

    run_isolated(main)


def test_a_name_that_somebody_took_meanwhile_is_an_error(run_isolated: Isolated) -> None:
    """It is not ours only because it is called so, and has our addresses."""

    async def main() -> None:
        device = await open_device()
        ip(f"link delete {NAME}")
        other = await open_device()
        assert device.link.missing() == (GONE,)
        with pytest.raises(DeviceError, match="exists already"):
            device.link.restore()
        other.close()
        device.link.restore()
        assert await carries(device)
        device.close()

    run_isolated(main)


def routes() -> list[str]:
    shown = subprocess.run(["ip", "-4", "route"], check=True, capture_output=True, text=True).stdout
    return sorted(" ".join(line.split()[:3]) for line in shown.splitlines())


def test_routes_that_are_wanted_no_more_go_and_the_prefix_comes_back_with_its_address(run_isolated: Isolated) -> None:
    """From the whole prefix to single peers and back, on the interface that is there."""

    async def main() -> None:
        device = await open_device()
        device.link.readdress(("10.211.0.1/32", ADDRESS6), ("10.211.0.7/32", "10.211.0.8/32"))
        assert routes() == [f"10.211.0.7 dev {NAME}", f"10.211.0.8 dev {NAME}"]
        device.link.readdress(("10.211.0.1/32", ADDRESS6), ("10.211.0.8/32", "10.211.0.9/32"))
        assert routes() == [f"10.211.0.8 dev {NAME}", f"10.211.0.9 dev {NAME}"]
        assert device.link.missing() == ()
        assert await carries(device)
        device.link.readdress((ADDRESS4, ADDRESS6), ())
        assert routes() == [f"10.211.0.0/16 dev {NAME}"]
        assert device.link.missing() == ()
        device.close()

    run_isolated(main)


def test_a_route_that_another_interface_has_stays_there_and_is_told(
    run_isolated: Isolated, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no reason to end: all else works."""

    async def main() -> None:
        device = await open_device()
        other = await RealDevices().open_device("p2ptest1", 1280, ("10.212.0.1/16",), ())
        other.link.readdress(("10.212.0.1/16",), ("10.99.0.0/24", "10.98.0.0/24"))
        assert f"10.99.0.0/24 dev {NAME}" in routes()
        assert "10.98.0.0/24 dev p2ptest1" in routes()
        assert other.link.missing() == device.link.missing() == ()
        device.close()
        other.close()

    run_isolated(main)
    assert "p2ptest1 stays without the route to 10.99.0.0/24: another interface has it" in caplog.text
