"""Every pair of NATs, each compared with the oracle: a path that must be direct is, and one that cannot be is not.

A kind is mapping x filtering x allocation, 36 in all. Cells are all unordered pairs of kinds, and each kind in the
positions that a pair alone does not show: against a public host, behind a second NAT, in front of both hosts, as a
carrier's NAT in front of two homes, and with UDP blocked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import combinations_with_replacement, product

from bench.studies.population_draw import public_stun_servers
from bench.studies.study import ONE, OTHER, PairResult, study_pair

from tunnel.model.endpoint import Endpoint
from tunnel.model.nat import Allocation, Filtering, Mapping
from tunnel.model.reasons import ReasonCode
from tunnel.model.settings import STUN_PORTS
from tunnel.verify.reachability.nat_chain import nat_chains
from tunnel.verify.reachability.oracle import Cause, Possibility, Verdict, direct_path_possible
from tunnel.verify.reachability.topology import Hairpinning, Host, Line, Nat, Router, Server, Topology, Udp
from tunnel.verify.workers import run_all

ACCESS = Line(latency=0.005)
"""With the topology's core this makes 60 ms round trip between any two sites."""
MAPPINGS = {
    "EIM": Mapping.ENDPOINT_INDEPENDENT,
    "ADM": Mapping.ADDRESS_DEPENDENT,
    "APDM": Mapping.ADDRESS_AND_PORT_DEPENDENT,
}
FILTERINGS = {
    "EIF": Filtering.ENDPOINT_INDEPENDENT,
    "ADF": Filtering.ADDRESS_DEPENDENT,
    "APDF": Filtering.ADDRESS_AND_PORT_DEPENDENT,
}
ALLOCATIONS = (Allocation.PRESERVING, Allocation.SEQUENTIAL, Allocation.RANDOM, Allocation.BLOCK)
FOREIGN_LOAD = 5.0
"""Foreign mappings a second at sequential NATs."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of NAT, in the words of RFC 4787."""

    mapping: str
    filtering: str
    allocation: Allocation

    @property
    def family(self) -> str:
        """The kind without its allocation."""
        return f"{self.mapping} {self.filtering}"

    def __str__(self) -> str:
        return f"{self.family} {self.allocation.value}"

    @property
    def nat(self) -> Nat:
        """The NAT as a topology has it."""
        load = FOREIGN_LOAD if self.allocation is Allocation.SEQUENTIAL else 0.0
        return Nat(
            mapping=MAPPINGS[self.mapping],
            filtering=FILTERINGS[self.filtering],
            allocation=self.allocation,
            foreign_load=load,
        )


KINDS = tuple(Kind(*one) for one in product(MAPPINGS, FILTERINGS, ALLOCATIONS))
SERVER = Server(stun=tuple(Endpoint(host, port) for host in ("25.0.0.1", "25.0.0.2") for port in STUN_PORTS))
"""With two addresses its STUN service tells how NATs filter (RFC 5780)."""
COMMON = Kind("EIM", "APDF", Allocation.PRESERVING)
"""The NAT of most homes."""


class Position(Enum):
    """The positions of the kinds of a cell."""

    PAIR = "each behind one"
    PUBLIC = "one behind it, the other public"
    SECOND = "one behind a home router behind it, the other at home"
    AROUND = "both behind it, on one network"
    CARRIER = "two homes behind it, and it sends packets back"
    CARRIER_WITHOUT_HAIRPIN = "two homes behind it, and it sends nothing back"
    UDP_BLOCKED = "one behind it without UDP, the other at home"


@dataclass(frozen=True, slots=True)
class Cell:
    """One square of the grid."""

    position: Position
    one: Kind
    other: Kind
    """The same as `one` if there is only one kind."""

    def __str__(self) -> str:
        return f"{self.one} x {self.other}" if self.position is Position.PAIR else f"{self.position.value}: {self.one}"

    @property
    def verdict(self) -> Verdict:
        """The oracle's."""
        return direct_path_possible(*nat_chains(self.topology, ONE, OTHER))

    @property
    def topology(self) -> Topology:
        """The network."""
        nat, far = self.one.nat, self.other.nat
        match self.position:
            case Position.PAIR:
                return _topology(_home(1, nat), _home(2, far))
            case Position.PUBLIC:
                return _topology(_home(1, nat), _Site(Host(addresses=("27.0.2.2",), line=ACCESS)))
            case Position.SECOND:
                return _topology(_home(1, COMMON.nat, behind="carrier"), _home(2, COMMON.nat), carrier=_carrier(nat))
            case Position.AROUND:
                home = _home(1, nat)
                return _topology(home, _Site(replace(home.host, addresses=("192.168.1.3",))))
            case Position.CARRIER:
                carrier = _carrier(replace(nat, hairpinning=Hairpinning.EXTERNAL_SOURCE))
                homes = (_home(number, COMMON.nat, behind="carrier") for number in (1, 2))
                return _topology(*homes, carrier=carrier)
            case Position.CARRIER_WITHOUT_HAIRPIN:
                homes = (_home(number, COMMON.nat, behind="carrier") for number in (1, 2))
                return _topology(*homes, carrier=_carrier(nat))
            case Position.UDP_BLOCKED:
                return _topology(_home(1, nat, udp=Udp.BLOCKED), _home(2, COMMON.nat))


class Agreement(Enum):
    """Whether a run agrees with the oracle."""

    PLAIN = "direct, as it must be"
    WON_BY_TACTICS = "direct, by tactics"
    LEFT_TO_TACTICS = "relayed, tactics could do better"
    RELAYED = "relayed, as it must be"
    OTHER_REASON = "relayed, but for another reason than the node says"
    WRONG = "wrong"
    """Direct although it cannot be, relayed although it must not be, or an invariant broke."""


@dataclass(frozen=True, slots=True)
class CellResult:
    """One run of one cell."""

    cell: Cell
    seed: int
    verdict: Verdict
    result: PairResult

    @property
    def agreement(self) -> Agreement:
        """What this run shows."""
        if self.result.failures:
            return Agreement.WRONG
        match self.verdict.possibility, self.result.is_direct:
            case Possibility.PLAIN, True:
                return Agreement.PLAIN
            case Possibility.TACTICS, True:
                return Agreement.WON_BY_TACTICS
            case (Possibility.PLAIN, False) | (Possibility.IMPOSSIBLE, True):
                return Agreement.WRONG
            case _ if not self._is_reason_true:
                return Agreement.OTHER_REASON
            case Possibility.TACTICS, _:
                return Agreement.LEFT_TO_TACTICS
            case _:
                return Agreement.RELAYED

    @property
    def _is_reason_true(self) -> bool:
        return self.result.reason in [code.value for code in REASONS.get(self.verdict.cause, ())]


_GUESSED = (ReasonCode.GUESSING_FAILED, ReasonCode.PROBES_UNANSWERED, ReasonCode.BOTH_HARD_NATS)
REASONS: dict[Cause, tuple[ReasonCode, ...]] = {
    Cause.UDP_BLOCKED: (ReasonCode.UDP_BLOCKED,),
    Cause.NO_HAIRPIN: _GUESSED,
    Cause.ONE_PORT_UNKNOWN: _GUESSED,
    Cause.PORTS_IN_REACH: _GUESSED,
    Cause.BOTH_HARD: (ReasonCode.BOTH_HARD_NATS,),
}
"""Whether a node may give this reason for having no direct path. `both_hard_nats` is right if nothing can be done."""


def all_cells() -> tuple[Cell, ...]:
    """The whole grid."""
    pairs = [Cell(Position.PAIR, one, other) for one, other in combinations_with_replacement(KINDS, 2)]
    alone = [Cell(position, kind, kind) for position in Position if position is not Position.PAIR for kind in KINDS]
    return (*pairs, *alone)


def run_grid(
    cells: Sequence[Cell],
    seeds: Sequence[int] = (0,),
    *,
    processes: int | None = None,
    on_done: Callable[[CellResult], None] = lambda _: None,
) -> list[CellResult]:
    """Run each cell with each seed."""
    return run_all(run_cell, [(cell, seed) for cell in cells for seed in seeds], processes=processes, on_done=on_done)


def run_cell(job: tuple[Cell, int]) -> CellResult:
    """One cell with one seed."""
    cell, seed = job
    return CellResult(cell, seed, cell.verdict, study_pair(cell.topology, seed))


@dataclass(frozen=True, slots=True)
class _Site:
    host: Host
    routers: tuple[tuple[str, Router], ...] = ()


def _home(number: int, nat: Nat, *, behind: str | None = None, udp: Udp = Udp.OPEN) -> _Site:
    router = Router(
        address=f"26.0.{number}.1" if behind is None else f"100.64.0.{number + 1}",
        inner=f"192.168.{number}.1",
        behind=behind,
        nat=nat,
        udp=udp,
        line=ACCESS,
    )
    name = f"home-{number}"
    return _Site(Host(addresses=(f"192.168.{number}.2",), behind=name), ((name, router),))


def _carrier(nat: Nat) -> Router:
    return Router(address="26.0.9.1", inner="100.64.0.1", nat=nat)


def _topology(one: _Site, other: _Site, *, carrier: Router | None = None) -> Topology:
    routers = {} if carrier is None else {"carrier": carrier}
    return Topology(
        hosts={ONE: one.host, OTHER: other.host},
        routers=routers | dict((*one.routers, *other.routers)),
        server=SERVER,
        stun_servers=public_stun_servers()[:3],
    )
