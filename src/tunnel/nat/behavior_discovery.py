"""NAT behavior discovery (RFC 5780): what a survey leaves open, learned after it from fresh sockets.

    mapping (survey.py) --> port samples    --> allocation (allocation.py)
                            filtering tests --> filtering  (filtering.py)
                            two sockets     --> hairpin    (hairpin.py)

It never uses the node's own sockets, so it neither opens nor disturbs what peers use. At most fourteen sockets, about
forty packets, three seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import trio

from tunnel.model.endpoint import Endpoint, Scope, scope_of
from tunnel.model.errors import DeviceError
from tunnel.model.nat import Allocation, Filtering, Hairpin, Mapping, NatReport, Udp
from tunnel.nat.allocation import PortAllocation, PortSample, judge_allocation
from tunnel.nat.classification import StunAnswer, ranked, telling
from tunnel.nat.filtering import FilteringResult, Heard, StunAddresses, discover_filtering, filtering_of
from tunnel.nat.hairpin import hairpin_of, try_hairpin
from tunnel.nat.port_sampling import SampledSocket, sample_ports
from tunnel.nat.stun_client import StunClient, open_stun_client
from tunnel.nat.survey import SurveyResult
from tunnel.nat.udp_rate_limit import is_rate_limited
from tunnel.network.datagrams import Datagrams
from tunnel.network.ports import Entropy

CAP = 5.0
"""Seconds for all of it; where much is lost, five more to test for a rate limit."""
SAMPLE_PATIENCE = 0.4
FIRST_SAMPLES = 6
"""Enough to recognize a NAT that preserves ports."""
MORE_SAMPLES = 6
PAUSE = 0.7
"""Seconds from the first samples to the others: the ports that others take meanwhile are the load."""
MUCH_LOST = 3
"""Plain requests without an answer, of about fifteen."""
_TESTS_OF_ONE_MAPPING = 2
"""Sockets that the filtering tests use: so many mappings, where one serves all destinations."""
STEADY = (Mapping.NONE, Mapping.ENDPOINT_INDEPENDENT)


@dataclass(frozen=True, slots=True)
class BehaviorReport:
    """What was learned, in the terms of RFC 4787; what could not be is unknown."""

    filtering: Filtering = Filtering.UNKNOWN
    port_allocation: PortAllocation = PortAllocation()
    hairpin: Hairpin = Hairpin.UNKNOWN
    both: Heard = Heard.VOID
    """Whether an answer came in from an address that nothing had been sent to."""
    port: Heard = Heard.VOID
    """The same for another port of an address that a request had been sent to."""
    addresses: StunAddresses | None = None
    """The endpoints of the server that was asked."""
    samples: tuple[PortSample, ...] = ()
    is_limited: bool = False
    """Something on the way limits the rate of UDP datagrams."""

    def applied_to(self, report: NatReport) -> NatReport:
        """A survey's report with what was learned since."""
        found = self.port_allocation
        if found.allocation is Allocation.UNKNOWN:
            found = PortAllocation(report.allocation)
        return replace(
            report,
            filtering=self.filtering,
            hairpin=self.hairpin,
            allocation=found.allocation,
            step=found.step,
            load=found.load,
            block=found.block,
            udp=Udp.LIMITED if self.is_limited and report.udp is Udp.OPEN else report.udp,
        )


def stun_addresses_of(result: SurveyResult, own_servers: Sequence[Endpoint]) -> tuple[StunAddresses, ...]:
    """The servers to ask, of those that answered: our own first, then those that have two addresses, then the others.

    Empty if no server outside our site answered. Where most servers agree, those that do not are left out.
    """
    answers = [answer for answer in telling(result.answers) if scope_of(answer.mapped.host) is Scope.GLOBAL]
    if result.report.udp is Udp.BLOCKED or not answers:
        return ()
    if result.report.mapping in STEADY:
        favorite = ranked(answers)[0]
        answers = [answer for answer in answers if answer.mapped == favorite]
    found = [(answer, _addresses(answer, own_servers)) for answer in answers]
    found.sort(key=lambda pair: (not pair[0].is_own, pair[1].alternate is None))
    return tuple(addresses for _, addresses in found)


def _addresses(answer: StunAnswer, own_servers: Sequence[Endpoint]) -> StunAddresses:
    primary, other = answer.remote, answer.other
    if other is not None and other.port != primary.port and other.is_ipv6 == primary.is_ipv6:
        if other.host != primary.host:
            return StunAddresses(primary, Endpoint(primary.host, other.port), other)
        return StunAddresses(primary, other)  # as some servers say at their alternate address
    ports = [server.port for server in own_servers if answer.is_own and server.port != primary.port]
    return StunAddresses(primary, Endpoint(primary.host, ports[0]) if ports else None)


async def discover_behavior(
    datagrams: Datagrams, entropy: Entropy, servers: Sequence[StunAddresses], mapping: Mapping, *, is_sure: bool = True
) -> BehaviorReport:
    """Learn what a survey, which found `mapping`, leaves open, in `CAP` seconds at most. What stays open is unknown.

    `servers` (at least one) are asked in this order. `is_sure`: servers at several addresses observed the mapping; else
    it may be address-dependent after all.
    """
    found = BehaviorReport(addresses=servers[0])
    try:
        lost = 0
        with trio.move_on_after(CAP):
            async with open_stun_client(datagrams, entropy) as stun_client:
                found = await _discover(stun_client, servers, mapping, is_sure=is_sure)
                lost = stun_client.lost(servers[0].primary.host)
        if lost >= MUCH_LOST:
            async with open_stun_client(datagrams, entropy) as stun_client:
                found = replace(found, is_limited=await is_rate_limited(stun_client, servers[0].primary))
    except DeviceError:
        pass  # no more sockets on this machine: the survey's report must do
    return found


async def _discover(
    stun_client: StunClient, servers: Sequence[StunAddresses], mapping: Mapping, *, is_sure: bool
) -> BehaviorReport:
    is_steady, server = mapping in STEADY, servers[0].primary
    tests = FilteringResult(servers[0])
    is_hairpinned = None

    async def test_filtering() -> None:
        nonlocal tests
        tests = await discover_filtering(stun_client, servers, is_steady=is_steady)

    async def test_hairpin(one: SampledSocket, other: SampledSocket) -> None:
        nonlocal is_hairpinned
        pair = (one.stun_socket, one.sample.mapped), (other.stun_socket, other.sample.mapped)
        is_hairpinned = await try_hairpin(stun_client, *pair)

    began = trio.current_time()
    sampled: list[SampledSocket] = []
    if mapping is not Mapping.NONE:
        sampled += await sample_ports(stun_client, server, FIRST_SAMPLES, SAMPLE_PATIENCE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(test_filtering)
        if (pair := _pair(sampled)) is not None:
            nursery.start_soon(test_hairpin, *pair)
        if sampled and judge_allocation([one.sample for one in sampled]).allocation is not Allocation.PRESERVING:
            await trio.sleep_until(began + PAUSE)
            sampled += await sample_ports(stun_client, server, MORE_SAMPLES, SAMPLE_PATIENCE)
    alternate = tests.addresses.alternate
    ours = stun_client.flows(server.host, *([] if alternate is None else [alternate.host]))
    filtering, samples = filtering_of(tests.both, tests.port), tuple(one.sample for one in sampled)
    return BehaviorReport(
        filtering=filtering,
        port_allocation=judge_allocation(
            samples, _TESTS_OF_ONE_MAPPING if is_steady else max(0, ours - FIRST_SAMPLES - MORE_SAMPLES)
        ),
        hairpin=hairpin_of(is_hairpinned, is_steady=is_steady and is_sure, filtering=filtering),
        both=tests.both,
        port=tests.port,
        addresses=tests.addresses,
        samples=samples,
    )


def _pair(sampled: Sequence[SampledSocket]) -> tuple[SampledSocket, SampledSocket] | None:
    """The first two IPv4 sockets that were seen at one outer IPv4 address: nothing hairpins IPv6."""
    if not sampled or sampled[0].stun_socket.socket.local.is_ipv6:
        return None
    first, *others = sampled
    second = next((one for one in others if one.sample.mapped.host == first.sample.mapped.host), None)
    return None if second is None else (first, second)
