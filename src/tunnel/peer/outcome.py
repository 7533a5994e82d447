"""What an activity of a peer connection ends with."""

from __future__ import annotations

from dataclasses import dataclass

from tunnel.model.reasons import Reason


@dataclass(frozen=True, slots=True)
class Outcome:
    """The chart's event, and why there is no direct path, where the activity has found that out."""

    event: str
    reason: Reason | None = None
