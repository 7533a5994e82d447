"""A byte stream that counts what its peer sends, so that nobody makes the WebSocket library parse for nothing.

    handshake: one head, nothing behind it | first frame: one whole message | then: so many bytes a message

Knows the heads of WebSocket frames, and nothing else of them.
"""

from __future__ import annotations

import trio

MAX_HEAD = 8192
"""Bytes of a stranger's handshake."""

_BLANK_LINE = b"\r\n\r\n"
_LONGEST_HEAD = 14
_WHOLE_FRAMES = frozenset({0x81, 0x82, 0x88})
"""First bytes of frames that may come first: text (refused later, by its name), binary, close; no fragments."""


class Overlong(Exception):
    """The peer sent more bytes without completing a message than any message may need, or before it may."""


class _FirstFrame:
    """Reads the head of a stranger's first frame (RFC 6455, section 5.2), to know where the frame ends."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._head = bytearray()
        self._size: int | None = None
        self._received = 0

    def add_untrusted(self, received: bytes | bytearray) -> None:
        """More bytes of the stranger. Raises Overlong if they are not of one frame that holds a whole message."""
        self._received += len(received)
        if self._size is None:
            self._head += received[: _LONGEST_HEAD - len(self._head)]
            self._size = self._find_size()
        if self._received > (self._most if self._size is None else self._size):
            raise Overlong("more bytes than those of the first message")

    def _find_size(self) -> int | None:
        """Head, mask and payload together; None while the head is not all there."""
        if self._head and self._head[0] not in _WHOLE_FRAMES:
            raise Overlong("the first frame is no whole message")
        if len(self._head) < 2:
            return None
        length, at = self._head[1] & 0x7F, 2
        if length > 125:
            width = 2 if length == 126 else 8
            if len(self._head) < 2 + width:
                return None
            length, at = int.from_bytes(self._head[2 : 2 + width], "big"), 2 + width
        size = at + 4 + length
        if size > self._most:
            raise Overlong(f"a first message of {length} bytes")
        return size


class MeteredStream(trio.abc.Stream):
    """Passes a stream through; fails when too many bytes arrive without a message coming out of them.

    The library limits the size of a message but not how many empty fragments or pings may come within it. With
    `max_first` the peer is a stranger, who may send the handshake's head and one frame.
    """

    def __init__(self, stream: trio.abc.Stream, allowance: int, max_first: int | None) -> None:
        self._stream = stream
        self._usual = allowance
        self._allowance = allowance if max_first is None else MAX_HEAD
        self._unaccounted = 0
        self._head_end: bytes | None = None if max_first is None else b""
        self._first = None if max_first is None else _FirstFrame(max_first)

    def handshake_done(self) -> None:
        """From now on messages come."""
        self._unaccounted = 0
        self._allowance = self._usual
        self._head_end = None

    def message_done(self) -> None:
        """A whole message came out: start to count again."""
        self._unaccounted = 0
        self._first = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Bytes of the peer; raises Overlong if they are too many."""
        received = await self._stream.receive_some(max_bytes)
        self._unaccounted += len(received)
        if self._unaccounted > self._allowance:
            raise Overlong(f"{self._unaccounted} bytes, and no whole message in them")
        if self._head_end is not None:
            self._check_head(self._head_end, received)
        elif self._first is not None:
            self._first.add_untrusted(received)
        return received

    def _check_head(self, end: bytes, received: bytes | bytearray) -> None:
        """Nothing may follow the blank line that ends the handshake's head, until it was answered."""
        seen = end + received
        at = seen.find(_BLANK_LINE)
        if (end == _BLANK_LINE and received) or 0 <= at < len(seen) - len(_BLANK_LINE):
            raise Overlong("bytes after the handshake and before its answer")
        self._head_end = seen[-len(_BLANK_LINE) :] if at >= 0 else seen[1 - len(_BLANK_LINE) :]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the stream does."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As the stream does."""
        await self._stream.aclose()
