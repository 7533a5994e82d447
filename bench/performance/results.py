"""What was measured: every value of every round, as JSON and back.

{"run": {"rounds": 5, "seconds": 5.0, ...},
 "measurements": [{"round": 1, "peer": "ours", "figure": "tcp-1", "values": {"gbit": 5.1, ...}}, ...],
 "failures": [{"round": 1, "peer": "n2n", "figure": "tcp-4", "error": "..."}]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tunnel.model.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure of one peer in one round."""

    round: int
    peer: str
    figure: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Failure:
    """A figure that could not be taken."""

    round: int
    peer: str
    figure: str
    error: str

    @property
    def reason(self) -> str:
        """The error's first line: what follows are logs."""
        return self.error.partition("\n")[0]


@dataclass(slots=True)
class Results:
    """One interleaved run."""

    run: Mapping[str, Any]
    """Rounds, seconds, versions: what a reader needs to repeat it."""
    measurements: list[Measurement] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def values(self, peer: str, figure: str, value: str) -> tuple[float, ...]:
        """One value in all rounds."""
        return tuple(
            one.values[value]
            for one in self.measurements
            if one.peer == peer and one.figure == figure and value in one.values
        )

    def rounds(self) -> dict[str, int]:
        """How many rounds each figure was measured in."""
        rounds: dict[str, int] = {}
        for one in self.measurements:
            rounds[one.figure] = max(one.round, rounds.get(one.figure, 0))
        return rounds

    def peers(self, figures: Sequence[str]) -> tuple[str, ...]:
        """The peers with a measurement of one of these figures, in the order of the first round."""
        return tuple(dict.fromkeys(one.peer for one in self.measurements if one.figure in figures))


def write_results(path: Path, results: Results) -> None:
    """Keep a run."""
    path.write_text(json.dumps(asdict(results), indent=1) + "\n", encoding="utf-8")


def read_results(path: Path) -> Results:
    """Read it again."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return Results(
        document["run"],
        [Measurement(**one) for one in document["measurements"]],
        [Failure(**one) for one in document["failures"]],
    )


def join_results(several: Sequence[Results]) -> Results:
    """Runs of different figures as one. Raises SettingsError if two have the same figure: ratios need one run.

    What is known of a run is that of the first, with what only others tell, and the versions of all peers.
    """
    versions = {peer: version for one in several for peer, version in one.run.get("versions", {}).items()}
    run = {name: known for one in reversed(several) for name, known in one.run.items()}
    joined = Results({**run, **({"versions": versions} if versions else {})})
    for results in several:
        figures = {one.figure for one in results.measurements}
        if both := figures & {one.figure for one in joined.measurements}:
            raise SettingsError(f"two runs have {', '.join(sorted(both))}: a ratio is one of a single run")
        joined.measurements += results.measurements
        joined.failures += results.failures
    return joined
