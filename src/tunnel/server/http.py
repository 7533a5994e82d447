"""A small HTTP/1.1 server for people and monitors: GET and HEAD of a few fixed paths, nothing else.

It knows nothing of the tunnel: the caller gives the paths and their content.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

import h11
import trio

from tunnel.model.errors import DeviceError
from tunnel.network.accept_backoff import AcceptBackoff
from tunnel.network.ports import StreamListener

REQUEST_PATIENCE = 10.0
"""Seconds for a request to come and its answer to be taken. An idle connection stays open as long."""
MAX_CONNECTIONS = 64
MAX_HEAD = 8192

_log = logging.getLogger(__name__)


class Page(NamedTuple):
    """The content of a path."""

    content_type: str
    body: bytes


Pages = Mapping[str, Callable[[], Page]]


async def serve_http(listener: StreamListener, pages: Pages) -> None:
    """Serve until cancelled. Whatever a client sends ends only its own connection.

    Beyond MAX_CONNECTIONS the one whose last request is the oldest is closed, so a monitor can always connect.
    """
    open_ones: dict[trio.CancelScope, None] = {}

    async def serve_one(stream: trio.abc.Stream, scope: trio.CancelScope) -> None:
        def on_answered() -> None:
            if scope in open_ones:
                open_ones[scope] = open_ones.pop(scope)

        try:
            with scope:
                await _serve_connection(stream, pages, on_answered)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except Exception:
            _log.exception("an HTTP connection failed")
        finally:
            open_ones.pop(scope, None)
            await trio.aclose_forcefully(stream)

    backoff = AcceptBackoff("HTTP connections")
    async with trio.open_nursery() as nursery:
        while True:
            try:
                stream, _ = await listener.accept()
            except (OSError, DeviceError, trio.BrokenResourceError) as error:
                await backoff.wait(error)
                continue
            if len(open_ones) >= MAX_CONNECTIONS:
                longest_idle = next(iter(open_ones))
                del open_ones[longest_idle]
                longest_idle.cancel()
            scope = trio.CancelScope()
            open_ones[scope] = None
            nursery.start_soon(serve_one, stream, scope)


async def _serve_connection(stream: trio.abc.Stream, pages: Pages, on_answered: Callable[[], None]) -> None:
    """Request after request, until the client or the protocol ends it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    while True:
        with trio.move_on_after(REQUEST_PATIENCE) as patience:
            try:
                request = await _read_request(stream, connection)
            except h11.RemoteProtocolError as error:
                if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                    await _answer(stream, connection, error.error_status_hint, _NOTHING, close=True)
                return
            if request is None:
                return
            await _answer_request(stream, connection, request, pages)
            on_answered()
        if patience.cancelled_caught or connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            return
        connection.start_next_cycle()


async def _read_request(stream: trio.abc.Stream, connection: h11.Connection) -> h11.Request | None:
    """The next request, its body thrown away; None when the client is done."""
    request: h11.Request | None = None
    while True:
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(MAX_HEAD)))
            case h11.Request():
                request = event
            case h11.Data():
                pass
            case h11.EndOfMessage():
                return request
            case _:
                return None


async def _answer_request(
    stream: trio.abc.Stream, connection: h11.Connection, request: h11.Request, pages: Pages
) -> None:
    path = request.target.partition(b"?")[0].decode("ascii", errors="replace")
    page, is_head = pages.get(path), request.method == b"HEAD"
    if page is None:
        await _answer(stream, connection, 404, _text("not found"), bodiless=is_head)
    elif request.method not in (b"GET", b"HEAD"):
        await _answer(stream, connection, 405, _text("only GET"), extra=[("allow", "GET, HEAD")])
    else:
        await _answer(stream, connection, 200, page(), bodiless=is_head)


async def _answer(
    stream: trio.abc.Stream,
    connection: h11.Connection,
    status: int,
    page: Page,
    *,
    bodiless: bool = False,
    close: bool = False,
    extra: list[tuple[str, str]] | None = None,
) -> None:
    headers = [
        ("content-type", page.content_type),
        ("content-length", str(len(page.body))),
        ("cache-control", "no-store"),
        *(extra or []),
        *([("connection", "close")] if close else []),
    ]
    parts = [connection.send(h11.Response(status_code=status, headers=headers))]
    if not bodiless:
        parts.append(connection.send(h11.Data(data=page.body)))
    parts.append(connection.send(h11.EndOfMessage()))
    await stream.send_all(b"".join(part for part in parts if part))


def _text(line: str) -> Page:
    return Page("text/plain; charset=utf-8", f"{line}\n".encode())


_NOTHING = Page("text/plain; charset=utf-8", b"")
"""Answers what is not a request: it may have begun as a HEAD, which gets no body."""
