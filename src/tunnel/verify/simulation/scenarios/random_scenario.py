"""Random scenarios: networks, lines, faults and moments drawn from one seed; what must hold follows from RFC 4787.

Faults happen for a while, and all of them end. Then there is quiet, and in its last part any two nodes that want each
other must have a path that carries data. The invariants hold all the time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tunnel.model.nat import Allocation, Filtering, Mapping
from tunnel.model.settings import NodeSettings
from tunnel.model.way import PathKind
from tunnel.verify.reachability.nat_chain import nat_chains
from tunnel.verify.reachability.oracle import Possibility, direct_path_possible
from tunnel.verify.reachability.topology import (
    Hairpinning,
    Honesty,
    Host,
    Line,
    Nat,
    Refresh,
    Router,
    StunServer,
    Topology,
    Udp,
    Unsolicited,
)
from tunnel.verify.simulation.scenarios.action import (
    Action,
    ChangeLine,
    Cut,
    JumpClock,
    Kill,
    Lift,
    LoseNames,
    Plug,
    Reboot,
    Renumber,
    Roam,
    Send,
    Shut,
    Sleep,
    Start,
    Stop,
    Unplug,
)
from tunnel.verify.simulation.scenarios.expectation import Expectation, ExpectPeer, ExpectTraffic
from tunnel.verify.simulation.scenarios.random_bursts import with_bursts
from tunnel.verify.simulation.scenarios.random_faults import mtu_trouble, newer_trouble
from tunnel.verify.simulation.scenarios.scenario import NodePlan, Scenario

TROUBLE = (6.0, 36.0)
"""When the faults begin, and when the last one has ended, in seconds."""
QUIET = 54.0
"""Seconds from the last fault to the end: the backoff after such an outage, registration, introduction, punch."""
ROOMY = 1258
"""The least MTU of a line on which the NATs alone decide: a datagram of the base size, by a circuit and IPv6."""
CALM = 5.0
"""Seconds at the end in which everything must hold."""
NEWER = 600_000
"""From this seed on newer faults are drawn too, from another source: scenarios of lower seeds do not change."""
NEWEST = 900_000
"""Likewise lines whose MTU changes."""
HEARD = 5
"""Of so many datagrams at least one must arrive before the end: lines may lose some."""
_CLOCKS = (0.0,) * 7 + (-1.8e9,)
"""The clock offset of a machine that boots in 1970."""
_MAPPINGS = (Mapping.ENDPOINT_INDEPENDENT, Mapping.ADDRESS_DEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT)
_FILTERINGS = (Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
_ALLOCATIONS = (Allocation.PRESERVING, Allocation.SEQUENTIAL, Allocation.RANDOM, Allocation.BLOCK)


def draw_scenario(seed: int) -> Scenario:
    """The random scenario of this seed."""
    newer = random.Random(f"storm/{seed}/newer") if seed >= NEWER else None  # noqa: S311 - repeatable on purpose
    newest = random.Random(f"storm/{seed}/newest") if seed >= NEWEST else None  # noqa: S311
    scenario = _Drawing(random.Random(f"storm/{seed}"), newer, newest).scenario(seed)  # noqa: S311
    return with_bursts(scenario, seed)


class _Drawing:
    """One scenario while it is drawn."""

    def __init__(self, chance: random.Random, newer: random.Random | None, newest: random.Random | None) -> None:
        self._chance = chance
        self._newer, self._newest = newer, newest
        self._spare_addresses = iter(f"26.9.0.{at}" for at in range(1, 200))

    def scenario(self, seed: int) -> Scenario:
        chance = self._chance
        routers = self._routers()
        hosts = self._hosts(routers)
        self._pairs = self._draw_pairs(list(hosts))
        stun = self._stun_servers()
        names = tuple(f"{server.name}:{server.port}" for server in stun)
        nodes = {
            host: NodePlan(
                settings=NodeSettings(name=host, default_stun=False, stun=names, relay_only=chance.random() < 0.05),
                start=round(chance.uniform(0.0, 3.0), 2),
                clock=0.0 if self._newer is None else self._newer.choice(_CLOCKS),
            )
            for host in hosts
        }
        length = TROUBLE[1] + QUIET
        actions = tuple(sorted(self._actions(hosts, routers, length), key=lambda action: action.at))
        latency = round(chance.uniform(0.002, 0.15), 3)
        topology = Topology(hosts=hosts, routers=routers, stun_servers=stun, latency=latency)
        return Scenario(
            name=f"storm_{seed}",
            title=f"The random scenario of seed {seed}",
            topology=topology,
            nodes=nodes,
            actions=actions,
            expectations=tuple(self._expectations(topology, nodes, actions, length)),
            length=length,
        )

    def _routers(self) -> dict[str, Router]:
        routers: dict[str, Router] = {}
        chance = self._chance
        for at in range(1, chance.randint(1, 3) + 1):
            uppers = [name for name, router in routers.items() if router.behind is None]
            behind = chance.choice(uppers) if uppers and chance.random() < 0.25 else None
            address = f"26.0.{at}.1" if behind is None else f"100.64.{uppers.index(behind)}.{at}"
            subnet = chance.choice((1, at)) if behind is None else at  # no router could use it as its own outer network
            routers[f"r{at}"] = Router(
                address=address,
                inner=f"192.168.{subnet}.1",
                behind=behind,
                nat=self._nat(),
                filtering6=chance.choice(_FILTERINGS),
                udp=chance.choices((Udp.OPEN, Udp.BLOCKED, Udp.WEB_ONLY), (92, 5, 3))[0],
                line=self._line(),
            )
        return routers

    def _nat(self) -> Nat:
        chance = self._chance
        lifetime = chance.choice((20.0, 30.0, 60.0, 120.0, 300.0))
        return Nat(
            mapping=chance.choices(_MAPPINGS, (70, 10, 20))[0],
            filtering=chance.choices(_FILTERINGS, (20, 20, 60))[0],
            allocation=chance.choice(_ALLOCATIONS),
            step=chance.choice((1, 1, 2, 8)),
            foreign_load=chance.choice((0.0, 0.0, 5.0, 50.0)),
            block_size=chance.choice((64, 512, 2048)),
            lifetime=lifetime,
            unanswered_lifetime=min(lifetime, 30.0),
            refresh=chance.choice(list(Refresh)),
            hairpinning=chance.choice(list(Hairpinning)),
            unsolicited=chance.choices(list(Unsolicited), (70, 10, 10, 10))[0],
            max_mappings=chance.choices((None, 64), (90, 10))[0],
        )

    def _line(self) -> Line:
        chance = self._chance
        if chance.random() < 0.8:
            return Line(latency=round(chance.uniform(0.0, 0.03), 3))
        return Line(
            latency=round(chance.uniform(0.0, 0.1), 3),
            jitter=round(chance.choice((0.0, 0.01, 0.05)), 3),
            loss_up=chance.choice((0.0, 0.01, 0.05)),
            loss_down=chance.choice((0.0, 0.01, 0.05)),
            reorder=chance.choice((0.0, 0.05)),
            duplicate=chance.choice((0.0, 0.02)),
            mtu_up=chance.choice((None, None, None, 1400, 1280)),
            mtu_down=chance.choice((None, None, None, 1400, 1280)),
        )

    def _hosts(self, routers: dict[str, Router]) -> dict[str, Host]:
        chance = self._chance
        hosts: dict[str, Host] = {}
        for at in range(1, chance.choice((2, 2, 2, 3, 3, 4)) + 1):
            behind = chance.choice((None, *routers, *routers, *routers))
            address = f"27.0.0.{at}" if behind is None else _beside(routers[behind].inner, 10 + at)
            addresses = (address, f"2001:db8::{at}") if chance.random() < 0.2 else (address,)
            hosts[f"h{at}"] = Host(addresses=addresses, behind=behind, line=self._line())
        return hosts

    def _draw_pairs(self, hosts: list[str]) -> list[tuple[str, str]]:
        """Choose senders and receivers: each host sends to the next one, some in the other direction."""
        around = [(host, hosts[(at + 1) % len(hosts)]) for at, host in enumerate(hosts)]
        if len(hosts) == 2 and self._chance.random() < 0.3:
            return around[:1]
        return around

    def _stun_servers(self) -> tuple[StunServer, ...]:
        honesties = self._chance.choices(list(Honesty), (70, 10, 20), k=self._chance.randint(0, 3))
        return tuple(
            StunServer(name=f"stun{at}.example", address=f"24.0.0.{at}", honesty=honesty)
            for at, honesty in enumerate(honesties, start=1)
        )

    def _actions(self, hosts: dict[str, Host], routers: dict[str, Router], length: float) -> Iterator[Action]:
        chance = self._chance
        for host, other in self._pairs:
            yield Send(
                at=round(chance.uniform(3.0, 6.0), 2),
                who=host,
                to=other,
                every=chance.choice((0.5, 1.0, 3.0)),
                until=length - 1.0,
                size=chance.choice((40, 200, 1200)),
            )
        faults: list[Action] = []
        for _ in range(chance.randint(0, 5)):
            begin = round(chance.uniform(TROUBLE[0], TROUBLE[1] - 1.0), 2)
            end = round(min(begin + chance.choice((0.5, 2.0, 8.0, 20.0)), TROUBLE[1]), 2)
            faults += self._fault(begin, end, list(hosts), routers)
        yield from faults
        if self._newer is not None:
            stopped = {action.who for action in faults if isinstance(action, Stop)}
            for _ in range(self._newer.randint(0, 2)):
                yield from newer_trouble(self._newer, list(hosts), stopped, *TROUBLE)
        if self._newest is not None:
            yield from mtu_trouble(self._newest, list(hosts), *TROUBLE)

    def _fault(self, begin: float, end: float, hosts: Sequence[str], routers: dict[str, Router]) -> Iterator[Action]:
        chance = self._chance
        host, router = chance.choice(hosts), chance.choice(list(routers))
        match chance.randrange(13):
            case 0:
                yield Kill(at=begin, who="server")
                yield Start(at=end, who="server")
            case 1:
                yield Stop(at=begin, who="server")
                yield Start(at=end + 1.5, who="server")
            case 2:
                yield Kill(at=begin, who=host)
                yield Start(at=end, who=host)
            case 3:
                yield Stop(at=begin, who=host)
                yield Start(at=end + 2.5, who=host)
            case 4:
                yield Reboot(at=begin, router=router)
            case 5 if routers[router].behind is None:
                yield Renumber(at=begin, router=router, address=next(self._spare_addresses))
            case 6:
                yield Cut(at=begin, one=host, other="server", udp=chance.random() < 0.5)
                yield Lift(at=end, one=host, other="server")
            case 7:
                one, other = chance.sample(hosts, 2)
                yield Cut(at=begin, one=one, other=other, both_ways=chance.random() < 0.5)
                yield Lift(at=end, one=one, other=other)
            case 8:
                yield ChangeLine(at=begin, of=host, loss_up=chance.choice((0.1, 0.3)), loss_down=0.1)
                yield ChangeLine(at=end, of=host, loss_up=0.0, loss_down=0.0)
            case 9:
                behind = chance.choice((None, *routers))
                address = next(self._spare_addresses)
                yield Roam(
                    at=begin,
                    host=host,
                    behind=behind,
                    addresses=(
                        address if behind is None else _beside(routers[behind].inner, int(address.split(".")[3]) + 30),
                    ),
                )
            case 10:
                yield Sleep(at=begin, host=host, seconds=round(end - begin, 2))
            case 11:
                yield JumpClock(
                    at=begin, host=chance.choice((*hosts, "server")), seconds=chance.choice((-3600.0, 86400.0))
                )
            case _:
                yield from chance.choice(
                    (
                        [Unplug(at=begin, host=host), Plug(at=end, host=host)],
                        [
                            Shut(at=begin, router=router, udp="blocked"),
                            Shut(at=end, router=router, udp=routers[router].udp.value),
                        ],
                        [LoseNames(at=begin, host=host), LoseNames(at=end, host=host, lost=False)],
                    )
                )

    def _expectations(
        self, topology: Topology, nodes: dict[str, NodePlan], actions: Sequence[Action], length: float
    ) -> Iterator[Expectation]:
        afterward = _after_roaming(topology, actions)
        for host, other in self._pairs:
            must_be_direct = (
                not nodes[host].settings.relay_only
                and not nodes[other].settings.relay_only
                and not any(map(_looks_blocked, actions))  # the node believes that UDP is blocked until the next survey
                and _is_clean(afterward, host)
                and _is_clean(afterward, other)
                and direct_path_possible(*nat_chains(afterward, host, other)).possibility is Possibility.PLAIN
            )
            yield ExpectPeer(
                node=host,
                peer=other,
                state="connected" if must_be_direct else "connected relayed punching",
                path=" ".join([PathKind.DIRECT] if must_be_direct else PathKind),
                by=length,
                after=length - CALM,
            )
            every = next(
                action.every
                for action in actions
                if isinstance(action, Send) and (action.who, action.to) == (host, other)
            )
            heard = max(CALM + 3.0, HEARD * every + 2.0)
            yield ExpectTraffic(who=host, to=other, carried_after=length - heard)


def _looks_blocked(action: Action) -> bool:
    """Whether requests over UDP may remain unanswered from now on."""
    return isinstance(action, Shut) or (
        isinstance(action, ChangeLine) and 1.0 in (action.udp_loss_up, action.udp_loss_down)
    )


def _after_roaming(topology: Topology, actions: Sequence[Action]) -> Topology:
    """The topology at the end, with hosts where they roamed to last."""
    hosts = dict(topology.hosts)
    for action in actions:
        if isinstance(action, Roam):
            hosts[action.host] = replace(hosts[action.host], behind=action.behind, addresses=action.addresses)
    return replace(topology, hosts=hosts)


def _is_clean(topology: Topology, host: str) -> bool:
    """Whether only NATs can keep a host from a direct path: no lossy line, none with a small MTU or rate.

    Nor a NAT that denies or tracks unsolicited packets or limits mappings: for those the RFC promises nothing.
    """
    lines, nats = [topology.hosts[host].line], []
    name = topology.hosts[host].behind
    while name is not None:
        router = topology.routers[name]
        lines.append(router.line)
        nats.append(router.nat)
        name = router.behind
    return all(
        min(line.mtu_up or ROOMY, line.mtu_down or ROOMY) >= ROOMY and max(line.loss_up, line.loss_down) <= 0.01
        for line in lines
    ) and all(
        nat is None or (nat.unsolicited in (Unsolicited.DROP, Unsolicited.RESET) and nat.max_mappings is None)
        for nat in nats
    )


def _beside(inner: str, at: int) -> str:
    return f"{inner.rsplit('.', 1)[0]}.{at}"
