"""UDP sockets of the kernel, on loopback."""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from tunnel.model.buffers import Buffer
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError
from tunnel.model.offload import Offload
from tunnel.model.way import Way
from tunnel.network.datagrams import BATCH, Transmit
from tunnel.network.os.datagrams import RealDatagrams, RealDatagramSocket
from tunnel.network.os.sockets import REFUSAL

IP_RECVTTL = 12  # Linux <in.h>; the socket module has no name for it
LOOPBACKS = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


@LOOPBACKS
async def test_datagrams_go_and_come_in_batches(host: str) -> None:
    one, other = (
        await RealDatagrams().open_socket(Endpoint(host, 0)),
        await RealDatagrams().open_socket(Endpoint(host, 0)),
    )
    for number in range(BATCH + 36):
        assert one.send_nowait(number.to_bytes(2), other.local)
    with trio.fail_after(5):
        batches = [await other.receive_batch(), await other.receive_batch()]
    assert [len(batch) for batch in batches] == [BATCH, 36]
    assert batches[0][0] == (b"\0\0", one.local)
    assert [datagram for batch in batches for datagram, _ in batch] == [
        number.to_bytes(2) for number in range(BATCH + 36)
    ]
    one.close()
    other.close()


@LOOPBACKS
async def test_a_datagram_may_have_a_ttl_of_its_own(host: str) -> None:
    sender = await RealDatagrams().open_socket(Endpoint(host, 0))
    is_ipv6 = sender.local.is_ipv6
    with socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((host, 0))
        receiver.settimeout(5)
        if is_ipv6:
            receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        else:
            receiver.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        remote = Endpoint(*receiver.getsockname()[:2])
        seen = []
        for ttl in (3, None):
            assert sender.send_nowait(b"x", remote, ttl)
            _, ancillary, _, _ = receiver.recvmsg(100, 100)
            seen.append(struct.unpack("i", ancillary[0][2])[0])
    assert seen[0] == 3
    assert seen[1] > 3
    sender.close()


@LOOPBACKS
async def test_the_kernel_never_fragments_for_us(host: str) -> None:
    """A path is measured by full-size probes: one that was fragmented on the way proves nothing."""
    opened = await RealDatagrams().open_socket(Endpoint(host, 0))
    level, option = (socket.IPPROTO_IPV6, 23) if opened.local.is_ipv6 else (socket.IPPROTO_IP, 10)
    assert opened._socket.getsockopt(level, option) == 3
    assert opened._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > 200_000
    opened.close()


@LOOPBACKS
async def test_a_port_where_nobody_listens_hurts_nobody(host: str) -> None:
    """ICMP's port unreachable must neither fail a later send nor wake or break a reader."""
    one, other = (
        await RealDatagrams().open_socket(Endpoint(host, 0)),
        await RealDatagrams().open_socket(Endpoint(host, 0)),
    )
    nobody = await RealDatagrams().open_socket(Endpoint(host, 0))
    nobody.close()
    for _ in range(3):
        assert one.send_nowait(b"x", nobody.local)
        assert one.send_nowait(b"y", other.local)
    with trio.fail_after(5):
        batch = await other.receive_batch()
    assert batch[0] == (b"y", one.local)
    one.close()
    other.close()


async def test_what_the_kernel_does_not_take_is_no_error() -> None:
    opened = await RealDatagrams().open_socket(Endpoint("127.0.0.1", 0))
    assert not opened.send_nowait(bytes(70_000), opened.local)
    assert not opened.send_nowait(b"x", Endpoint("::1", 9))
    assert not opened.send_nowait(b"x", Endpoint("255.255.255.255", 9))
    opened.close()


@pytest.mark.parametrize(("number", "calls"), [(errno.EAGAIN, 2), (errno.EMSGSIZE, 1 + 45), (errno.EINVAL, 1 + 45)])
async def test_a_full_buffer_is_not_asked_again_for_each_piece_of_a_record(
    monkeypatch: pytest.MonkeyPatch, number: int, calls: int
) -> None:
    """The rest of the record is worth nothing. Other errors may be about the call, so each datagram is tried."""
    one = await RealDatagrams().open_socket(Endpoint("127.0.0.1", 0))
    asked = []

    class Refusing:
        def sendmsg(self, buffers: object, *_: object) -> int:
            asked.append(buffers)
            raise OSError(number, os.strerror(number))

    one._is_segmenting = True
    with monkeypatch.context() as patched:
        patched.setattr(one, "_socket", Refusing())
        assert one.send_batch(Transmit(Way(0, one.local), [bytes(16), bytes(1184)] * 45, 2, 1200)) == 0
    assert len(asked) == calls
    one.close()


async def test_a_read_behind_a_full_buffer_says_so_once() -> None:
    """What is missing there was lost here, and not on the path."""
    one = await RealDatagrams().open_socket(Endpoint("127.0.0.1", 0))
    one._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    gaps = []
    for _ in range(2):
        for _ in range(100):
            one.send_nowait(bytes(1000), one.local)
        gaps.append([read.is_behind_gap for read in await one.receive_segments()])
    assert not any(gaps[0])
    assert gaps[1][0]
    assert not any(gaps[1][1:])
    one.close()


async def test_udp_segment_is_tried_again_a_while_after_the_kernel_refused_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """The route may lead over another interface by then. It is told once, and status does not name it meanwhile."""
    one = await RealDatagrams().open_socket(Endpoint("127.0.0.1", 0))
    assert Offload.UDP_SEGMENT in one.offloads
    calls, errors = [], [errno.EIO, 0, 0, 0, 0, errno.EIO, 0, 0, 0]

    class Kernel:
        def sendmsg(self, buffers: Sequence[bytes], ancillary: object, *_: object) -> None:
            calls.append(len(buffers))
            if errors and (number := errors.pop(0)):
                raise OSError(number, os.strerror(number))

    record = Transmit(Way(0, one.local), [bytes(16), bytes(1184)] * 3, 2, 1200)
    with monkeypatch.context() as patched, caplog.at_level(logging.INFO):
        patched.setattr(one, "_socket", Kernel())
        assert one.send_batch(record) == 3  # one by one
        assert Offload.UDP_SEGMENT not in one.offloads
        await trio.sleep(REFUSAL + 1)
        assert Offload.UDP_SEGMENT in one.offloads
        assert one.send_batch(record) == 3
        await trio.sleep(1)
        assert one.send_batch(record) == 3  # refused again
        assert one.send_batch(record) == 3
    assert calls == [6, 2, 2, 2, 6, 6, 2, 2, 2, 2, 2, 2]
    assert [message.split(",")[0] for message in caplog.messages] == ["the kernel refuses UDP_SEGMENT here"]
    one.close()


async def test_a_socket_does_without_what_a_filter_of_system_calls_forbids() -> None:
    class Filtered(socket.socket):
        def setsockopt(self, level: int, option: int, value: int | Buffer) -> None:  # type: ignore[override]
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    filtered = Filtered(socket.AF_INET, socket.SOCK_DGRAM)
    filtered.bind(("127.0.0.1", 0))
    one = RealDatagramSocket(filtered)
    assert one.offloads == {Offload.UDP_SEGMENT}
    one.close()


async def test_an_ipv6_socket_leaves_ipv4_to_others() -> None:
    six = await RealDatagrams().open_socket(Endpoint("::", 0))
    four = await RealDatagrams().open_socket(Endpoint("0.0.0.0", six.local.port))
    assert four.send_nowait(b"four", Endpoint("127.0.0.1", four.local.port))
    with trio.fail_after(5):
        [(datagram, remote)] = await four.receive_batch()
    assert (datagram, remote.host) == (b"four", "127.0.0.1")
    six.close()
    four.close()


async def test_closing_wakes_the_reader() -> None:
    opened = await RealDatagrams().open_socket(Endpoint("127.0.0.1", 0))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def read() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await opened.receive_batch()

            await trio.testing.wait_all_tasks_blocked()
            opened.close()
    opened.close()
    with pytest.raises(trio.ClosedResourceError):
        opened.send_nowait(b"x", Endpoint("127.0.0.1", 9))
    with pytest.raises(trio.ClosedResourceError):
        await opened.receive_batch()


async def test_a_port_that_is_taken_says_what_to_do() -> None:
    opened = await RealDatagrams().open_socket(Endpoint("127.0.0.1", 0))
    with pytest.raises(DeviceError, match="another program has this port; choose another"):
        await RealDatagrams().open_socket(opened.local)
    with pytest.raises(DeviceError, match="does not have that address"):
        await RealDatagrams().open_socket(Endpoint("192.0.2.1", 0))
    opened.close()
