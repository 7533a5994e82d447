"""The relay ways to one peer: the WebSocket link always, a circuit of the UDP relay while there is one. Pure.

A circuit is a way like a direct one: it carries once a full-size probe went over it both ways, gets company as soon as
a probe waits for its answer too long, and carries no more when none came for long. It is never a direct path.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunnel.machines.stalls import Stalls
from tunnel.model.timings import Timings
from tunnel.model.way import RELAY, Way
from tunnel.peer.path import NEVER, Path


class Relays:
    """One for each peer. `use` says which circuit there is; `ways` which relay ways carry now."""

    def __init__(self, timings: Timings, stalls: Stalls) -> None:
        self._timings = timings
        self._stalls = stalls
        self.websocket = Path(RELAY)
        self.circuit: Path | None = None
        self.carried = NEVER
        """When data last came in over a relay. Probes do not count: they alone must not keep a circuit for ever."""

    def use(self, way: Way | None) -> bool:
        """From now on this is the circuit, or there is none. True when that is news."""
        if way == (None if self.circuit is None else self.circuit.way):
            return False
        self.circuit = None if way is None else Path(way)
        return True

    def at(self, way: Way) -> Path | None:
        """The path of a relay way; None for a circuit that is not in use."""
        if way == RELAY:
            return self.websocket
        return self.circuit if self.circuit is not None and self.circuit.way == way else None

    def path_in_use(self, route: Sequence[Way], now: float) -> Path | None:
        """The relay way of this route that gets data through: the circuit, unless it is silent and both are used."""
        circuit = self.circuit
        if circuit is not None and circuit.way in route:
            return self.websocket if RELAY in route and self._is_silent(circuit, now) else circuit
        return self.websocket if RELAY in route else None

    def ways(self, now: float) -> tuple[Way, ...]:
        """What each datagram takes: the best one, and both while the circuit is in doubt."""
        circuit = self.circuit
        if circuit is None or not self._is_trusted(circuit, now):
            return (RELAY,)
        return (circuit.way, RELAY) if self._is_silent(circuit, now) else (circuit.way,)

    def ways_alone(self, now: float) -> tuple[Way, ...]:
        """What still carries while the link to the server is dialed again: a circuit that carried just before."""
        circuit = self.circuit
        if circuit is None or not circuit.is_proved:
            return ()
        stale_from = self._stalls.deadline(max(circuit.answered, circuit.heard), self._timings.circuit_alone)
        return (circuit.way,) if now < stale_from else ()

    @property
    def heard(self) -> float:
        """When the peer last said something over any relay."""
        return max(self.websocket.heard, NEVER if self.circuit is None else self.circuit.heard)

    def doubt(self, now: float) -> None:
        """A circuit on which no answer came for long is no longer proved."""
        circuit = self.circuit
        if circuit is not None and circuit.is_proved and not self._is_trusted(circuit, now):
            circuit.is_proved = False

    def forget(self) -> None:
        """The peer or its keys are new: proofs under the old ones are void."""
        self.websocket = Path(RELAY)
        if self.circuit is not None:
            self.circuit = Path(self.circuit.way)

    def _is_trusted(self, circuit: Path, now: float) -> bool:
        """Whether it was proved, and answered lately enough for an idle one."""
        timings, deadline = self._timings, self._stalls.deadline
        patience = timings.circuit_keepalive + circuit.patience(timings)
        if not circuit.is_proved or now > deadline(circuit.answered, patience):
            return False
        return circuit.asked == NEVER or now < deadline(circuit.asked, timings.path_trust)

    def _is_silent(self, circuit: Path, now: float) -> bool:
        return circuit.is_silent(now, self._timings, self._stalls)
