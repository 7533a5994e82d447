"""Another tool, re-enacted on the virtual internet, to compare the figures of a report about it with runs.

The report claims success rates that were never measured. Hub and client are small re-implementations from a description
of the tool: its order of servers, timeouts, volleys, and what it counts as connected. Where its behavior before the
fixes is not known, the more favorable reading is taken. It gets public STUN servers that are all alive, a hub and
lines without loss, and traffic in both directions, which makes both sides announce themselves.

A run reports what the clients believe, and also when data had arrived in both directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import partial

import trio
from bench.studies.reenactment_client import Client, Habits
from bench.studies.reenactment_detection import serve_public_stun
from bench.studies.reenactment_hub import Hub

from tunnel.model.endpoint import Endpoint
from tunnel.model.settings import PUBLIC_STUN
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.verify.reachability.topology import SERVER, Topology
from tunnel.verify.simulation.internet.simulated_network import build_network
from tunnel.verify.simulation.runs.schedule import run_seeded

READY = 4.0
"""Seconds after the start at which both have something to say; as for our own nodes."""
PATIENCE = 60.0
"""Seconds after that for which a direct path is waited for: the tool's detection alone takes 15."""
ANSWER = 0.1
"""Seconds until the other side answers the first packet, which came over the hub."""


class Strategy(Enum):
    """The version of the tool."""

    BEFORE = "before"
    """Announces on demand, asks its own server and three of Google's; the hub refuses at once what it does not know."""
    AFTER = "after"
    """Announces after detection, asks eleven servers; the hub waits for ten seconds."""


_HABITS = {
    Strategy.BEFORE: (Habits(announces_by_itself=False, stun=PUBLIC_STUN[:3]), 0),
    Strategy.AFTER: (Habits(announces_by_itself=True, stun=PUBLIC_STUN), 10),
}
"""The habits of each version, and how often its hub polls."""


@dataclass(frozen=True, slots=True)
class Reenacted:
    """The result of a pair. Seconds count from the user's first packet, those of detection from the start."""

    detected: tuple[bool, bool]
    """Whether each side got an answer of a STUN server."""
    detection_seconds: tuple[float | None, float | None]
    is_first_request_served: bool
    """Whether peer info was available within the hub's timeout at the first request."""
    requests: int
    claimed: tuple[float | None, float | None]
    """When each side first counted the other as connected."""
    carried: float | None
    """When data of both had arrived directly; None if that never happened."""

    @property
    def is_claimed(self) -> bool:
        """Whether both believed that they were connected."""
        return None not in self.claimed

    @property
    def is_direct(self) -> bool:
        """Whether data passed both ways."""
        return self.carried is not None


def reenact(
    topology: Topology, seed: int, strategy: Strategy, *, patience: float = PATIENCE, ready: float = READY
) -> Reenacted:
    """Run the tool on the hosts `one` and `other` of a topology, its hub on the server. Deterministic.

    The user's first packet comes `ready` seconds after the start.
    """
    return run_seeded(partial(_run, topology, seed, strategy, patience, ready), seed)


async def _run(topology: Topology, seed: int, strategy: Strategy, patience: float, ready: float) -> Reenacted:
    habits, polls = _HABITS[strategy]
    hub_place = Endpoint(topology.server.address, topology.server.port)
    async with open_memory_internet(seed=seed, latency=topology.latency) as internet, trio.open_nursery() as nursery:
        net = build_network(internet, topology, seed=seed)
        for stun in topology.stun_servers:
            socket = await net.hosts[stun.name].open_socket(Endpoint(stun.address, stun.port))
            nursery.start_soon(serve_public_stun, socket)
        hub = Hub(polls)
        nursery.start_soon(hub.serve, await net.hosts[SERVER].open_listener(hub_place))
        one, other = (Client(name, net.hosts[name].world(), hub_place, habits) for name in ("one", "other"))
        nursery.start_soon(one.run)
        nursery.start_soon(other.run)
        await trio.sleep_until(ready)
        nursery.start_soon(one.talk_to, other.name)
        await trio.sleep(ANSWER)
        nursery.start_soon(other.talk_to, one.name)
        with trio.move_on_at(ready + patience):
            for client in (one, other):
                await client.detected.wait()
                await client.heard.wait()
        nursery.cancel_scope.cancel()
    heard = [client.heard_at - ready for client in (one, other) if client.heard_at is not None]
    return Reenacted(
        detected=(_is_told(one), _is_told(other)),
        detection_seconds=(one.detection_seconds, other.detection_seconds),
        is_first_request_served=1 in hub.served,
        requests=hub.requests,
        claimed=(_after(ready, one.claimed_at), _after(ready, other.claimed_at)),
        carried=max(heard) if len(heard) == 2 else None,
    )


def _is_told(client: Client) -> bool:
    return client.detection is not None and client.detection.is_told


def _after(ready: float, moment: float | None) -> float | None:
    return None if moment is None else moment - ready
