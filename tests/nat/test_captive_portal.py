"""A captive portal is suspected where somebody else answers for the server, and UDP is of no use."""

from __future__ import annotations

import pytest

from tunnel.model.errors import Refused, ServerUnreachable, Unreachable
from tunnel.model.nat import Udp
from tunnel.nat.captive_portal import CaptivePortal, captive_portal_of

SUSPECTED, UNKNOWN, NO = CaptivePortal.SUSPECTED, CaptivePortal.UNKNOWN, CaptivePortal.NO


@pytest.mark.parametrize(
    ("udp", "failure", "is_registered", "told"),
    [
        (Udp.BLOCKED, Refused("wrong_pin", "another"), False, SUSPECTED),
        (Udp.BLOCKED, Refused("wrong_certificate", "expired"), False, SUSPECTED),
        (Udp.BLOCKED, Unreachable("no TLS: WRONG_VERSION_NUMBER"), False, SUSPECTED),
        (Udp.UNKNOWN, Refused("wrong_pin", "another"), False, SUSPECTED),
        (Udp.BLOCKED, Unreachable("no TLS: the connection ended"), False, UNKNOWN),
        (Udp.BLOCKED, ServerUnreachable("no answer for 10 s"), False, UNKNOWN),
        (Udp.BLOCKED, Refused("network_full", "go away"), False, UNKNOWN),
        (Udp.BLOCKED, None, False, UNKNOWN),
        (Udp.OPEN, Refused("wrong_pin", "another"), False, UNKNOWN),
        (Udp.BLOCKED, None, True, NO),
        (Udp.BLOCKED, Refused("wrong_pin", "once"), True, NO),
    ],
)
def test_what_a_failed_dial_tells(
    udp: Udp, failure: Exception | None, is_registered: bool, told: CaptivePortal
) -> None:
    assert captive_portal_of(udp, failure, is_registered=is_registered) is told
