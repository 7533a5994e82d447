"""Cookies by which a node shows that it hears what we send to its door (RFC 9000 section 8.1, RFC 6347 section 4.2.1).

    bind from a door, any cookie --> the door's cookie, sent there --> bind from there with it: the door is the node's

A cookie is a keyed hash over the side, the door and a coarse time, so nothing is kept of who asked for one.
"""

from __future__ import annotations

import hmac

from tunnel.server.circuits import Door
from tunnel.wire.circuits import COOKIE_BYTES

SECRET_BYTES = 32
COOKIE_TURN = 30.0
"""Seconds after which another cookie is given; the one before is taken for as long again."""


class BindCookies:
    """One for the whole server; `secret` is drawn at its start and told nobody."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def cookie_for(self, key: bytes, door: Door, now: float) -> bytes:
        """What the side with this key is to repeat from this door."""
        return self._cookie(key, door, int(now // COOKIE_TURN))

    def is_fresh(self, cookie: bytes, key: bytes, door: Door, now: float) -> bool:
        """Whether we sent this to that door not long ago, for the side with this key."""
        turn = int(now // COOKIE_TURN)
        return any(hmac.compare_digest(cookie, self._cookie(key, door, each)) for each in (turn, turn - 1))

    def _cookie(self, key: bytes, door: Door, turn: int) -> bytes:
        text = f"{door.socket} {door.own} {door.remote.host} {door.remote.port} {turn}"
        return hmac.digest(self._secret, key + text.encode(), "sha256")[:COOKIE_BYTES]
