"""A byte stream under the WebSocket library that takes binary messages out, and checks all else before it is parsed.

    head of the handshake -> its answer: nothing may come -> frames: a few at a time, each message whole in one of them
                                                               |-- binary messages --> inbox
                                                               `-- all else ---------> the library

Until the first message is awaited the library's task reads. From then on the receiver of messages does, and hands over
what is for the library: so a message costs no turn of that task.

The library parses all that one read brought without letting other tasks run, and does not limit empty fragments, pings
and tiny messages. So a few frames are passed on at a time, and a connection that has sent much waits for its turn
(fair_queueing.py) before each.
"""

from __future__ import annotations

from enum import Enum, auto

import trio

from tunnel.model.rates import TokenBucket
from tunnel.network.fair_queueing import Share
from tunnel.network.frame_reader import FrameReader, Overlong
from tunnel.network.message_inbox import MessageInbox
from tunnel.network.nowait_stream import NowaitStream, as_nowait
from tunnel.network.write_lock import WriteLock

MAX_HEAD = 8192
"""Bytes of a handshake, or of a whole answer that refuses it."""
RECEIVE_BYTES = 256 * 1024
"""Read at once: four records. What a read and a write cost besides the bytes is most of the CPU time."""
MODEST_RECEIVE_BYTES = 64 * 1024
"""The same while others wait for their turn, and where the read before brought less than half of it: thousands of
idle connections may all get something at once.
"""
FIRST_RECEIVE_BYTES = 16 * 1024
"""The same until the peer has registered."""
FRAMES_AT_ONCE = 4
"""Passed on at once: about 0.2 ms of parsing."""
BYTES_A_PIECE = 16384
"""Bytes that count as much as a frame."""
WRITE_PIECES = 0.5
"""The cost of a frame that is sent: less than one received, since it is not parsed and goes with others."""
CONTROLS_RATE = 10.0
"""Pings, pongs and closes a second. Our own sides send only a close; proxies between them may send others."""
CONTROLS_BURST = 50.0

_BLANK_LINE = b"\r\n\r\n"
_SWITCHING = b"HTTP/1.1 101 "


class _Phase(Enum):
    HEAD = auto()
    ANSWERING = auto()
    """The peer waits for the answer to its handshake, or should."""
    FRAMES = auto()
    FOREIGN = auto()
    """The server refused the handshake; the body of its answer follows."""


class MeteredStream(NowaitStream):
    """Wraps a stream; returns what is for the library, puts messages into the inbox, and raises Overlong for what the
    peer may not send.

    Bytes in both directions are charged to the share, if there is one. A heavy one waits for its turn before
    more is passed on.

    While the peer is a stranger it may send the head of the handshake and one frame (`max_first` of `FrameReader`).
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        share: Share | None,
        frames: FrameReader,
        inbox: MessageInbox,
        *,
        is_strict: bool,
        is_client: bool,
    ) -> None:
        """`is_strict`: the peer is a stranger until `message_done`. Without a share nothing waits for a turn."""
        self._stream = stream
        self._nowait = as_nowait(stream)
        self._share = share
        self._frames = frames
        self._inbox = inbox
        self._is_strict = is_strict
        self._is_client = is_client
        self._phase = _Phase.HEAD
        self._receive_bytes = FIRST_RECEIVE_BYTES
        self._has_much = False
        """Whether the latest read brought much."""
        self._head = bytearray()
        self._controls = TokenBucket(CONTROLS_RATE, CONTROLS_BURST, trio.current_time())
        self._received: bytes | bytearray = b""
        self._at = 0
        self._writing = WriteLock()
        self._is_reading = False
        self._receiver: trio.CancelScope | None = None
        """That of the receiver of messages while it reads."""
        self._is_lent = False
        """Whether the receiver of messages reads, and the library gets from it what is not for that."""
        self._handed: bytes | None = None
        self._has_ended = False
        self._failure: Exception | None = None
        self._library = trio.lowlevel.ParkingLot()

    def handshake_done(self) -> None:
        """From now on messages come."""
        self._phase = _Phase.FRAMES
        if not self._is_strict:
            self._receive_bytes = RECEIVE_BYTES

    def message_done(self) -> None:
        """A whole message was received. Whoever receives a second one has found that the peer is no stranger."""
        if self._is_strict:
            self._is_strict = False
            self._frames.first_done()
        else:
            self._receive_bytes = RECEIVE_BYTES

    async def receive_some(self, max_bytes: int | None = None) -> bytes:  # noqa: ARG002 - the library takes any number
        """The next bytes for the library; empty at the end of the stream."""
        while True:
            if self._failure is not None:
                raise self._failure
            if self._handed is not None:
                handed, self._handed = self._handed, None
                await trio.lowlevel.checkpoint()
                return handed
            if self._is_lent or self._is_reading:
                self._inbox.notify()
                await self._library.park()
            elif (passed := await self._read()) is not None:
                return passed

    async def read_messages(self) -> None:
        """Read on, for the receiver of messages, who found the inbox empty; return when there may be some.

        A turn of the library's task for each read would cost as much as TLS does. It gets what is not a message.
        """
        self._is_lent = True
        if self._is_reading or self._handed is not None or self._has_ended:
            await self._inbox.wait_news()
            return
        scope = self._receiver = trio.CancelScope()
        try:
            with scope:
                self._handed = await self._read()
        except Exception as error:  # the library's task has to end with it
            self._failure, self._has_ended = error, True
        finally:
            self._receiver = None
            if self._has_ended and self._handed is None and self._failure is None:
                self._handed = b""  # cancelled between the end and its turn
            if self._handed is not None or self._has_ended or not self._is_lent:
                self._library.unpark_all()

    def release(self) -> None:
        """Nobody receives messages any more: the library reads by itself, and who reads now is interrupted."""
        self._is_lent = False
        if self._receiver is not None:
            self._receiver.cancel()
        self._inbox.notify()
        self._library.unpark_all()

    async def _read(self) -> bytes | None:
        """The next bytes for the library; empty at the end of the stream; None if there are none yet."""
        self._is_reading = True
        try:
            if self._at == len(self._received):
                self._received, self._at = b"", 0
                self._received = await self._stream.receive_some(self._most())
                self._has_much = 2 * len(self._received) >= MODEST_RECEIVE_BYTES
                self._has_ended = not self._received
            else:
                await trio.lowlevel.checkpoint()
            await self._inbox.wait_empty()
            if self._share is not None:  # not before: those who wait for bytes are light, and may all get some at once
                await self._share.wait_turn()
            return self._pass_on() or None if self._received else b""
        finally:
            self._is_reading = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the stream does, for several tasks: the library answers pings while a message is being written."""
        if self._share is not None:
            self._share.charge(WRITE_PIECES + len(data) / BYTES_A_PIECE)
        async with self._writing:
            await self._stream.send_all(data)

    @property
    def takes_nowait(self) -> bool:
        """Whether nobody sends, and the stream takes it."""
        return self._nowait is not None and not self._writing.is_taken and self._nowait.takes_nowait

    def send_nowait(self, data: bytes | bytearray | memoryview) -> bool:
        """As the stream does."""
        assert self._nowait is not None
        if self._share is not None:
            self._share.charge(WRITE_PIECES + len(data) / BYTES_A_PIECE)
        return self._nowait.send_nowait(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As the stream does."""
        await self._stream.aclose()

    def _most(self) -> int:
        """How much to read: what waits for a turn is held in memory, and in a turn others wait."""
        is_modest = not self._has_much or (self._share is not None and self._share.is_contended)
        return min(self._receive_bytes, MODEST_RECEIVE_BYTES) if is_modest else self._receive_bytes

    def _pass_on(self) -> bytes:
        """What is for the library of the next piece; messages go to the inbox."""
        begun, frames, passed = self._at, 1, b""
        match self._phase:
            case _Phase.HEAD:
                self._at = self._pass_head()
                passed = bytes(self._received[begun : self._at])
            case _Phase.ANSWERING:
                raise Overlong("bytes after the handshake and before its answer")
            case _Phase.FRAMES:
                frames = self._pass_frames()
                passed = self._frames.take_others()
            case _Phase.FOREIGN:
                self._at = len(self._received)
                passed = bytes(self._received[begun:])
                self._head += passed
                self._check_head()
        if self._share is not None:
            self._share.charge(max(frames, 1) + (self._at - begun) / BYTES_A_PIECE)
        return passed

    def _pass_head(self) -> int:
        """Up to the blank line that ends the head; what follows it is of the next phase."""
        before = len(self._head)
        self._head += self._received[self._at :]
        end = self._head.find(_BLANK_LINE, max(before - len(_BLANK_LINE), 0))
        if end < 0:
            self._check_head()
            return len(self._received)
        at = self._at + end + len(_BLANK_LINE) - before
        if self._is_strict:
            if at < len(self._received):
                raise Overlong("bytes after the handshake and before its answer")
            self._phase = _Phase.ANSWERING
        elif self._is_client and not self._head.startswith(_SWITCHING):
            self._phase = _Phase.FOREIGN
        else:
            self._phase = _Phase.FRAMES
        return at

    def _check_head(self) -> None:
        if len(self._head) > MAX_HEAD:
            raise Overlong(f"{len(self._head)} bytes, and no handshake in them")

    def _pass_frames(self) -> int:
        """A few frames; returns how many began."""
        before = self._frames.controls
        self._at, frames = self._frames.read_untrusted(self._received, self._at, FRAMES_AT_ONCE)
        if messages := self._frames.take_messages():
            self._inbox.put(messages)
        controls = self._frames.controls - before
        if controls and not self._controls.take(trio.current_time(), controls):
            raise Overlong(f"more than {CONTROLS_RATE:g} control frames a second")
        return frames
