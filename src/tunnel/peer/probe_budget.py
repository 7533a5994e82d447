"""How many probes a node sends where nothing is proved: candidates are what a peer claims, and may name a victim.

    any punch         200 a second in the node (burst 400), 20 a second toward one address (burst 48)
    an answer         20 a second toward one address (burst 48), until a probe of ours was answered from there
    port prediction   one attempt at a time in the node, with 1,900 flows and 240 sockets at most; the flows count in
                      the node's 200, too. Repeated probes count in the attempt's 3,800 packets. One address gets the
                      packets of four attempts, and as many an hour, whoever asks for them, and so does one peer,
                      whatever address it announces. Packets that were sent count: a peer that starts again and is
                      found soon costs little

A flow is a new pair of socket and remote endpoint: what a router on the way must remember (easytier#289).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from tunnel.model.identity import NodeId
from tunnel.model.rates import RateTable, TokenBucket
from tunnel.peer.port_prediction.limits import (
    FEW_FLOWS,
    PREDICTION_FLOW_RATE,
    PREDICTION_FLOWS,
    PREDICTION_HOST_BURST,
    PREDICTION_HOST_RATE,
    PREDICTION_LEAST,
    PREDICTION_PACKETS,
    PREDICTION_REST,
    PREDICTION_SOCKETS,
    SOCKET_RATE,
)

NODE_RATE, NODE_BURST = 200.0, 400.0
"""Probes a second to unproved ways, over all peers."""
HOST_RATE, HOST_BURST = 20.0, 48.0
"""The same to one address. A punch at four candidates of one host asks 28 times within its first second."""
MAX_HOSTS = 4096


class ProbeBudget:
    """One for each node."""

    def __init__(self) -> None:
        self._node = TokenBucket(NODE_RATE, NODE_BURST, 0.0)
        self._hosts = RateTable(HOST_RATE, HOST_BURST, MAX_HOSTS)
        self._answers = RateTable(HOST_RATE, HOST_BURST, MAX_HOSTS)
        self._prediction_hosts = RateTable(PREDICTION_HOST_RATE, PREDICTION_HOST_BURST, MAX_HOSTS)
        self._prediction_peers = RateTable(PREDICTION_HOST_RATE, PREDICTION_HOST_BURST, MAX_HOSTS)
        self._rests_until = -math.inf
        self._lately: list[tuple[float, int, int]] = []  # end, flows and sockets of the last slots
        self._slot = trio.Semaphore(1, max_value=1)
        self.refused = 0

    def take(self, host: str, now: float) -> bool:
        """Whether one more probe may go to this address now."""
        if self._hosts.take(host, now) and self._node.take(now):
            return True
        self.refused += 1
        return False

    def take_answer(self, host: str, now: float) -> bool:
        """Whether one more answer may go to this address now, from where nobody has answered us yet.

        Our own probes there do not count: a volley of the peer's must not silence ours.
        """
        if self._answers.take(host, now):
            return True
        self.refused += 1
        return False

    async def wait_slot(self, patience: float) -> PredictionSlot | None:
        """The right to predict ports, alone in this node; None when it is not available within `patience` seconds."""
        with trio.move_on_after(patience):
            await self._slot.acquire()
            try:
                await trio.sleep_until(self._rests_until)
            except trio.Cancelled:
                self._slot.release()
                raise
            return self._begin_slot(trio.current_time())
        return None

    def _begin_slot(self, now: float) -> PredictionSlot:
        """What the last slots, if no rest followed them, have opened is subtracted from this one."""
        self._lately = [(end, flows, sockets) for end, flows, sockets in self._lately if now - end < PREDICTION_REST]
        return PredictionSlot(
            self._node,
            self._prediction_hosts,
            self._prediction_peers,
            self._end_slot,
            most_flows=PREDICTION_FLOWS - sum(flows for _, flows, _ in self._lately),
            most_sockets=PREDICTION_SOCKETS - sum(sockets for _, _, sockets in self._lately),
        )

    def _end_slot(self, slot: PredictionSlot) -> None:
        now = trio.current_time()
        self._lately.append((now, slot.flows, slot.sockets))
        if slot.flows > FEW_FLOWS:
            self._rests_until = now + PREDICTION_REST
        self._slot.release()


class PredictionSlot:
    """The budget of one attempt. Call `end` once, whatever happened."""

    def __init__(
        self,
        node: TokenBucket,
        hosts: RateTable,
        peers: RateTable,
        on_end: Callable[[PredictionSlot], None],
        *,
        most_flows: int = PREDICTION_FLOWS,
        most_sockets: int = PREDICTION_SOCKETS,
    ) -> None:
        self._most_flows = most_flows
        self._most_sockets = most_sockets
        self._node = node
        self._hosts = hosts
        self._peers = peers
        self._on_end = on_end
        self._flow_pace = TokenBucket(PREDICTION_FLOW_RATE, PREDICTION_FLOW_RATE / 10, trio.current_time())
        self._socket_pace = TokenBucket(SOCKET_RATE, SOCKET_RATE / 10, trio.current_time())
        self.flows = 0
        """Opened so far."""
        self.packets = 0
        """Sent so far, on new flows and on old ones."""
        self.sockets = 0
        """Opened so far."""
        self._most_packets = PREDICTION_PACKETS
        self._target: tuple[str, str] | None = None

    @property
    def is_spent(self) -> bool:
        """Whether no more flow may be opened."""
        return self.flows >= self._most_flows or self.packets >= self._most_packets

    def may_punch(self, peer: NodeId, host: str) -> bool:
        """Whether this peer, and this address of its, may have one more attempt. Ask once an attempt.

        The address may be a victim's, and a peer with a new one each time would leave no slot to the others. What is
        left for the two limits the attempt; what it has sent is subtracted when it ends.
        """
        now = trio.current_time()
        left = int(min(self._peers.left(str(peer), now), self._hosts.left(host, now)))
        if left < PREDICTION_LEAST:
            return False
        self._most_packets = min(self._most_packets, left)
        self._target = str(peer), host
        return True

    def take_flow(self) -> bool:
        """Whether one more flow may be opened now."""
        now = trio.current_time()
        if self.is_spent or not self._flow_pace.take(now) or not self._node.take(now):
            return False
        self.flows += 1
        self.packets += 1
        return True

    def take_repeat(self) -> bool:
        """Whether one more packet may go on a flow that is open already."""
        if self.packets >= self._most_packets:
            return False
        self.packets += 1
        return True

    def take_socket(self) -> bool:
        """Whether one more socket may be opened now."""
        if self.sockets >= self._most_sockets or not self._socket_pace.take(trio.current_time()):
            return False
        self.sockets += 1
        return True

    def end(self) -> None:
        """Give the slot back."""
        if self._target is not None:
            peer, host = self._target
            now = trio.current_time()
            self._peers.take(peer, now, self.packets)
            self._hosts.take(host, now, self.packets)
        self._on_end(self)
