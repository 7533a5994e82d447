"""When to look at our NAT, and what was seen last: at the start, on request, and every few minutes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import trio

from tunnel.machines.pulse import Pulse
from tunnel.model.endpoint import Endpoint, split_host_port
from tunnel.model.settings import STUN_PORTS
from tunnel.model.timings import Timings
from tunnel.nat.candidates import own_endpoints
from tunnel.nat.survey import Survey, SurveyResult
from tunnel.network.ports import DatagramSocket, Entropy, Interfaces, Resolver

_LEAST_GAP = 1.0


class Surveyor:
    """Run `run()`. `changed(result, before)` is told of each survey that ended. SettingsError: no HOST:PORT."""

    def __init__(
        self,
        sockets: Sequence[DatagramSocket],
        resolver: Resolver,
        interfaces: Interfaces,
        *,
        servers: Sequence[str],
        timings: Timings,
        entropy: Entropy,
        changed: Callable[[SurveyResult, SurveyResult | None], None],
    ) -> None:
        self._sockets = sockets
        self._resolver = resolver
        self._interfaces = interfaces
        self._servers = servers
        self._timings = timings
        self._entropy = entropy
        self._changed = changed
        for server in servers:
            split_host_port(server, STUN_PORTS[0])
        self._requested = False
        self._begun = self._ended = 0
        self._wish = Pulse()
        self._done = Pulse()
        self._survey: Survey | None = None
        self.own: tuple[Endpoint, ...] = ()
        """STUN endpoints of our own server, known once it has welcomed us."""
        self.result: SurveyResult | None = None

    def request(self) -> None:
        """Survey soon; wishes that come while one runs are one wish."""
        self._requested = True
        self._wish.beat()

    def handle_untrusted(self, socket: int, datagram: bytes, remote: Endpoint) -> None:
        """A STUN datagram: of use only while a survey runs."""
        if self._survey is not None and socket < len(self._sockets):
            self._survey.receive_untrusted(self._sockets[socket], datagram, remote)

    async def survey_now(self) -> SurveyResult:
        """The result of a survey that begins now."""
        self.request()
        mine = self._begun + 1
        await self._done.wait_until(lambda: self._ended >= mine)
        assert self.result is not None
        return self.result

    async def run(self) -> None:
        """For ever. The first survey waits until somebody asks for it, as each registration does.

        Between surveys one of our own server's endpoints is asked now and then: that keeps the announced mapping alive,
        and an answer that differs (the NAT forgot us, or we are elsewhere) brings the next survey at once.
        """
        due = -math.inf
        while True:
            with trio.move_on_after(self._timings.keepalive):
                await self._wish.wait_until(lambda: self._requested)
            if not self._requested:
                if not self.own and not self._servers:
                    continue
                if trio.current_time() < due and await self._is_mapping_kept():
                    continue
            self._requested = False
            self._begun += 1
            before, self.result = self.result, await self._look(self.own, self._servers)
            due = trio.current_time() + self._timings.survey_refresh
            self._ended += 1
            self._done.beat()
            self._changed(self.result, before)
            await trio.sleep(_LEAST_GAP)

    async def _is_mapping_kept(self) -> bool:
        if not self.own or self.result is None:
            return True
        seen = await self._look(self.own[:1], ())
        if not self.result.reflexive:
            return not seen.reflexive  # nobody answered then: an answer now means that a firewall was opened
        return bool(seen.reflexive) and seen.reflexive[0] in self.result.reflexive

    async def _look(self, own_servers: Sequence[Endpoint], servers: Sequence[str]) -> SurveyResult:
        self._survey = Survey(
            self._sockets,
            self._resolver,
            own=own_endpoints(self._interfaces.addresses(), [socket.local for socket in self._sockets]),
            own_servers=own_servers,
            servers=servers,
            timings=self._timings,
            token=self._entropy.token,
        )
        try:
            return await self._survey.run()
        finally:
            self._survey = None
