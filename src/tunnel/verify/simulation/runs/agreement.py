"""Two nodes that exchange data must soon agree on whether their path is direct."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tunnel.verify.simulation.runs.failure import Failure
from tunnel.verify.simulation.runs.trace import Ended, Frozen, Moved, Record

PATIENCE = 30.0
"""Seconds for which one side alone may be connected: time to hear of the loss, judge the path, and give it up."""
TALK_GAP = 10.0
"""Seconds between two datagrams of a pair that talks, at most."""


def faults_in_agreement(
    records: Iterable[Record],
    names: Mapping[str, str],
    sent: Mapping[tuple[str, str], Iterable[float]],
    end: float,
) -> Iterator[Failure]:
    """Pairs of which one side was connected and the other was not, while they exchanged data and the server knew both.

    `names` maps node ids to hosts, `sent` pairs (sender, receiver) to the times of their datagrams; `end` is the run's.
    """
    talks: dict[frozenset[str], list[float]] = {}
    for pair, times in sent.items():
        talks.setdefault(frozenset(pair), []).extend(times)
    changes = _Changes(names)
    for record in records:
        changes.note(record)
    for sides, times in talks.items():
        for since, until in changes.disagreements(sides, end):
            talked = _longest_talk(sorted(times), since, until)
            if talked > PATIENCE:
                one, other = sorted(sides)
                told = f"{one} and {other} talked for {talked:.1f} s after {since:.3f} s while one alone was connected"
                yield Failure(since + PATIENCE, told, (one, other))


class _Changes:
    """The changes in a run that decide whether two sides disagree."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._links: dict[str, str] = {}
        self._log: list[tuple[float, str, str, str | None]] = []
        """Time, host, peer (or the server), and the state from then on."""

    def note(self, record: Record) -> None:
        """One record of the trace."""
        match record:
            case Moved(at, host, "PeerConnectionChart", about, _, _, _, target) if about in self._names:
                self._log.append((at, host, self._names[about], target))
            case Moved(at, host, "ServerLinkChart", _, _, _, _, target):
                self._links[host] = target
                self._log.append((at, host, "", target))
            case Frozen(at, host, is_stopped):
                self._log.append((at, host, "", None if is_stopped else self._links.get(host)))
            case Ended(at, host):
                self._log += [(at, host, about, None) for about in ("", *self._names.values())]

    def disagreements(self, pair: frozenset[str], end: float) -> Iterator[tuple[float, float]]:
        """The intervals in which one side alone was connected."""
        one, other = sorted(pair)
        now: dict[tuple[str, str], str | None] = {}
        since: float | None = None
        for at, host, about, state in [*self._log, (end, one, "", None)]:
            if host not in pair:
                continue
            now[host, about] = state
            sides = (now.get((one, other)), now.get((other, one)))
            is_split = (
                now.get((one, "")) == now.get((other, "")) == "registered"
                and None not in sides
                and sides.count("connected") == 1
            )
            if is_split and since is None:
                since = at
            elif not is_split and since is not None:
                yield since, at
                since = None


def _longest_talk(times: list[float], since: float, until: float) -> float:
    """The longest interval in seconds, within these limits, in which datagrams were sent without a pause."""
    longest, begin, last = 0.0, None, None
    for at in times:
        if not since <= at <= until:
            continue
        if begin is None or last is None or at - last > TALK_GAP:
            begin = at
        last = at
        longest = max(longest, last - begin)
    return longest
