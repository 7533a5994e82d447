"""Ten thousand birthday punches: an easy NAT against one with random ports, by the schedule of the nodes.

    python -m bench.studies.birthday --punches 10000

Only the schedule of the nodes is run: steps, sockets, order of ports, probes and their repeats, with the constants of
peer/port_prediction/ and peer/probe_budget.py, over lines with delay and loss. So a punch costs a few milliseconds, and
two whole nodes would cost most of a second; whole nodes agree (tests/bench/studies/test_birthday.py).
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass

from bench.studies.statistics import Share, Spread

from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.peer.port_prediction.attempt import FLOWS_A_TICK, TICK
from tunnel.peer.port_prediction.limits import PREDICTION_FLOW_RATE, PREDICTION_FLOWS, SOCKET_RATE
from tunnel.peer.port_prediction.listener import BATCH, FIRST_REPEAT, OPENING_TTLS, REPEAT
from tunnel.peer.port_prediction.plan import FIRST_PORT, LAST_PORT, Span, sockets_for
from tunnel.peer.port_prediction.scanner import GRACE

EVERYWHERE = (FIRST_PORT, LAST_PORT)
AGREEMENT = 2
"""One-way times over the relay until both know that both begin."""
PROOF = 3
"""One-way times from the hit until both have proved the path: answer, full-size probe, its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The conditions of a punch. Times are seconds, losses shares."""

    span: Span = EVERYWHERE
    """The ports that the hard NAT draws from, and that the scanner knows."""
    latency: float = 0.05
    """One way."""
    loss: float = 0.0
    """The loss of each packet."""
    routers: int = 1
    """Before the hard side: first packets of a low TTL may not pass them all."""


@dataclass(frozen=True, slots=True)
class Punch:
    """The result of one punch."""

    seconds: float | None
    """Seconds from the introduction to the proof; None: it failed."""
    guesses: int
    """Made until then."""
    sockets: int


def punch(conditions: Conditions, chance: random.Random) -> Punch:
    """One birthday punch."""
    first, last = conditions.span
    begin = DEFAULT_TIMINGS.prediction_after + AGREEMENT * conditions.latency
    order = chance.sample(range(first, last + 1), min(last - first + 1, PREDICTION_FLOWS))
    asked = {port: _moment_of(index, begin) for index, port in enumerate(order)}
    wanted = sockets_for(conditions.span)
    best: tuple[float, float] | None = None
    for number, port in enumerate(chance.sample(range(first, last + 1), wanted)):
        at = asked.get(port)
        if at is not None:
            met = _meeting(conditions, chance, number, at, begin)
            if met is not None and (best is None or met < best[0]):
                best = (met, at)
    if best is None:
        return Punch(None, len(order), wanted)
    ends = best[0] + PROOF * conditions.latency
    guesses = sum(moment <= ends for moment in asked.values())
    return Punch(ends, guesses, min(wanted, int((ends - begin) * SOCKET_RATE) + 1))


def _meeting(conditions: Conditions, chance: random.Random, number: int, asked: float, begin: float) -> float | None:
    """When the first packet passes both NATs, for a socket of the listener whose port is asked at this moment.

    The guess passes if the socket's NAT was open when it came; else a later probe from the socket does, since the guess
    has opened the scanner's own NAT.
    """
    opened = begin + number // BATCH * TICK
    ttl = OPENING_TTLS[number // BATCH % len(OPENING_TTLS)]
    passes_routers = ttl > conditions.routers
    knocks = [opened + FIRST_REPEAT + round_ * REPEAT for round_ in range(4)]
    is_open_from = opened if passes_routers else knocks[0]
    if asked + conditions.latency >= is_open_from and chance.random() >= conditions.loss:
        return asked + conditions.latency
    end = begin + PREDICTION_FLOWS / PREDICTION_FLOW_RATE + GRACE
    for knock in knocks:
        if asked < knock + conditions.latency and knock < end and chance.random() >= conditions.loss:
            return knock + conditions.latency
    return None


def _moment_of(index: int, begin: float) -> float:
    """When the guess with this number is sent: several in each step, no more than the pace allows."""
    by_steps = begin + index // FLOWS_A_TICK * TICK
    saved = PREDICTION_FLOW_RATE / 10
    return max(by_steps, begin + (index - saved) / PREDICTION_FLOW_RATE)


def run_punches(conditions: Conditions, count: int, seed: int = 0) -> list[Punch]:
    """Run many punches, each with its own random source: the same number and seed give the same punch."""
    return [punch(conditions, random.Random(f"{seed}/{number}/birthday")) for number in range(count)]


ROWS: dict[str, Conditions] = {
    "any port": Conditions(),
    "any port, 250 ms one way": Conditions(latency=0.25),
    "any port, 2 % loss": Conditions(loss=0.02),
    "any port, 10 % loss": Conditions(loss=0.1),
    "any port, carrier behind a home router": Conditions(routers=2),
    "a block of 512": Conditions(span=(2048, 2559)),
    "a block of 2,048": Conditions(span=(2048, 4095)),
    "a block of 4,096": Conditions(span=(4096, 8191)),
    "a block of 16,384": Conditions(span=(16384, 32767)),
}
WITHIN = 15.0


def table(count: int, seed: int = 0) -> str:
    """A Markdown table: how many punches win, how soon, and with how many guesses (medians)."""
    lines = [
        f"| the hard NAT gives | sockets | won in {WITHIN:g} s | 95 % interval | p50, s | p95, s | p99, s | guesses |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, conditions in ROWS.items():
        punches = run_punches(conditions, count, seed)
        won = [one for one in punches if one.seconds is not None and one.seconds <= WITHIN]
        share, seconds = Share(len(won), count), Spread.of([one.seconds for one in won if one.seconds is not None])
        guesses = Spread.of([one.guesses for one in won])
        low, high = share.interval
        cells = [name, str(sockets_for(conditions.span)), f"**{share.value:.2%}**", f"{low:.2%} to {high:.2%}"]
        if seconds is not None and guesses is not None:
            cells += [f"{seconds.p50:.1f}", f"{seconds.p95:.1f}", f"{seconds.p99:.1f}", f"{guesses.p50:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Run birthday punches by the schedule of the nodes.")
    parser.add_argument("--punches", type=int, default=10_000, metavar="N", help="of each row")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    print(table(options.punches, options.seed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
