"""Flows for tests: with keys or without, and a peer connection that writes down what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field

from tunnel.crypto.noise import SessionKeys
from tunnel.dataplane.flow import Flow, Overflows
from tunnel.dataplane.flow_index import FlowIndex
from tunnel.dataplane.key_slots import Keys, KeySlots
from tunnel.dataplane.waiting_packets import WaitingPackets
from tunnel.model.endpoint import Endpoint
from tunnel.model.identity import NodeId
from tunnel.model.way import Way
from tunnel.wire.session_packets import Control

PATIENCE = 10.0
HERE, THERE = bytes(32), bytes(31) + b"\x01"
DIRECT = Way(0, Endpoint("25.0.0.9", 9))


@dataclass(eq=False)
class Life:
    """Implements `FlowPeer`."""

    told: list[object] = field(default_factory=list)
    """What came, in order."""
    failures: list[Exception] = field(default_factory=list)
    flow: Flow = field(init=False)

    def want(self) -> None:
        self.told.append("want")

    def want_keys(self) -> None:
        self.told.append("want_keys")

    def note_first_data(self) -> None:
        self.told.append("first_data")

    def note_sent(self, now: float, *, is_data: bool) -> None:
        self.told.append(("sent", now, is_data))

    def note_heard(self, way: Way, now: float) -> None:
        self.told.append(("heard", way, now))

    def note_confirmed(self, keys: Keys) -> None:
        self.flow.keys.install(keys)
        self.told.append("confirmed")

    def note_got_data(self, now: float) -> None:
        self.flow.received.due = now + 1.0
        self.told.append("got_data")

    def hear(self, message: Control) -> None:
        self.told.append(message)

    def fail(self, error: Exception) -> None:
        self.failures.append(error)


def open_flow(index: FlowIndex | None = None, node: int = 2, overflows: Overflows | None = None) -> tuple[Flow, Life]:
    """A flow without keys or a route."""
    life = Life()
    keys = KeySlots((lambda _: None) if index is None else index.give_back)
    life.flow = Flow(NodeId(bytes([node]) * 16), life, keys, WaitingPackets(PATIENCE), overflows or Overflows())
    return life.flow, life


def agree(flow: Flow, own_index: int, peer_index: int, *, is_initiator: bool = True, born: float = 0.0) -> Keys:
    """Keys in the current slot; the other side is the one with `is_initiator` turned."""
    send, receive = (HERE, THERE) if is_initiator else (THERE, HERE)
    keys = flow.keys.make(SessionKeys(send, receive, bytes(32)), own_index, peer_index, born)
    flow.keys.install(keys)
    return keys
