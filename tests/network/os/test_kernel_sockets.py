"""TCP and UDP on a tunnel's addresses, of both kernel sides: this machine's, and that of a namespace of our own."""

from __future__ import annotations

import errno
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from tests.network.os.wire import KERNEL, MTU, NAMESPACE, Wire, host_of, wildcard, wired

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, Unreachable
from tunnel.network.os.kernel_sockets import KernelSockets
from tunnel.network.os.namespace_stack import NamespaceDevice, NamespaceDevices
from tunnel.network.os.socket_source import ThisNamespace
from tunnel.network.os.tun_devices import RealDevice, RealDevices

Isolated = Callable[[Callable[[], Awaitable[None]]], None]
pytestmark = pytest.mark.netlab

PIECE = bytes(range(256)) * 256
PIECES = 40
CELLS = pytest.mark.parametrize(
    ("is_ipv6", "is_outward"),
    [(False, False), (False, True), (True, False), (True, True)],
    ids=["IPv4 to the namespace", "IPv4 from it", "IPv6 to the namespace", "IPv6 from it"],
)


@asynccontextmanager
async def both() -> AsyncIterator[tuple[RealDevice, NamespaceDevice, Wire]]:
    """This machine's kernel and one of our own, which reach each other."""
    kernel = await RealDevices().open_device("p2ptest0", MTU, KERNEL, ())
    namespace = await NamespaceDevices().open_device("p2ptest0", MTU, NAMESPACE, ())
    async with wired(kernel, namespace) as wire:
        yield kernel, namespace, wire
    kernel.close()
    namespace.close()


async def swallow(stream: trio.abc.ReceiveStream) -> bytes:
    """All until the end."""
    received = bytearray()
    async for piece in stream:
        received += piece
    return bytes(received)


@CELLS
def test_a_stream_goes_both_ways_and_each_way_ends_by_itself(
    run_isolated: Isolated, is_ipv6: bool, is_outward: bool
) -> None:
    async def main() -> None:
        async with both() as (kernel, namespace, wire):
            caller, called = (namespace, kernel) if is_outward else (kernel, namespace)
            listener = await called.sockets.open_listener(wildcard(is_ipv6=is_ipv6))
            remote = Endpoint(host_of(called, is_ipv6=is_ipv6), listener.local.port)
            ours = await caller.sockets.open_stream(remote)
            theirs, whom = await listener.accept()
            assert whom.host == host_of(caller, is_ipv6=is_ipv6)
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def send() -> None:
                    for _ in range(PIECES):
                        await ours.send_all(PIECE)
                    await ours.send_eof()

                assert await swallow(theirs) == PIECE * PIECES
            await theirs.send_all(b"all of it")
            await theirs.aclose()
            assert await swallow(ours) == b"all of it"
            await ours.aclose()
            await listener.aclose()
            with pytest.raises(trio.ClosedResourceError):
                await listener.accept()
            assert wire.superpackets > PIECES / 2

    run_isolated(main)


@CELLS
def test_a_stream_that_is_broken_off_breaks_at_the_other_end(
    run_isolated: Isolated, is_ipv6: bool, is_outward: bool
) -> None:
    async def main() -> None:
        async with both() as (kernel, namespace, _):
            caller, called = (namespace, kernel) if is_outward else (kernel, namespace)
            listener = await called.sockets.open_listener(wildcard(is_ipv6=is_ipv6))
            remote = Endpoint(host_of(called, is_ipv6=is_ipv6), listener.local.port)
            ours = await caller.sockets.open_stream(remote)
            theirs, _ = await listener.accept()
            ours.abort()
            with pytest.raises(trio.BrokenResourceError):
                await theirs.receive_some()
            with pytest.raises(trio.BrokenResourceError):
                await ours.receive_some()
            await listener.aclose()
            with pytest.raises(Unreachable, match="Connection refused"):
                await caller.sockets.open_stream(remote)

    run_isolated(main)


@CELLS
def test_datagrams_go_both_ways_and_tell_whom_they_are_from(
    run_isolated: Isolated, is_ipv6: bool, is_outward: bool
) -> None:
    async def main() -> None:
        async with both() as (kernel, namespace, _):
            caller, called = (namespace, kernel) if is_outward else (kernel, namespace)
            bound = await called.sockets.open_datagrams(wildcard(is_ipv6=is_ipv6))
            free = await caller.sockets.open_datagrams(Endpoint(host_of(caller, is_ipv6=is_ipv6), 0))
            for size in (1, MTU, 20_000):
                await free.send(b"x" * size, Endpoint(host_of(called, is_ipv6=is_ipv6), bound.local.port))
                datagram, whom = await bound.receive()
                assert (len(datagram), whom) == (size, free.local)
                await bound.send(datagram + b"!", whom)
                assert len((await free.receive())[0]) == size + 1
            with pytest.raises(Unreachable, match="too long"):
                await free.send(bytes(70_000), bound.local._replace(host=host_of(called, is_ipv6=is_ipv6)))
            await free.aclose()
            with pytest.raises(trio.ClosedResourceError):
                await free.receive()

    run_isolated(main)


@pytest.mark.parametrize("kind", ["kernel", "namespace"])
def test_what_is_no_address_of_the_tunnel_is_refused(run_isolated: Isolated, kind: str) -> None:
    """The kernel would send it into the tunnel all the same, from whatever address it has."""

    async def main() -> None:
        device = await open_one(kind, ("10.86.0.1/16",))
        with pytest.raises(Unreachable, match="no address of the tunnel"):
            await device.sockets.open_stream(Endpoint("192.0.2.7", 80))
        with pytest.raises(Unreachable, match="no address of the tunnel"):
            await device.sockets.open_stream(Endpoint("fd00:1::7", 80))
        datagrams = await device.sockets.open_datagrams(Endpoint("0.0.0.0", 0))
        with pytest.raises(Unreachable, match="no address of the tunnel"):
            await datagrams.send(b"x", Endpoint("192.0.2.7", 80))
        for opening in (device.sockets.open_listener, device.sockets.open_datagrams):
            with pytest.raises(DeviceError, match=r"none of this node's tunnel addresses \(10\.86\.0\.1\)"):
                await opening(Endpoint("127.0.0.1", 0))
        taken = await device.sockets.open_listener(Endpoint("10.86.0.1", 7777))
        with pytest.raises(DeviceError, match="another program has this port"):
            await device.sockets.open_listener(taken.local)
        device.link.readdress((), ("10.86.0.0/16",))
        with pytest.raises(Unreachable, match="no IPv4 address in the tunnel yet"):
            await device.sockets.open_stream(Endpoint("10.86.0.7", 80))
        device.close()

    run_isolated(main)


async def open_one(kind: str, addresses: tuple[str, ...] = KERNEL) -> RealDevice:
    devices = RealDevices() if kind == "kernel" else NamespaceDevices()
    return await devices.open_device("p2ptest0", MTU, addresses, ())


def test_the_wildcard_of_this_machine_s_kernel_is_the_tunnel_alone(run_isolated: Isolated) -> None:
    """None of its other addresses leads there."""

    async def main() -> None:
        async with both() as (kernel, namespace, _):
            ip("link set lo up")
            ip("address add 192.0.2.1/24 dev lo")
            listener = await kernel.sockets.open_listener(Endpoint("0.0.0.0", 0))
            for host in ("127.0.0.1", "192.0.2.1"):
                assert is_refused(Endpoint(host, listener.local.port))
            await (await namespace.sockets.open_stream(Endpoint("10.86.0.1", listener.local.port))).aclose()

    run_isolated(main)


def test_with_another_address_connections_of_the_former_break_and_listeners_go_on(run_isolated: Isolated) -> None:
    """Their packets would be lost: no peer takes them from an address that is not ours."""

    async def main() -> None:
        async with both() as (kernel, namespace, _):
            listener = await namespace.sockets.open_listener(Endpoint("0.0.0.0", 0))
            six = await namespace.sockets.open_listener(Endpoint("::", 0))
            ours = await kernel.sockets.open_stream(Endpoint("10.86.0.2", listener.local.port))
            theirs, _ = await listener.accept()
            ours6 = await kernel.sockets.open_stream(Endpoint("fd00:1::2", six.local.port))
            theirs6, _ = await six.accept()
            namespace.link.readdress(("10.86.7.7/16", "fd00:1::2/48"), ())
            with pytest.raises(trio.BrokenResourceError):
                await theirs.receive_some()
            await theirs6.send_all(b"still here")
            assert await ours6.receive_some() == b"still here"
            await ours.aclose()
            again = await kernel.sockets.open_stream(Endpoint("10.86.7.7", listener.local.port))
            await again.send_all(b"x")
            anew, _ = await listener.accept()
            assert await anew.receive_some() == b"x"

    run_isolated(main)


def test_an_interface_that_was_removed_has_its_listeners_and_datagram_sockets_again(run_isolated: Isolated) -> None:
    async def main() -> None:
        async with both() as (kernel, namespace, _):
            listener = await kernel.sockets.open_listener(Endpoint("10.86.0.1", 7777))
            datagrams = await kernel.sockets.open_datagrams(Endpoint("0.0.0.0", 7777))
            closed = await kernel.sockets.open_listener(Endpoint("0.0.0.0", 0))
            await closed.aclose()
            broken = await namespace.sockets.open_stream(Endpoint("10.86.0.1", 7777))
            theirs, _ = await listener.accept()
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def accept() -> None:
                    accepted, _ = await listener.accept()
                    assert await accepted.receive_some() == b"again"
                    await accepted.aclose()

                @nursery.start_soon
                async def receive() -> None:
                    assert (await datagrams.receive())[0] == b"again"

                await trio.testing.wait_all_tasks_blocked()
                ip("link delete p2ptest0")
                await kernel.link.wait_disturbed()
                kernel.link.restore()
                with pytest.raises(trio.BrokenResourceError):
                    await theirs.receive_some()
                stream = await namespace.sockets.open_stream(Endpoint("10.86.0.1", 7777))
                await stream.send_all(b"again")
                sender = await namespace.sockets.open_datagrams(Endpoint("0.0.0.0", 0))
                await sender.send(b"again", Endpoint("10.86.0.1", 7777))
            await broken.aclose()

    run_isolated(main)


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


def is_refused(remote: Endpoint) -> bool:
    with socket.socket() as local:
        local.settimeout(5)
        return local.connect_ex(remote) == errno.ECONNREFUSED


class OldKernel(ThisNamespace):
    """Lets only root bind a socket to an interface."""

    def open_socket(self, family: int, kind: int, protocol: int) -> socket.socket:
        return Unbindable(family, kind, protocol)


class Unbindable(socket.socket):
    def setsockopt(self, *arguments: object) -> None:
        if arguments[1] == socket.SO_BINDTODEVICE:
            raise PermissionError(1, "Operation not permitted")
        super().setsockopt(*arguments)  # type: ignore[call-overload]


def test_where_sockets_cannot_be_kept_to_the_interface_there_are_none(run_isolated: Isolated) -> None:
    """Rather than some that a packet may leave by another way."""

    async def main() -> None:
        device = await open_one("kernel")
        sockets = KernelSockets(device.link, OldKernel(), bound_to=device.name)
        with pytest.raises(Unreachable, match=r"Linux 5\.7 or newer"):
            await sockets.open_stream(Endpoint("10.86.0.7", 80))
        with pytest.raises(DeviceError, match=r"Linux 5\.7 or newer"):
            await sockets.open_listener(Endpoint("0.0.0.0", 0))
        device.close()

    run_isolated(main)
