"""The MAC on binds between a node and the server's UDP relay: HMAC-SHA256, cut to 16 bytes (RFC 2104, section 5).

The key belongs to one side of one circuit; the server draws it and tells it over the WebSocket link.
"""

from __future__ import annotations

import hmac

from tunnel.model.errors import NotAuthentic
from tunnel.wire.circuits import MAC_BYTES, Binding, decode_binding, encode_binding

KEY_BYTES = 32


def seal_binding(key: bytes, binding: Binding) -> bytes:
    """The datagram: the binding and its MAC."""
    body = encode_binding(binding)
    return body + _mac_of(key, body)


def open_binding(key: bytes, datagram: bytes) -> Binding:
    """The binding in a datagram. Raises MalformedFrame, or NotAuthentic if it was not made under this key.

    Replays are not detected here: the caller checks the counter.
    """
    binding = decode_binding(datagram)
    if not hmac.compare_digest(_mac_of(key, datagram[:-MAC_BYTES]), datagram[-MAC_BYTES:]):
        raise NotAuthentic("a binding that was not made under this key")
    return binding


def _mac_of(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:MAC_BYTES]
