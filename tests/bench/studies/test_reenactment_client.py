from __future__ import annotations

from bench.studies.reenactment_client import punch_schedule
from bench.studies.reenactment_detection import NatKind
from bench.studies.reenactment_hub import PeerInfo

from tunnel.model.endpoint import Endpoint

INFO = PeerInfo(Endpoint("26.0.1.1", 19000), Endpoint("192.168.1.2", 19000), NatKind.PORT_RESTRICTED)


def test_a_punch_tries_the_inside_first_and_takes_thirteen_seconds() -> None:
    """Seventy datagrams in all, to two endpoints, one after the other."""
    schedule = list(punch_schedule(INFO))
    hellos = [endpoint for endpoint, _ in schedule if endpoint is not None]
    assert hellos == [INFO.local] * 20 + [INFO.public] * 50
    inside = sum(wait for endpoint, wait in schedule if endpoint == INFO.local)
    assert (round(inside, 3), round(sum(wait for _, wait in schedule), 3)) == (2.0, 13.0)
