"""Keys from secrets: HKDF-SHA256 (RFC 5869) with a purpose for every key, so that no two uses ever share one.

A key's `info` is its purpose and the facts that it is bound to, each with its length in front: two different lists of
facts never give the same bytes, and so never the same key.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
_PROTOCOL = "p2ptunnel v1"


def derive_key(secret: bytes, purpose: str, *facts: bytes, salt: bytes = b"", size: int = KEY_BYTES) -> bytes:
    """`size` bytes (at most 8160) for one purpose, bound to the facts. The salt may be a second secret."""
    return hkdf(secret, salt=salt, info=labeled(purpose, *facts), size=size)


def labeled(purpose: str, *facts: bytes) -> bytes:
    """One unambiguous byte string for a purpose and its facts (each below 64 KiB): to hash, sign or expand."""
    parts = [_PROTOCOL.encode(), purpose.encode(), *facts]
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def hkdf(secret: bytes, *, salt: bytes, info: bytes, size: int) -> bytes:
    """HKDF-SHA256, extract and expand (RFC 5869, section 2)."""
    return HKDF(algorithm=SHA256(), length=size, salt=salt, info=info).derive(secret)
