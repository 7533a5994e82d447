"""The announcement: composed from facts, sealed, sent, and sent again until the server has acknowledged it."""

from __future__ import annotations

import math
from typing import Protocol

import trio

from tunnel.crypto.announcement_seal import seal_announcement
from tunnel.crypto.network_keys import NetworkKeys
from tunnel.machines.announcement import AnnouncementChart
from tunnel.machines.notifier import Notifier
from tunnel.machines.state_runner import StateRunner
from tunnel.model.announcement import Announcement, PeerCard
from tunnel.model.timings import Timings, rung
from tunnel.network.ports import Entropy
from tunnel.node.identity import Identity
from tunnel.wire.announcement_body import encode_announcement
from tunnel.wire.signals import Announce, Signal

_NONCE_BYTES = 12


class Source(Protocol):
    """What is announced."""

    def announcement(self) -> tuple[Announcement, bool]:
        """The body, and whether a survey's verdict is in it."""
        ...


class SignalSender(Protocol):
    """The link to the server."""

    def send_signal(self, signal: Signal) -> bool:
        """Queue a signal. False: there is no link."""
        ...


class Peers(Protocol):
    """The connections to peers: what they do depends on whether we are announced."""

    def note_change(self) -> None:
        """Our announcement, or what it is about, has changed."""
        ...


class Announcer:
    """Run `run()`. `news` is notified when something that we announce may have changed."""

    def __init__(
        self,
        identity: Identity,
        network: NetworkKeys,
        source: Source,
        link: SignalSender,
        peers: Peers,
        *,
        news: Notifier,
        timings: Timings,
        entropy: Entropy,
    ) -> None:
        self._identity = identity
        self._network = network
        self._timings = timings
        self._entropy = entropy
        self._source = source
        self._link = link
        self._peers = peers
        self._news = news
        self._attempt = 0
        self._seq = 0
        self._acked_seq = 0
        self._acked = Notifier()
        self._verdict_seq = math.inf
        self.card: PeerCard | None = None
        """What we last announced."""
        self.runner = StateRunner(
            AnnouncementChart(),
            {"announcing": self._announce},
            patience=self._patience,
            facts=dict,
            on_move=self._note_move,
        )

    @property
    def state(self) -> str:
        """The chart's state."""
        return self.runner.state

    @property
    def is_verdict_acknowledged(self) -> bool:
        """Whether the server holds an announcement that was made knowing our NAT."""
        return self._acked_seq >= self._verdict_seq

    def note_registered(self) -> None:
        """The server welcomed us (again). It may know nothing of us, so the waits start from the shortest."""
        self._attempt = 0
        self.runner.post("registered")

    def note_link_lost(self) -> None:
        """There is no server to announce to."""
        self.runner.post("link_lost")

    def note_facts(self) -> None:
        """Candidates, verdict or addresses may have changed: announce again if they did."""
        if self.card is None:
            return
        body, has_verdict = self._source.announcement()
        if body != self.card.body or (has_verdict and self._verdict_seq == math.inf):
            self._attempt = 0
            self.runner.post("changed")

    def note_acknowledged(self, seq: int) -> None:
        """The server keeps the announcement with this seq."""
        if 0 < seq <= self._seq:
            self._acked_seq = max(self._acked_seq, seq)
            self._acked.notify()
            self._peers.note_change()

    async def run(self) -> None:
        """Announce, again and again, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.runner.run)
            while True:
                await self._news.wait()
                self.note_facts()
                self._peers.note_change()

    async def _announce(self) -> str:
        body, has_verdict = self._source.announcement()
        self._seq += 1
        if has_verdict:
            self._verdict_seq = min(self._verdict_seq, self._seq)
        node, epoch = self._identity.keys.id, self._identity.epoch
        self.card = PeerCard(node.raw, epoch, self._seq, body)
        sealed = seal_announcement(
            self._network.announcement_key,
            node=node,
            epoch=epoch,
            seq=self._seq,
            body=encode_announcement(body),
            nonce=self._entropy.token(_NONCE_BYTES),
        )
        self.runner.check_send("announce")
        self._link.send_signal(Announce(epoch, self._seq, sealed))
        self._peers.note_change()
        await self._acked.wait_until(lambda: self._acked_seq >= self._seq)
        return "acknowledged_by_server"

    def _patience(self, state: str) -> float:
        if state == "announcing":
            wait = rung((*self._timings.announce_retries, self._timings.announce_slow_retry), self._attempt)
            self._attempt += 1
            return wait
        return self._timings.announce_debounce if state == "stale" else math.inf

    def _note_move(self, _source: str, _event: str, _target: str) -> None:
        self._peers.note_change()
