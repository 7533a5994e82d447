"""The gateway's UPnP service, by miniupnpc: a blocking library, so each call has a worker thread.

    free --take--> in use --give back--> free          a call that ended keeps what it found for the next one
                     | cancelled, or failed
                     v
                  thrown away                          nobody else ever touches an object that was left in mid-call

Discovering takes a second at least and eight at most, and only plain `Exception`s come out of it. So one call at a
time, in a thread that is abandoned on cancellation; an abandoned call that maps a port all the same takes it back.
The one file that names miniupnpc.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused, Unreachable
from tunnel.network.ports import MappedPort

DISCOVER_MILLISECONDS = 1000
TRIES = 4
"""External ports that are tried, from the wanted one upwards, when the gateway says that one is taken."""
LABEL = "p2ptunnel-trio"

_PERMANENT_ONLY = ("OnlyPermanentLeasesSupported", "Invalid Args")
"""UPnP errors 725, and 402 as some gateways say it: ask again for a mapping without an end."""
_CONFLICTS = ("ConflictInMappingEntry", "ConflictWithOtherMechanisms")
"""UPnP errors 718 and 729: another port may do."""

Outcome = TypeVar("Outcome")


@dataclass(slots=True)
class _Gateway:
    """A gateway that was found."""

    upnp: Any
    tells_entries: bool = True
    """Whether it showed us the mapping that it had just made: if not, its word that there is none means nothing."""


@dataclass(slots=True)
class _Call:
    """One call into the library, as its thread and its task see it."""

    is_abandoned: bool = False

    def check(self) -> None:
        """Go no further where nobody waits for the outcome."""
        if self.is_abandoned:
            raise Unreachable("nobody waits for this any more")


class RealPortMapper:
    """Asks the first gateway that answers."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(1)
        self._free: _Gateway | None = None
        """A gateway that was found, and that no call has in use."""

    async def map_port(self, internal_port: int, lease: float, external_port: int = 0) -> MappedPort:
        """Map a UDP port towards this machine for `lease` seconds. Raises Unreachable or Refused."""
        first = external_port or internal_port
        return await self._ask(lambda gateway, call: _map(gateway, call, internal_port, first, round(lease)))

    async def unmap_port(self, external_port: int) -> None:
        """Take a mapping of this machine back. Raises Unreachable or Refused."""
        await self._ask(lambda gateway, _: _unmap(gateway, external_port))

    async def holds_port(self, external: Endpoint, internal_port: int) -> bool:
        """Whether the gateway still maps that endpoint to this machine. Raises Unreachable."""
        return await self._ask(lambda gateway, _: _holds(gateway, external, internal_port))

    def forget(self) -> None:
        """This machine stands elsewhere now: search again."""
        self._free = None

    async def _ask(self, question: Callable[[_Gateway, _Call], Outcome]) -> Outcome:
        """The answer of the gateway that is known, or of one that is searched for."""
        call = _Call()
        known, self._free = self._free, None
        try:
            gateway, outcome = await trio.to_thread.run_sync(
                _converse, known, call, question, abandon_on_cancel=True, limiter=self._limiter
            )
        finally:
            call.is_abandoned = True
        self._free = gateway
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def _converse(
    known: _Gateway | None, call: _Call, question: Callable[[_Gateway, _Call], Outcome]
) -> tuple[_Gateway, Outcome | Refused]:
    """The gateway that answered, and its answer; a refusal is one. In a thread. Raises Unreachable."""
    for kept in (known, None):
        gateway = kept or _find_gateway()
        call.check()
        try:
            return gateway, question(gateway, call)
        except Refused as refusal:
            if gateway is not known:
                return gateway, refusal
        except Exception as error:
            if gateway is not known:
                raise Unreachable(str(error)) from error
    raise AssertionError("a gateway that was searched for has answered or failed")


def _map(gateway: _Gateway, call: _Call, internal_port: int, first: int, lease: int) -> MappedPort:
    upnp = gateway.upnp
    try:
        outside = str(ipaddress.IPv4Address(upnp.externalipaddress()))
    except Exception as error:
        raise Refused("no_external_address", str(error)) from error
    refusal = ""
    for external_port in range(first, min(first + TRIES, 65536)):
        for seconds in (lease, 0) if lease else (0,):
            call.check()
            try:
                upnp.addportmapping(external_port, "UDP", upnp.lanaddr, internal_port, LABEL, "", seconds)
            except Exception as error:
                refusal = str(error)
                if refusal in _PERMANENT_ONLY:
                    continue
                if refusal in _CONFLICTS:
                    break
                if not _leads_here(upnp, external_port, internal_port):  # or only the answer was lost
                    raise Refused("not_mapped", refusal) from error
            if call.is_abandoned:
                upnp.deleteportmapping(external_port, "UDP")
                call.check()
            gateway.tells_entries = _entry(upnp, external_port) is not None
            return MappedPort(Endpoint(outside, external_port), float(seconds) or math.inf)
    raise Refused("not_mapped", refusal)


def _unmap(gateway: _Gateway, external_port: int) -> None:
    upnp = gateway.upnp
    entry = _entry(upnp, external_port)
    if entry is not None and entry[0] != upnp.lanaddr:
        raise Refused("not_unmapped", f"the port belongs to {entry[0]}")
    try:
        upnp.deleteportmapping(external_port, "UDP")
    except Exception as error:
        raise Refused("not_unmapped", str(error)) from error


def _holds(gateway: _Gateway, external: Endpoint, internal_port: int) -> bool:
    upnp = gateway.upnp
    if upnp.externalipaddress() != external.host:
        return False
    return _leads_here(upnp, external.port, internal_port, untold=not gateway.tells_entries)


def _leads_here(upnp: Any, external_port: int, internal_port: int, *, untold: bool = False) -> bool:
    """Whether the gateway says that a mapping leads to this machine; `untold` where it says nothing."""
    entry = _entry(upnp, external_port)
    return untold if entry is None else (entry[0], int(entry[1])) == (upnp.lanaddr, internal_port)


def _entry(upnp: Any, external_port: int) -> Any:
    """Inner host and port of a mapping first; None: there is none, or the gateway does not tell."""
    try:
        return upnp.getspecificportmapping(external_port, "UDP")
    except Exception:
        return None


def _find_gateway() -> _Gateway:
    import miniupnpc

    upnp = miniupnpc.UPnP()
    upnp.discoverdelay = DISCOVER_MILLISECONDS
    try:
        if upnp.discover() > 0:
            upnp.selectigd()
            return _Gateway(upnp)
    except Exception as error:
        raise Unreachable(f"no UPnP gateway answers ({error})") from error
    raise Unreachable("no UPnP gateway answers")
