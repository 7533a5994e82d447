"""The link to the server: dialed, held, pinged, lost and dialed again. Knows no signal but ping, pong and error."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import trio

from tunnel.machines.background import only_error
from tunnel.machines.notifier import Notifier
from tunnel.machines.server_link import ServerLinkChart
from tunnel.machines.stalls import Stalls
from tunnel.machines.state_runner import StateRunner
from tunnel.model.errors import Refused, ServerUnreachable, TunnelError
from tunnel.model.protocol_version import server_note
from tunnel.model.timings import Timings, rung
from tunnel.network.datagrams import Transmit
from tunnel.network.ports import Entropy
from tunnel.node.refusals import KEY_IN_USE, REMEDIES, Complaints, is_final
from tunnel.node.server_admission import Connection, ServerAdmission
from tunnel.wire.signals import ErrorSignal, Ping, Pong, Signal, Withdraw, tag_of

log = logging.getLogger(__name__)

REPLACED_FOR = 600.0
"""Seconds for which `status` notes that our key was used elsewhere: a process that runs is back within a minute."""
NETWORK_FAILURES = (
    TunnelError,
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.EndOfChannel,
    trio.TooSlowError,
)


class LinkUser(Protocol):
    """Takes what comes over the link, and is told when it begins and ends."""

    def note_welcome(self, connection: Connection) -> None:
        """The server has welcomed us on this connection."""
        ...

    def hear_untrusted(self, signal: Signal) -> None:
        """The server says this. Must not raise."""
        ...

    def hear_relayed_untrusted(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """The server's relay passes these on: of each the handle of the node that it is from, and the datagram."""
        ...

    def note_lost(self) -> None:
        """The link has ended."""
        ...


class ServerLink:
    """Send at any time; `run` dials again and again. `reason` says why there is no link."""

    def __init__(self, admission: ServerAdmission, timings: Timings, stalls: Stalls, entropy: Entropy) -> None:
        self._admission = admission
        self._timings = timings
        self._stalls = stalls
        self._entropy = entropy
        self._connection: Connection | None = None
        self._held: trio.CancelScope | None = None
        self._news = Notifier()
        """Notified when a pong came, the link is doubted, or another process took our place."""
        self._awaited: int | None = None
        self._has_answered = False
        """Whether the server answered a ping since it welcomed us."""
        self._doubted_since: float | None = None
        self._heard = -math.inf
        self._failures = 0
        self._replaced_at = -math.inf
        self._replacements = 0
        self._version_note = ""
        self.observed = ""
        """The host that the server saw our last link come from."""
        self.registrations = 0
        self.rtt: float | None = None
        self.reason: str | None = None
        self._failure: Exception | None = None
        self._complaints = Complaints()
        self.moves: deque[tuple[float, str, str, str]] = deque(maxlen=32)
        self.runner = StateRunner(
            ServerLinkChart(),
            {"offline": self._begin, "connecting": self._connect, "registered": self._stay_registered},
            patience=self._patience,
            facts=dict,
            on_move=self._note_move,
        )

    @property
    def state(self) -> str:
        """The chart's state."""
        return self.runner.state

    @property
    def notes(self) -> tuple[str, ...]:
        """That another process has our key, while it may come back; that the server is of another version."""
        return tuple(filter(None, (KEY_IN_USE if self._is_key_in_use else "", self._version_note)))

    @property
    def _is_key_in_use(self) -> bool:
        return trio.current_time() - self._replaced_at < REPLACED_FOR

    @property
    def failure(self) -> Exception | None:
        """What ended the link, or the last attempt; None while it stands."""
        return self._failure

    @property
    def is_registered(self) -> bool:
        """Whether a signal sent now goes out."""
        return self._connection is not None and self.runner.state == "registered"

    def send_signal(self, signal: Signal) -> bool:
        """Queue a signal. False when there is no link."""
        if self._connection is None or not self.is_registered:
            return False
        self.runner.check_send(tag_of(signal))
        self._connection.link.send_signal(signal)
        return True

    def send_relay(self, handle: bytes, datagram: bytes) -> bool:
        """Hand a sealed datagram to the relay. False: dropped."""
        return self._connection is not None and self._connection.link.send_relay(handle, datagram)

    def send_batch(self, transmit: Transmit) -> int:
        """The same for each of a batch; how many were not dropped."""
        if self._connection is None:
            return 0
        link = self._connection.link
        queued = sum([link.queue_relay(transmit.handle, b"".join(parts)) for parts in transmit.datagrams()])
        link.flush_relay()
        return queued

    def check(self) -> None:
        """Ping now, and dial again unless the server sends something within a second."""
        if self.is_registered and self._doubted_since is None:
            self._doubted_since = trio.current_time()
            self._news.notify()

    def redial(self) -> None:
        """Our address changed: the old connection is dead."""
        self.runner.post("redial")

    def hasten(self) -> None:
        """Something changed, and what failed before may work now: end a backoff at once."""
        if self.runner.state == "backing_off":
            self.runner.post("redial")

    async def wait_answered(self) -> None:
        """Return when the server has answered a ping since it welcomed us: by then it has told who is there."""
        await self._news.wait_until(lambda: self.is_registered and self._has_answered)

    async def leave(self) -> None:
        """Withdraw, and wait until the server has heard it: it answers the ping that follows. Bound the time."""
        if self.send_signal(Withdraw()):
            self._awaited = self._entropy.chance.getrandbits(31)
            self.send_signal(Ping(self._awaited))
            await self._news.wait_until(lambda: self._awaited is None or not self.is_registered)

    async def wait_replaced(self) -> None:
        """Return when another process with our key has taken our place: at most once in REPLACED_FOR."""
        before = self._replacements
        await self._news.wait_until(lambda: self._replacements != before)

    async def run(self, user: LinkUser) -> None:
        """Until cancelled. Raises Refused when the first registration is refused for good."""
        self._user = user
        async with trio.open_nursery() as nursery:
            self._nursery = nursery  # holds the connection, which outlives `connecting`
            await self.runner.run()
            nursery.cancel_scope.cancel()

    async def _begin(self) -> str:
        await trio.lowlevel.checkpoint()
        return "dial"

    async def _connect(self) -> str:
        try:
            self._held, self._connection = await self._nursery.start(self._hold)
        except Exception as error:
            failure = _network_failure(error)
            if isinstance(failure, Refused) and is_final(failure) and not self.registrations:
                raise Refused(failure.code, "; ".join(filter(None, (failure.text, REMEDIES[failure.code])))) from error
            self._note_failure(failure)
            return "refused" if isinstance(failure, Refused) else "failed"
        return "welcomed"

    async def _hold(self, task_status: trio.TaskStatus[tuple[trio.CancelScope, Connection]]) -> None:
        """Keep one connection open until its scope is cancelled or it breaks."""
        scope = trio.CancelScope()
        is_started = False
        try:
            with scope:
                async with self._admission.open() as connection:
                    is_started = True
                    task_status.started((scope, connection))
                    await trio.sleep_forever()
        except Exception as error:
            failure = _network_failure(error)
            if not is_started:
                raise failure from failure.__cause__  # which tells the remedy: a name that does not resolve
            self._note_failure(failure)
        finally:
            if self._held is scope:
                self._drop()

    async def _stay_registered(self) -> str:
        connection = self._connection
        if connection is None:
            return "lost"
        self._failures = 0
        self.reason = self._failure = None
        self._complaints.settle()
        self.registrations += 1
        self._has_answered = False
        self.observed = connection.welcome.observed.host
        self._note_version(connection.welcome.protocol_version)
        self._user.note_welcome(connection)
        outcome = "lost"
        try:
            async with trio.open_nursery() as nursery:

                async def receive() -> None:
                    nonlocal outcome
                    outcome = await self._receive(connection)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(receive)
                outcome = await self._keep_alive(connection)
                nursery.cancel_scope.cancel()
        finally:
            self._drop()
            self._news.notify()
            self._user.note_lost()
        return outcome

    async def _receive(self, connection: Connection) -> str:
        try:
            while True:
                message = await connection.link.receive()
                self._heard = trio.current_time()
                match message:
                    case list() as entries:
                        self._user.hear_relayed_untrusted(entries)
                    case Pong(token):
                        if token == self._awaited:
                            self._awaited = None
                            self._has_answered = True
                            self._news.notify()
                    case Ping(token):
                        self.send_signal(Pong(token))
                    case ErrorSignal(code, text):
                        self._note_failure(Refused(code, text))
                        if code == "replaced":
                            self._replacements += not self._is_key_in_use
                            self._replaced_at = trio.current_time()
                            self._news.notify()
                            self._failures = len(self._timings.server_backoff)
                            return "refused"
                        return "lost"
                    case signal:
                        self._user.hear_untrusted(signal)
        except NETWORK_FAILURES as error:
            self._note_failure(error)
            return "lost"

    async def _keep_alive(self, connection: Connection) -> str:
        self._doubted_since = None
        while True:
            token = self._entropy.chance.getrandbits(31)
            began, self._awaited = trio.current_time(), token
            self.send_signal(Ping(token))
            if not await self._is_answered(began):
                self._note_failure(ServerUnreachable(f"no answer to a ping for {trio.current_time() - began:.1f} s"))
                self._admission.note_silent(connection)
                return "redial"
            took = trio.current_time() - began
            if took <= self._timings.round_trip_most and not self._stalls.lost(began):
                self.rtt = took
            self._doubted_since = None
            with trio.move_on_after(self._timings.server_ping):
                await self._news.wait_until(lambda: self._doubted_since is not None)

    async def _is_answered(self, began: float) -> bool:
        """Whether the pending ping is answered in time. A doubted link has a second for anything to come."""
        while self._awaited is not None:
            deadline = self._stalls.deadline(began, self._timings.server_ping_patience)
            if self._doubted_since is not None:
                heard = max(self._doubted_since, self._heard)
                deadline = min(deadline, self._stalls.deadline(heard, self._timings.server_suspect_patience))
            if trio.current_time() >= deadline:
                return False
            with trio.move_on_at(deadline):
                await self._news.wait()
        return True

    def _note_version(self, version: int) -> None:
        """What the server says of itself; logged when it is news."""
        before, self._version_note = self._version_note, server_note(version)
        if self._version_note not in ("", before):
            log.warning("server of another version", extra={"evidence": self._version_note})

    def _note_failure(self, failure: Exception) -> None:
        self._failure, self.reason = failure, str(failure) or "the connection ended"

    def _drop(self) -> None:
        self._connection = None
        if self._held is not None:
            self._held.cancel()
            self._held = None

    def _patience(self, state: str) -> float:
        if state == "connecting":
            return self._timings.server_connect
        if state == "backing_off":
            step = rung(self._timings.server_backoff, self._failures)
            self._failures += 1
            jitter = self._timings.server_backoff_jitter
            return step * (1 + self._entropy.chance.uniform(-jitter, jitter))
        return math.inf

    def _note_move(self, source: str, event: str, target: str) -> None:
        if source == "connecting" and event == "patience_ended":
            self._note_failure(ServerUnreachable(f"no answer for {self._timings.server_connect:g} s"))
        self.moves.append((trio.current_time(), source, event, target))
        log.debug("server link moved", extra={"from": source, "event": event, "to": target})
        if target == "backing_off":
            self._complaints.add(self.reason or "unknown", self._failure)


def _network_failure(error: Exception) -> Exception:
    """The failure inside, if a network can cause it. Anything else is a bug and is raised."""
    failure = only_error(error)
    while isinstance(failure, ExceptionGroup):
        failure = failure.exceptions[0]
    if not isinstance(failure, NETWORK_FAILURES):
        raise error
    return failure
