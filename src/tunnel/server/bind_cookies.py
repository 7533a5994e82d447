"""Cookies by which a node proves its source address before a bind counts (RFC 9000 section 8.1, RFC 6347 section
4.2.1).

    bind from an address, any cookie --> the cookie of that 5-tuple, sent there --> bind from there with it: proved

A cookie is a keyed hash over the side, its 5-tuple and a coarse time, so the server keeps no state for unproved binds.
"""

from __future__ import annotations

import hmac

from tunnel.server.circuits import FiveTuple
from tunnel.wire.circuits import COOKIE_BYTES

SECRET_BYTES = 32
COOKIE_PERIOD = 30.0
"""Seconds after which the cookie changes; the one before is accepted for as long again."""


class BindCookies:
    """One for the whole server; `secret` is drawn at its start and never leaves it."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def cookie_for(self, key: bytes, five_tuple: FiveTuple, now: float) -> bytes:
        """What the side with this key must repeat from this 5-tuple."""
        return self._cookie(key, five_tuple, int(now // COOKIE_PERIOD))

    def is_fresh(self, cookie: bytes, key: bytes, five_tuple: FiveTuple, now: float) -> bool:
        """Whether this is the present or the last cookie of that 5-tuple, for the side with this key."""
        period = int(now // COOKIE_PERIOD)
        return any(hmac.compare_digest(cookie, self._cookie(key, five_tuple, each)) for each in (period, period - 1))

    def _cookie(self, key: bytes, five_tuple: FiveTuple, period: int) -> bytes:
        text = f"{five_tuple.socket} {five_tuple.own} {five_tuple.remote.host} {five_tuple.remote.port} {period}"
        return hmac.digest(self._secret, key + text.encode(), "sha256")[:COOKIE_BYTES]
