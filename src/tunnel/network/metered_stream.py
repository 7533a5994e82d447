"""A byte stream that checks what its peer sends before the WebSocket library parses it.

    head of the handshake -> its answer: nothing may come -> frames: a few at a time, each message whole in one of them

The library parses all that one read brought without letting other tasks run, and does not limit empty fragments, pings
and tiny messages. So each read here returns a few frames, and a connection that has sent much waits for its turn
(fair_queueing.py) before each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto

import trio

from tunnel.model.rates import TokenBucket
from tunnel.network.fair_queueing import Share
from tunnel.network.frame_headers import FrameHeaders, Overlong

MAX_HEAD = 8192
"""Bytes of a handshake, or of a whole answer that refuses it."""
FRAMES_AT_ONCE = 4
"""Returned by one read: about 0.2 ms of parsing."""
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


class MeteredStream(trio.abc.Stream):
    """Wraps a stream; returns a few frames at a time, and raises Overlong for what the peer may not send.

    Bytes in both directions are charged to the share. A share that is heavy waits for its turn before a read returns.

    With `max_first` the peer is a stranger: it may send the head of the handshake and one frame (see `FrameHeaders`).
    """

    def __init__(self, stream: trio.abc.Stream, share: Share, *, max_first: int | None, is_client: bool) -> None:
        self._stream = stream
        self._share = share
        self._is_strict = max_first is not None
        self._is_client = is_client
        self._phase = _Phase.HEAD
        self._head = bytearray()
        self._frames = FrameHeaders(max_first)
        self._controls = TokenBucket(CONTROLS_RATE, CONTROLS_BURST, trio.current_time())
        self._received: bytes | bytearray = b""
        self._at = 0
        self._is_gathering = False
        self._gathered: list[bytes] = []
        self._writing = trio.StrictFIFOLock()

    def handshake_done(self) -> None:
        """From now on messages come."""
        self._phase = _Phase.FRAMES

    def message_done(self) -> None:
        """A whole message was received."""
        self._frames.first_done()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The next bytes of the peer; empty at the end of the stream."""
        if self._at == len(self._received):
            self._received, self._at = await self._stream.receive_some(max_bytes), 0
        else:
            await trio.lowlevel.checkpoint()
        await self._share.wait_turn()  # not before: those who wait for bytes are light, and may all get some at once
        begun, frames = self._at, 0
        match self._phase:
            case _ if not self._received:
                pass
            case _Phase.HEAD:
                self._at = self._pass_head()
            case _Phase.ANSWERING:
                raise Overlong("bytes after the handshake and before its answer")
            case _Phase.FRAMES:
                frames = self._pass_frames()
            case _Phase.FOREIGN:
                self._at = len(self._received)
                self._head += self._received[begun:]
                self._check_head()
        self._share.charge(max(frames, 1) + (self._at - begun) / BYTES_A_PIECE)
        return self._received[begun : self._at]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the stream does, except while writes are gathered."""
        self._share.charge(WRITE_PIECES + len(data) / BYTES_A_PIECE)
        if self._is_gathering:
            self._gathered.append(bytes(data))
            await trio.lowlevel.checkpoint()
        else:
            await self._write(data)

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Keep what is sent in the block; `flush` then sends it in one write."""
        self._is_gathering = True
        try:
            yield
        finally:
            self._is_gathering = False

    async def flush(self) -> None:
        """Send what was gathered."""
        gathered = b"".join(self._gathered)
        self._gathered.clear()
        await self._write(gathered)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As the stream does."""
        await self._stream.aclose()

    async def _write(self, data: bytes | bytearray | memoryview) -> None:
        """The library answers pings while a message is being written, so there are two writers."""
        try:
            self._writing.acquire_nowait()
        except trio.WouldBlock:
            await self._writing.acquire()
        try:
            await self._stream.send_all(data)
        finally:
            self._writing.release()

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
        """Step over a few frames, and return how many began."""
        before = self._frames.controls
        self._at, frames = self._frames.walk_untrusted(self._received, self._at, FRAMES_AT_ONCE)
        controls = self._frames.controls - before
        if controls and not self._controls.take(trio.current_time(), controls):
            raise Overlong(f"more than {CONTROLS_RATE:g} control frames a second")
        return frames
