"""WebSocket messages over any byte stream. The one file that names trio-websocket.

    stream (TCP, TLS, in memory) --> metered_stream.py --> whole binary messages, in order --> MessageChannel
                                           `--> the library: handshakes, pings, closes, errors

The library needs four turns of the event loop for each message, and masks in Python. So it never sees those that are
whole binary frames: they are read and made in frame_reader.py (docs/design/websocket-speed.md).

One hostile connection can end the library's own serving loop, so that is not used. Here each connection has its own
context, and whatever its peer sends ends only that, with RemoteProtocolError or one of Trio's stream errors. Nothing
here knows what a message means.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
    wrap_server_stream,
)
from wsproto.utilities import ProtocolError

from tunnel.machines.background import run_beside
from tunnel.model.errors import LocalProtocolError, RemoteProtocolError
from tunnel.network.fair_queueing import Share
from tunnel.network.frame_reader import FrameReader, Overlong, encode_frame_head, mask
from tunnel.network.message_inbox import MessageInbox
from tunnel.network.metered_stream import MeteredStream
from tunnel.network.tls_stream import TlsStream
from tunnel.wire.signals import SUBPROTOCOL

if TYPE_CHECKING:
    from typing import Any

UNMASKED_FROM = 64
"""Bytes from which a client's message inside TLS has a mask of zeros (see `MessageChannel.send`)."""
CLOSE_PATIENCE = 1.0
"""Seconds for the closing handshake; then the stream is simply closed."""

_NORMAL_CLOSES = frozenset({1000, 1001, 1005})  # RFC 6455, section 7.4.1: done, going away, no code given
_ABNORMAL_CLOSE = 1006  # the same section: the stream ended without a close frame
_CLOSED = (ConnectionClosed, ProtocolError, trio.BrokenResourceError, trio.ClosedResourceError)
"""What the library raises when a connection is closed or closing."""

_log = logging.getLogger(__name__)


class MessageChannel:
    """Whole binary messages both ways. Made by `open_message_channel` and `accept_message_channel`.

    One task sends and one receives. `receive` raises trio.EndOfChannel when the other side closes properly,
    trio.BrokenResourceError when the stream breaks, RemoteProtocolError when the peer breaks the protocol.
    """

    def __init__(
        self,
        connection: WebSocketConnection,
        reader: _Reader,
        stream: MeteredStream,
        inbox: MessageInbox,
        *,
        max_message: int,
        is_secured: bool,
    ) -> None:
        self._connection = connection
        self._reader = reader
        self._stream = stream
        self._inbox = inbox
        self._max_message = max_message
        self._is_secured = is_secured
        self._closed = False
        self._broken = False

    async def send(self, *messages: bytes) -> None:
        """Send messages, several in one write of the stream.

        A cancelled send may leave half a frame behind, so it breaks the channel.
        """
        frames = self._frames(messages)
        self._check_open()
        if self._connection.closed is not None:
            raise trio.BrokenResourceError(f"the WebSocket is closed: {self._connection.closed.code}")
        try:
            await self._stream.send_all(frames)
        except _CLOSED as error:
            self._check_open()
            raise trio.BrokenResourceError(f"the WebSocket is closed: {error}") from error
        except BaseException:
            self._break()
            raise

    @property
    def takes_nowait(self) -> bool:
        """Whether `send_nowait` may be called: the channel is open, nothing is being sent or waits to be."""
        is_open = not (self._closed or self._broken) and self._connection.closed is None
        return is_open and self._stream.takes_nowait

    def send_nowait(self, *messages: bytes) -> bool:
        """Send messages in one write, without waiting. False: some of it waits until `send` is called, if only with
        nothing. Failures of the connection show there, too.
        """
        try:
            return self._stream.send_nowait(self._frames(messages))
        except _CLOSED:
            return False

    def _frames(self, messages: Sequence[bytes]) -> bytes:
        for message in messages:
            if len(message) > self._max_message:
                raise LocalProtocolError(f"a message of {len(message)} bytes is longer than {self._max_message}")
        return b"".join([part for message in messages for part in self._frame(message)])

    def _frame(self, message: bytes) -> tuple[bytes, bytes | bytearray]:
        """A message as the two parts of a frame.

        A client masks what it sends, so that nobody can choose bytes which a proxy on the way takes for a request
        (RFC 6455, section 10.3). Inside TLS no proxy sees them. So what is long has the mask of zeros there, which
        costs nothing.
        """
        if not self._connection.is_client:
            return encode_frame_head(len(message), None), message
        if self._is_secured and len(message) >= UNMASKED_FROM:
            return encode_frame_head(len(message), bytes(4)), message
        key = os.urandom(4)
        return encode_frame_head(len(message), key), mask(message, key)

    async def receive(self) -> bytes:
        """The next message. There is no checkpoint when one waits; few ever do."""
        self._check_open()
        while (message := self._inbox.take_nowait()) is None:
            if self._reader.ended.is_set():
                await trio.lowlevel.checkpoint()
                raise self._ending()
            await self._stream.read_messages()
            self._check_open()
        self._stream.message_done()
        return message

    async def aclose(self) -> None:
        """Close with the closing handshake, within CLOSE_PATIENCE; later calls raise trio.ClosedResourceError."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        self._inbox.close()
        self._stream.release()
        try:
            if not self._broken and not self._reader.ended.is_set():
                with trio.move_on_after(CLOSE_PATIENCE):
                    await self._connection.aclose()
        except _CLOSED:
            pass  # it is closed
        finally:
            await trio.aclose_forcefully(self._stream)

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this side closed the WebSocket")
        if self._broken:
            raise trio.BrokenResourceError("a cancelled send broke the WebSocket")

    def _break(self) -> None:
        self._broken = True
        self._reader.scope.cancel()
        self._stream.release()

    def _ending(self) -> Exception:
        """What to raise for a connection that we did not end."""
        if self._reader.failure is not None:
            return self._reader.failure
        reason = self._connection.closed
        if reason is None:
            return RemoteProtocolError("the peer broke the WebSocket protocol")
        if reason.code in _NORMAL_CLOSES:
            return trio.EndOfChannel()
        if reason.code == _ABNORMAL_CLOSE:
            return trio.BrokenResourceError("the stream ended without a close frame")
        return RemoteProtocolError(f"the WebSocket was closed with {reason.code}: {reason.reason or ''!r}")


@asynccontextmanager
async def open_message_channel(
    stream: trio.abc.Stream, *, host: str, patience: float, max_message: int
) -> AsyncIterator[MessageChannel]:
    """The client's side. `host` is for the Host header; `patience` in seconds bounds the handshake (trio.TooSlowError).

    Raises RemoteProtocolError when the server does not speak our subprotocol. The stream is closed with the block.
    """

    async def handshake(reader: _Reader, metered: MeteredStream) -> WebSocketConnection:
        connection = await wrap_client_stream(
            reader.as_nursery(),
            cast("Any", metered),
            host,
            "/",
            subprotocols=[SUBPROTOCOL],
            max_message_size=max_message,
        )
        if connection.subprotocol != SUBPROTOCOL:
            raise RemoteProtocolError(f"the server does not speak {SUBPROTOCOL}")
        return connection

    inbox = MessageInbox()
    frames = FrameReader(is_masked=False, max_message=max_message)
    metered = MeteredStream(stream, None, frames, inbox, is_strict=False, is_client=True)
    is_secured = isinstance(stream, TlsStream)
    async with _channel(metered, inbox, handshake, patience, max_message, is_secured=is_secured) as channel:
        yield channel


@asynccontextmanager
async def accept_message_channel(
    stream: trio.abc.Stream,
    *,
    patience: float,
    max_message: int,
    max_first: int | None = None,
    share: Share | None = None,
) -> AsyncIterator[MessageChannel]:
    """The server's side: waits for the client's handshake, at most `patience` seconds (trio.TooSlowError).

    `share` is for servers with many connections: those whose shares belong to one `FairQueue` use the event loop
    fairly, however much each sends.

    `max_first` is for strangers: after the head of the handshake nothing may come until it is answered, and then one
    frame with one whole message, of at most so many bytes with the frame's header, until that is received. It suits
    protocols in which the client then waits for an answer. Nobody can make us parse thousands of frames before that.

    Raises RemoteProtocolError for anything that is not a WebSocket handshake with our subprotocol. The stream is closed
    with the block.
    """

    async def handshake(reader: _Reader, metered: MeteredStream) -> WebSocketConnection:
        request = await wrap_server_stream(reader.as_nursery(), metered, max_message_size=max_message)
        if SUBPROTOCOL not in request.proposed_subprotocols:
            await request.reject(400, body=f"this is a {SUBPROTOCOL} server\n".encode())
            raise RemoteProtocolError(f"the client does not speak {SUBPROTOCOL}")
        return await request.accept(subprotocol=SUBPROTOCOL)

    inbox = MessageInbox()
    frames = FrameReader(is_masked=True, max_message=max_message, max_first=max_first)
    metered = MeteredStream(stream, share, frames, inbox, is_strict=max_first is not None, is_client=False)
    async with _channel(metered, inbox, handshake, patience, max_message) as channel:
        yield channel


@asynccontextmanager
async def _channel(
    metered: MeteredStream,
    inbox: MessageInbox,
    handshake: Callable[[_Reader, MeteredStream], Awaitable[WebSocketConnection]],
    patience: float,
    max_message: int,
    *,
    is_secured: bool = False,
) -> AsyncIterator[MessageChannel]:
    """What both sides share: the reader beside the block, a bounded handshake, and a close whatever happens."""
    reader = _Reader(inbox, metered)
    try:
        async with run_beside(reader.run):
            connection = None
            with trio.fail_after(patience), reader.handshake_scope:
                try:
                    connection = await handshake(reader, metered)
                except RemoteProtocolError:
                    raise
                except Exception as error:  # only the library runs here, on a stranger's bytes
                    raise RemoteProtocolError(f"no WebSocket handshake: {error}") from error
            if connection is None:
                raise reader.failure or trio.BrokenResourceError("the stream ended within the WebSocket handshake")
            metered.handshake_done()
            channel = MessageChannel(connection, reader, metered, inbox, max_message=max_message, is_secured=is_secured)
            try:
                yield channel
            finally:
                if trio.current_effective_deadline() == -math.inf:
                    channel._broken = True  # a cancelled block has no time for the closing handshake
                with trio.CancelScope(shield=True):
                    await channel.aclose()
    finally:
        await trio.aclose_forcefully(metered)


class _Reader:
    """Runs the library's reader task, and keeps its failure instead of raising it.

    `failure` is what the peer did wrong, as an error of ours. When the reader ends during the handshake, it cancels
    that.
    """

    def __init__(self, inbox: MessageInbox, stream: MeteredStream) -> None:
        self._inbox = inbox
        self._stream = stream
        self.failure: Exception | None = None
        self.ended = trio.Event()
        self.scope = trio.CancelScope()
        self.handshake_scope = trio.CancelScope()
        self._task: Callable[[], Awaitable[None]] | None = None
        self._started = trio.Event()

    def as_nursery(self) -> trio.Nursery:
        """The library starts its reader by `nursery.start_soon`, which is all that it does with a nursery."""
        return cast("trio.Nursery", self)

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        """Hand over the reader task."""
        self._task = task
        self._started.set()

    async def run(self) -> None:
        """Read until the connection ends."""
        await self._started.wait()
        assert self._task is not None
        try:
            with self.scope:
                await self._task()
        except ConnectionRejected as error:
            self.failure = RemoteProtocolError(
                f"the server answered HTTP {error.status_code} to the WebSocket handshake"
            )
        except (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionClosed, HandshakeError) as error:
            self.failure = trio.BrokenResourceError(f"the stream broke: {error}")
        except Overlong as error:
            self.failure = RemoteProtocolError(str(error))
        except Exception as error:  # the library's parser raises whatever hostile bytes provoke
            _log.debug("hostile bytes on a WebSocket", exc_info=True)
            self.failure = RemoteProtocolError(f"the peer broke the WebSocket protocol: {type(error).__name__}")
        finally:
            self.ended.set()
            self._inbox.notify()
            self._stream.release()
            self.handshake_scope.cancel()
