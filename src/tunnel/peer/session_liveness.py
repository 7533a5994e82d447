"""Whether the peer still has the session that we seal with.

Probes have keys of their own: an answered one proves a path, not a session. A peer may have dropped our keys meanwhile
(the server told it of the epoch of a copy of our machine, and then of ours again), and then it can open nothing that
we send. So data is owed an answer under its own keys. Where none comes the peer is asked once, since one that only
receives sends nothing by itself; where that is not answered either, on a way that answers probes, new keys are made.
"""

from __future__ import annotations

import math

import trio

from tunnel.dataplane.key_slots import Keys
from tunnel.machines.notifier import Notifier
from tunnel.model.timings import Timings, rung
from tunnel.peer.peer_state import PeerState
from tunnel.peer.session import Session
from tunnel.peer.session_messages import SessionMessages


class SessionLiveness:
    """One for each peer connection; `run` lives as long. The data plane calls `note_sent`."""

    def __init__(
        self,
        peer: PeerState,
        timings: Timings,
        session: Session,
        messages: SessionMessages,
    ) -> None:
        self._peer = peer
        self._stalls = peer.paths.stalls
        self._timings = timings
        self._session = session
        self._messages = messages
        self._woken = Notifier()
        self._is_asleep = False
        self._doubted: Keys | None = None

    @property
    def is_doubted(self) -> bool:
        """Whether new keys are being made since nothing is answered under these."""
        keys = self._session.slots.current
        return keys is not None and keys is self._doubted and keys.owed < math.inf

    def note_sent(self) -> None:
        """Data went out."""
        if self._is_asleep:
            self._woken.notify()

    async def echo(self) -> float:
        """Round trip of one message in the session, in seconds; never returns without an answer."""
        began = trio.current_time()
        token = self._messages.say_echo()
        keys = self._session.slots.current
        if keys is not None:
            keys.owed = min(keys.owed, began)
            self.note_sent()
        await self._messages.wait_echo(token)
        return trio.current_time() - began

    async def run(self) -> None:
        """For ever."""
        trust, doubts = self._timings.session_trust, 0
        while True:
            if (keys := self._session.slots.current) is None or keys.owed == math.inf:
                await self._wait_sent()
                continue
            await trio.sleep_until(self._stalls.deadline(keys.owed, trust))
            if not self._is_owed(keys, trust):
                doubts = 0
                continue
            self._messages.ask()
            await trio.sleep(trust)
            if self._is_owed(keys, 2 * trust) and self._answered > keys.owed:
                self._doubted = keys
                self._session.doubt()
                self._peer.notifier.notify()
                await trio.sleep(rung(self._timings.session_doubts, doubts))
                doubts += 1
            if self._is_owed(keys, 2 * trust):
                await self._wait_sent()  # without more to send no session is needed

    @property
    def _answered(self) -> float:
        """When the way that carries last answered a probe."""
        return self._peer.paths.path_in_use(self._peer.flow.route, trio.current_time()).answered

    async def _wait_sent(self) -> None:
        self._is_asleep = True
        await self._woken.wait()
        self._is_asleep = False

    def _is_owed(self, keys: Keys, seconds: float) -> bool:
        """Whether these are still the keys, and nothing came for so long, stalls not counted."""
        now = trio.current_time()
        return keys is self._session.slots.current and now >= self._stalls.deadline(keys.owed, seconds)
