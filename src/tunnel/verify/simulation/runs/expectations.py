"""Judges expectations: waits for their moments, looks at nodes, traffic and trace, and says what differs."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import assert_never

import trio

from tunnel.verify.simulation.runs.failure import Failure
from tunnel.verify.simulation.runs.programs import Programs
from tunnel.verify.simulation.runs.trace import Signalled
from tunnel.verify.simulation.scenarios.expectation import (
    Expectation,
    ExpectNode,
    ExpectPeer,
    ExpectSignals,
    ExpectTraffic,
)

LOOK_GAP = 0.5
"""Seconds after which to look again: something may change without any notification."""
ROUNDING = 1e-6
ABSENT = "none"


class Judge:
    """Checks expectations that have a moment during the run, and the others at its end."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self.failures: list[Failure] = []
        self._open: list[ExpectPeer | ExpectNode] = []
        """The expectations that may still fail or were not met yet."""
        self.met_at: dict[str, float] = {}
        """When each expectation with a `by` was first met."""

    def watch(self, nursery: trio.Nursery) -> None:
        """Start a task for each expectation that has a moment."""
        for expectation in self._programs.scenario.expectations:
            if isinstance(expectation, ExpectPeer | ExpectNode):
                self._open.append(expectation)
                nursery.start_soon(self._watch_one, expectation)

    def close(self) -> None:
        """The run is over: judge what concerns the whole of it, and what had to hold until now."""
        for moment in self._open:
            if (moment.since or 0.0) <= trio.current_time():
                self._check(moment)
        for expectation in self._programs.scenario.expectations:
            match expectation:
                case ExpectTraffic():
                    self._judge_traffic(expectation)
                case ExpectSignals():
                    self._judge_signals(expectation)
                case ExpectPeer() | ExpectNode():
                    pass
                case _:
                    assert_never(expectation)

    async def _watch_one(self, expectation: ExpectPeer | ExpectNode) -> None:
        await self._judge_in_time(expectation)
        self._open.remove(expectation)

    async def _judge_in_time(self, expectation: ExpectPeer | ExpectNode) -> None:
        if expectation.by is not None:
            await trio.sleep_until(expectation.after)
            await self._wait_true(expectation, expectation.by)
        elif expectation.at is not None:
            await trio.sleep_until(expectation.at)
            await trio.lowlevel.checkpoint()  # what was due at this moment has happened
            self._check(expectation)
        else:
            await trio.sleep_until(expectation.since or 0.0)
            await self._keep_true(expectation, math.inf if expectation.until is None else expectation.until)

    async def _wait_true(self, expectation: ExpectPeer | ExpectNode, deadline: float) -> None:
        while (otherwise := self._difference(expectation)) is not None:
            if trio.current_time() >= deadline - ROUNDING:
                self._fail_now(expectation, otherwise)
                return
            await self._wait_news(expectation.node, deadline)
        self.met_at[describe(expectation)] = trio.current_time()

    async def _keep_true(self, expectation: ExpectPeer | ExpectNode, end: float) -> None:
        while trio.current_time() < end - ROUNDING:
            if not self._check(expectation):
                return
            await self._wait_news(expectation.node, end)

    def _check(self, expectation: ExpectPeer | ExpectNode) -> bool:
        otherwise = self._difference(expectation)
        if otherwise is not None:
            self._fail_now(expectation, otherwise)
        return otherwise is None

    def _fail_now(self, expectation: ExpectPeer | ExpectNode, otherwise: str) -> None:
        now = trio.current_time()
        self._fail(expectation, f"at {now:.3f} s {otherwise}", now)

    async def _wait_news(self, host: str, deadline: float) -> None:
        node = self._programs.nodes.get(host)
        with trio.move_on_at(min(deadline, trio.current_time() + LOOK_GAP)):
            await (self._programs.changed if node is None else node.program.notifier).wait()

    def _difference(self, expectation: ExpectPeer | ExpectNode) -> str | None:
        """The difference from what is expected, in words; None if there is none."""
        match expectation:
            case ExpectPeer():
                return self._peer_difference(expectation)
            case ExpectNode():
                return self._node_difference(expectation)

    def _peer_difference(self, expected: ExpectPeer) -> str | None:
        peer = self._programs.peer(expected.node, expected.peer)
        if peer is None:
            return f"{expected.node} does not run, or knows no {expected.peer}"
        path, reason = peer.path, peer.reason
        different = _compare(
            ("state", expected.state, peer.state),
            ("path", expected.path, ABSENT if path is None else path.kind),
            ("reason", expected.reason, ABSENT if reason is None else reason.code.value),
        )
        if different is None and expected.rtt_at_most is not None:
            rtt = None if path is None else path.rtt
            if rtt is None or rtt > expected.rtt_at_most + ROUNDING:
                return "round trip is " + ("not known" if rtt is None else f"{rtt:.4f} s")
        if different is None and expected.path_mtu is not None:
            mtu = None if path is None else path.path_mtu
            if mtu != expected.path_mtu:
                return "path MTU is " + ("not known" if mtu is None else f"{mtu}")
        return different

    def _node_difference(self, expected: ExpectNode) -> str | None:
        node = self._programs.nodes.get(expected.node)
        if node is None:
            return f"{expected.node} does not run"
        status = node.status()
        different = _compare(
            ("server", expected.server, status.server.state),
            ("announcement", expected.announcement, status.announcement),
            ("mapping", expected.mapping, status.nat.mapping.value),
            ("udp", expected.udp, status.nat.udp.value),
            ("port_mapping", expected.port_mapping, status.nat.port_mapping),
        )
        if different is None and expected.note is not None and not _is_noted(expected.note, status.notes):
            return f"its notes are {status.notes}" if status.notes else "it has no notes"
        return different

    def _judge_traffic(self, expected: ExpectTraffic) -> None:
        traffic, now = self._programs.traffic.get((expected.who, expected.to)), trio.current_time()
        if traffic is None:
            self._fail(expected, "nothing was sent", now)
            return
        lost, hole, first = traffic.lost(now), traffic.longest_hole(), traffic.first_after
        if expected.lost_at_most is not None and len(lost) > expected.lost_at_most:
            self._fail(expected, f"{len(lost)} of {len(traffic.sent)} were lost", lost[expected.lost_at_most])
        if expected.longest_hole is not None and hole.length > expected.longest_hole + ROUNDING:
            self._fail(expected, f"nothing arrived for {hole.length:.3f} s", hole.ends)
        if expected.first_within is not None and (first is None or first > expected.first_within + ROUNDING):
            told = "nothing arrived" if first is None else f"the first came after {first:.3f} s"
            self._fail(expected, told, now if first is None else traffic.sent[0] + first)
        if not _is_between(len(traffic.arrived), expected.arrived_at_least, expected.arrived_at_most):
            self._fail(expected, f"{len(traffic.arrived)} of {len(traffic.sent)} arrived", now)
        if expected.carried_after is not None and not traffic.is_carried_after(expected.carried_after):
            self._fail(expected, "nothing that was sent after it arrived", now)
        end = math.inf if expected.before is None else expected.before
        if expected.lost_share_at_most is not None:
            share = traffic.lost_share(expected.after, min(end, now - 1.0))
            if share is None or share > expected.lost_share_at_most:
                told = "nothing was sent" if share is None else f"{share:.2%} were lost"
                self._fail(expected, told, min(end, now))
        sizes = [
            size for at, size in self._programs.trace.fragments.get(expected.who, ()) if expected.after <= at < end
        ]
        if not _is_between(max(sizes, default=0), expected.fragments_at_least, expected.fragments_at_most):
            self._fail(expected, f"the largest record had {max(sizes, default=0)} datagrams", min(end, now))

    def _judge_signals(self, expected: ExpectSignals) -> None:
        end = math.inf if expected.before is None else expected.before
        times = [
            record.at
            for record in self._programs.trace.records
            if isinstance(record, Signalled)
            and record.is_sent
            and (record.host, record.tag) == (expected.host, expected.signal)
            and expected.after <= record.at < end
        ]
        if not _is_between(len(times), expected.at_least, expected.at_most):
            told = ", ".join(f"{at:.3f}" for at in times[:12]) or "never"
            is_too_often = expected.at_most is not None and len(times) > expected.at_most
            at = times[expected.at_most or 0] if is_too_often else min(end, trio.current_time())
            self._fail(expected, f"it was said {len(times)} times ({told})", at)

    def _fail(self, expectation: Expectation, otherwise: str, at: float) -> None:
        self.failures.append(Failure(at, f"{describe(expectation)}: {otherwise}", _hosts_of(expectation)))


def _hosts_of(expectation: Expectation) -> tuple[str, ...]:
    match expectation:
        case ExpectPeer(node=node, peer=peer):
            return node, peer
        case ExpectNode(node=node):
            return (node,)
        case ExpectTraffic(who=who, to=to):
            return who, to
        case ExpectSignals(host=host):
            return (host,)


def describe(expectation: Expectation) -> str:
    """The expectation as its file says it."""
    told = (
        f"{each.name}={getattr(expectation, each.name)!r}"
        for each in fields(expectation)
        if getattr(expectation, each.name) != each.default
    )
    return f"{expectation.word} {' '.join(told)}"


def _compare(*aspects: tuple[str, str | None, str]) -> str | None:
    wrong = [
        f"{name} is {found}"
        for name, expected, found in aspects
        if expected is not None and found not in expected.split()
    ]
    return ", ".join(wrong) or None


def _is_noted(expected: str, notes: tuple[str, ...]) -> bool:
    return not notes if expected == ABSENT else any(expected in note for note in notes)


def _is_between(count: int, least: int | None, most: int | None) -> bool:
    return (least or 0) <= count <= (math.inf if most is None else most)
