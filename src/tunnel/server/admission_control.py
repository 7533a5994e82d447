"""Which connections are served: rates and slots by source address, and what became of each.

accept --rate? slot?--> stranger --first bytes: rate?--> TLS, WebSocket, hello --a member's slot?--> member
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from tunnel.model.identity import NetworkId
from tunnel.model.settings import ServerSettings
from tunnel.server.limits import ConnectRates, Slot, Slots, sources_of


@dataclass(slots=True)
class AcceptStatistics:
    """Connections since the start, by what became of them before they registered."""

    accepted: int = 0
    refused_rate: int = 0
    refused_slots: int = 0
    crowded_out: int = 0
    """Strangers that were dropped for newer ones."""
    failed_handshakes: int = 0


class AdmissionControl:
    """Slots and rates of the whole server. Each slot that `take` gave needs its `give_back`."""

    def __init__(self, settings: ServerSettings) -> None:
        self._slots = Slots(
            strangers=settings.max_strangers,
            members=settings.max_connections,
            each_strangers=settings.max_strangers_per_address,
            each_members=settings.max_connections_per_address,
        )
        self._rates = ConnectRates(settings.max_connects_per_address_rate, settings.max_connects_per_address_burst)
        self._is_closing = False
        self.statistics = AcceptStatistics()

    @property
    def is_closing(self) -> bool:
        """Whether no connection is served any more."""
        return self._is_closing

    @property
    def open_connections(self) -> int:
        """How many connections hold a slot now, registered or not."""
        return self._slots.held

    def close(self) -> None:
        """Give no slots any more."""
        self._is_closing = True

    def take(self, host: str, drop: Callable[[], None]) -> Slot | None:
        """A slot for a connection from this host, which `drop` ends; None, and counted, if it may have none."""
        sources = sources_of(host)
        if not self._rates.may_connect(sources, trio.current_time()):
            self.statistics.refused_rate += 1
            return None
        slot = None if self._is_closing else self._slots.take(sources, drop)
        if slot is None:
            self.statistics.refused_slots += 1
            return None
        self.statistics.accepted += 1
        self.statistics.crowded_out = self._slots.dropped
        return slot

    def check_speech(self, slot: Slot) -> None:
        """Its first bytes have come. Raises BrokenResourceError if its source has connected too often."""
        if not self._rates.may_speak(slot.sources, trio.current_time()):
            self.statistics.refused_rate += 1
            raise trio.BrokenResourceError("too many connections from one address")

    def admit(self, slot: Slot, network: NetworkId, end: Callable[[str], None], *, returns: bool) -> str | None:
        """Make the slot a member's, or say by which code that is refused: see `Slots.admit`."""
        refusal = self._slots.admit(slot, network, end, returns=returns)
        if refusal is None:
            self._rates.note_registered(slot.sources, trio.current_time())
        return refusal

    def note_failure(self) -> None:
        """A connection ended before there was a conversation."""
        self.statistics.failed_handshakes += 1

    def give_back(self, slot: Slot) -> None:
        """The connection has ended."""
        self._slots.give_back(slot)
