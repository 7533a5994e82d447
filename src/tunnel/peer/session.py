"""The session with one peer: who begins the handshake, and which keys are in use.

The lower node id initiates and rekeys; the other only asks. A new session replaces the old one when the initiator's
first packet opens under it, so there are three slots: next, current, previous. Handshake messages have a first byte:
1 first message, 2 second message, 3 "please begin".
"""

from __future__ import annotations

import math

import trio

from tunnel.crypto.fragments import Reassembly, encode_fragments
from tunnel.crypto.handshake import Initiator, Responder
from tunnel.crypto.pair_keys import HandshakeKeys, derive_handshake_keys
from tunnel.dataplane.flow_index import FlowIndex, Indexed
from tunnel.dataplane.key_slots import Keys
from tunnel.dataplane.outbound import Outbound
from tunnel.machines.session import SessionChart
from tunnel.machines.state_runner import StateRunner
from tunnel.model.announcement import PeerCard
from tunnel.model.errors import MalformedFrame, NotAuthentic
from tunnel.model.timings import rung
from tunnel.peer.context import PeerContext
from tunnel.peer.handshake_limit import HandshakeLimit, PeerAllowance
from tunnel.peer.peer_state import PeerState
from tunnel.peer.session_payloads import AskPayload, FirstPayload, SecondPayload
from tunnel.peer.transmitter import Transmitter
from tunnel.wire.frames import Header, Kind
from tunnel.wire.session_packets import Keep, encode_control

FIRST, SECOND, ASK = b"\x01", b"\x02", b"\x03"
REKEY_PACKETS = 2**32
_USE_GAP = 1.0
"""Seconds between two looks at an old key that was not used lately: once it is used, it is renewed."""
_KEEP = Kind.CONTROL, (encode_control(Keep()),)


class Session:
    """Makes the keys of a flow. `run` beside the peer connection; after `close` it may `meet` and `run` again."""

    def __init__(
        self,
        peer: PeerState,
        context: PeerContext,
        transmitter: Transmitter,
        owner: Indexed,
        *,
        indices: FlowIndex,
        outbound: Outbound,
        limit: HandshakeLimit,
    ) -> None:
        self._context = context
        self._indices = indices
        self._limit = limit
        self._peer = peer
        self._transmitter = transmitter
        self._flow = peer.flow
        self._outbound = outbound
        self._owner = owner
        self._timings = context.timings
        self.is_initiator = context.keys.id < peer.node
        lower, higher = sorted((context.keys.id.raw, peer.node.raw))
        version = b"%d" % context.protocol_version
        self._prologue = b"p2ptunnel.v" + version + b" session" + context.network.raw + lower + higher
        self._handshake_keys: HandshakeKeys | None = None
        self._reassembly: Reassembly | None = None
        self._card: PeerCard | None = None
        self._attempts = 0
        self._attempt_counter = 0
        self._highest_attempt = 0
        self._allowance = PeerAllowance()
        self._initiator: tuple[Initiator, int] | None = None
        self._message_id = 0
        self.slots = peer.flow.keys
        self.handshakes = 0
        """Messages that we sent."""
        self.runner = self._make_runner()

    def _make_runner(self) -> StateRunner:
        return StateRunner(
            SessionChart(),
            {
                "handshaking": self._shake_hands,
                "established": self._hold_keys,
                "rekeying": self._rekey,
            },
            patience=self._patience,
            facts=dict,
            on_move=self._note_move,
            about=str(self._peer.node),
        )

    async def run(self) -> None:
        """For ever, or until an error."""
        await self.runner.run()

    @property
    def is_established(self) -> bool:
        """Whether there are keys to seal with."""
        return self.slots.current is not None

    def meet(self, card: PeerCard) -> None:
        """The peer's latest announcement. A new epoch voids all keys and counters, another version all keys."""
        known, self._card = self._card, card
        is_new = known is not None and known.epoch != card.epoch
        if known is None or is_new:
            self._take_handshake_keys(card)
        if is_new:
            self._highest_attempt = 0
        if is_new or (known is not None and known.body.protocol_version != card.body.protocol_version):
            self._drop_keys()
            self.runner.post("reset")
        self._want_for_waiting()

    def renew(self, card: PeerCard) -> None:
        """Our own epoch is new: earlier keys seal nothing more."""
        self._take_handshake_keys(card)
        self._drop_keys()
        self.runner.post("reset")

    def doubt(self) -> None:
        """The peer seems to have lost these keys: new ones are agreed on, and until then these stay in use."""
        if self.runner.state == "established":
            self.runner.post("rekey_due")

    def want(self) -> None:
        """Somebody needs keys. A peer of another version has none for us."""
        if self._card is not None and self._peer.version_mismatch is None:
            self.runner.post("wanted")

    def hasten(self) -> None:
        """There is a way to the peer again: an unanswered handshake begins anew at once."""
        if self.runner.state == "handshaking":
            self._attempts = 0
            self.runner.post("reset")
            self.want()

    def _want_for_waiting(self) -> None:
        if not self._flow.waiting.is_empty(trio.current_time()):
            self.want()

    def handle_handshake_untrusted(self, header: Header, datagram: bytes) -> None:
        """One handshake datagram. Raises NotAuthentic or MalformedFrame. A message beyond the limits is dropped."""
        if self._card is None or self._reassembly is None:
            raise NotAuthentic("a handshake from a node that has not announced itself")
        now = trio.current_time()
        message = self._reassembly.add_untrusted(header, datagram, now)
        if message is None or not self._may_process(message[:1], now):
            return
        kind, rest = message[:1], message[1:]
        if kind == FIRST and not self.is_initiator:
            self._respond(rest, self._card)
        elif kind == SECOND and self.is_initiator:
            self._conclude(rest, self._card)
        elif kind == ASK and self.is_initiator:
            self._heed(rest, self._card)
        else:
            raise MalformedFrame("a handshake message of no kind that we expect")

    def _may_process(self, kind: bytes, now: float) -> bool:
        if kind == ASK:
            return self._limit.take_request(self._allowance, now)
        is_known = self.is_established or self.runner.state == "handshaking"
        return self._limit.take(self._allowance, now, is_known=is_known)

    def close(self) -> None:
        """Forget every key and index."""
        self._drop_keys()
        self._flow.waiting.clear()
        self._release_handshake_keys()
        self._card = None
        self._attempts = self._highest_attempt = 0
        self.runner = self._make_runner()

    def _take_handshake_keys(self, card: PeerCard) -> None:
        self._release_handshake_keys()
        keys = self._handshake_keys = derive_handshake_keys(
            self._context.keys.exchange(card.body.static_key),
            self._context.psk,
            own=self._context.keys.id,
            own_epoch=self._context.epoch,
            peer=self._peer.node,
            peer_epoch=card.epoch,
        )
        self._reassembly = Reassembly(keys.receive_mac, self._timings.reassembly)
        self._indices.claim(Kind.HANDSHAKE, keys.receive_index, self._owner)

    def _release_handshake_keys(self) -> None:
        if self._handshake_keys is not None:
            self._indices.release(Kind.HANDSHAKE, self._handshake_keys.receive_index, self._owner)
            self._handshake_keys = None

    # What each state does.

    async def _shake_hands(self) -> str:
        self._open_handshake()
        await trio.sleep_forever()
        raise AssertionError

    async def _hold_keys(self) -> str:
        self._attempts = 0
        keys = self.slots.current
        if keys is None:
            return "keys_expired"
        if not self.is_initiator:
            await trio.sleep_forever()
        await trio.sleep_until(keys.born + self._timings.rekey_after)  # sooner than REKEY_PACKETS are sent
        while not self._is_rekey_due(keys):  # noqa: ASYNC110 - the hot path notifies nobody
            await trio.sleep(_USE_GAP)
        return "rekey_due"

    def _is_rekey_due(self, keys: Keys) -> bool:
        now = trio.current_time()
        is_old = now - keys.born >= self._timings.rekey_after
        is_used = now - keys.used < self._timings.rekey_after
        return (is_old and is_used) or keys.sealer.counter >= REKEY_PACKETS

    async def _rekey(self) -> str:
        self._open_handshake()
        keys = self.slots.current
        if keys is not None:
            await trio.sleep_until(keys.born + self._timings.key_life)
        if self.slots.current is not keys:
            await trio.sleep_forever()  # new ones came in this very moment: `agreed` is on its way
        self._drop_keys()
        return "keys_expired"

    def _patience(self, state: str) -> float:
        if state in ("handshaking", "rekeying"):
            wait = rung((*self._timings.handshake_retries, self._timings.handshake_slow_retry), self._attempts)
            self._attempts += 1
            return wait
        if state == "established" and self.slots.current is not None:
            return max(0.0, self.slots.current.born + self._timings.key_life - trio.current_time())
        return math.inf

    def _note_move(self, _source: str, _event: str, target: str) -> None:
        if target == "expired":
            self._drop_keys()
        if target in ("expired", "idle"):
            self._want_for_waiting()
        self._peer.notifier.notify()

    # The messages.

    def _open_handshake(self) -> None:
        self.runner.check_send("handshake")
        card = self._card
        assert card is not None
        self._attempt_counter = self._rising(self._attempt_counter)
        if not self.is_initiator:
            self._transmit_message(ASK + AskPayload(self._context.epoch, self._attempt_counter).encode())
            return
        index = self._indices.draw(self._flow)
        self._abandon_attempt()
        initiator = Initiator(
            self._context.keys, card.body.static_key, self._context.psk, self._prologue, self._context.entropy.token
        )
        payload = FirstPayload(self._context.epoch, card.epoch, self._attempt_counter, index)
        self._initiator = (initiator, index)
        self._transmit_message(FIRST + initiator.write_first(payload.encode()))

    def _respond(self, message: bytes, card: PeerCard) -> None:
        responder = Responder(self._context.keys, self._context.psk, self._prologue, self._context.entropy.token)
        payload = FirstPayload.decode(responder.read_first(message))
        if responder.remote_static != card.body.static_key:
            raise NotAuthentic("a handshake under another node's key")
        if payload.epoch != card.epoch or payload.peer_epoch != self._context.epoch:
            raise NotAuthentic("a handshake of another epoch")
        if payload.attempt <= self._highest_attempt:
            raise NotAuthentic("a handshake that was here before")
        self._highest_attempt = payload.attempt
        index = self._indices.draw(self._flow)
        try:
            second = responder.write_second(SecondPayload(self._context.epoch, index).encode())
        except NotAuthentic:
            self._indices.give_back(index)
            raise
        self.slots.offer(self.slots.make(responder.keys, index, payload.index, trio.current_time()))
        self._transmit_message(SECOND + second)

    def _conclude(self, message: bytes, card: PeerCard) -> None:
        if self._initiator is None:
            raise NotAuthentic("an answer to no handshake of ours")
        initiator, index = self._initiator
        payload = SecondPayload.decode(initiator.read_second(message))
        if payload.epoch != card.epoch:
            raise NotAuthentic("a handshake of another epoch")
        self._initiator = None
        self.install(self.slots.make(initiator.keys, index, payload.index, trio.current_time()))
        self._outbound.send(self._flow, *_KEEP, trio.current_time())

    def _heed(self, message: bytes, card: PeerCard) -> None:
        payload = AskPayload.decode(message)
        if payload.epoch != card.epoch or payload.attempt <= self._highest_attempt:
            raise NotAuthentic("a request for a handshake that is of another epoch, or was here before")
        self._highest_attempt = payload.attempt
        self.runner.post("rekey_due" if self.is_established else "wanted")

    def _transmit_message(self, message: bytes) -> None:
        self._message_id = self._rising(self._message_id)
        self.handshakes += 1
        keys = self._handshake_keys
        assert keys is not None
        for datagram in encode_fragments(
            message, mac=keys.send_mac, index=keys.send_index, message_id=self._message_id
        ):
            for way in self._peer.handshake_ways:
                self._transmitter.send(way, datagram)

    @staticmethod
    def _rising(last: int) -> int:
        """A number above the last one and above those of any earlier session of this process: microseconds."""
        return max(last + 1, int(trio.current_time() * 1e6))

    # The slots.

    def install(self, keys: Keys) -> None:
        """Seal with these from now on: the handshake is over, or the peer has shown that it has them."""
        self.slots.install(keys)
        self.runner.post("agreed")
        self._outbound.flush(self._flow, trio.current_time())

    def _abandon_attempt(self) -> None:
        if self._initiator is not None:
            self._indices.give_back(self._initiator[1])
            self._initiator = None

    def _drop_keys(self) -> None:
        self._abandon_attempt()
        self.slots.drop()
