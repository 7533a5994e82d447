"""TUN interfaces of the kernel, each test in a network namespace of its own."""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tunnel.dataplane.superpacket import to_plain
from tunnel.model.errors import DeviceError
from tunnel.network.os import tun_descriptor
from tunnel.network.os import tun_devices as real_devices
from tunnel.network.os.tun_devices import RealDevice, RealDevices
from tunnel.network.os.tun_link import QUEUE_PACKETS
from tunnel.wire.records import start_of_packet

Isolated = Callable[[Callable[[], Awaitable[None]]], None]
pytestmark = pytest.mark.netlab

ADDRESSES = ("10.211.0.1/16", "fd00:1::1/48")


async def open_device(
    name: str = "p2ptest0", addresses: tuple[str, ...] = ADDRESSES, routes: tuple[str, ...] = ()
) -> RealDevice:
    return await RealDevices().open_device(name, 1280, addresses, routes)


async def read_frames(device: RealDevice) -> list[bytes]:
    with trio.fail_after(5):
        return [bytes(frame) for frame in await device.read_batch()]


async def read_packet(device: RealDevice) -> bytes:
    """The packet in the one frame that waits."""
    [frame] = await read_frames(device)
    return frame[start_of_packet(frame) :]


def turned_round(packet: bytes) -> bytes:
    """The same datagram from its receiver to its sender.

    Every checksum stays right, a begun one too, since sums do not know order.
    """
    if packet[0] >> 4 == 4:
        header = packet[:12] + packet[16:20] + packet[12:16]
        udp = packet[20:]
    else:
        header = packet[:8] + packet[24:40] + packet[8:24]
        udp = packet[40:]
    return header + udp[2:4] + udp[:2] + udp[4:]


@pytest.mark.parametrize(("family", "peer"), [(socket.AF_INET, "10.211.0.9"), (socket.AF_INET6, "fd00:1::9")])
def test_packets_of_applications_come_out_and_answers_go_in(run_isolated: Isolated, family: int, peer: str) -> None:
    async def main() -> None:
        device = await open_device()
        with socket.socket(family, socket.SOCK_DGRAM) as application:
            application.settimeout(5)
            application.sendto(b"hello", (peer, 7))
            [frame] = await read_frames(device)
            start, [plain] = start_of_packet(frame), to_plain(frame)
            packet = frame[start:]
            source, destination = (
                (packet[12:16], packet[16:20]) if packet[0] >> 4 == 4 else (packet[8:24], packet[24:40])
            )
            assert str(ipaddress.ip_address(destination)) == peer
            assert str(ipaddress.ip_address(source)) in {"10.211.0.1", "fd00:1::1"}
            assert packet.endswith(b"hello")
            for answer in (frame[:start] + turned_round(packet), turned_round(bytes(plain))):
                assert device.write_nowait(answer)
                assert application.recvfrom(100)[0] == b"hello"
            assert list(device.read_nowait()) == []
            application.sendto(b"again", (peer, 7))
            assert [bytes(again)[-5:] for again in device.read_nowait()] == [b"again"]
            assert not device.write_nowait(bytes(start) + b"\x00 no IP packet")
            assert not device.write_nowait(b"\x50 no IP packet")
        device.close()

    run_isolated(main)


def test_an_interface_is_as_asked_for_and_vanishes(run_isolated: Isolated) -> None:
    async def main() -> None:
        device = await open_device(routes=("10.211.0.0/16", "10.99.0.0/24", "fd00:2::/48"))
        assert device.name == "p2ptest0"
        assert "p2ptest0" in interfaces()
        assert route_table()["10.99.0.0"] == "p2ptest0"
        assert route_table()["10.211.0.0"] == "p2ptest0"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("10.99.0.7", 7))
            assert probe.getsockname()[0] == "10.211.0.1"
            probe.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER: set the don't-fragment bit
            assert probe.getsockopt(socket.IPPROTO_IP, 14) == 1280  # IP_MTU
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(("fd00:2::7", 7))
        device.close()
        assert route_table() == {}
        device.close()
        with pytest.raises(trio.ClosedResourceError):
            device.write_nowait(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await device.read_batch()
        assert list(device.read_nowait()) == []

    run_isolated(main)


def interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def route_table() -> dict[str, str]:
    """The interface of each IPv4 route, by destination."""
    rows = [line.split() for line in Path("/proc/thread-self/net/route").read_text().splitlines()[1:]]
    return {socket.inet_ntoa(struct.pack("=I", int(row[1], 16))): row[0] for row in rows}


def test_the_first_packet_out_is_an_applications(run_isolated: Isolated) -> None:
    """No router solicitations, no multicast reports: a quiet tunnel costs nothing."""

    async def main() -> None:
        device = await open_device()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as application:
            application.sendto(b"mine", ("10.211.0.9", 7))
        assert (await read_packet(device)).endswith(b"mine")
        device.close()

    run_isolated(main)


def test_many_packets_come_in_batches(run_isolated: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        device = await open_device()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as application:
            for number in range(100):
                application.sendto(bytes([number]), ("10.211.0.9", 7))
        batches = [await read_frames(device), await read_frames(device)]
        assert [len(batch) for batch in batches] == [64, 36]
        device.close()

    monkeypatch.setattr(real_devices, "BATCH", 64)
    run_isolated(main)


def test_a_packet_that_the_kernel_cannot_describe_costs_nothing_else(
    run_isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is lost (EINVAL: "unexpected GSO type"); it ended the node, which took the interface for removed."""

    async def isolated() -> None:
        device = await open_device()
        answers: list[int] = [errno.EINVAL]

        def readv(descriptor: int, buffers: list[bytearray]) -> int:
            if answers:
                raise OSError(answers.pop(), "")
            return real_readv(descriptor, buffers)

        real_readv = os.readv
        monkeypatch.setattr(os, "readv", readv)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("10.211.0.9", 9))
        assert (await read_packet(device)).endswith(b"x")
        answers.append(errno.EIO)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("10.211.0.9", 9))
        with pytest.raises(trio.BrokenResourceError):
            await device.read_batch()
        monkeypatch.undo()
        device.close()

    run_isolated(isolated)


def test_as_many_packets_wait_as_the_interface_has_room_for(run_isolated: Isolated) -> None:
    """What comes in addition is dropped, by which TCP learns that we are slower."""

    async def main() -> None:
        device = await open_device()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as application:
            for number in range(QUEUE_PACKETS + 36):
                application.sendto(bytes([number]), ("10.211.0.9", 7))
        frames = await read_frames(device)
        assert [frame[-1] for frame in frames] == list(range(QUEUE_PACKETS))
        device.close()

    run_isolated(main)


def test_closing_wakes_the_reader(run_isolated: Isolated) -> None:
    async def main() -> None:
        device = await open_device()
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def read() -> None:
                    with pytest.raises(trio.ClosedResourceError):
                        await device.read_batch()

                await trio.testing.wait_all_tasks_blocked()
                device.close()

    run_isolated(main)


def test_a_taken_name_and_a_bad_name_say_so(run_isolated: Isolated) -> None:
    async def main() -> None:
        device = await open_device()
        with pytest.raises(DeviceError, match="exists already"):
            await open_device()
        for name in ("", "x" * 16, "a b", "a/b"):
            with pytest.raises(DeviceError, match="no interface name"):
                await open_device(name)
        device.close()

    run_isolated(main)


def test_without_the_right_the_remedy_is_named(run_isolated: Isolated) -> None:
    async def main() -> None:
        drop_all_capabilities_of_this_thread()
        with pytest.raises(DeviceError, match="run as root, or give Python `setcap cap_net_admin"):
            await open_device()

    run_isolated(main)


def drop_all_capabilities_of_this_thread() -> None:
    header = struct.pack("=Ii", 0x20080522, 0)
    assert ctypes.CDLL(None, use_errno=True).capset(header, bytes(24)) == 0


def test_without_the_driver_the_remedy_is_named(run_isolated: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tun_descriptor, "CLONE_DEVICE", "/dev/net/no-such-device")
    with pytest.raises(DeviceError, match="modprobe tun"):
        run_isolated(lambda: open_device())  # type: ignore[arg-type,return-value]


def test_a_machine_without_ipv6_has_its_ipv4_tunnel(run_isolated: Isolated) -> None:
    async def main() -> None:
        switch_ipv6_off()
        device = await open_device(routes=("fd00:2::/48",))
        assert route_table() == {"10.211.0.0": "p2ptest0"}
        device.close()

    run_isolated(main)


def switch_ipv6_off() -> None:
    """In this thread's network namespace."""
    for scope in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1")
