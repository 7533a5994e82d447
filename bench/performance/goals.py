"""What this program wants to reach, and whether a run reached it. Each figure is a median, or a ratio of two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.performance.peers import BASE, OURS
from bench.performance.peers.ours import PLAIN, RELAYED_UDP, RELAYED_WEBSOCKET
from bench.performance.results import Results
from bench.performance.summary import median_of, ratio_of

PACKAGED = ("wireguard-go", "nebula", "tinc", "openvpn", "yggdrasil", "n2n")
"""The peers that Debian has."""
NEWER = "wireguard-go-"
"""How the names of newer ones begin, which are given by their paths."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One line. `value` gives None if the run has no figure for it."""

    title: str
    value: Callable[[Results], float | None]
    bound: float
    at_least: bool = True
    digits: int = 2

    def judge(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value >= self.bound if self.at_least else value <= self.bound


def describe_goals(results: Results) -> list[tuple[str, str, str, str]]:
    """Title, value, bound and verdict of each goal that was measured."""
    rows = []
    for goal in GOALS:
        value = goal.value(results)
        if value is not None:
            bound = f"{'>=' if goal.at_least else '<='} {goal.bound:g}"
            rows.append((goal.title, f"{value:.{goal.digits}f}", bound, "yes" if goal.judge(value) else "NO"))
    return rows


def text_goals(results: Results) -> str:
    """For a terminal; empty if none was measured."""
    rows = describe_goals(results)
    lines = [f"{title:<52}{value:>10}{bound:>11}{verdict:>6}" for title, value, bound, verdict in rows]
    return "\n".join([f"{'Goals':<52}{'measured':>10}{'bound':>11}{'met':>6}", *lines]) if lines else ""


def markdown_goals(results: Results) -> str:
    """For the page."""
    rows = describe_goals(results)
    if not rows:
        return "Not measured yet."
    lines = ["| | measured | bound | met |", "|---|---:|---:|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _ours(figure: str, value: str, unit: float = 1.0, peer: str = OURS) -> Callable[[Results], float | None]:
    def find(results: Results) -> float | None:
        found = median_of(results, peer, figure, value)
        return None if found is None else found / unit

    return find


def _against(base: str, figure: str, value: str, peer: str = OURS) -> Callable[[Results], float | None]:
    return lambda results: ratio_of(results, peer, base, figure, value)


def _against_best(is_rival: Callable[[str], bool], figure: str, value: str) -> Callable[[Results], float | None]:
    """Against the best of some peers in the same run."""

    def find(results: Results) -> float | None:
        rivals = [peer for peer in results.peers((figure,)) if is_rival(peer)]
        ratios = [ratio_of(results, OURS, rival, figure, value) for rival in rivals]
        return min((ratio for ratio in ratios if ratio is not None), default=None)

    return find


def _streams_ratio(results: Results) -> float | None:
    one, four = median_of(results, OURS, "tcp-1", "gbit"), median_of(results, OURS, "tcp-4", "gbit")
    return None if not one or four is None else four / one


def _idle_difference(results: Results) -> float | None:
    ours = median_of(results, OURS, "latency", "idle_p50")
    other = median_of(results, "wireguard-go", "latency", "idle_p50")
    return None if ours is None or other is None else ours - other


def _memory(results: Results) -> float | None:
    sizes = [median_of(results, OURS, "tcp-1", f"{end}_rss") for end in ("home", "office")]
    return max((size / 1e6 for size in sizes if size is not None), default=None)


def _kept_under_loss(percent: str) -> Callable[[Results], float | None]:
    """The share of its own speed that a stream keeps, through the share that it keeps on the bare path."""
    return _against(BASE, "loss", f"kept_{percent}")


def _is_packaged(peer: str) -> bool:
    return peer in PACKAGED


def _is_newer(peer: str) -> bool:
    return peer.startswith(NEWER)


def _is_rival(peer: str) -> bool:
    return _is_packaged(peer) or _is_newer(peer)


GOALS: Sequence[Goal] = (
    Goal("TCP, 1 stream, of the bare path", _against(BASE, "tcp-1", "gbit"), 0.27, digits=3),
    Goal("TCP, 1 stream, times the best packaged peer", _against_best(_is_packaged, "tcp-1", "gbit"), 3.0),
    Goal("TCP, 1 stream, times a newer wireguard-go", _against_best(_is_newer, "tcp-1", "gbit"), 2.0),
    Goal("TCP, 4 streams, of 1 stream", _streams_ratio, 1.0),
    Goal("CPU seconds for 10^9 bytes, both ends", _ours("tcp-1", "cpu_per_gb"), 2.3, at_least=False),
    Goal("UDP, 64 bytes, datagrams a second", _ours("udp-64", "delivered"), 90_000, digits=0),
    Goal("UDP, 64 bytes, times the best peer", _against_best(_is_rival, "udp-64", "delivered"), 1.0),
    Goal("RTT idle, ms more than wireguard-go", _idle_difference, 0.05, at_least=False, digits=3),
    Goal("RTT p99 under TCP load, ms", _ours("latency", "load_p99"), 5.0, at_least=False),
    *(
        Goal(f"TCP at {percent} % loss: speed kept, of bare's", _kept_under_loss(percent), 0.85, digits=3)
        for percent in ("0.1", "1", "5")
    ),
    Goal("Full speed after loss, seconds", _ours("loss", "back"), 5.0, at_least=False, digits=1),
    Goal("UDP relay, of the direct path", _against(OURS, "tcp-1", "gbit", RELAYED_UDP.name), 0.5),
    Goal("WebSocket relay, Gbit/s", _ours("tcp-1", "gbit", peer=RELAYED_WEBSOCKET.name), 1.5),
    Goal("TCP without any offload, Gbit/s", _ours("tcp-1", "gbit", peer=PLAIN.name), 0.4),
    Goal("Many pairs through one relay, Jain's index", _ours("many-pairs", "jain"), 0.95, digits=3),
    Goal("Memory under load, MB a node", _memory, 60.0, at_least=False, digits=1),
    Goal("1,000 idle peers, percent of a core", _ours("idle-peers", "cpu_more", 0.01), 1.0, at_least=False),
    Goal("1,000 idle peers, MB more", _ours("idle-peers", "rss_more", 1e6), 60.0, at_least=False, digits=1),
    Goal("First byte over the relay, ms beyond 2 RTT", _ours("first-byte", "more"), 50.0, at_least=False, digits=1),
)
