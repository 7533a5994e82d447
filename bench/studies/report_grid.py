"""The grid as text for a page, and as strips for a plot. Pure: results in, Markdown out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from bench.studies.grid import FILTERINGS, MAPPINGS, Agreement, CellResult, Position
from bench.studies.plot import Strip
from bench.studies.statistics import percentile

from tunnel.verify.reachability.oracle import Possibility

FAMILIES = tuple(f"{mapping} {filtering}" for mapping in MAPPINGS for filtering in FILTERINGS)


def grid_text(results: Sequence[CellResult]) -> str:
    """The matrix of pairs, the other positions, and what contradicts the oracle."""
    return "\n\n".join([_summary(results), _matrix(results), _positions(results), _wrong(results)])


def grid_strips(results: Iterable[CellResult]) -> list[Strip]:
    """Seconds to a direct path, a row for each pair of families that ever got one."""
    by_pair: dict[tuple[int, int], list[CellResult]] = {}
    for result in results:
        if result.cell.position is Position.PAIR:
            by_pair.setdefault(_pair_of(result), []).append(result)
    strips = []
    for pair, found in sorted(by_pair.items()):
        seconds = tuple(one.result.direct for one in found if one.result.direct is not None)
        if seconds:
            label = " x ".join(FAMILIES[place] for place in pair)
            strips.append(Strip(label, seconds, f"{len(seconds)} of {len(found)} direct"))
    return strips


def _pair_of(result: CellResult) -> tuple[int, int]:
    one, other = sorted(FAMILIES.index(kind.family) for kind in (result.cell.one, result.cell.other))
    return one, other


def _summary(results: Sequence[CellResult]) -> str:
    cells = len({result.cell for result in results})
    counts = Counter(result.agreement for result in results)
    told = "; ".join(f"{counts[agreement]} {agreement.value}" for agreement in Agreement)
    return f"{cells} cells, {len(results)} runs: {told}."


def _matrix(results: Iterable[CellResult]) -> str:
    by_pair: dict[tuple[int, int], list[CellResult]] = {}
    for result in results:
        if result.cell.position is Position.PAIR:
            by_pair.setdefault(_pair_of(result), []).append(result)
    lines = [f"| | {' | '.join(FAMILIES)} |", "|---" * (len(FAMILIES) + 1) + "|"]
    for row, family in enumerate(FAMILIES):
        squares = [_square(by_pair.get((min(row, column), max(row, column)), [])) for column in range(len(FAMILIES))]
        lines.append(f"| {family} | {' | '.join(squares)} |")
    return "\n".join(lines)


def _square(found: Sequence[CellResult]) -> str:
    """For all allocations of two families: the median seconds to direct, or the relay, and how often tactics won."""
    if not found:
        return ""
    if any(result.agreement is Agreement.WRONG for result in found):
        return "**wrong**"
    seconds = [result.result.direct for result in found if result.result.direct is not None]
    median = f"{percentile(seconds, 0.5):.2f} s" if seconds else "relay"
    open_to_tactics = [result for result in found if result.verdict.possibility is Possibility.TACTICS]
    if not open_to_tactics:
        return median
    won = sum(result.result.is_direct for result in open_to_tactics)
    return f"{median}, tactics {won} of {len(open_to_tactics)}"


def _positions(results: Iterable[CellResult]) -> str:
    lines = [
        "| position | runs | must be direct, is | tactics could, did | must be relayed, is | direct after, s |",
        "|---|---|---|---|---|---|",
    ]
    found: dict[Position, list[CellResult]] = {}
    for result in results:
        found.setdefault(result.cell.position, []).append(result)
    for position in Position:
        here = found.get(position, [])
        agreements = Counter(result.agreement for result in here)
        possible = Counter(result.verdict.possibility for result in here)
        relayed = sum(
            result.verdict.possibility is Possibility.IMPOSSIBLE and not result.result.is_direct for result in here
        )
        seconds = [result.result.direct for result in here if result.result.direct is not None]
        cells = [
            position.value,
            str(len(here)),
            f"{agreements[Agreement.PLAIN]} of {possible[Possibility.PLAIN]}",
            f"{agreements[Agreement.WON_BY_TACTICS]} of {possible[Possibility.TACTICS]}",
            f"{relayed} of {possible[Possibility.IMPOSSIBLE]}",
            f"{percentile(seconds, 0.5):.2f}" if seconds else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _wrong(results: Sequence[CellResult]) -> str:
    parts = [
        "\n".join([f"{agreement.value.capitalize()}:", "", *map(_line, found)])
        for agreement in (Agreement.WRONG, Agreement.OTHER_REASON)
        if (found := [result for result in results if result.agreement is agreement])
    ]
    return "\n\n".join(parts) or "Nothing contradicts the oracle."


def _line(result: CellResult) -> str:
    verdict, found = result.verdict, result.result
    expected = f"{verdict.possibility.value} by {verdict.cause.value}"
    told = "".join(f"; {failure}" for failure in found.failures)
    return f"- {result.cell} (seed {result.seed}): {expected}; was {found.state} by {found.path}, {found.reason}{told}"
