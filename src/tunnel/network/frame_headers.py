"""The headers of the WebSocket frames in a byte stream (RFC 6455, section 5.2), read before the frames are parsed.

    +---------+-----------+----------------+------+---------+
    | kind 1  | length 1  | length 0, 2, 8 | mask | payload |  ...
    +---------+-----------+----------------+------+---------+

Our sender makes one frame of each message, so a fragment is refused by its first byte. Pings, pongs and closes are
counted. The library does everything else.
"""

from __future__ import annotations

_FINAL = 0x80
_OPCODE = 0x0F
_CONTINUATION = 0
_FIRST_CONTROL = 8
_MASKED = 0x80
_MASK_BYTES = 4
_WIDTHS = {126: 2, 127: 8}
"""How many bytes of extended length follow these values of the short length."""
_MAY_COME_FIRST = frozenset({0x81, 0x82, 0x88})
"""First bytes that a stranger's only frame may have: text (refused later, with a better error), binary, close."""


class Overlong(Exception):
    """The peer sent fragments, or more than it may at this point."""


class FrameHeaders:
    """Follows the frames of one side. `controls` counts the control frames that began so far."""

    def __init__(self, max_first: int | None = None) -> None:
        """With `max_first` only one frame may come until `first_done`, of at most so many bytes with its header."""
        self._max_first = max_first
        self._has_begun = False
        self._head = bytearray()
        self._rest = 0
        self.controls = 0

    def first_done(self) -> None:
        """The first message is complete: from now on any number may come."""
        self._max_first = None

    def walk_untrusted(self, received: bytes | bytearray, at: int, most: int) -> tuple[int, int]:
        """Go on from offset `at` until the bytes end or `most` frames have begun. Returns the offset, and how many
        began.

        Raises Overlong at the header of a frame that may not come.
        """
        begun = 0
        while at < len(received):
            if self._rest:
                step = min(self._rest, len(received) - at)
                self._rest -= step
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
            if len(self._head) >= 2 and len(self._head) == self._head_bytes():
                self._rest = self._body_bytes()
                self._head.clear()
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
        self.controls += kind & _OPCODE >= _FIRST_CONTROL

    def _head_bytes(self) -> int:
        """How many bytes the header has before its mask, as far as that is known."""
        return 2 if len(self._head) < 2 else 2 + _WIDTHS.get(self._head[1] & ~_MASKED, 0)

    def _body_bytes(self) -> int:
        """Mask and payload together."""
        short, wide = self._head[1] & ~_MASKED, self._head[2:]
        length = int.from_bytes(wide, "big") if wide else short
        mask = _MASK_BYTES if self._head[1] & _MASKED else 0
        if self._max_first is not None and len(self._head) + mask + length > self._max_first:
            raise Overlong(f"a first message of {length} bytes")
        return mask + length
