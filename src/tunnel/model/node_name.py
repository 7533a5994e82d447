"""What a node may be called. A node chooses its name, so a name must not look like an address or a node id."""

from __future__ import annotations

import ipaddress
import re
import unicodedata

_ID = re.compile(r"[a-z2-7]{26}")
_DOTTED = re.compile(r"[0-9a-fx]*\d[0-9a-fx]*(?:\.[0-9a-fx]+)*\.\d+")
"""`10.86.9.9`, and what older programs also take for an address: `010.1.2.3`, `127.1`, `0x7f.1`."""
_PORT = re.compile(r":\d+$")


def folded(name: str) -> str:
    """The form in which names are compared: without case, width and double blanks (Unicode NFKC and case folding)."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).split())


def reads_as_address_or_id(name: str) -> bool:
    """Whether a reader might take this name for a node id or an address, with or without prefix, port and zone."""
    plain = folded(name)
    if _ID.fullmatch(plain):
        return True
    host = plain.partition("/")[0].strip()
    bare = host.removeprefix("[").partition("]")[0].partition("%")[0]
    return any(_is_address(text) for text in (host, bare, _PORT.sub("", host)))


def _is_address(text: str) -> bool:
    if _DOTTED.fullmatch(text):
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
