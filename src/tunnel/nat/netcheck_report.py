"""A full look at the NAT in front of this machine: survey, inspection, and the classic second opinion beside it."""

from __future__ import annotations

from dataclasses import dataclass

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Udp
from tunnel.model.port_mapping import PortMappingStatus
from tunnel.model.status import ServerStatus
from tunnel.nat.behavior_discovery import BehaviorReport
from tunnel.nat.captive_portal import CaptivePortal
from tunnel.nat.ipv6 import Ipv6Sight
from tunnel.nat.rfc3489_class import SecondOpinion
from tunnel.nat.server_health import ServerHealth
from tunnel.nat.survey import SurveyResult


@dataclass(frozen=True, slots=True)
class NetcheckReport:
    """What `netcheck` shows."""

    survey: SurveyResult
    """Its report holds all that is known of the NAT."""
    second_opinion: SecondOpinion | None
    """By RFC 3489, against our own server; None if it has told us no IPv4 STUN endpoint."""
    behavior_report: BehaviorReport = BehaviorReport()
    ipv6: Ipv6Sight = Ipv6Sight()
    nat64: tuple[str, ...] = ()
    """PREFIX/LENGTH of the network's NAT64; none where this machine has IPv4."""
    captive_portal: CaptivePortal = CaptivePortal.UNKNOWN
    servers: tuple[ServerHealth, ...] = ()
    port_mappings: tuple[PortMappingStatus, ...] = ()
    """One an address family; none where no gateway is asked."""
    speaks_upnp: bool = True
    """Whether this machine could ask a gateway by UPnP: not where miniupnpc is not installed."""
    keepalive: float = 0.0
    """Seconds between two packets that keep an idle path."""
    took: float = 0.0
    """Seconds from the question to this answer: what was heard longer ago is older than the check."""
    server: ServerStatus | None = None
    """The link to our own server; None where nobody looked."""
    external: Endpoint | None = None
    """The endpoint that the settings declare to be open."""
    relay_only: bool = False
    """Whether the settings forbid direct paths."""

    @property
    def agrees(self) -> bool | None:
        """Whether both can be right; None where one of them does not know."""
        return None if self.second_opinion is None else self.second_opinion.agrees(self.survey.report)


def in_the_light_of(survey: SurveyResult, asked: Endpoint, opinion: SecondOpinion) -> SecondOpinion:
    """What an opinion is worth: RFC 3489 takes the silence of the one server asked for that of the network."""
    is_silence = opinion.classic == "Blocked" and all(answer.remote != asked for answer in survey.answers)
    if is_silence and survey.report.udp is Udp.OPEN:
        return SecondOpinion(None, f"{asked} does not answer, other servers do")
    return opinion
