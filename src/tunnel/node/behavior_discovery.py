"""What a survey leaves open about our NAT (RFC 5780), learned in the background, and again where we are elsewhere.

verdict --> place (where we are seen, behind what) --> discovery --> news       at once if the NAT is hard, since peers
                                                   |                            need it; else once the node has started
                                                   `-> lifetime of an idle mapping, some minutes later --> news
another place: all of it is cancelled and begins anew; the same place again: nothing happens for a day
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import trio

from tunnel.machines.notifier import Notifier
from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import DeviceError
from tunnel.model.nat import Filtering, Mapping, NatReport
from tunnel.model.timings import Timings, rung
from tunnel.nat.behavior_discovery import BehaviorReport, discover_behavior, stun_addresses_of
from tunnel.nat.classification import telling
from tunnel.nat.filtering import StunAddresses
from tunnel.nat.lifetime import keepalive_for, measure_lifetime
from tunnel.nat.survey import SurveyResult
from tunnel.network.datagrams import Datagrams
from tunnel.network.ports import Entropy

_LEAST_GAP = 5.0
"""Seconds between the beginnings of two discoveries at different places: some NATs show many addresses in turn."""
_PATIENCE = 15.0
"""Seconds for a discovery that somebody waits for: with a change of place in its midst it takes ten."""
_MEASURE_RETRIES = (600.0, 3600.0, 86400.0)
"""Seconds after a lifetime could not be measured."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where we are, as a survey sees it."""

    mapping: Mapping
    """DEPENDENT for every mapping that depends on the destination."""
    is_sure: bool
    """Servers at several addresses observed it."""
    hosts: tuple[str, ...]
    """The outer addresses at which we are seen."""


class BehaviorDiscovery:
    """Run `run()`, tell it each verdict by `note`. `news` is notified when `report_of` or `keepalive` has changed."""

    def __init__(self, datagrams: Datagrams, *, timings: Timings, entropy: Entropy, news: Notifier) -> None:
        self._datagrams = datagrams
        self._timings = timings
        self._entropy = entropy
        self._news = news
        self._notifier = Notifier()
        self._place: _Place | None = None
        self._servers: tuple[StunAddresses, ...] = ()
        self._wished = self._handled = self._begun = self._ended = 0
        self.behavior_report = BehaviorReport()
        """Of the place where we are; empty while nothing is known."""
        self.lifetime: float | None = None

    @property
    def keepalive(self) -> float:
        """Seconds between two packets that keep an idle mapping."""
        return keepalive_for(self.lifetime, self._timings)

    def note(self, result: SurveyResult, own_servers: Sequence[Endpoint]) -> None:
        """A survey has ended."""
        servers = stun_addresses_of(result, own_servers)
        place = _place_of(result) if servers else None
        if place != self._place:
            self.behavior_report, self.lifetime = BehaviorReport(), None
        self._place, self._servers = place, servers
        self._notifier.notify()

    def report_of(self, verdict: NatReport) -> NatReport:
        """The verdict, completed by what was learned since in this place."""
        if self._place is None:
            return verdict
        return replace(self.behavior_report.applied_to(verdict), lifetime=self.lifetime)

    async def discover_now(self) -> None:
        """Return when a discovery that begins now has ended, after 15 s at most; at once if there is nobody to ask."""
        self._wished += 1
        mine = self._begun + 1
        self._notifier.notify()
        with trio.move_on_after(_PATIENCE):
            await self._notifier.wait_until(lambda: self._ended >= mine or self._place is None)

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._notifier.wait_until(lambda: self._place is not None)
            place, began = self._place, trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._discover_often)
                nursery.start_soon(self._measure_often)
                await self._wait_elsewhere(place)
                nursery.cancel_scope.cancel()
            await trio.sleep_until(began + _LEAST_GAP)

    async def _wait_elsewhere(self, place: _Place | None) -> None:
        await self._notifier.wait_until(lambda: self._place != place)

    async def _discover_often(self) -> None:
        assert self._place is not None
        patience = 0.0 if self._place.mapping is Mapping.DEPENDENT else self._timings.discovery_delay
        while True:
            with trio.move_on_after(patience):
                await self._notifier.wait_until(lambda: self._wished > self._handled)
            patience = self._timings.lifetime_refresh
            wished, self._begun = self._wished, self._begun + 1
            found = await discover_behavior(
                self._datagrams, self._entropy, self._servers, self._place.mapping, is_sure=self._place.is_sure
            )
            is_news, self.behavior_report = found != self.behavior_report, found
            self._handled, self._ended = wished, self._begun  # one that was cancelled has fulfilled no wish
            if is_news:
                self._news.notify()
            self._notifier.notify()

    async def _measure_often(self) -> None:
        await self._notifier.wait_until(lambda: self.behavior_report.addresses is not None)
        failures = 0
        while not self._is_open():
            found = await self._measure()
            if found is None:
                failures += 1
                await trio.sleep(rung(_MEASURE_RETRIES, failures - 1))
                continue
            failures = 0
            if found != self.lifetime:
                self.lifetime = found
                self._news.notify()
            await trio.sleep(self._timings.lifetime_refresh)

    def _is_open(self) -> bool:
        """Whether nothing in front of us needs to remember anything."""
        place = self._place
        is_open = self.behavior_report.filtering is Filtering.ENDPOINT_INDEPENDENT
        return place is not None and place.mapping is Mapping.NONE and is_open

    async def _measure(self) -> float | None:
        """Ask where nothing else of ours is kept: a NAT may punish an endpoint whose answers come too late."""
        addresses = self.behavior_report.addresses
        assert addresses is not None
        server = addresses.alternate or addresses.alternate_port or addresses.primary
        try:
            return await measure_lifetime(self._datagrams, self._entropy, server, self._timings.lifetime_rungs)
        except DeviceError:
            return None


def _place_of(result: SurveyResult) -> _Place:
    report = result.report
    hosts = sorted({answer.mapped.host for answer in telling(result.answers)})
    return _Place(Mapping.DEPENDENT if report.is_hard else report.mapping, result.observers > 1, tuple(hosts))
