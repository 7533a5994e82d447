"""Whether a captive portal (RFC 8952) stands between us and our server.

Such a network drops most traffic and answers the rest in the name of others. What shows of it: another machine answers
at the server's address, which the server's certificate reveals, while no UDP datagram gets through.
"""

from __future__ import annotations

from enum import Enum

from tunnel.model.errors import Refused, Unreachable
from tunnel.model.nat import Udp

_IMPOSTURES = ("wrong_pin", "wrong_certificate")
_NO_TLS = "no TLS: "
_ENDED = "no TLS: the connection ended"


class CaptivePortal(Enum):
    """Whether there is one, as far as that can be told."""

    UNKNOWN = "unknown"
    NO = "no"
    SUSPECTED = "suspected"


def captive_portal_of(udp: Udp, failure: Exception | None, *, is_registered: bool) -> CaptivePortal:
    """`failure` is why there is no link to the server."""
    if is_registered:
        return CaptivePortal.NO
    if udp is Udp.OPEN or failure is None:
        return CaptivePortal.UNKNOWN
    is_other = isinstance(failure, Refused) and failure.code in _IMPOSTURES
    return CaptivePortal.SUSPECTED if is_other or speaks_no_tls(failure) else CaptivePortal.UNKNOWN


def speaks_no_tls(failure: Exception) -> bool:
    """Whether something answered that does not speak TLS."""
    return isinstance(failure, Unreachable) and str(failure).startswith(_NO_TLS) and str(failure) != _ENDED
