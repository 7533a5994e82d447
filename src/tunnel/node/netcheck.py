"""`netcheck`: everything that can be said about the network, from a survey that begins now."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import trio

from tunnel.model.endpoint import Endpoint, Scope, scope_of
from tunnel.nat.captive_portal import captive_portal_of
from tunnel.nat.ipv6 import Ipv6Report, check_ipv6
from tunnel.nat.netcheck_report import NetcheckReport, weigh_against_survey
from tunnel.nat.rfc3489_class import Rfc3489Verdict, classify_rfc3489
from tunnel.nat.survey import SurveyResult
from tunnel.network.nat64_resolver import Nat64Resolver
from tunnel.network.ports import World
from tunnel.node.local_announcement import LocalAnnouncement
from tunnel.node.nat_discovery import NatDiscovery
from tunnel.node.own_addresses import OwnAddresses
from tunnel.node.port_mappings import PortMappings
from tunnel.node.server_link import ServerLink

log = logging.getLogger(__name__)


async def check_network(
    world: World,
    nat64: Nat64Resolver,
    own: OwnAddresses,
    *,
    link: ServerLink,
    local_announcement: LocalAnnouncement,
    nat_discovery: NatDiscovery,
    port_mappings: PortMappings,
) -> NetcheckReport:
    """Survey, discover behavior, look at IPv6, and ask for a second opinion; a dozen seconds at most."""
    began = trio.current_time()
    survey = await nat_discovery.discover_now()
    here = [host for host in world.interfaces.addresses() if host not in own.addresses]
    ipv6, opinion = Ipv6Report(), None

    async def look() -> None:
        nonlocal ipv6
        translated = {answer.remote for answer in survey.answers if answer.remote.is_ipv6 != answer.mapped.is_ipv6}
        servers = [answer.remote for answer in survey.answers if answer.remote not in translated]
        ours = [endpoint for endpoint in nat_discovery.own if endpoint not in translated]  # a NAT64 leads to IPv4
        ipv6 = await check_ipv6(world.datagrams, world.entropy, here, servers, ours)

    async def ask() -> None:
        nonlocal opinion
        opinion = await _second_opinion(world, survey, nat_discovery.own, here)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        nursery.start_soon(ask)
    found = NetcheckReport(
        replace(survey, report=local_announcement.nat()),
        opinion,
        behavior_report=nat_discovery.behavior.behavior_report,
        ipv6=ipv6,
        nat64=tuple(map(str, nat64.prefixes)),
        captive_portal=captive_portal_of(survey.report.udp, link.failure, is_registered=link.is_registered),
        servers=nat_discovery.health(),
        port_mappings=port_mappings.statuses(nat_discovery.reflexive),
        speaks_upnp=world.port_mapper.is_installed,
        keepalive=nat_discovery.keepalive,
        took=trio.current_time() - began,
    )
    if found.agrees is False:
        log.info(
            "second opinion disagrees ours=%s classic=%s",
            survey.report.mapping.value,
            found.second_opinion and found.second_opinion.term,
        )
    return found


async def _second_opinion(
    world: World, survey: SurveyResult, own_servers: Sequence[Endpoint], here: Sequence[str]
) -> Rfc3489Verdict | None:
    server = next((endpoint for endpoint in own_servers if not endpoint.is_ipv6), None)
    if server is None:
        return None
    own = [host for host in here if ":" not in host]
    mapped = [endpoint.host for endpoint in survey.reflexive if endpoint.host in own]
    outer = [host for host in own if scope_of(host) is not Scope.LOOPBACK]
    source = next(iter((*mapped, *outer)), "0.0.0.0")
    return weigh_against_survey(survey, server, await classify_rfc3489(world.datagrams, server, source=source))
