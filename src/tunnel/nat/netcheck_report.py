"""What `netcheck` reports: survey, behavior discovery, the RFC 3489 class beside them, and the rest of the network."""

from __future__ import annotations

from dataclasses import dataclass

from tunnel.model.endpoint import Endpoint
from tunnel.model.interface_kind import InterfaceStatus
from tunnel.model.nat import Udp
from tunnel.model.port_mapping import PortMappingStatus
from tunnel.model.status import ServerStatus
from tunnel.nat.behavior_discovery import BehaviorReport
from tunnel.nat.captive_portal import CaptivePortal
from tunnel.nat.ipv6 import Ipv6Report
from tunnel.nat.rfc3489_class import Rfc3489Verdict
from tunnel.nat.server_health import ServerHealth
from tunnel.nat.survey import SurveyResult


@dataclass(frozen=True, slots=True)
class NetcheckReport:
    """What `netcheck` shows."""

    survey: SurveyResult
    """Its report holds all that is known of the NAT."""
    second_opinion: Rfc3489Verdict | None
    """By RFC 3489, against our own server; None if it has told us no IPv4 STUN endpoint."""
    behavior_report: BehaviorReport = BehaviorReport()
    ipv6: Ipv6Report = Ipv6Report()
    nat64: tuple[str, ...] = ()
    """PREFIX/LENGTH of the network's NAT64; none where this machine has IPv4."""
    captive_portal: CaptivePortal = CaptivePortal.UNKNOWN
    servers: tuple[ServerHealth, ...] = ()
    port_mappings: tuple[PortMappingStatus, ...] = ()
    """One for each address family; none where no gateway is asked."""
    speaks_upnp: bool = True
    """Whether this machine can speak UPnP: only if miniupnpc is installed."""
    keepalive: float = 0.0
    """Seconds between two packets that keep an idle path open."""
    took: float = 0.0
    """Seconds that the check took: a server heard longer ago did not answer it."""
    server: ServerStatus | None = None
    """The link to our own server; None if it was not checked."""
    interface: InterfaceStatus | None = None
    """What takes the node's IP packets, and why; None if it was not checked."""
    external: Endpoint | None = None
    """The endpoint that the settings declare to be open."""
    relay_only: bool = False
    """Whether the settings forbid direct paths."""

    @property
    def agrees(self) -> bool | None:
        """Whether both opinions can be right; None if one of them does not know."""
        return None if self.second_opinion is None else self.second_opinion.agrees(self.survey.report)


def weigh_against_survey(survey: SurveyResult, asked: Endpoint, opinion: Rfc3489Verdict) -> Rfc3489Verdict:
    """The opinion, unless the survey refutes it: RFC 3489 takes the silence of one server for a blocked network."""
    is_silence = opinion.classic == "Blocked" and all(answer.remote != asked for answer in survey.answers)
    if is_silence and survey.report.udp is Udp.OPEN:
        return Rfc3489Verdict(None, f"{asked} does not answer, other servers do")
    return opinion
