"""When to look at our NAT, and what was seen last: at the start, on request, and every few minutes.

A survey gives the verdict, quickly. Behavior discovery (RFC 5780) then learns the rest; its findings join the report.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

import trio

from tunnel.machines.notifier import Notifier
from tunnel.model.endpoint import Endpoint, split_host_port
from tunnel.model.nat import Udp
from tunnel.model.rates import TokenBucket
from tunnel.model.settings import PUBLIC_STUN, STUN_PORTS, NodeSettings
from tunnel.nat.candidates import own_endpoints
from tunnel.nat.server_health import ServerHealth, ServerRecords
from tunnel.nat.survey import Survey, SurveyResult
from tunnel.network.datagrams import Datagrams, DatagramSocket
from tunnel.network.nat64_resolver import Nat64Resolver
from tunnel.network.ports import Entropy, Interfaces
from tunnel.node.behavior_discovery import BehaviorDiscovery

log = logging.getLogger(__name__)

_LEAST_GAP = 1.0
SUSPICIONS = 4
"""Surveys that silent peers may cause at once; one more with each interval between our own regular ones."""
WELCOMES = 4
"""The same for welcomes by our server."""


class NatDiscovery:
    """Run `run()`. `news` is notified when a survey has ended and whenever `result` says more.

    Raises SettingsError for a server in the settings that is not HOST:PORT.
    """

    def __init__(
        self,
        sockets: Sequence[DatagramSocket],
        nat64: Nat64Resolver,
        interfaces: Interfaces,
        settings: NodeSettings,
        *,
        datagrams: Datagrams,
        entropy: Entropy,
        news: Notifier,
    ) -> None:
        self._sockets = sockets
        self._nat64 = nat64
        self._interfaces = interfaces
        self._is_on = settings.survey
        self._servers = (*settings.stun, *(PUBLIC_STUN if settings.default_stun else ())) if settings.survey else ()
        self._timings = timings = settings.timings
        self._entropy = entropy
        self._news = news
        for server in self._servers:
            split_host_port(server, STUN_PORTS[0])
        self._requested = self._suspected = False
        self._suspicions = TokenBucket(1.0 / timings.survey_refresh, SUSPICIONS, 0.0)
        self._welcomes = TokenBucket(1.0 / timings.survey_refresh, WELCOMES, 0.0)
        self._begun = self._ended = self._noted = 0
        self._wish = Notifier()
        self._done = Notifier()
        self._survey: Survey | None = None
        self.own: tuple[Endpoint, ...] = ()
        """STUN endpoints of our own server, known once it has welcomed us."""
        self.verdict: SurveyResult | None = None
        """The last survey, as it ended."""
        self.behavior = BehaviorDiscovery(datagrams, timings=timings, entropy=entropy, news=news)
        self._records = ServerRecords()

    @property
    def result(self) -> SurveyResult | None:
        """The last survey, and in its report what was learned since."""
        last = self.verdict
        return None if last is None else replace(last, report=self.behavior.report_of(last.report))

    @property
    def udp(self) -> Udp:
        """Whether UDP passes here, as far as we know."""
        return Udp.UNKNOWN if self.verdict is None else self.verdict.report.udp

    @property
    def reflexive(self) -> tuple[Endpoint, ...]:
        """Where STUN servers see us."""
        return () if self.verdict is None else self.verdict.reflexive

    @property
    def keepalive(self) -> float:
        """Seconds between two packets that keep an idle mapping of ours: it follows what was measured."""
        return self.behavior.keepalive

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the last survey."""
        return (self.verdict.hidden,) if self.verdict is not None and self.verdict.hidden else ()

    def health(self) -> tuple[ServerHealth, ...]:
        """What is remembered of each STUN server."""
        return self._records.health(trio.current_time())

    def request(self) -> None:
        """Survey soon; wishes that come while one runs are one wish."""
        self._requested = True
        self._wish.notify()

    def note_welcome(self, own: tuple[Endpoint, ...]) -> None:
        """Our server has welcomed us, and these are its STUN endpoints: survey soon, unless it does so all the time.

        It may name endpoints of anybody, drop the link and name them again.
        """
        if not self._is_on:
            return
        self.own = own
        if self._welcomes.take(trio.current_time()):
            self.request()

    def suspect(self) -> None:
        """A peer is silent, which may be our network's doing or its own: look soon.

        Whoever wants us to survey need only be silent, so third parties are asked a few times; then our own server is.
        """
        self._suspected = True
        self._wish.notify()

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

    async def wait_survey(self, known: SurveyResult | None) -> SurveyResult:
        """The last survey, as soon as it is not the `known` one."""
        await self._done.wait_until(lambda: self.verdict is not known)
        assert self.verdict is not None
        return self.verdict

    async def discover_now(self) -> SurveyResult:
        """The result of a survey and a behavior discovery that begin now; about 3 s. `health()` includes it then."""
        await self.survey_now()
        mine = self._ended
        await self.behavior.discover_now()
        await self._done.wait_until(lambda: self._noted >= mine)
        assert self.result is not None
        return self.result

    async def run(self) -> None:
        """For ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.behavior.run)
            nursery.start_soon(self._survey_often)

    async def _survey_often(self) -> None:
        """The first survey waits until somebody asks for it, as each registration does.

        Between surveys one of our own server's endpoints is asked now and then: that keeps the announced mapping alive,
        and an answer that differs (the NAT forgot us, or we are elsewhere) brings the next survey at once.
        """
        due = -math.inf
        while True:
            with trio.move_on_after(self.keepalive):
                await self._wish.wait_until(lambda: self._requested or self._suspected)
            is_suspected, self._suspected = self._suspected, False
            if not self._requested and not (is_suspected and self._suspicions.take(trio.current_time())):
                if not self.own and not self._servers:
                    continue
                if trio.current_time() < due and await self._is_mapping_kept(is_suspected):
                    if is_suspected:
                        with trio.move_on_after(_LEAST_GAP):
                            await self._wish.wait_until(lambda: self._requested)
                    continue
            self._requested = False
            self._begun += 1
            before, result = self.verdict, await self._look(self.own, self._servers)
            if result.hidden and (before is None or result.hidden != before.hidden):
                log.warning("a STUN answer is worthless", extra={"why": result.hidden})
            for answer in result.answers:
                self._nat64.note_heard(answer.remote.host)
            self.behavior.note(result, self.own)
            self.verdict = result
            due = trio.current_time() + self._timings.survey_refresh
            self._ended += 1
            self._done.notify()
            self._news.notify()
            await trio.sleep(_LEAST_GAP)  # late answers count for the servers' health
            survey, self._survey = self._survey, None
            if survey is not None:
                self._records.note(survey.servers, survey.heard(), survey.unresolved, trio.current_time())
            self._noted = self._ended
            self._done.notify()

    async def _is_mapping_kept(self, is_suspected: bool) -> bool:
        """What our own server says of it.

        No answer is no reason to ask others if a silent peer made us ask, or if it did not answer before either.
        """
        if not self.own or self.verdict is None:
            return True
        seen = await self._look(self.own[:1], ())
        if not seen.reflexive and (is_suspected or self._records.is_silent(str(self.own[0]))):
            return True
        if not self.verdict.reflexive:
            return not seen.reflexive  # nobody answered then: an answer now means that a firewall was opened
        return bool(seen.reflexive) and seen.reflexive[0] in self.verdict.reflexive

    async def _look(self, own_servers: Sequence[Endpoint], servers: Sequence[str]) -> SurveyResult:
        self._survey = Survey(
            self._sockets,
            self._nat64,
            own=own_endpoints(self._interfaces.addresses(), [socket.local for socket in self._sockets]),
            own_servers=own_servers,
            servers=servers,
            timings=self._timings,
            token=self._entropy.token,
            unresponsive=self._records.unresponsive(),
        )
        return await self._survey.run()
