"""The frames of a WebSocket (RFC 6455, section 5.2): binary messages are taken out, all else is for the library.

    +---------+-----------+----------------+----------+---------+
    | kind 1  | length 1  | length 0, 2, 8 | mask 0,4 | payload |  ...
    +---------+-----------+----------------+----------+---------+

Our sender makes one frame of each message, so a fragment is refused by its first byte. Pings, pongs and closes are
counted. A frame that is no plain binary message is passed on as it came, and the library judges it.
"""

from __future__ import annotations

import struct

from wsproto.frame_protocol import XorMaskerSimple

_FINAL = 0x80
_OPCODE = 0x0F
_CONTINUATION = 0
_FIRST_CONTROL = 8
_BINARY = 0x82
_TEXT = 0x81
_CLOSE = 0x88
_MASKED = 0x80
_MASK_BYTES = 4
_WIDTHS = {126: 2, 127: 8}
"""How many bytes of extended length follow these values of the short length."""
_LEAST = {0: 0, 2: 126, 8: 1 << 16}
"""The shortest payload whose length is told in so many more bytes."""
_MAY_COME_FIRST = frozenset({_TEXT, _BINARY, _CLOSE})
"""First bytes that a stranger's only frame may have: text is refused later, with a better error."""


class Overlong(Exception):
    """The peer sent fragments or texts, or more than it may at this point."""


class FrameReader:
    """Follows the frames of one side. `controls` counts the control frames that began so far."""

    def __init__(self, *, is_masked: bool, max_message: int, max_first: int | None = None) -> None:
        """`is_masked`: as a client's frames are. Longer messages than `max_message` are passed on to the library.

        With `max_first` only one frame may come until `first_done`, of at most so many bytes with its header.
        """
        self._is_masked = is_masked
        self._max_message = max_message
        self._max_first = max_first
        self._has_begun = False
        self._head = bytearray()
        self._is_message = False
        self._key = b""
        self._payload = bytearray()
        self._rest = 0
        self._messages: list[bytes] = []
        self._others = bytearray()
        self.controls = 0

    def first_done(self) -> None:
        """The first message is complete: from now on any number may come."""
        self._max_first = None

    def take_messages(self) -> list[bytes]:
        """The binary messages that were completed since the last call."""
        messages, self._messages = self._messages, []
        return messages

    def take_others(self) -> bytes:
        """What came since the last call and is for the library."""
        others = bytes(self._others)
        self._others.clear()
        return others

    def read_untrusted(self, received: bytes | bytearray, at: int, most: int) -> tuple[int, int]:
        """Go on from offset `at` until the bytes end or `most` frames have begun. Returns the offset, and how many
        began.

        Raises Overlong at the header of a frame that may not come.
        """
        begun = 0
        while at < len(received):
            if self._rest:
                step = min(self._rest, len(received) - at)
                self._take(received, at, step)
                at += step
                continue
            if not self._head:
                if begun == most:
                    break
                begun += 1
                self._check_kind(received[at])
            missing = self._head_bytes() - len(self._head)
            self._head += received[at : at + missing]
            at += missing
            if len(self._head) >= 2:
                self._read_head()
        return min(at, len(received)), begun

    def _check_kind(self, kind: int) -> None:
        if self._max_first is not None:
            if self._has_begun:
                raise Overlong("more bytes than those of the first message")
            if kind not in _MAY_COME_FIRST:
                raise Overlong("the first frame is no whole message")
        self._has_begun = True
        if not kind & _FINAL or kind & _OPCODE == _CONTINUATION:
            raise Overlong("a fragment of a message: messages come whole, in one frame each")
        if kind == _TEXT:
            raise Overlong("a text message where only binary ones belong")
        self.controls += kind & _OPCODE >= _FIRST_CONTROL

    def _head_bytes(self) -> int:
        """How many bytes the header has, as far as that is known."""
        if len(self._head) < 2:
            return 2
        return 2 + self._width() + (_MASK_BYTES if self._head[1] & _MASKED else 0)

    def _width(self) -> int:
        return _WIDTHS.get(self._head[1] & ~_MASKED, 0)

    def _read_head(self) -> None:
        """Begin the payload when the header is complete; refuse a stranger's before."""
        head, width = self._head, self._width()
        if len(head) < 2 + width:
            return
        length = int.from_bytes(head[2 : 2 + width], "big") if width else head[1] & ~_MASKED
        if self._max_first is not None and self._head_bytes() + length > self._max_first:
            raise Overlong(f"a first message of {length} bytes")
        if len(head) < self._head_bytes():
            return
        self._is_message = (
            head[0] == _BINARY
            and bool(head[1] & _MASKED) == self._is_masked
            and _LEAST[width] <= length <= self._max_message
        )
        if self._is_message:
            self._key = bytes(head[2 + width :])
        else:
            self._others += head
        self._rest = length
        head.clear()
        if not length:
            self._end(b"")

    def _take(self, received: bytes | bytearray, at: int, step: int) -> None:
        """The next bytes of the payload."""
        self._rest -= step
        with memoryview(received) as view, view[at : at + step] as piece:
            if not self._is_message:
                self._others += piece
            elif self._rest or self._payload:
                self._payload += piece
                if not self._rest:
                    self._end(self._payload)
                    self._payload = bytearray()
            else:
                self._end(piece)

    def _end(self, payload: bytes | bytearray | memoryview) -> None:
        """The frame is complete."""
        if not self._is_message:
            return
        if any(self._key):
            payload = XorMaskerSimple(self._key).process(bytearray(payload))
        self._messages.append(bytes(payload))


def encode_frame_head(length: int, key: bytes | None) -> bytes:
    """The header of a binary message of so many bytes, masked under a key of 4 bytes or not."""
    masked = 0 if key is None else _MASKED
    if length < _LEAST[2]:
        head = bytes((_BINARY, masked | length))
    elif length < _LEAST[8]:
        head = struct.pack("!BBH", _BINARY, masked | 126, length)
    else:
        head = struct.pack("!BBQ", _BINARY, masked | 127, length)
    return head + (key or b"")


def mask(message: bytes, key: bytes) -> bytearray:
    """The payload of a masked frame."""
    return XorMaskerSimple(key).process(bytearray(message))
