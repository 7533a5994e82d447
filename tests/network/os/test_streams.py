"""TCP of the kernel, on loopback."""

from __future__ import annotations

import errno
import socket

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError, Unreachable
from tunnel.network.accept_backoff import EXHAUSTED_PAUSE, AcceptBackoff
from tunnel.network.os.streams import RealStreams, accept_patiently
from tunnel.network.os.tcp_stream import TcpStream


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_stream_goes_both_ways(host: str) -> None:
    listener = await RealStreams().open_listener(Endpoint(host, 0))
    with trio.fail_after(5):
        async with await RealStreams().open_stream(listener.local) as stream:
            served, remote = await listener.accept()
            async with served:
                assert remote.host == host
                await stream.send_all(b"there")
                assert await served.receive_some() == b"there"
                await served.send_all(b"back")
                assert await stream.receive_some() == b"back"
    await listener.aclose()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_no_packet_is_longer_than_every_path_carries(host: str) -> None:
    """A path of 1280 bytes whose ICMP is filtered swallows longer ones for ever; loopback would take 65536."""
    listener = await RealStreams().open_listener(Endpoint(host, 0))
    headers = 60 if ":" in host else 40
    async with await RealStreams().open_stream(listener.local) as stream:
        served, _ = await listener.accept()
        async with served:
            for end in (stream, served):
                assert isinstance(end, TcpStream)
                assert end.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1280 - headers
    await listener.aclose()


async def test_nobody_at_a_port_is_unreachable() -> None:
    listener = await RealStreams().open_listener(Endpoint("127.0.0.1", 0))
    await listener.aclose()
    with trio.fail_after(5), pytest.raises(Unreachable, match="refused") as caught:
        await RealStreams().open_stream(listener.local)
    assert str(caught.value).startswith(f"127.0.0.1:{listener.local.port}: ")
    assert "Endpoint(" not in str(caught.value)


async def test_a_port_that_is_taken_says_what_to_do() -> None:
    listener = await RealStreams().open_listener(Endpoint("127.0.0.1", 0))
    with pytest.raises(DeviceError, match="choose another"):
        await RealStreams().open_listener(listener.local)
    await listener.aclose()


async def test_closing_wakes_who_accepts() -> None:
    listener = await RealStreams().open_listener(Endpoint("127.0.0.1", 0))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def accept() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await listener.accept()

            await trio.testing.wait_all_tasks_blocked()
            await listener.aclose()


class FailingSocket:
    """A listening socket whose first accepts fail."""

    def __init__(self, *errors: int) -> None:
        self._errors = list(errors)
        self.tries = 0

    def fileno(self) -> int:
        return 3

    async def accept(self) -> tuple[str, tuple[str, int]]:
        await trio.lowlevel.checkpoint()
        self.tries += 1
        if self._errors:
            raise OSError(self._errors.pop(0), "no")
        return "accepted", ("127.0.0.1", 1)


async def test_callers_that_hung_up_and_exhaustion_do_not_end_the_listener(autojump_clock: trio.abc.Clock) -> None:
    failing = FailingSocket(errno.ECONNABORTED, errno.EMFILE, errno.ENOBUFS, errno.EPROTO)
    begun = trio.current_time()
    _, address = await accept_patiently(failing, AcceptBackoff("these"))  # type: ignore[arg-type]
    assert address == ("127.0.0.1", 1)
    assert failing.tries == 5
    assert trio.current_time() - begun == pytest.approx(2 * EXHAUSTED_PAUSE)
