"""What the server reports about itself: Prometheus metrics and the status document.

Both are read from the plain counters of the parts when they are requested, so counting costs the hot path nothing.
Network ids are hashes and may be shown; node ids, addresses and names are not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import trio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tunnel.server.context import ServerContext
from tunnel.server.rendezvous import Rendezvous
from tunnel.server.udp_relay import UdpRelay

STATUS_VERSION = 1
MAX_NETWORKS = 256
"""Networks in the status document, those with most nodes online first."""


class Reports(Collector):
    """Reads the counters of a running server."""

    def __init__(self, context: ServerContext, rendezvous: Rendezvous) -> None:
        self._context = context
        self._rendezvous = rendezvous
        self._began = trio.current_time()
        self._since = context.world.clock.wall()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def metrics(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry)

    def status(self) -> bytes:
        """The status document as JSON, one object."""
        context = self._context
        networks = sorted(self._networks(), key=lambda network: (-network[1], network[0]))
        document = {
            "version": STATUS_VERSION,
            "since": self._since,
            "uptime_s": trio.current_time() - self._began,
            "connections": {
                "open": context.admission.open_connections,
                **asdict(context.admission.statistics),
                "endings": context.counts.endings,
            },
            "nodes": sum(online for _, online, _ in networks),
            "networks": len(networks),
            "largest_networks": [
                {"id": name, "online": online, "announced": announced}
                for name, online, announced in networks[:MAX_NETWORKS]
            ],
            "leases": len(context.registry),
            "signals": context.counts.signals,
            "introductions": {"waiting": context.introductions.waiting, **asdict(context.introductions.statistics)},
            "relay": asdict(context.relay.statistics),
            "udp_relay": None if context.udp_relay is None else _udp_relay(context.udp_relay),
            "stun": asdict(context.stun_counts),
        }
        return json.dumps(document).encode()

    def collect(self) -> Iterator[Metric]:
        """The metrics, for the Prometheus library."""
        context, relay = self._context, self._context.relay.statistics
        networks = self._networks()
        yield _gauge("uptime_seconds", "Since the server began to serve.", trio.current_time() - self._began)
        yield _gauge("connections_open", "TCP connections that hold a slot.", context.admission.open_connections)
        yield _gauge("nodes", "Nodes that are registered.", sum(online for _, online, _ in networks))
        yield _gauge("nodes_announced", "Nodes that have announced themselves.", sum(count for *_, count in networks))
        yield _gauge("networks", "Networks with a node online.", len(networks))
        yield _gauge("leases", "IPv4 tunnel addresses that are leased.", len(context.registry))
        yield _gauge("introductions_waiting", "Pairs that wait for an announcement.", context.introductions.waiting)
        yield _counter("signals", "Signals heard from registered nodes.", context.counts.signals)
        yield _counter("relay_bytes", "Bytes of datagrams passed on.", relay.bytes)
        yield _counter("relay_frames", "Datagrams passed on.", relay.frames)
        yield _gauge("relay_memory_bytes", "Held by all relay queues.", self._rendezvous.relay_budget.held)
        yield _counters(
            "relay_dropped_frames",
            "Datagrams not passed on.",
            "why",
            {
                "no_receiver": relay.dropped_no_receiver,
                "over_rate": relay.dropped_over_rate,
                "slow_receiver": relay.dropped_slow_receiver,
            },
        )
        yield _counter("relay_dropped_batches", "Messages of frames over the rate, not read.", relay.dropped_batches)
        if context.udp_relay is not None:
            yield from _udp_relay_metrics(context.udp_relay)
        yield _counters("stun_requests", "STUN datagrams that came.", "outcome", asdict(context.stun_counts))
        yield _counters(
            "introductions",
            "Introductions that came to an end, and refusals.",
            "outcome",
            asdict(context.introductions.statistics),
        )
        yield _counters(
            "connections",
            "Connections that came, by what became of them before they registered.",
            "door",
            asdict(context.admission.statistics),
        )
        yield _counters(
            "connections_ended", "Conversations that ended, by the last word.", "code", context.counts.endings
        )

    def _networks(self) -> list[tuple[str, int, int]]:
        """(id, nodes online, nodes announced) of each network."""
        presence = self._context.presence
        counts: dict[str, tuple[int, int]] = {}
        for member in presence.members():
            online, announced = counts.get(str(member.network), (0, 0))
            counts[str(member.network)] = (online + 1, announced + (member.announcement is not None))
        return [(name, *count) for name, count in counts.items()]


def _udp_relay(relay: UdpRelay) -> dict[str, int]:
    circuits = {f"circuits_{name}": count for name, count in asdict(relay.circuits.statistics).items()}
    return {"circuits": len(relay.circuits), **circuits, **asdict(relay.statistics)}


def _udp_relay_metrics(relay: UdpRelay) -> Iterator[Metric]:
    counts = asdict(relay.statistics)
    yield _gauge("udp_relay_circuits", "Circuits that exist.", len(relay.circuits))
    yield _counters(
        "udp_relay_circuits_asked", "Circuits by what became of them.", "outcome", asdict(relay.circuits.statistics)
    )
    yield _counter("udp_relay_bytes", "Bytes of datagrams passed on over circuits.", counts["bytes"])
    yield _counter("udp_relay_datagrams", "Datagrams passed on over circuits.", counts["datagrams"])
    yield _counters(
        "udp_relay_binds",
        "Binds of circuits.",
        "outcome",
        {
            "bound": counts["binds"],
            "moved": counts["moves"],
            "unproved": counts["binds_unproved"],
            "limited": counts["binds_limited"],
            "refused": counts["binds_refused"],
        },
    )
    dropped = {name.removeprefix("dropped_"): count for name, count in counts.items() if name.startswith("dropped_")}
    yield _counters("udp_relay_dropped_datagrams", "Datagrams not passed on.", "why", dropped)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"p2ptunnel_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"p2ptunnel_{name}", text, value=value)


def _counters(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"p2ptunnel_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
