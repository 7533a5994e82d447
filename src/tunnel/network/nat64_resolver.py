"""A resolver for machines that have only IPv6: it translates IPv4 endpoints for the network's NAT64 (RFC 6052, 6146).

    name or literal -> resolver -> IPv4 and IPv6 endpoints, then each IPv4 one behind the NAT64's prefix

DNS64 does this for names, but literals, STUN servers and peers' candidates never go through DNS. The prefix is
discovered as in RFC 7050, once for each network that the machine joins. A machine with IPv4 does not ask. If the
network announces no prefix, names and literals are also tried at the well-known prefix; an answer from there proves
that there is a NAT64.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable

import trio

from tunnel.model.endpoint import Endpoint, Scope, scope_of
from tunnel.model.errors import Unreachable
from tunnel.model.nat64 import WELL_KNOWN_NAME, WELL_KNOWN_PREFIX, Nat64Prefix, prefixes_in
from tunnel.network.ports import Interfaces, Resolver

PATIENCE = 2.0
"""Seconds that prefix discovery may take: resolving a name waits for it."""
ASK_AGAIN = 60.0
"""Seconds after which a network that announced no prefix is asked again."""

log = logging.getLogger(__name__)


class Nat64Resolver:
    """Wraps a resolver. `prefixes` are those known now; `reach` translates by them.

    Call `note_heard` with each address that this machine was answered from. `exclude()` are addresses of our tunnel,
    which do not count as IPv4 connectivity.
    """

    def __init__(
        self, resolver: Resolver, interfaces: Interfaces, exclude: Callable[[], Collection[str]] = tuple
    ) -> None:
        self._resolver = resolver
        self._interfaces = interfaces
        self._exclude = exclude
        self._place: object = None
        """Our addresses in the network that the prefixes belong to."""
        self._ask_at = -math.inf
        self._asking = trio.Lock()
        self._guess: Nat64Prefix | None = None
        """The prefix that is tried although the network did not announce it."""
        self.prefixes: tuple[Nat64Prefix, ...] = ()

    async def resolve(self, host: str, port: int) -> tuple[Endpoint, ...]:
        """The endpoints of a name or a numeric address, with the IPv4 ones translated too. Raises Unreachable."""
        endpoints = await self._resolver.resolve(host, port)
        await self._learn()
        return _with_ways(endpoints, self.prefixes if self._guess is None else (*self.prefixes, self._guess))

    def note_heard(self, host: str) -> None:
        """An answer came from this address: if it is behind the guessed prefix, there is a NAT64."""
        guess = self._guess
        if guess is not None and guess.holds(host):
            self._guess, self.prefixes = None, (guess,)
            log.info("this network has a NAT64 that it does not tell", extra={"prefixes": str(guess)})

    def reach(self, endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        """These, and then the IPv4 ones as they are reached through the NAT64, each once."""
        return _with_ways(tuple(endpoints), self.prefixes)

    async def _learn(self) -> None:
        """Discover the prefix if IPv4 is missing and this network has not been asked."""
        near = (Scope.LOOPBACK, Scope.LINK)
        excluded = {host.partition("/")[0] for host in self._exclude()}
        known = self._interfaces.addresses()
        addresses = [host for host in known if host not in excluded and scope_of(host) not in near]
        families = {gateway.is_ipv6 for gateway in self._interfaces.gateways()}
        has_ipv4 = any(":" not in host for host in addresses)
        has_ipv6 = any(":" in host and scope_of(host) is Scope.GLOBAL for host in addresses)
        is_needed = has_ipv6 and (not has_ipv4 or families == {True})
        if not is_needed:
            self.prefixes, self._guess, self._place = (), None, None
            return
        place = addresses
        async with self._asking:
            if place == self._place and trio.current_time() < self._ask_at:
                return
            found = await self._ask()
            is_confirmed = place == self._place and self.prefixes == (WELL_KNOWN_PREFIX,)
            self._place = place
            self._ask_at = math.inf if found else trio.current_time() + ASK_AGAIN
            # A machine without any IPv4 loses nothing by trying the prefix that most networks use.
            self.prefixes = found or ((WELL_KNOWN_PREFIX,) if is_confirmed else ())
            self._guess = None if self.prefixes or has_ipv4 else WELL_KNOWN_PREFIX
            if found:
                log.info("this network has a NAT64", extra={"prefixes": " ".join(map(str, found))})

    async def _ask(self) -> tuple[Nat64Prefix, ...]:
        with trio.move_on_after(PATIENCE):
            try:
                told = await self._resolver.resolve(WELL_KNOWN_NAME, 0)
            except Unreachable:
                return ()
            return prefixes_in([endpoint.host for endpoint in told])
        return ()


def _with_ways(endpoints: tuple[Endpoint, ...], prefixes: Iterable[Nat64Prefix]) -> tuple[Endpoint, ...]:
    ways = (way for prefix in prefixes for way in prefix.reach(endpoints))
    return tuple(dict.fromkeys((*endpoints, *ways)))
