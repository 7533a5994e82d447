"""A lab for each test, and agents on its hosts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation, Filtering, Mapping
from tunnel.verify.netlab import SERVER_ADDRESSES, Host, Lab

_PROBE = [sys.executable, "-I", "-S", str(Path(__file__).with_name("probe.py"))]
_FIRST, _SECOND = SERVER_ADDRESSES

PRIMARY = Endpoint(_FIRST, 3478)
SAME_ADDRESS = Endpoint(_FIRST, 3479)
OTHER_ADDRESS = Endpoint(_SECOND, 3478)
OTHER_BOTH = Endpoint(_SECOND, 3479)

SOON = 5.0
"""Seconds for what will come; the test ends when it comes."""

SILENCE = 0.3
"""Seconds for what must not come."""


class Behavior(NamedTuple):
    """The mapping and filtering that RFC 5780 finds, and the allocation of ports meanwhile."""

    mapping: Mapping
    filtering: Filtering
    allocation: Allocation


class Agent:
    """A program on a host that executes commands."""

    def __init__(self, lab: Lab, host: Host) -> None:
        self._host = host
        self._program = lab.popen(host, [*_PROBE, "agent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def open(self, port: int = 0, *, ipv6: bool = False) -> int:
        """Open a new UDP socket in place of the last one; returns its port."""
        return int(self._do("open", port=port, ipv6=ipv6))

    def seen_by(self, server: Endpoint, *, after: float = 0.0, within: float = SOON) -> Endpoint | None:
        """Our endpoint as that echo server sees it, answering `after` so many seconds; None if no answer came."""
        answer = self._do("ask", to=server, after=after, within=within)
        return answer and Endpoint(answer[0], answer[1])

    def admits(self, stranger: Endpoint, *, after_asking: Endpoint) -> bool:
        """Whether an answer from an endpoint that was not asked comes in."""
        return bool(self._do("admits", to=after_asking, answer_from=stranger))

    def round_trip(self, server: Endpoint) -> float:
        """Seconds until the answer."""
        return float(self._do("ask", to=server, after=0.0, within=SOON)[2])

    def send(self, to: Endpoint, text: str = "hello", *, ttl: int = 64) -> None:
        self._do("send", to=to, text=text, ttl=ttl)

    def hear(self, within: float = SOON) -> tuple[str, Endpoint] | None:
        """The next datagram and its source, or None."""
        heard = self._do("hear", within=within)
        return heard and (heard[0], Endpoint(heard[1], heard[2]))

    def exchange(self, to: Endpoint, data: bytes, within: float = SOON) -> bytes | None:
        """Raw bytes, and the first that come back."""
        answer = self._do("exchange", to=to, data=data.hex(), within=within)
        return None if answer is None else bytes.fromhex(answer)

    def say(self, to: Endpoint, first: str, within: float = SOON) -> str:
        """Over TCP: what came back, or "reset" or "silence"."""
        return str(self._do("say", to=to, first=first, within=within))

    def pump(self, to: Endpoint, size: int) -> bool:
        """Over TCP: whether `size` bytes came back whole."""
        return bool(self._do("pump", to=to, size=size))

    def behavior(self) -> Behavior:
        """RFC 5780 4.3 and 4.4, a fresh socket for each."""
        local = Endpoint(self._host.address, self.open())
        seen = [self.seen_by(server) for server in (PRIMARY, OTHER_ADDRESS, OTHER_BOTH)]
        first, second, third = seen
        assert first is not None
        if first == second == third:
            mapping = Mapping.NONE if first == local else Mapping.ENDPOINT_INDEPENDENT
        else:
            mapping = Mapping.ADDRESS_DEPENDENT if second == third else Mapping.ADDRESS_AND_PORT_DEPENDENT
        ports = [endpoint.port for endpoint in seen if endpoint is not None]
        if mapping is Mapping.NONE:
            allocation = Allocation.UNKNOWN
        elif set(ports) == {local.port}:
            allocation = Allocation.PRESERVING
        else:
            is_counting = ports == list(range(ports[0], ports[0] + 3))
            allocation = Allocation.SEQUENTIAL if is_counting else Allocation.RANDOM
        self.open()
        if self.admits(OTHER_BOTH, after_asking=PRIMARY):
            filtering = Filtering.NONE if mapping is Mapping.NONE else Filtering.ENDPOINT_INDEPENDENT
        elif self.admits(SAME_ADDRESS, after_asking=PRIMARY):
            filtering = Filtering.ADDRESS_DEPENDENT
        else:
            filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT
        return Behavior(mapping, filtering, allocation)

    def close(self) -> None:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.close()
        self._program.stdout.close()

    def _do(self, what: str, **details: Any) -> Any:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(json.dumps({"do": what, **details}).encode() + b"\n")
        self._program.stdin.flush()
        return json.loads(self._program.stdout.readline())


@contextmanager
def open_echoing_lab() -> Iterator[Lab]:
    """A lab whose server host runs the echo server."""
    with Lab() as lab:
        argv = [*_PROBE, "echo", *SERVER_ADDRESSES]
        with lab.popen(lab.server, argv, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield lab
            server.terminate()


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An echoing lab for this test. A module whose tests do not disturb each other has one for all of them instead."""
    with open_echoing_lab() as lab:
        yield lab


@pytest.fixture
def agent_on(lab: Lab) -> Iterator[Callable[[Host], Agent]]:
    """Starts an agent on a host."""
    agents: list[Agent] = []

    def start(host: Host) -> Agent:
        agents.append(Agent(lab, host))
        return agents[-1]

    yield start
    for agent in agents:
        agent.close()
