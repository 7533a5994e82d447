"""What a second opinion is worth beside a survey."""

from __future__ import annotations

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Mapping, NatReport, Udp
from tunnel.nat.classification import StunAnswer
from tunnel.nat.netcheck_report import NetcheckReport, weigh_against_survey
from tunnel.nat.rfc3489_class import Rfc3489Verdict
from tunnel.nat.survey import SurveyResult

ASKED = Endpoint("25.0.0.1", 3478)
OTHER = Endpoint("25.0.0.2", 3478)
BLOCKED = Rfc3489Verdict("Blocked")


def survey(*answered: Endpoint) -> SurveyResult:
    """One in which these servers answered."""
    return SurveyResult(
        NatReport(mapping=Mapping.UNKNOWN, udp=Udp.OPEN if answered else Udp.BLOCKED),
        answers=tuple(StunAnswer(str(one), one, Endpoint("25.1.0.1", 40000), 0.01) for one in answered),
    )


def test_the_silence_of_one_server_is_no_verdict_where_others_answer() -> None:
    opinion = weigh_against_survey(survey(OTHER), ASKED, BLOCKED)
    assert opinion == Rfc3489Verdict(None, "25.0.0.1:3478 does not answer, other servers do")
    assert NetcheckReport(survey(OTHER), opinion).agrees is None


def test_the_silence_of_all_servers_is_one() -> None:
    opinion = weigh_against_survey(survey(), ASKED, BLOCKED)
    assert opinion == BLOCKED
    assert NetcheckReport(survey(), opinion).agrees is True


def test_silence_after_an_answer_is_a_disagreement() -> None:
    opinion = weigh_against_survey(survey(ASKED), ASKED, BLOCKED)
    assert NetcheckReport(survey(ASKED), opinion).agrees is False


def test_every_other_opinion_stands() -> None:
    opinion = Rfc3489Verdict("Symmetric NAT")
    assert weigh_against_survey(survey(OTHER), ASKED, opinion) is opinion
