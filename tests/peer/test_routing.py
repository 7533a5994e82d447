"""The route of one peer: which ways its datagrams take, by what was answered, doubted and told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from tests.peer.conftest import CIRCUIT, peer_state_of

from tunnel.model.endpoint import Endpoint
from tunnel.model.way import RELAY, Way
from tunnel.network.datagrams import MAX_SEGMENTS
from tunnel.peer.path import NEVER
from tunnel.peer.routing import Routing
from tunnel.peer.session import Session
from tunnel.wire.frames import BASE_SIZE, Kind
from tunnel.wire.session_packets import Tally

if TYPE_CHECKING:
    from tests.peer.conftest import Bench, Side

    from tunnel.peer.path import Path

WAY = Way(0, Endpoint("25.2.0.1", 5002))


class Hastened(Session):
    """A session that counts how often it was hastened."""

    def __init__(self) -> None:
        self.times = 0

    def hasten(self) -> None:
        self.times += 1


class Routed:
    """A peer that is present, and the routing to it."""

    def __init__(self, side: Side) -> None:
        self.peer = peer_state_of(side)
        card = side.bench.other(side).own_card
        assert card is not None
        self.peer.note_card(card)
        self.session = Hastened()
        self.routing = Routing(self.peer, self.session, side.outbound, mtu=1280)

    def route(self) -> list[Way]:
        return list(self.peer.flow.route)

    def move(self, *events: str) -> None:
        for event in events:
            self.peer.chart.take(event, {"relay": True, "direct_allowed": True})

    def prove(self, way: Way) -> Path:
        """A full-size probe on this way was answered."""
        path = self.peer.paths.expect(way)
        path.note_answer(trio.current_time(), 0.04)
        path.is_proved = True
        return path

    def connect(self) -> Path:
        """A direct path carries."""
        self.move("announcement_acked", "introduced")
        path = self.prove(WAY)
        self.routing.note_answer(path)
        self.move("path_verified")
        self.routing.update()
        return path


@pytest.fixture
def routed(bench: Bench) -> Routed:
    return Routed(bench.left)


async def test_data_goes_over_the_relay_until_a_path_is_proved_and_then_over_it_alone(routed: Routed) -> None:
    routed.routing.update()
    assert routed.route() == [RELAY]
    routed.move("announcement_acked", "introduced")
    routed.routing.note_answer(routed.prove(WAY))
    assert routed.route() == [WAY, RELAY], "until the chart says that the peer is connected"
    routed.move("path_verified")
    routed.routing.update()
    assert routed.route() == [WAY]


async def test_an_answer_that_proves_nothing_changes_no_route(routed: Routed) -> None:
    routed.routing.update()
    path = routed.peer.paths.expect(WAY)
    path.note_answer(trio.current_time(), 0.04)
    routed.routing.note_answer(path)
    assert (routed.route(), routed.peer.paths.chosen) == ([RELAY], None)


async def test_a_path_in_doubt_has_the_relay_beside_it(routed: Routed) -> None:
    routed.connect()
    routed.peer.paths.is_doubted = True
    routed.routing.update()
    assert routed.route() == [WAY, RELAY]


async def test_datagrams_have_the_least_size_of_all_ways_by_udp(routed: Routed) -> None:
    """The link to the server takes any; what is not known of a path is the base size."""
    routed.routing.update()
    assert routed.peer.flow.datagram_size == BASE_SIZE
    path = routed.connect()
    path.note_size(1472, trio.current_time())
    routed.routing.resize()
    assert routed.peer.flow.datagram_size == 1472
    routed.peer.paths.is_doubted = True
    routed.routing.update()
    assert (routed.route(), routed.peer.flow.datagram_size) == ([WAY, RELAY], 1472)
    path.forget_size(trio.current_time())
    routed.routing.resize()
    assert routed.peer.flow.datagram_size == BASE_SIZE


async def test_an_absent_peer_has_no_way_and_one_that_comes_back_a_fresh_start(routed: Routed) -> None:
    """What went unanswered before says nothing of now, and a handshake need not wait for its next try."""
    card = routed.peer.card
    assert card is not None
    routed.peer.note_absent(has_left=False)
    routed.routing.update()
    assert routed.route() == []
    routed.peer.paths.relay.asked = trio.current_time()
    times = routed.session.times
    routed.peer.note_card(card)
    routed.routing.update()
    assert routed.route() == [RELAY]
    assert routed.peer.paths.relay.asked == NEVER
    assert routed.session.times == times + 1
    routed.routing.update()
    assert routed.session.times == times + 1, "a route that stays is no news"


async def test_what_waited_for_a_route_is_looked_at_again_once_there_is_one(bench: Bench, routed: Routed) -> None:
    """Here keys are missing, too: the packet waits on, and keys are asked for."""
    bench.left.outbound.send(routed.peer.flow, Kind.CONTROL, (b"",), trio.current_time())
    routed.routing.update()
    assert not routed.peer.flow.waiting.is_empty(trio.current_time())
    assert "want_keys" in routed.peer.flow.peer.told  # type: ignore[attr-defined]


async def test_while_udp_is_avoided_the_link_alone_carries(routed: Routed) -> None:
    """The peer found that UDP is held down to a crawl, and says so."""
    routed.connect()
    routed.routing.note_tally(Tally(0, 0, avoids_udp=True))
    assert routed.route() == [RELAY]
    routed.routing.note_tally(Tally(0, 0, avoids_udp=False))
    assert routed.route() == [WAY]


async def test_a_word_that_has_lapsed_is_noticed_with_the_next_answer(routed: Routed) -> None:
    path = routed.connect()
    routed.routing.note_tally(Tally(0, 0, avoids_udp=True))
    await trio.sleep(16.0)
    path.note_answer(trio.current_time(), 0.04)
    routed.routing.note_answer(path)
    assert routed.route() == [WAY]


async def test_a_circuit_that_is_proved_takes_the_websockets_place(routed: Routed) -> None:
    routed.move("announcement_acked", "introduced")
    routed.peer.paths.relays.use(CIRCUIT)
    routed.routing.update()
    assert routed.route() == [RELAY]
    circuit = routed.peer.paths.relays.circuit
    assert circuit is not None
    circuit.note_answer(trio.current_time(), 0.04)
    circuit.is_proved = True
    routed.routing.note_answer(circuit)
    assert routed.route() == [CIRCUIT]


async def test_new_keys_leave_no_way(routed: Routed) -> None:
    routed.connect()
    routed.routing.forget()
    assert (routed.route(), routed.peer.paths.chosen) == ([], None)


async def test_what_forbids_direct_paths_reaches_the_flow(bench: Bench, routed: Routed) -> None:
    """The data plane hears nothing that comes directly, then."""
    routed.routing.update()
    assert routed.peer.flow.is_direct_allowed
    bench.left.card(relay_only=True)
    routed.routing.update()
    assert not routed.peer.flow.is_direct_allowed


async def test_status_names_the_kind_of_the_path_that_carries(routed: Routed) -> None:
    routed.routing.update()
    assert routed.routing.path_status().kind == "relay-websocket"
    routed.connect()
    status = routed.routing.path_status()
    assert (status.kind, status.endpoint, status.mtu) == ("direct", WAY.remote, 1280)


async def test_the_loss_of_a_path_is_known_again_after_a_while_on_the_link_but_not_on_another_path(
    routed: Routed,
) -> None:
    routed.connect()
    size = routed.peer.flow.record_size
    routed.routing.note_tally(Tally(0, 0, counted=1000, came=900))
    assert size.fragments == 1
    routed.routing.note_tally(Tally(0, 0, counted=1000, came=900, avoids_udp=True))
    assert (routed.route(), size.fragments) == ([RELAY], MAX_SEGMENTS)
    routed.routing.note_tally(Tally(0, 0, counted=1000, came=900))
    assert (routed.route(), size.fragments) == ([WAY], 1)
    other = routed.prove(Way(0, Endpoint("25.2.0.1", 5003)))
    routed.peer.paths.chosen = other
    routed.routing.update()
    assert (routed.route(), size.fragments) == ([other.way], MAX_SEGMENTS)
