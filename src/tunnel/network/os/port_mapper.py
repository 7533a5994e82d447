"""The gateway's UPnP service: discovered here (ssdp.py), called by a process of its own (upnp_worker.py).

    free --take--> in use --give back--> free          a call that ended keeps what it found for the next one
                     | cancelled, or failed
                     v
                  thrown away

Only the gateway of the default route is asked, whatever else answers the search. A call may block, swell or hang, so it
runs in a process with limits, and a thread waits for that: one at a time, abandoned on cancellation. A call that was
abandoned takes back what it mapped, within its patience.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import Refused, Unreachable
from tunnel.model.routes import Gateway
from tunnel.network.os.ssdp import find_description
from tunnel.network.os.upnp_call import IsAbandoned
from tunnel.network.os.upnp_client import UpnpWorkerClient
from tunnel.network.ports import Interfaces, MappedPort

Search = Callable[[Gateway], Awaitable[str]]
"""Finds the URL of a gateway's description. Raises Unreachable."""
Run = Callable[[bytes, IsAbandoned], bytes]
"""Makes one call, blocking: the answer, empty if there is none."""


@dataclass(slots=True)
class _Service:
    """A gateway's service that was found."""

    gateway: Gateway
    url: str
    tells_entries: bool = True
    """Whether it lists the mapping that it has just made. If not, a mapping that it does not list may still exist."""


@dataclass(slots=True)
class _Call:
    """One call, as its thread and its task share it."""

    is_abandoned: bool = False


class RealPortMapper:
    """Asks the gateway of this machine's preferred default route."""

    is_installed = True

    def __init__(self, interfaces: Interfaces, *, search: Search = find_description, run: Run | None = None) -> None:
        self._interfaces = interfaces
        self._search = search
        self._worker = UpnpWorkerClient()
        self._run = self._worker.run if run is None else run
        self._limiter = trio.CapacityLimiter(1)
        self._free: _Service | None = None
        """A service that was found and that no call is using."""

    def prepare(self) -> None:
        """Start the worker process now, while this process may still become another user."""
        with suppress(OSError):  # the first call tries again, and reports it
            self._worker.start()

    async def map_port(self, internal_port: int, lease: float, external_port: int = 0) -> MappedPort:
        """Map a UDP port toward this machine for `lease` seconds. Raises Unreachable or Refused."""
        first = external_port or internal_port
        service, mapped = await self._ask("map", internal_port=internal_port, first_port=first, lease=round(lease))
        service.tells_entries = mapped["tells_entries"]
        return MappedPort(Endpoint(mapped["host"], mapped["port"]), float(mapped["lease"]) or math.inf)

    async def unmap_port(self, external_port: int) -> None:
        """Take a mapping of this machine back. Raises Unreachable or Refused."""
        await self._ask("unmap", external_port=external_port)

    async def holds_port(self, external: Endpoint, internal_port: int) -> bool:
        """Whether the gateway still maps that endpoint to this machine. Raises Unreachable."""
        service, holds = await self._ask(
            "holds", host=external.host, external_port=external.port, internal_port=internal_port
        )
        return not service.tells_entries if holds is None else bool(holds)

    def forget(self) -> None:
        """This machine is in another network now: search again."""
        self._free = None

    async def _ask(self, word: str, **arguments: str | int) -> tuple[_Service, Any]:
        """The known service, or else one found by a search, and its answer. Raises Unreachable or Refused."""
        gateway = self._gateway()
        known, self._free = self._free, None
        if known is not None and known.gateway == gateway:
            try:
                return await self._converse(known, word, arguments)
            except (Refused, Unreachable):
                pass  # it may have restarted at another URL
        return await self._converse(_Service(gateway, await self._search(gateway)), word, arguments)

    async def _converse(self, service: _Service, word: str, arguments: dict[str, str | int]) -> tuple[_Service, Any]:
        """One call. A service that has answered is kept, even if it refused."""
        call = _Call()
        try:
            answer = await trio.to_thread.run_sync(
                self._run_kept, call, service.url, word, arguments, abandon_on_cancel=True, limiter=self._limiter
            )
        except OSError as error:
            raise Unreachable(f"no process can be started for UPnP: {error}") from error
        finally:
            call.is_abandoned = True
        match answer:
            case {"said": said}:
                self._free = service
                return service, said
            case {"refused": [code, text]}:
                self._free = service
                raise Refused(code, text)
            case {"failed": text}:
                raise Unreachable(text)
            case _:
                raise Unreachable("the gateway's UPnP service takes too long, or too much memory")

    def _run_kept(self, call: _Call, url: str, word: str, arguments: dict[str, str | int]) -> Any:
        """The answer, in a thread. A port that was mapped just as the call was abandoned is unmapped."""
        answer = json.loads(self._run(_request(url, word, arguments), lambda: call.is_abandoned) or b"{}")
        match answer:
            case {"said": {"port": port}} if call.is_abandoned:
                self._run(_request(url, "unmap", {"external_port": port}), lambda: False)
        return answer

    def _gateway(self) -> Gateway:
        try:
            found = self._interfaces.gateways()
        except OSError as error:
            raise Unreachable(f"the default route is unknown: {error}") from error
        for gateway in found:
            if not gateway.is_ipv6:
                return gateway
        raise Unreachable("no gateway on the default route")


def _request(url: str, word: str, arguments: dict[str, str | int]) -> bytes:
    return json.dumps({"word": word, "url": url, "arguments": arguments}).encode()
