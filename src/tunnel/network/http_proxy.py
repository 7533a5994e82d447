"""Connecting through an HTTP proxy by CONNECT (RFC 9110 section 9.3.6). After its answer the stream is the server's."""

from __future__ import annotations

import h11
import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import ProxyRefused
from tunnel.model.proxies import Proxy

MAX_HEAD = 16 * 1024
"""Bytes of the proxy's answer, with all 1xx before it."""


async def connect_through(stream: trio.abc.Stream, proxy: Proxy, host: str, port: int) -> None:
    """Ask the proxy at the other end of this stream to connect to a host (a name is sent unresolved).

    Raises ProxyRefused; the stream is then closed. The caller bounds the time.
    """
    target = str(Endpoint(host, port))
    headers = [("Host", target), ("User-Agent", "p2ptunnel-trio")]
    if proxy.authorization is not None:
        headers.append(("Proxy-Authorization", proxy.authorization))
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    try:
        request = connection.send(h11.Request(method="CONNECT", target=target, headers=headers))
        assert request is not None
        await stream.send_all(request)
        connection.send(h11.EndOfMessage())
        answer = await _answer(stream, connection, proxy)
        if answer is None or not 200 <= answer.status_code < 300:
            said = "it hung up" if answer is None else _said(answer)
            status = 0 if answer is None else answer.status_code
            raise ProxyRefused(f"the proxy {proxy} gives no way to {target}: {said}", status)
        if connection.trailing_data[0]:
            raise ProxyRefused(f"the proxy {proxy} speaks before the server could", 0)
    except (h11.RemoteProtocolError, trio.BrokenResourceError) as error:
        await trio.aclose_forcefully(stream)
        raise ProxyRefused(f"the proxy {proxy} speaks no HTTP, or hung up", 0) from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _answer(stream: trio.abc.Stream, connection: h11.Connection, proxy: Proxy) -> h11.Response | None:
    """The final answer; 1xx are skipped. None: the stream ended. Raises ProxyRefused after MAX_HEAD bytes."""
    left = MAX_HEAD
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            return event
        if event is h11.NEED_DATA:
            if not left:
                raise ProxyRefused(f"the answer of the proxy {proxy} has no end", 0)
            data = await stream.receive_some(min(4096, left))
            if not data:
                return None
            left -= len(data)
            connection.receive_data(bytes(data))
        elif not isinstance(event, h11.InformationalResponse):
            return None


def _said(answer: h11.Response) -> str:
    reason = bytes(answer.reason).decode("ascii", "replace")[:80]
    return f"{answer.status_code} {reason}".strip() if reason.isprintable() else str(answer.status_code)
