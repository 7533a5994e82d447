"""Whether somebody stands between us and our server who wants to be asked first: a captive portal (RFC 8952).

Such a network drops what it does not know, and answers the rest in the name of others. We see no more of it than that
the server, who can prove himself, is not who answers at his address, while no datagram gets through.
"""

from __future__ import annotations

from enum import Enum

from tunnel.model.errors import Refused, Unreachable
from tunnel.model.nat import Udp

_IMPOSTURES = ("wrong_pin", "wrong_certificate")
_NO_TLS = "no TLS: "
_ENDED = "no TLS: the connection ended"


class CaptivePortal(Enum):
    """How far it can be told."""

    UNKNOWN = "unknown"
    NO = "no"
    SUSPECTED = "suspected"


def captive_portal_of(udp: Udp, failure: Exception | None, *, is_registered: bool) -> CaptivePortal:
    """`failure`: why there is no link to the server."""
    if is_registered:
        return CaptivePortal.NO
    if udp is Udp.OPEN or failure is None:
        return CaptivePortal.UNKNOWN
    is_other = isinstance(failure, Refused) and failure.code in _IMPOSTURES
    return CaptivePortal.SUSPECTED if is_other or speaks_no_tls(failure) else CaptivePortal.UNKNOWN


def speaks_no_tls(failure: Exception) -> bool:
    """Whether somebody answered, in another language than the server's."""
    return isinstance(failure, Unreachable) and str(failure).startswith(_NO_TLS) and str(failure) != _ENDED
