"""Ways: what is direct and what a relay passes on."""

from __future__ import annotations

import pytest

from tunnel.model.endpoint import Endpoint
from tunnel.model.way import RELAY, PathKind, Way

SERVER = Endpoint("192.0.2.1", 3478)


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        (Way(0, Endpoint("192.0.2.7", 7)), PathKind.DIRECT),
        (RELAY, PathKind.RELAY_WEBSOCKET),
        (Way(0, SERVER, 0x1122334455667788), PathKind.RELAY_UDP),
    ],
)
def test_a_way_is_direct_or_a_relays(way: Way, kind: PathKind) -> None:
    """A circuit has a remote too, and is not direct."""
    assert way.kind is kind
    assert way.is_direct is (kind is PathKind.DIRECT)
    assert way.is_relay is not way.is_direct


def test_a_circuit_is_another_way_than_its_server() -> None:
    """Datagrams of the server's own endpoint are not the peer's."""
    assert Way(0, SERVER, 1) != Way(0, SERVER)
