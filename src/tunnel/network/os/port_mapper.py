"""The gateway's UPnP service: searched for here, asked by a process of its own for each call.

    free --take--> in use --give back--> free          a call that ended keeps what it found for the next one
                     | cancelled, or failed
                     v
                  thrown away

Only the gateway on the way out is asked, nobody else who answers a search. What speaks with it (`igd_errand`) may
block, swell or hang, so it is a process with limits, and a thread waits for that one: one at a time, abandoned on
cancellation. A process that nobody waits for takes back what it maps, and has its patience for that, no more.
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
from tunnel.network.os.upnp_client import UpnpClient
from tunnel.network.ports import Interfaces, MappedPort

Search = Callable[[Gateway], Awaitable[str]]
"""Where a gateway describes its service. Raises Unreachable."""
Run = Callable[[bytes, IsAbandoned], bytes]
"""Does one errand, blocking: the answer, empty where it came to none."""


@dataclass(slots=True)
class _Service:
    """A gateway's service that was found."""

    gateway: Gateway
    url: str
    tells_entries: bool = True
    """Whether it showed us the mapping that it had just made: if not, its word that there is none means nothing."""


@dataclass(slots=True)
class _Call:
    """One errand, as its thread and its task see it."""

    is_abandoned: bool = False


class RealPortMapper:
    """Asks the gateway of this machine's preferred default route."""

    is_installed = True

    def __init__(self, interfaces: Interfaces, *, search: Search = find_description, run: Run | None = None) -> None:
        self._interfaces = interfaces
        self._search = search
        self._process = UpnpClient()
        self._run = self._process.run if run is None else run
        self._limiter = trio.CapacityLimiter(1)
        self._free: _Service | None = None
        """A service that was found, and that no call has in use."""

    def prepare(self) -> None:
        """Start the process of the errands now, while this one may still become another user."""
        with suppress(OSError):  # told by the first errand, which tries again
            self._process.start()

    async def map_port(self, internal_port: int, lease: float, external_port: int = 0) -> MappedPort:
        """Map a UDP port towards this machine for `lease` seconds. Raises Unreachable or Refused."""
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
        """This machine stands elsewhere now: search again."""
        self._free = None

    async def _ask(self, word: str, **arguments: str | int) -> tuple[_Service, Any]:
        """The service that is known, or one that is searched for, and what it says. Raises Unreachable or Refused."""
        gateway = self._gateway()
        known, self._free = self._free, None
        if known is not None and known.gateway == gateway:
            try:
                return await self._converse(known, word, arguments)
            except (Refused, Unreachable):
                pass  # it may have started again elsewhere
        return await self._converse(_Service(gateway, await self._search(gateway)), word, arguments)

    async def _converse(self, service: _Service, word: str, arguments: dict[str, str | int]) -> tuple[_Service, Any]:
        """One errand. A service that has answered is kept, also if it refused."""
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
        """The answer, in a thread. A port that was mapped for nobody, in the errand's last moment, is taken back."""
        answer = json.loads(self._run(_request(url, word, arguments), lambda: call.is_abandoned) or b"{}")
        match answer:
            case {"said": {"port": port}} if call.is_abandoned:
                self._run(_request(url, "unmap", {"external_port": port}), lambda: False)
        return answer

    def _gateway(self) -> Gateway:
        try:
            found = self._interfaces.gateways()
        except OSError as error:
            raise Unreachable(f"the way out is unknown: {error}") from error
        for gateway in found:
            if not gateway.is_ipv6:
                return gateway
        raise Unreachable("no gateway on the way out")


def _request(url: str, word: str, arguments: dict[str, str | int]) -> bytes:
    return json.dumps({"word": word, "url": url, "arguments": arguments}).encode()
