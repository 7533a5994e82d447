"""The relay ways: which carries, which gets company, and what is believed of a circuit for how long."""

from __future__ import annotations

import pytest

from tunnel.machines.stalls import Stalls
from tunnel.model.endpoint import Endpoint
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.model.way import RELAY, Way
from tunnel.peer.path import NEVER, Path
from tunnel.peer.relays import Relays

CIRCUIT = Way(0, Endpoint("25.0.0.1", 3478), 77)
OTHER = CIRCUIT._replace(circuit=78)
KEEPALIVE = DEFAULT_TIMINGS.circuit_keepalive


@pytest.fixture
def relays() -> Relays:
    """With a circuit that was proved at 0."""
    made = Relays(DEFAULT_TIMINGS, Stalls())
    made.use(CIRCUIT)
    circuit = made.circuit
    assert circuit is not None
    circuit.note_answer(0.0, 0.04)
    circuit.is_proved = True
    return made


def circuit_of(relays: Relays) -> Path:
    assert relays.circuit is not None
    return relays.circuit


def test_the_websocket_carries_until_a_circuit_is_proved() -> None:
    relays = Relays(DEFAULT_TIMINGS, Stalls())
    assert relays.ways(0.0) == (RELAY,)
    relays.use(CIRCUIT)
    circuit_of(relays).note_answer(0.0, 0.04)
    assert relays.ways(0.0) == (RELAY,)
    circuit_of(relays).is_proved = True
    assert relays.ways(0.0) == (CIRCUIT,)


def test_a_silent_circuit_gets_the_company_of_the_websocket_and_then_carries_no_more(relays: Relays) -> None:
    circuit_of(relays).asked = 1.0
    assert relays.ways(1.4) == (CIRCUIT,)
    assert relays.ways(1.6) == (CIRCUIT, RELAY)
    assert relays.path_in_use((CIRCUIT, RELAY), 1.6) is relays.websocket
    assert relays.ways(1.0 + DEFAULT_TIMINGS.path_trust) == (RELAY,)


def test_an_answer_ends_the_doubt(relays: Relays) -> None:
    circuit_of(relays).asked = 1.0
    circuit_of(relays).note_answer(1.7, 0.7)
    assert relays.ways(1.8) == (CIRCUIT,)


def test_a_circuit_that_nobody_has_asked_for_long_is_not_believed(relays: Relays) -> None:
    """While there was a direct path nobody probed it."""
    assert relays.ways(KEEPALIVE) == (CIRCUIT,)
    assert relays.ways(KEEPALIVE + 1.0) == (RELAY,)


def test_a_slow_circuit_has_the_time_that_it_takes(relays: Relays) -> None:
    """A satellite's answer to the probe of an idle circuit comes after more than half a second."""
    circuit_of(relays).rtt = 0.7
    assert relays.ways(KEEPALIVE + 0.8) == (CIRCUIT,)


def test_what_is_no_longer_believed_must_be_proved_anew(relays: Relays) -> None:
    relays.doubt(KEEPALIVE)
    assert circuit_of(relays).is_proved
    relays.doubt(KEEPALIVE + 1.0)
    assert not circuit_of(relays).is_proved


def test_a_new_circuit_is_proved_for_itself(relays: Relays) -> None:
    assert not relays.use(CIRCUIT)
    assert relays.use(OTHER)
    assert relays.ways(0.0) == (RELAY,)
    assert relays.use(None)
    assert relays.circuit is None


def test_only_the_circuit_in_use_is_known(relays: Relays) -> None:
    assert relays.at(CIRCUIT) is relays.circuit
    assert relays.at(OTHER) is None
    assert relays.at(RELAY) is relays.websocket


def test_without_a_link_a_circuit_carries_on_for_a_while_after_it_was_heard(relays: Relays) -> None:
    circuit_of(relays).heard = 2.0
    assert relays.ways_alone(4.9) == (CIRCUIT,)
    assert relays.ways_alone(5.1) == ()


def test_without_a_link_what_is_not_proved_carries_nothing(relays: Relays) -> None:
    circuit_of(relays).is_proved = False
    assert relays.ways_alone(0.1) == ()
    assert Relays(DEFAULT_TIMINGS, Stalls()).ways_alone(0.1) == ()


def test_the_path_in_use_is_one_of_the_route_s_ways(relays: Relays) -> None:
    direct = Way(0, Endpoint("25.2.0.1", 7))
    assert relays.path_in_use((direct,), 0.1) is None
    assert relays.path_in_use((direct, RELAY), 0.1) is relays.websocket
    assert relays.path_in_use((CIRCUIT,), 0.1) is relays.circuit


def test_the_peer_is_heard_over_whatever_relay(relays: Relays) -> None:
    circuit_of(relays).heard = 3.0
    relays.websocket.heard = 2.0
    assert relays.heard == 3.0
    relays.use(None)
    assert relays.heard == 2.0


def test_with_new_keys_no_proof_is_left(relays: Relays) -> None:
    relays.websocket.heard = 2.0
    relays.forget()
    assert relays.ways(0.1) == (RELAY,)
    assert relays.websocket.heard == NEVER
    assert relays.at(CIRCUIT) is not None


def test_a_stall_of_ours_is_no_silence_of_a_circuit(relays: Relays) -> None:
    stalled = Stalls()
    stalled.note(1.1, 3.1)
    awake, circuit = Relays(DEFAULT_TIMINGS, stalled), circuit_of(relays)
    awake.circuit = circuit
    circuit.asked = 1.0
    assert relays.ways(3.2) == (CIRCUIT, RELAY)
    assert awake.ways(3.2) == (CIRCUIT,)
    assert awake.ways(3.6) == (CIRCUIT, RELAY)
    assert awake.path_in_use((CIRCUIT, RELAY), 3.2) is circuit
    assert awake.ways(1.0 + DEFAULT_TIMINGS.path_trust) == (CIRCUIT, RELAY)
    assert awake.ways(3.0 + DEFAULT_TIMINGS.path_trust) == (RELAY,)
    assert relays.ways_alone(DEFAULT_TIMINGS.circuit_alone + 1.0) == ()
    assert awake.ways_alone(DEFAULT_TIMINGS.circuit_alone + 1.0) == (CIRCUIT,)
