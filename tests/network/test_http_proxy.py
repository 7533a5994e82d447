"""CONNECT through a proxy, over streams in memory."""

from __future__ import annotations

import pytest
import trio
from tests.network.stream_pair import open_streams
from trio.testing import MockClock

from tunnel.model.errors import ProxyRefused
from tunnel.model.proxies import Proxy
from tunnel.network.http_proxy import MAX_HEAD, connect_through

OPEN = Proxy("proxy.test", 3128, "HTTPS_PROXY")
CLOSED = Proxy("proxy.test", 3128, "HTTPS_PROXY", "Basic bWU6c2VjcmV0")


async def ask(proxy: Proxy, *answer: bytes, host: str = "server.test") -> bytes:
    """What the proxy was asked; its answer comes in these pieces, then it hangs up unless there is none."""
    async with open_streams() as (stream, served, _), trio.open_nursery() as nursery:
        asked = b""

        @nursery.start_soon
        async def serve() -> None:
            nonlocal asked
            while not asked.endswith(b"\r\n\r\n"):
                asked += await served.receive_some()
            for piece in answer:
                await served.send_all(piece)
                await trio.sleep(0.1)
            await served.aclose()

        with trio.fail_after(5.0):
            await connect_through(stream, proxy, host, 443)
    return asked


async def test_a_name_goes_to_the_proxy_as_it_is(autojump_clock: MockClock) -> None:
    """Behind many proxies no name server knows the internet."""
    asked = await ask(OPEN, b"HTTP/1.1 200 Connection established\r\n\r\n")
    assert asked.startswith(b"CONNECT server.test:443 HTTP/1.1\r\nHost: server.test:443\r\n")
    assert b"authorization" not in asked.lower()
    assert (await ask(OPEN, b"HTTP/1.0 200 OK\r\n\r\n", host="2a25::1")).startswith(b"CONNECT [2a25::1]:443 ")


async def test_who_we_are_is_said_where_the_url_says_it(autojump_clock: MockClock) -> None:
    asked = await ask(CLOSED, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2", b"00 OK\r\nVia: x\r\n\r\n")
    assert b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n" in asked


@pytest.mark.parametrize(
    ("answer", "words", "status"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Authentication Required", 407),
        (b"HTTP/1.1 403 No\x7f\r\n\r\n", ": 403$", 403),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno!", "502 Bad Gateway", 502),
        (b"", "it hung up", 0),
        (b"SSH-2.0-x\r\n\r\n", "speaks no HTTP", 0),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2 * MAX_HEAD, "has no end", 0),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_HEAD, "has no end", 0),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 400 too eager", "speaks before the server could", 0),
    ],
    ids=["who are you", "control characters", "broken", "hangs up", "no HTTP", "endless", "endless 1xx", "eager"],
)
async def test_whatever_else_it_says_is_told_with_its_name(
    autojump_clock: MockClock, answer: bytes, words: str, status: int
) -> None:
    with pytest.RaisesGroup(
        pytest.RaisesExc(ProxyRefused, match=words, check=lambda error: error.status == status), flatten_subgroups=True
    ) as caught:
        await ask(CLOSED, answer)
    text = str(caught.value.exceptions[0])
    assert "proxy.test:3128 (HTTPS_PROXY)" in text
    assert "bWU6" not in text
