"""Many pairs of the frozen population, run one by one: how many get a direct path, how soon, and at what cost.

The same pairs are run by our nodes and by another tool, as it was before and after its fixes, in a region where every
STUN server is reached and in regions where public ones are not.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from bench.studies.population_draw import draw_pair
from bench.studies.population_mix import Mix
from bench.studies.reenactment import Strategy, reenact
from bench.studies.statistics import Share, Spread
from bench.studies.study import ONE, OTHER, READY, study_pair

from tunnel.model.nat import Udp
from tunnel.model.reasons import ReasonCode
from tunnel.model.settings import PUBLIC_STUN
from tunnel.verify.reachability.nat_chain import nat_chains
from tunnel.verify.reachability.oracle import Possibility, Verdict, direct_path_possible
from tunnel.verify.reachability.topology import Topology
from tunnel.verify.workers import run_all

_NAMES = tuple(known.rpartition(":")[0] for known in PUBLIC_STUN)


class Region(Enum):
    """Which of the ten public STUN servers are out of reach for both; the value says it for people."""

    OPEN = "all STUN servers reached"
    WITHOUT_GOOGLE = "Google's three blocked"
    RESTRICTED = "all but the last two blocked"

    @property
    def blocked(self) -> tuple[str, ...]:
        """Their names."""
        match self:
            case Region.OPEN:
                return ()
            case Region.WITHOUT_GOOGLE:
                return _NAMES[:3]
            case Region.RESTRICTED:
                return _NAMES[:-2]


class Program(Enum):
    """The program that runs."""

    BEFORE = "the tool before its fixes"
    AFTER = "the tool after its fixes"
    OURS = "this program"


class Moment(Enum):
    """When the user's first packet comes; the value is seconds after the start of both."""

    AT_ONCE = READY
    SETTLED = 60.0


@dataclass(frozen=True, slots=True)
class Job:
    """One pair to run. `number` and `seed` together are the pair and its chance; the rest changes neither."""

    mix: Mix
    seed: int
    number: int
    program: Program = Program.OURS
    region: Region = Region.OPEN
    moment: Moment = Moment.AT_ONCE
    ipv6: bool = True
    """False: no host has IPv6, which shows what punching alone can do."""
    guesses: bool = True
    """False: our nodes punch plainly, and leave hard NATs to the relay."""

    @property
    def topology(self) -> Topology:
        """The pair."""
        chance = random.Random(f"{self.seed}/{self.number}/pair")
        topology = draw_pair(self.mix, chance, blocked=self.region.blocked)
        return topology if self.ipv6 else without_ipv6(topology)


@dataclass(frozen=True, slots=True)
class PairRun:
    """The result of one pair. Seconds count from the user's first packet."""

    job: Job
    verdict: Verdict
    detected: int
    """How many of the two got an answer of a STUN server."""
    is_introduced: bool
    """Whether the first request for the peer led to an introduction."""
    first_byte: float | None
    """Over any path; not measured for the other tool."""
    direct: float | None
    """When both had a direct path that carries data in both directions."""
    is_claimed: bool
    """Whether both believed that they had."""
    reason: str
    """Why not, if the program says so."""
    probes: int | None
    flows: int | None
    """Pairs of socket and remote endpoint that probes opened in routers."""
    failures: tuple[str, ...] = ()
    relay_rtt: float | None = None
    """Seconds of a round trip by way of the server."""
    is_hard: bool = False
    """Whether one of our nodes found itself behind a hard NAT; only then are ports guessed."""


def without_ipv6(topology: Topology) -> Topology:
    """The same topology, its hosts without their IPv6 addresses."""
    hosts = {
        name: replace(host, addresses=tuple(address for address in host.addresses if ":" not in address))
        for name, host in topology.hosts.items()
    }
    return replace(topology, hosts=hosts)


def run_population(
    jobs: Sequence[Job],
    *,
    processes: int | None = None,
    on_done: Callable[[PairRun], None] = lambda _: None,
) -> list[PairRun]:
    """Run them all, in any order, on all cores; the results are in the order of the jobs."""
    return run_all(run_pair, jobs, processes=processes, on_done=on_done)


def run_plainly(runs: Sequence[PairRun], *, processes: int | None = None) -> list[PairRun]:
    """Run the same pairs with the same seeds by plain punching. If no NAT is hard, the earlier run is taken."""
    jobs = [replace(run.job, guesses=False) for run in runs if run.is_hard]
    plain = {run.job: run for run in run_population(jobs, processes=processes)}
    return [plain[replace(run.job, guesses=False)] if run.is_hard else run for run in runs]


def run_pair(job: Job) -> PairRun:
    """Run one."""
    topology = job.topology
    verdict = direct_path_possible(*nat_chains(topology, ONE, OTHER))
    match job.program:
        case Program.OURS:
            return _run_ours(job, topology, verdict)
        case Program.BEFORE:
            return _run_tool(job, topology, verdict, Strategy.BEFORE)
        case Program.AFTER:
            return _run_tool(job, topology, verdict, Strategy.AFTER)


def _run_ours(job: Job, topology: Topology, verdict: Verdict) -> PairRun:
    result = study_pair(topology, job.number, ready=job.moment.value, guesses=job.guesses)
    is_met = result.state in ("connected", "relayed", "punching")
    return PairRun(
        job=job,
        verdict=verdict,
        detected=sum(nat is not None and nat.udp is Udp.OPEN for nat in result.nats),
        is_introduced=is_met and result.reason != ReasonCode.PEER_INFO_TIMEOUT.value,
        first_byte=result.first_byte,
        direct=result.direct,
        is_claimed=result.is_direct,
        reason=result.reason,
        probes=result.probes,
        flows=result.flows,
        failures=result.failures,
        relay_rtt=result.relay_rtt,
        is_hard=any(nat is not None and nat.is_hard for nat in result.nats),
    )


def _run_tool(job: Job, topology: Topology, verdict: Verdict, strategy: Strategy) -> PairRun:
    result = reenact(topology, job.number, strategy, ready=job.moment.value)
    return PairRun(
        job=job,
        verdict=verdict,
        detected=sum(result.detected),
        is_introduced=result.is_first_request_served,
        first_byte=None,
        direct=result.carried,
        is_claimed=result.is_claimed,
        reason="none",
        probes=None,
        flows=None,
    )


@dataclass(frozen=True, slots=True)
class Tally:
    """The sums of many runs."""

    detected: Share
    """Of endpoints."""
    introduced: Share
    direct: Share
    claimed: Share
    first_byte: Spread | None
    first_byte_trips: Spread | None
    """The same in round trips by way of the server."""
    seconds: Spread | None
    """Seconds to a direct path, of those that got one."""
    easy_seconds: Spread | None
    """The same for those that need no tactics."""
    probes: Spread | None
    flows: Spread | None
    reasons: dict[str, int]
    """Of those that got none, the most frequent first."""
    verdicts: dict[Verdict, Share]
    """Direct paths by the oracle's verdict, the most frequent verdict first."""
    failures: tuple[str, ...]


def tally(runs: Iterable[PairRun]) -> Tally:
    """Count."""
    runs = list(runs)
    direct = [run.direct for run in runs if run.direct is not None]
    reasons = Counter(run.reason for run in runs if run.direct is None)
    verdicts = Counter(run.verdict for run in runs)
    won = Counter(run.verdict for run in runs if run.direct is not None)
    return Tally(
        detected=Share(sum(run.detected for run in runs), 2 * len(runs)),
        introduced=Share(sum(run.is_introduced for run in runs), len(runs)),
        direct=Share(len(direct), len(runs)),
        claimed=Share(sum(run.is_claimed for run in runs), len(runs)),
        first_byte=Spread.of([run.first_byte for run in runs if run.first_byte is not None]),
        first_byte_trips=Spread.of(
            [run.first_byte / run.relay_rtt for run in runs if run.first_byte is not None and run.relay_rtt]
        ),
        seconds=Spread.of(direct),
        easy_seconds=Spread.of(
            [run.direct for run in runs if run.direct is not None and run.verdict.possibility is Possibility.PLAIN]
        ),
        probes=Spread.of([run.probes for run in runs if run.probes is not None]),
        flows=Spread.of([run.flows for run in runs if run.flows is not None]),
        reasons=dict(reasons.most_common()),
        verdicts={verdict: Share(won[verdict], count) for verdict, count in verdicts.most_common()},
        failures=tuple(f"pair {run.job.number}: {failure}" for run in runs for failure in run.failures),
    )
