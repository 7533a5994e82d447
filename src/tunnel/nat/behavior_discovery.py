"""The inspection: what a survey's verdict leaves open, learnt afterwards and quietly, from fresh sockets.

    verdict (survey.py) --> inspection: samples --> allocation (allocation.py)
                                        tests   --> filtering  (filtering.py)
                                        a pair  --> hairpin    (hairpin.py)

It never uses the node's own sockets, so it neither opens nor disturbs what peers use. Fourteen sockets at most, some
forty packets, three seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import trio

from tunnel.model.endpoint import Endpoint, Scope, scope_of
from tunnel.model.errors import DeviceError
from tunnel.model.nat import Allocation, Filtering, Hairpin, Mapping, NatReport, Udp
from tunnel.nat.allocation import PortHabits, PortSample, habits_of
from tunnel.nat.classification import StunAnswer, ranked, telling
from tunnel.nat.filtering import Findings, Heard, StunAddresses, filtering_of, learn_filtering
from tunnel.nat.hairpin import hairpin_of, try_hairpin
from tunnel.nat.port_sampling import Sampled, sample
from tunnel.nat.stun_client import StunClient, open_stun_client
from tunnel.nat.survey import SurveyResult
from tunnel.nat.udp_rate_limit import is_shaped
from tunnel.network.ports import Datagrams, Entropy

CAP = 5.0
"""Seconds for all of it; where much is lost, five more to see whether something counts our datagrams."""
SAMPLE_PATIENCE = 0.4
FIRST_SAMPLES = 6
"""A NAT that preserves ports is known by these."""
MORE_SAMPLES = 6
PAUSE = 0.7
"""Seconds from the first samples to the others: what strangers take meanwhile is the load."""
MUCH_LOST = 3
"""Plain questions, of some fifteen."""
_TESTS_OF_ONE_MAPPING = 2
"""Sockets that the filtering tests use: so many mappings, where one serves all destinations."""
STEADY = (Mapping.NONE, Mapping.ENDPOINT_INDEPENDENT)


@dataclass(frozen=True, slots=True)
class BehaviorReport:
    """What was learnt, in the words of RFC 4787, and how far it could be."""

    filtering: Filtering = Filtering.UNKNOWN
    habits: PortHabits = PortHabits()
    hairpin: Hairpin = Hairpin.UNKNOWN
    both: Heard = Heard.VOID
    """Whether an answer from another address came in, where none had been sent to."""
    port: Heard = Heard.VOID
    """The same for another port of an address that was asked."""
    addresses: StunAddresses | None = None
    """The endpoints of the server that was asked."""
    samples: tuple[PortSample, ...] = ()
    is_limited: bool = False
    """Something drops datagrams that come fast."""

    def applied_to(self, report: NatReport) -> NatReport:
        """A verdict's report with what was learnt since."""
        habits = self.habits
        if habits.allocation is Allocation.UNKNOWN:
            habits = PortHabits(report.allocation)
        return replace(
            report,
            filtering=self.filtering,
            hairpin=self.hairpin,
            allocation=habits.allocation,
            step=habits.step,
            load=habits.load,
            block=habits.block,
            udp=Udp.LIMITED if self.is_limited and report.udp is Udp.OPEN else report.udp,
        )


def addresses_of_server(result: SurveyResult, own_servers: Sequence[Endpoint]) -> tuple[StunAddresses, ...]:
    """Whom to ask: of those that answered our own server first, then those that have two addresses, then the others.

    None where nobody from outside answered, or nobody who may be believed: where most agree, those who do not.
    """
    answers = [answer for answer in telling(result.answers) if scope_of(answer.mapped.host) is Scope.GLOBAL]
    if result.report.udp is Udp.BLOCKED or not answers:
        return ()
    if result.report.mapping in STEADY:
        favourite = ranked(answers)[0]
        answers = [answer for answer in answers if answer.mapped == favourite]
    found = [(answer, _addresses(answer, own_servers)) for answer in answers]
    found.sort(key=lambda one: (not one[0].is_own, one[1].away is None))
    return tuple(addresses for _, addresses in found)


def _addresses(answer: StunAnswer, own_servers: Sequence[Endpoint]) -> StunAddresses:
    base, away = answer.remote, answer.other
    if away is not None and away.host != base.host and away.port != base.port and away.is_ipv6 == base.is_ipv6:
        return StunAddresses(base, Endpoint(base.host, away.port), away)
    if away is not None and away.host == base.host and away.port != base.port:
        return StunAddresses(base, away)  # as some servers name at their second address
    beside = [one for one in own_servers if answer.is_own and one.port != base.port]
    return StunAddresses(base, Endpoint(base.host, beside[0].port) if beside else None)


async def inspect(
    datagrams: Datagrams, entropy: Entropy, servers: Sequence[StunAddresses], mapping: Mapping, *, is_sure: bool = True
) -> BehaviorReport:
    """Learn what `mapping`, the verdict, leaves open; `CAP` seconds at most. What could not be learnt is unknown.

    `servers` (one at least) stand in the order in which they are to be asked. `is_sure`: several addresses observed
    the mapping; else it may depend on them after all.
    """
    found = BehaviorReport(addresses=servers[0])
    try:
        lost = 0
        with trio.move_on_after(CAP):
            async with open_stun_client(datagrams, entropy) as stun_client:
                found = await _inspect(stun_client, servers, mapping, is_sure=is_sure)
                lost = stun_client.lost(servers[0].base.host)
        if lost >= MUCH_LOST:
            async with open_stun_client(datagrams, entropy) as stun_client:
                found = replace(found, is_limited=await is_shaped(stun_client, servers[0].base))
    except DeviceError:
        pass  # no more sockets on this machine: the verdict alone must do
    return found


async def sample_ports(datagrams: Datagrams, entropy: Entropy, server: Endpoint, count: int) -> tuple[PortSample, ...]:
    """`count` new mappings now, in the order of their making; under a second. Empty when there are no sockets."""
    try:
        async with open_stun_client(datagrams, entropy) as stun_client:
            return tuple(one.sample for one in await sample(stun_client, server, count, SAMPLE_PATIENCE))
    except DeviceError:
        return ()


async def _inspect(
    stun_client: StunClient, servers: Sequence[StunAddresses], mapping: Mapping, *, is_sure: bool
) -> BehaviorReport:
    is_steady = mapping in STEADY
    tests = Findings(servers[0])
    is_turned = None

    async def learn_addresses() -> None:
        nonlocal tests
        tests = await learn_filtering(stun_client, servers, is_steady=is_steady)

    async def turn(one: Sampled, other: Sampled) -> None:
        nonlocal is_turned
        pair = (one.asker, one.sample.mapped), (other.asker, other.sample.mapped)
        is_turned = await try_hairpin(stun_client, *pair)

    began = trio.current_time()
    sampled = (
        [] if mapping is Mapping.NONE else await sample(stun_client, servers[0].base, FIRST_SAMPLES, SAMPLE_PATIENCE)
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(learn_addresses)
        if (pair := _pair(sampled)) is not None:
            nursery.start_soon(turn, *pair)
        if sampled and habits_of([one.sample for one in sampled]).allocation is not Allocation.PRESERVING:
            await trio.sleep_until(began + PAUSE)
            sampled += await sample(stun_client, servers[0].base, MORE_SAMPLES, SAMPLE_PATIENCE)
    ours = stun_client.flows(
        servers[0].base.host, *([] if tests.addresses.away is None else [tests.addresses.away.host])
    )
    filtering, samples = filtering_of(tests.both, tests.port), tuple(one.sample for one in sampled)
    return BehaviorReport(
        filtering=filtering,
        habits=habits_of(samples, _TESTS_OF_ONE_MAPPING if is_steady else max(0, ours - FIRST_SAMPLES - MORE_SAMPLES)),
        hairpin=hairpin_of(is_turned, is_steady=is_steady and is_sure, filtering=filtering),
        both=tests.both,
        port=tests.port,
        addresses=tests.addresses,
        samples=samples,
    )


def _pair(sampled: Sequence[Sampled]) -> tuple[Sampled, Sampled] | None:
    """The first two sockets that were seen at one outer IPv4 address, and speak IPv4: IPv6 has no hairpins."""
    if not sampled or sampled[0].asker.socket.local.is_ipv6:
        return None
    first, *others = sampled
    second = next((one for one in others if one.sample.mapped.host == first.sample.mapped.host), None)
    return None if second is None else (first, second)
