"""An invite as text that a person pastes: `p2pt1-`, then base64url of a MessagePack list and its checksum.

    p2pt1-  base64url( [server, pin or nil, network, network id, secret]  |  checksum (4) )

Spaces, line breaks and invisible characters are ignored. The checksum finds what was cut off or mistyped and proves
nothing; crypto/network_keys.py checks that the secret belongs to the network. No error text repeats the invite, since
whoever reads that text must not read the secret.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256

import msgpack

from tunnel.model.announcement import MAX_NAME
from tunnel.model.errors import SettingsError
from tunnel.model.identity import ID_BYTES, NetworkId
from tunnel.model.invite import Invite

PREFIX = "p2pt1-"
MAX_INVITE = 2048
MAX_SERVER = 512
PIN_BYTES = 32
SECRET_BYTES = 32
_FAMILY = "p2pt"
_SCHEMES = ("wss://", "ws://")
_CHECKSUM_BYTES = 4


def encode_invite(invite: Invite) -> str:
    """The text form, one line. Raises SettingsError for what `decode_invite` would not take back."""
    check_invite(invite)
    packed: bytes = msgpack.packb(
        [invite.server, invite.pin, invite.network, invite.network_id.raw, invite.secret], use_bin_type=True
    )
    return PREFIX + base64.urlsafe_b64encode(packed + _checksum(packed)).decode().rstrip("=")


def decode_invite(text: str) -> Invite:
    """The invite that was pasted. Raises SettingsError with one line that says what to do."""
    text = "".join(character for character in text if character.isprintable() and character != " ")
    if not text.startswith(PREFIX):
        if text.startswith(_FAMILY):
            raise SettingsError(
                "this invite was made by another version of p2ptunnel-trio: update, or ask for a new invite"
            )
        raise SettingsError(f"this is no invite: an invite begins with {PREFIX}")
    if len(text) > MAX_INVITE:
        raise SettingsError(f"this is no invite: it is longer than {MAX_INVITE} characters")
    try:
        encoded = text.removeprefix(PREFIX).encode("ascii")
        content = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise _damaged() from None
    packed, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    if checksum != _checksum(packed):
        raise _damaged()
    try:
        document = msgpack.unpackb(packed, raw=False, max_ext_len=0)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        raise _wrong() from None
    match document:
        case [str() as server, None | bytes() as pin, str() as network, bytes() as raw_id, bytes() as secret, *_] if (
            len(raw_id) == ID_BYTES
        ):
            invite = Invite(server, pin, network, NetworkId(raw_id), secret)
        case _:
            raise _wrong()
    check_invite(invite)
    return invite


def check_invite(invite: Invite) -> None:
    """Raise SettingsError unless every field has its shape. The server's URL is parsed later, when it is dialed."""
    if not invite.server.startswith(_SCHEMES) or len(invite.server) > MAX_SERVER or not _is_plain(invite.server):
        raise SettingsError("the server of an invite is wss://HOST:PORT")
    if invite.pin is not None and len(invite.pin) != PIN_BYTES:
        raise SettingsError(f"the pin of an invite is a SHA-256 of {PIN_BYTES} bytes")
    if len(invite.secret) != SECRET_BYTES:
        raise SettingsError(f"the secret of an invite has {SECRET_BYTES} bytes")
    check_network_name(invite.network)


def check_network_name(name: str) -> None:
    """Raise SettingsError unless a network may have this name: 1 to 63 printable characters, no space around it."""
    if not 0 < len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        raise SettingsError(f"a network's name has 1 to {MAX_NAME} printable characters and no space around it")


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _checksum(packed: bytes) -> bytes:
    return sha256(PREFIX.encode() + packed).digest()[:_CHECKSUM_BYTES]


def _damaged() -> SettingsError:
    return SettingsError("this invite is incomplete or damaged: copy it again, from the first character to the last")


def _wrong() -> SettingsError:
    return SettingsError("this invite is complete, but its content is not that of an invite: ask for a new one")
