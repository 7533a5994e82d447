"""The one registry of takers: which part of the program gets the content of a packet.

DATA     by its first byte: an application's datagram, an IP packet, ...     -> its taker, a batch at once
CONTROL  by its kind (wire/session_packets.py)   -> its taker, else the peer connection itself
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, TypeAlias

from tunnel.dataplane.flow import Flow
from tunnel.wire.session_packets import Control, decode_control

DataTaker: TypeAlias = Callable[[Flow, Sequence[bytes]], None]
ControlTaker: TypeAlias = Callable[[Flow, Any], None]
"""Takes a flow and the one kind of message that it was registered for."""


class Mux:
    """One for each node. Register takers first; `inbound` asks it for each batch."""

    def __init__(self, rest: DataTaker) -> None:
        """`rest` takes all data without another taker."""
        self._data = [rest] * 256
        self._control: dict[type[Control], ControlTaker] = {}

    def take_data(self, first: bytes, taker: DataTaker) -> None:
        """Register a taker for data that begins with this byte."""
        self._data[ord(first)] = taker

    def take_control(self, kind: type[Control], taker: ControlTaker) -> None:
        """Register a taker for control messages of this kind."""
        self._control[kind] = taker

    def split(self, packets: Sequence[bytes]) -> Sequence[tuple[DataTaker, Sequence[bytes]]]:
        """Takers and what each gets, in order. Almost always one taker gets the whole batch."""
        if len(packets) == 1:
            return ((self._taker_of(packets[0]), packets),)
        return [(taker, list(taken)) for taker, taken in groupby(packets, key=self._taker_of)]

    def hear(self, flow: Flow, plaintext: bytes) -> None:
        """Hand over a control packet of this flow. Raises MalformedFrame."""
        message = decode_control(plaintext)
        taker = self._control.get(type(message))
        if taker is None:
            flow.peer.hear(message)
        else:
            taker(flow, message)

    def _taker_of(self, packet: bytes) -> DataTaker:
        return self._data[packet[0] if packet else 0xFF]
