"""The lines of the control socket: one JSON object each, their limits, and the codes of errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import trio

from tunnel.model.errors import (
    DeviceError,
    MalformedFrame,
    PeerUnreachable,
    Refused,
    ServerUnreachable,
    SettingsError,
    TunnelError,
    Unreachable,
)


def encode_line(document: Mapping[str, Any]) -> bytes:
    """One JSON object and its line end. All of it is ASCII, so no peer's name can break a line."""
    return json.dumps(document).encode() + b"\n"


def decode_line(line: bytes) -> dict[str, Any]:
    """The JSON object of a line. Raises MalformedFrame."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise MalformedFrame("not JSON") from None
    if not isinstance(document, dict):
        raise MalformedFrame("a line is one JSON object")
    return document


class Lines:
    """Lines of a byte stream, each at most `limit` bytes. A longer one is dropped and raises MalformedFrame."""

    def __init__(self, stream: trio.abc.ReceiveStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._buffer = bytearray()
        self._looked_at = 0
        self._ended = False

    async def receive_untrusted(self) -> bytes | None:
        """The next line, without its end; None when the other side has hung up. Raises MalformedFrame."""
        too_long = False
        while True:
            end = self._buffer.find(b"\n", self._looked_at)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._looked_at = 0
                if too_long or len(line) > self._limit:
                    raise MalformedFrame(f"a line is at most {self._limit} bytes")
                return line
            if len(self._buffer) > self._limit:
                too_long = True
                self._buffer.clear()
            self._looked_at = len(self._buffer)
            if self._ended or not await self._more():
                return None

    async def wait_something(self) -> None:
        """Return when there is a byte to read or the other side has hung up."""
        if not self._buffer and not self._ended:
            try:
                await self._more()
            except trio.BrokenResourceError:
                self._ended = True

    async def _more(self) -> bool:
        chunk = await self._stream.receive_some()
        self._buffer += chunk
        self._ended = not chunk
        return bool(chunk)


_CODES: tuple[tuple[str, type[TunnelError]], ...] = (
    ("peer_unreachable", PeerUnreachable),
    ("server_unreachable", ServerUnreachable),
    ("unreachable", Unreachable),
    ("bad_request", SettingsError),
    ("device", DeviceError),
    ("failed", TunnelError),
)
"""The error codes, narrower types first."""


def failure(code: str, text: str) -> dict[str, Any]:
    """An answer that refuses."""
    return {"ok": False, "code": code, "error": text}


def failure_of(error: TunnelError) -> dict[str, Any]:
    """The answer that carries an error to the client."""
    if isinstance(error, Refused):
        return failure(f"refused:{error.code}", error.text)
    return failure(next(code for code, kind in _CODES if isinstance(error, kind)), str(error))


def error_of(code: str, text: str) -> TunnelError:
    """The error that a code stands for, to be raised by the client."""
    kind, _, detail = code.partition(":")
    if kind == "refused":
        return Refused(detail, text)
    return dict(_CODES).get(kind, TunnelError)(text)
