"""A full look at the NAT in front of this machine: our survey, and the classic second opinion beside it."""

from __future__ import annotations

from dataclasses import dataclass

from tunnel.nat.second_opinion import SecondOpinion
from tunnel.nat.survey import SurveyResult


@dataclass(frozen=True, slots=True)
class NetcheckReport:
    """What `netcheck` shows."""

    survey: SurveyResult
    second_opinion: SecondOpinion | None
    """By RFC 3489, against our own server; None if it has told us no IPv4 STUN endpoint."""

    @property
    def agrees(self) -> bool | None:
        """Whether both can be right; None where one of them does not know."""
        return None if self.second_opinion is None else self.second_opinion.agrees(self.survey.report)
