"""The population's runs as text for a page, and as strips for a plot. Pure: runs in, Markdown out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.studies.plot import Strip
from bench.studies.population import Moment, PairRun, Program, Region, Tally, tally
from bench.studies.population_forecast import Forecast
from bench.studies.statistics import Share, Spread

from tunnel.verify.reachability.oracle import Possibility


@dataclass(frozen=True, slots=True)
class Claim:
    """The figures of the report on the other tool."""

    detected: str
    introduced: str
    direct: str


CLAIMS: dict[tuple[Program, bool], Claim] = {
    (Program.BEFORE, False): Claim("~60 %", "inconsistent", "~40-50 %"),
    (Program.AFTER, False): Claim("~90 %+", "100 %", "~70-80 %"),
    (Program.BEFORE, True): Claim("~10 %", "inconsistent", "~10 %"),
    (Program.AFTER, True): Claim("~80 %+", "100 %", "~60-70 %"),
}
"""By program, and whether the region is a restricted one."""


def summary_text(rows: Sequence[tuple[str, Sequence[PairRun], Forecast]]) -> str:
    """The results of our nodes under each condition, and what the oracle expects of the whole population."""
    lines = [
        "| | pairs | direct | 95 % interval | the oracle: plain | and by tactics |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs, expected in rows:
        direct = tally(runs).direct
        plain, tactics = expected.share(Possibility.PLAIN), expected.share(Possibility.TACTICS)
        cells = [
            name,
            str(direct.total),
            f"**{_percent(direct)}**",
            _interval(direct),
            f"{plain:.1%}",
            f"{tactics:.1%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def population_text(runs: Sequence[PairRun]) -> str:
    """The results of our nodes in detail."""
    found = tally(runs)
    lines = [
        "| what the oracle says | cause | pairs | direct | 95 % interval |",
        "|---|---|---|---|---|",
    ]
    for verdict, share in found.verdicts.items():
        words = [verdict.possibility.value, verdict.cause.value, str(share.total), _percent(share), _interval(share)]
        lines.append(f"| {' | '.join(words)} |")
    lines += ["", "| | p50 | p95 | p99 |", "|---|---|---|---|"]
    spreads = {
        "first byte, s after the first packet": (found.first_byte, 2),
        "the same, in round trips by way of the server": (found.first_byte_trips, 2),
        "direct path, s after the first packet": (found.seconds, 2),
        "the same, of pairs that plain punching can win": (found.easy_seconds, 2),
        "probes of both": (found.probes, 0),
        "flows that routers had to remember": (found.flows, 0),
    }
    for name, (spread, digits) in spreads.items():
        lines.append(f"| {name} | {' | '.join(_percentiles(spread, digits))} |")
    reasons = ", ".join(f"{count} {reason}" for reason, count in found.reasons.items()) or "none"
    failures = "; ".join(found.failures) or "none"
    lines += ["", f"Reasons told where there is no direct path: {reasons}. Invariants broken: {failures}."]
    return "\n".join(lines)


def population_strips(runs: Iterable[PairRun]) -> list[Strip]:
    """Seconds to a direct path, by the oracle's verdict."""
    found: dict[str, list[PairRun]] = {}
    for run in runs:
        verdict = run.verdict
        found.setdefault(f"{verdict.possibility.value}: {verdict.cause.value.replace('_', ' ')}", []).append(run)
    strips = []
    for name, here in sorted(found.items()):
        seconds = tuple(run.direct for run in here if run.direct is not None)
        strips.append(Strip(name, seconds, f"{len(seconds)} of {len(here)} direct"))
    return strips


def comparison_text(runs: Sequence[PairRun]) -> str:
    """The other tool, as claimed and as run, and our nodes: one table for each region."""
    parts = []
    for region in Region:
        at_once, settled = (
            [tally(run for run in runs if _is_of(run, region, moment, program)) for program in Program]
            for moment in (Moment.AT_ONCE, Moment.SETTLED)
        )
        parts.append(f"### {region.value[0].upper()}{region.value[1:]}\n\n{_comparison(region, at_once, settled)}")
    return "\n\n".join(parts)


def _is_of(run: PairRun, region: Region, moment: Moment, program: Program) -> bool:
    return (run.job.region, run.job.moment, run.job.program) == (region, moment, program)


def _comparison(region: Region, at_once: Sequence[Tally], settled: Sequence[Tally]) -> str:
    before, after = (CLAIMS[program, region is not Region.OPEN] for program in (Program.BEFORE, Program.AFTER))
    rows = [
        ("endpoints with an answer of STUN", before.detected, after.detected, [_both(one.detected) for one in at_once]),
        ("first request served, at once", before.introduced, after.introduced, _introduced(at_once)),
        ("first request served, settled", before.introduced, after.introduced, _introduced(settled)),
        ("direct, at once", before.direct, after.direct, [_both(one.direct) for one in at_once]),
        ("direct, settled", before.direct, after.direct, [_both(one.direct) for one in settled]),
        ("p50 to direct, at once", "", "", [_seconds(one.seconds) for one in at_once]),
        ("p50 to direct, settled", "", "", [_seconds(one.seconds) for one in settled]),
    ]
    lines = [
        f"{at_once[0].direct.total} pairs, the same for each.",
        "",
        "| | before, claimed | before, run | after, claimed | after, run | this program, run |",
        "|---|---|---|---|---|---|",
    ]
    for name, claimed_before, claimed_after, (run_before, run_after, ours) in rows:
        lines.append(f"| {name} | {claimed_before} | {run_before} | {claimed_after} | {run_after} | **{ours}** |")
    return "\n".join(lines)


def _introduced(tallies: Iterable[Tally]) -> list[str]:
    return [_both(one.introduced) for one in tallies]


def _percent(share: Share) -> str:
    return f"{share.value:.1%}" if share.total else ""


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"{low:.1%} to {high:.1%}"


def _both(share: Share) -> str:
    return f"{_percent(share)} ({_interval(share)})"


def _percentiles(spread: Spread | None, digits: int) -> list[str]:
    if spread is None:
        return ["", "", ""]
    return [f"{value:.{digits}f}" for value in (spread.p50, spread.p95, spread.p99)]


def _seconds(spread: Spread | None) -> str:
    return "" if spread is None else f"{spread.p50:.2f} s"
