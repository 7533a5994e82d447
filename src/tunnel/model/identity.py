"""Who is who: nodes and networks, known by hashes of their public keys."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from functools import lru_cache

ID_BYTES = 16
EPOCH_BYTES = 16
HANDLE_BYTES = 8
_TEXT = re.compile(r"[a-z2-7]{26}")


@dataclass(frozen=True, slots=True, order=True)
class NodeId:
    """Hash of a node's static public key: nobody can claim one without the private half."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != ID_BYTES:
            raise ValueError(f"a node id has {ID_BYTES} bytes")

    @classmethod
    def parse(cls, text: str) -> NodeId:
        """The id that `str` shows. Raises ValueError."""
        if not _TEXT.fullmatch(text):
            raise ValueError("a node id has 26 characters, a to z and 2 to 7")
        return cls(base64.b32decode(text.upper() + "======"))

    @property
    def handle(self) -> bytes:
        """The 8 bytes that stand for this node in relay frames, within its network."""
        return self.raw[:HANDLE_BYTES]

    def __str__(self) -> str:
        return _text_of(self.raw)


@dataclass(frozen=True, slots=True, order=True)
class NetworkId:
    """Hash of a network's name and its public key."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != ID_BYTES:
            raise ValueError(f"a network id has {ID_BYTES} bytes")

    def __str__(self) -> str:
        return _text_of(self.raw)


@lru_cache(4096)
def _text_of(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()
