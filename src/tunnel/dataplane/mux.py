"""The one registry of takers: which part of the program gets the content of a record.

DATA     by its first byte: an application's datagram, frames (wire/records.py)     -> its taker
CONTROL  by its kind (wire/session_packets.py)   -> its taker, else the peer connection itself
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from tunnel.dataplane.flow import Flow
from tunnel.wire.session_packets import Control, decode_control

DataTaker: TypeAlias = Callable[[Flow, bytes], None]
ControlTaker: TypeAlias = Callable[[Flow, Any], None]
"""Takes a flow and the one kind of message that it was registered for."""
BatchEnd: TypeAlias = Callable[[], None]
"""Told when all that one read of a socket or of the link brought was handed over."""


class Mux:
    """One for each node. Register takers first; `inbound` asks it for each record, and tells it of each batch's end."""

    def __init__(self, rest: DataTaker, end_batch: BatchEnd = lambda: None) -> None:
        """`rest` takes all data without another taker."""
        self.end_batch = end_batch
        self._data = [rest] * 256
        self._control: dict[type[Control], ControlTaker] = {}

    def take_data(self, first: bytes, taker: DataTaker) -> None:
        """Register a taker for data that begins with this byte."""
        self._data[ord(first)] = taker

    def take_control(self, kind: type[Control], taker: ControlTaker) -> None:
        """Register a taker for control messages of this kind."""
        self._control[kind] = taker

    def deliver(self, flow: Flow, plaintext: bytes) -> None:
        """Hand over a record of data of this flow."""
        self._data[plaintext[0] if plaintext else 0xFF](flow, plaintext)

    def hear(self, flow: Flow, plaintext: bytes) -> None:
        """Hand over a control record of this flow. Raises MalformedFrame."""
        message = decode_control(plaintext)
        taker = self._control.get(type(message))
        if taker is None:
            flow.peer.hear(message)
        else:
            taker(flow, message)
