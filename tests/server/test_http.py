"""The small HTTP server answers what it should and survives what it should not have been sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.server.http import MAX_CONNECTIONS, REQUEST_PATIENCE, Page, serve_http
from tunnel.verify.memory.host import MemoryHost
from tunnel.verify.memory.internet import open_memory_internet

WHERE = Endpoint("25.0.0.1", 9443)


def fail() -> Page:
    raise ZeroDivisionError


class Site:
    """Opens streams to a running HTTP server."""

    def __init__(self, client: MemoryHost) -> None:
        self._client = client

    async def open(self) -> trio.abc.Stream:
        return await self._client.open_stream(WHERE)

    async def exchange(self, *parts: bytes) -> bytes:
        """Send, and read until the server closes."""
        stream = await self.open()
        async with stream:
            for part in parts:
                await stream.send_all(part)
            return await read_all(stream)


async def read_all(stream: trio.abc.Stream) -> bytes:
    """Up to the end, or to the reset of a server that closed before it had read everything."""
    received = b""
    with suppress(trio.BrokenResourceError):
        while part := await stream.receive_some():
            received += bytes(part)
    return received


@pytest.fixture
async def site(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Site]:
    async with open_memory_internet() as internet, trio.open_nursery() as nursery:
        listener = await internet.add_host("server", WHERE.host).open_listener(WHERE)
        pages = {"/healthz": lambda: Page("text/plain", b"ok\n"), "/broken": fail}
        nursery.start_soon(serve_http, listener, pages)
        yield Site(internet.add_host("client", "26.0.0.1"))
        nursery.cancel_scope.cancel()


def request(path: str, method: str = "GET", *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: server", *headers, "", ""]).encode()


async def test_a_page_is_answered_and_the_connection_closed_if_asked(site: Site) -> None:
    answer = await site.exchange(request("/healthz?probe=1", "GET", "Connection: close"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"content-length: 3" in head.lower()
    assert body == b"ok\n"


async def test_a_connection_is_kept_for_the_next_request(site: Site) -> None:
    answer = await site.exchange(
        request("/healthz"), request("/nothing"), request("/healthz", "GET", "Connection: close")
    )
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.count(b"HTTP/1.1 404 ") == 1


async def test_head_has_no_body_and_other_methods_are_refused(site: Site) -> None:
    answer = await site.exchange(request("/healthz", "HEAD", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")
    answer = await site.exchange(request("/healthz", "POST", "Content-Length: 3", "Connection: close") + b"abc")
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"allow: GET, HEAD" in answer


@pytest.mark.parametrize("path", ["/healthz", "/nothing"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"])
@pytest.mark.parametrize("header", ["X: y", "Upgrade: websocket", "Expect: 100-continue", "Content-Length: 0"])
async def test_every_method_is_answered_at_every_path(
    site: Site, caplog: pytest.LogCaptureFixture, path: str, method: str, header: str
) -> None:
    """One that was not was a traceback in the log for 29 bytes."""
    answer = await site.exchange(request(path, method, header, "Connection: close"))
    head, _, body = answer.partition(b"\r\n\r\n")
    allowed = b"405" if path == "/healthz" and method not in ("GET", "HEAD") else None
    assert head.split()[1] == (allowed or (b"200" if path == "/healthz" else b"404"))
    assert (body == b"") == (method == "HEAD")
    assert caplog.text == ""


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        request("/healthz", "GET", "Content-Length: -1"),
        request("/healthz", "GET", "Transfer-Encoding: nonsense"),
        request("/healthz", "POST", "Transfer-Encoding: chunked") + b"zzz\r\n",
        request("/healthz", "HEAD", "Transfer-Encoding: chunked") + b"zzz\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: \xff\r\n\r\n",
    ],
)
async def test_nonsense_is_a_client_error_and_the_end_of_its_connection(
    site: Site, bytes_sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await site.exchange(bytes_sent)
    assert caplog.text == ""
    assert answer == b"" or answer.split()[1] in (b"400", b"404", b"431", b"501")
    assert (await site.exchange(request("/healthz", "GET", "Connection: close"))).startswith(b"HTTP/1.1 200 ")


async def test_a_page_that_fails_ends_its_connection_only(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    assert await site.exchange(request("/broken")) == b""
    assert "ZeroDivisionError" in caplog.text
    assert (await site.exchange(request("/healthz", "GET", "Connection: close"))).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_says_nothing_is_closed(site: Site) -> None:
    stream = await site.open()
    began = trio.current_time()
    assert await read_all(stream) == b""
    assert trio.current_time() - began == pytest.approx(REQUEST_PATIENCE, abs=0.1)


async def test_a_client_that_says_it_slowly_is_closed(site: Site) -> None:
    """One byte a second would hold a connection for ever."""
    stream = await site.open()
    began = trio.current_time()
    with suppress(trio.BrokenResourceError):
        while trio.current_time() < began + 10 * REQUEST_PATIENCE:
            await stream.send_all(b"G")
            await trio.sleep(1.0)
    assert trio.current_time() - began < 2 * REQUEST_PATIENCE


async def test_a_monitor_is_always_let_in_and_the_longest_idle_client_goes(site: Site) -> None:
    first, *held = [await site.open() for _ in range(MAX_CONNECTIONS)]
    await first.send_all(request("/healthz"))
    assert (await first.receive_some()).startswith(b"HTTP/1.1 200 ")
    began = trio.current_time()
    assert (await site.exchange(request("/healthz", "GET", "Connection: close"))).startswith(b"HTTP/1.1 200 ")
    assert await read_all(held[0]) == b"", "it had said nothing since it came"
    assert trio.current_time() - began < 1.0
    for stream in (first, held[1]):
        await stream.send_all(request("/healthz", "GET", "Connection: close"))
        assert (await read_all(stream)).startswith(b"HTTP/1.1 200 ")
