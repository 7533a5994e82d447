"""A resolver for hosts that have IPv6 alone: it knows the way through a NAT64 to those that have IPv4 alone.

    name or literal -> resolver -> IPv4 and IPv6 endpoints, then each IPv4 one as the NAT64 takes it

DNS64 does this for names; literals, STUN servers and peers' candidates never ask a name server. The prefix is found by
RFC 7050, once for each network that this machine is in. A machine that has IPv4 asks for nothing. Where the network
tells none, names and literals are tried at the well-known prefix too: a NAT64 it is once somebody answered there.
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
"""Seconds that the question may take: whoever resolves a name waits for it."""
ASK_AGAIN = 60.0
"""Seconds after which a network that told no prefix is asked again."""

log = logging.getLogger(__name__)


class Nat64Resolver:
    """A resolver before another one. `prefixes` is what is known now, `reach` translates by it.

    `note_heard` is told whom this machine has heard from.

    `exclude()` are addresses that lead into a tunnel of ours: they are no IPv4.
    """

    def __init__(
        self, resolver: Resolver, interfaces: Interfaces, exclude: Callable[[], Collection[str]] = tuple
    ) -> None:
        self._resolver = resolver
        self._interfaces = interfaces
        self._exclude = exclude
        self._place: object = None
        """The network that the prefixes are those of."""
        self._ask_at = -math.inf
        self._asking = trio.Lock()
        self._guess: Nat64Prefix | None = None
        """What is tried without a word of the network."""
        self.prefixes: tuple[Nat64Prefix, ...] = ()

    async def resolve(self, host: str, port: int) -> tuple[Endpoint, ...]:
        """The endpoints of a name or of a numeric address, with the ways to the IPv4 ones. Raises Unreachable."""
        endpoints = await self._resolver.resolve(host, port)
        await self._learn()
        return _with_ways(endpoints, self.prefixes if self._guess is None else (*self.prefixes, self._guess))

    def note_heard(self, host: str) -> None:
        """Somebody at this address answered: if it is one that was guessed, there is a NAT64."""
        guess = self._guess
        if guess is not None and guess.holds(host):
            self._guess, self.prefixes = None, (guess,)
            log.info("this network has a NAT64 that it does not tell", extra={"prefixes": str(guess)})

    def reach(self, endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        """These, and then how the IPv4 ones are reached from here, each once."""
        return _with_ways(tuple(endpoints), self.prefixes)

    async def _learn(self) -> None:
        """Ask, where IPv4 is missing and nobody has asked in this network."""
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
            # Who has no IPv4 at all loses nothing by trying the prefix that most networks use.
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
