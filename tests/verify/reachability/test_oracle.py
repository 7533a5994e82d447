from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from tunnel.model.nat import Allocation, Filtering, Mapping
from tunnel.verify.reachability.nat_chain import NatChain
from tunnel.verify.reachability.oracle import Cause, Possibility, Verdict, direct_path_possible
from tunnel.verify.reachability.topology import Gateway, Hairpinning, Lie, Nat, Router, Udp

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
KINDS = [f"{mapping}+{filtering}" for mapping, filtering in product(MAPPINGS, FILTERINGS)]


def nat(kind: str, allocation: Allocation = Allocation.RANDOM, **more: object) -> Nat:
    mapping, _, filtering = kind.partition("+")
    made = Nat(mapping=MAPPINGS[mapping], filtering=FILTERINGS[filtering], allocation=allocation)
    return replace(made, **more)  # type: ignore[arg-type]


def router(kind: Nat | str | None, **more: object) -> Router:
    made = Router(address="25.1.1.1", inner="192.168.1.1", nat=nat(kind) if isinstance(kind, str) else kind)
    return replace(made, **more)  # type: ignore[arg-type]


def behind(*routers: Router | Nat | str, **more: object) -> NatChain:
    """The nearest router first."""
    return replace(
        NatChain(routers=tuple(one if isinstance(one, Router) else router(one) for one in routers)),
        **more,  # type: ignore[arg-type]
    )


PUBLIC = NatChain()

# By hand from RFC 4787, for ports that are random over the whole range. P: announced or learned ports meet; 1: one port
# must be guessed; X: two must. Read a row as one side, a column as the other; KINDS is their order.
TABLE = """
    EIM+EIF    P P P  P P P  P P P
    EIM+ADF    P P P  P P P  P P P
    EIM+APDF   P P P  1 1 1  1 1 1
    ADM+EIF    P P 1  P P 1  P P 1
    ADM+ADF    P P 1  P 1 1  P 1 1
    ADM+APDF   P P 1  1 1 X  1 1 X
    APDM+EIF   P P 1  P P 1  X X X
    APDM+ADF   P P 1  P 1 1  X X X
    APDM+APDF  P P 1  1 1 X  X X X
"""
CELLS = {
    (row, column): mark
    for row, *marks in (line.split() for line in TABLE.strip().splitlines())
    for column, mark in zip(KINDS, marks, strict=True)
}
MEANING = {"P": Possibility.PLAIN, "1": Possibility.TACTICS, "X": Possibility.IMPOSSIBLE}


@pytest.mark.parametrize(("one", "other"), CELLS)
def test_each_pair_of_kinds_is_as_reasoned_by_hand(one: str, other: str) -> None:
    assert direct_path_possible(behind(one), behind(other)).possibility is MEANING[CELLS[one, other]]


def test_it_does_not_matter_who_is_who() -> None:
    for one, other in CELLS:
        assert direct_path_possible(behind(one), behind(other)) == direct_path_possible(behind(other), behind(one))


def test_a_public_host_is_an_open_one() -> None:
    for kind in KINDS:
        assert direct_path_possible(PUBLIC, behind(kind)).possibility is Possibility.PLAIN


def test_a_firewall_before_a_public_host_filters_and_translates_nothing() -> None:
    firewall = router(None, filtering6=Filtering.ADDRESS_AND_PORT_DEPENDENT)
    assert direct_path_possible(behind(firewall), behind("EIM+APDF")) == PLAIN_KNOWN
    assert direct_path_possible(behind(firewall), behind("APDM+EIF")) == ONE_UNKNOWN


PLAIN_KNOWN = Verdict(Possibility.PLAIN, Cause.KNOWN_PORTS)
PLAIN_LEARNED = Verdict(Possibility.PLAIN, Cause.LEARNED_PORT)
ONE_UNKNOWN = Verdict(Possibility.TACTICS, Cause.ONE_PORT_UNKNOWN)
BOTH_HARD = Verdict(Possibility.IMPOSSIBLE, Cause.BOTH_HARD)


def test_a_plain_path_says_whether_a_port_had_to_show_itself() -> None:
    assert direct_path_possible(behind("EIM+APDF"), behind("EIM+APDF")) == PLAIN_KNOWN
    assert direct_path_possible(behind("EIM+ADF"), behind("APDM+APDF")) == PLAIN_LEARNED


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ("EIM+EIF EIM+EIF", "EIM+APDF", PLAIN_KNOWN),
        ("EIM+EIF EIM+ADF", "APDM+APDF", PLAIN_LEARNED),
        ("EIM+APDF EIM+EIF", "APDM+APDF", ONE_UNKNOWN),
        ("EIM+EIF EIM+APDF", "APDM+APDF", ONE_UNKNOWN),
        ("EIM+EIF APDM+EIF", "EIM+APDF", ONE_UNKNOWN),
        ("APDM+EIF EIM+EIF", "EIM+APDF", ONE_UNKNOWN),
        ("ADM+EIF APDM+EIF", "APDM+EIF", BOTH_HARD),
    ],
)
def test_two_nats_in_a_row_are_the_worse_of_each_dimension(one: str, other: str, verdict: Verdict) -> None:
    assert direct_path_possible(behind(*one.split()), behind(*other.split())) == verdict


def test_blocked_udp_anywhere_on_the_way_leaves_no_path() -> None:
    for udp in (Udp.BLOCKED, Udp.WEB_ONLY):
        blocked = behind("EIM+EIF", router("EIM+EIF", udp=udp))
        assert direct_path_possible(blocked, PUBLIC) == Verdict(Possibility.IMPOSSIBLE, Cause.UDP_BLOCKED)
    both = replace(blocked, ipv6=True), replace(PUBLIC, ipv6=True)
    assert direct_path_possible(*both).cause is Cause.UDP_BLOCKED, "IPv6 takes the same line"


def test_ipv6_on_both_sides_passes_whatever_filters_it() -> None:
    hard = behind(router("APDM+APDF", filtering6=Filtering.ADDRESS_AND_PORT_DEPENDENT), ipv6=True)
    assert direct_path_possible(hard, hard) == Verdict(Possibility.PLAIN, Cause.IPV6)
    assert direct_path_possible(hard, replace(hard, ipv6=False)) == BOTH_HARD


@pytest.mark.parametrize(
    ("allocation", "more", "is_in_reach"),
    [
        (Allocation.PRESERVING, {}, True),
        (Allocation.SEQUENTIAL, {}, True),
        (Allocation.SEQUENTIAL, {"foreign_load": 35.0}, True),
        (Allocation.SEQUENTIAL, {"foreign_load": 2048.0}, False),
        (Allocation.BLOCK, {"block_size": 2048}, True),
        (Allocation.BLOCK, {"block_size": 4096}, False),
        (Allocation.RANDOM, {}, False),
        (Allocation.RANDOM, {"first_port": 20000, "last_port": 22047}, True),
    ],
)
def test_two_hard_nats_need_ports_within_reach_on_both_sides(
    allocation: Allocation, more: dict[str, object], is_in_reach: bool
) -> None:
    hard = behind(nat("APDM+APDF", allocation, **more))
    reached = Verdict(Possibility.TACTICS, Cause.PORTS_IN_REACH)
    assert direct_path_possible(hard, hard) == (reached if is_in_reach else BOTH_HARD)
    assert direct_path_possible(hard, behind("APDM+APDF")) == BOTH_HARD, "one alone is not enough"


def test_a_steady_port_that_can_be_foretold_is_as_good_as_announced() -> None:
    steady = behind(nat("ADM+APDF", Allocation.SEQUENTIAL))
    assert direct_path_possible(steady, behind("APDM+APDF")) == ONE_UNKNOWN


def test_a_steady_port_of_a_block_is_no_match_for_any_port() -> None:
    """512 x 64,512 pairs of ports, of which 2,048 x 2,048 are covered: 0.13 to be expected, a win in eight."""
    steady = behind(nat("ADM+APDF", Allocation.BLOCK, block_size=512))
    assert direct_path_possible(steady, behind("APDM+APDF")) == BOTH_HARD
    assert direct_path_possible(steady, behind("ADM+APDF")) == BOTH_HARD
    assert direct_path_possible(steady, behind(nat("APDM+APDF", Allocation.BLOCK))).cause is Cause.PORTS_IN_REACH


def test_two_blocks_of_unequal_size_need_the_larger_one_to_be_filled_too() -> None:
    """Each flow takes a port of its own: 512 of them meet half of what 4,096 ports would need."""
    small, large = (behind(nat("APDM+APDF", Allocation.BLOCK, block_size=size)) for size in (512, 4096))
    assert direct_path_possible(small, large) == BOTH_HARD


def test_a_nat_before_one_that_picks_any_port_is_not_in_reach_however_it_counts() -> None:
    counted = behind(nat("APDM+APDF", Allocation.SEQUENTIAL), nat("EIM+APDF", Allocation.RANDOM))
    assert direct_path_possible(counted, counted) == BOTH_HARD
    kept = behind(nat("APDM+APDF", Allocation.SEQUENTIAL), nat("EIM+APDF", Allocation.PRESERVING))
    assert direct_path_possible(kept, kept).cause is Cause.PORTS_IN_REACH


def test_the_outer_nat_chooses_the_port_that_must_be_foretold() -> None:
    """An inner NAT with constant ports, however it picks them, changes nothing about the next port outside."""
    both = behind(nat("EIM+APDF", Allocation.RANDOM), nat("APDM+APDF", Allocation.SEQUENTIAL))
    assert direct_path_possible(both, both).cause is Cause.PORTS_IN_REACH


@pytest.mark.parametrize("kind", KINDS)
def test_two_hosts_of_one_network_talk_on_it(kind: str) -> None:
    """Whatever their router does, and even if it lets no datagram out: it does not see these."""
    home = router(kind, udp=Udp.BLOCKED)
    one = behind(home, shared=1)
    assert direct_path_possible(one, one) == Verdict(Possibility.PLAIN, Cause.SAME_NETWORK)


@pytest.mark.parametrize("kind", KINDS)
def test_a_router_of_ones_own_inside_the_others_network_is_a_nat_before_a_public_host(kind: str) -> None:
    home = router("EIM+APDF")
    near, further = behind(home, shared=1), behind(router(kind), home, shared=1)
    assert direct_path_possible(near, further) == Verdict(Possibility.PLAIN, Cause.SAME_NETWORK)


def test_a_firewall_inside_a_shared_network_asks_for_an_address_that_nobody_announced() -> None:
    """The translated side is announced by its address outside the shared NAT, not by the one inside it."""
    shared = carrier(Hairpinning.NONE)
    guarded = behind(router(None, filtering6=Filtering.ADDRESS_DEPENDENT), shared, shared=1)
    translated = behind("EIM+EIF", shared, shared=1)
    assert direct_path_possible(guarded, translated) == Verdict(Possibility.IMPOSSIBLE, Cause.NO_HAIRPIN)
    welcoming = behind(router(None, filtering6=Filtering.ENDPOINT_INDEPENDENT), shared, shared=1)
    assert direct_path_possible(welcoming, translated) == Verdict(Possibility.PLAIN, Cause.SAME_NETWORK)


def carrier(hairpinning: Hairpinning, kind: str = "EIM+EIF") -> Router:
    return router(nat(kind, hairpinning=hairpinning))


def test_two_homes_behind_one_carrier_nat_need_its_hairpin() -> None:
    def verdict(shared: Router) -> Verdict:
        homes = [behind(home, shared, shared=1) for home in ("EIM+APDF", "EIM+APDF")]
        return direct_path_possible(*homes)

    assert verdict(carrier(Hairpinning.NONE)) == Verdict(Possibility.IMPOSSIBLE, Cause.NO_HAIRPIN)
    assert verdict(carrier(Hairpinning.EXTERNAL_SOURCE)) == PLAIN_KNOWN
    assert verdict(carrier(Hairpinning.EXTERNAL_SOURCE, "APDM+APDF")) == BOTH_HARD


def test_a_hairpin_with_inner_sources_serves_only_those_who_let_strangers_in() -> None:
    def verdict(one: str, other: str) -> Verdict:
        shared = carrier(Hairpinning.INTERNAL_SOURCE)
        return direct_path_possible(behind(one, shared, shared=1), behind(other, shared, shared=1))

    assert verdict("EIM+EIF", "EIM+EIF") == PLAIN_LEARNED
    assert verdict("EIM+EIF", "EIM+ADF") == Verdict(Possibility.IMPOSSIBLE, Cause.HAIRPIN_SOURCE)
    assert verdict("EIM+APDF", "EIM+APDF") == Verdict(Possibility.IMPOSSIBLE, Cause.HAIRPIN_SOURCE)


def test_the_hairpin_that_counts_is_that_of_the_outermost_nat() -> None:
    """Announced addresses are its own; a shared NAT further in is just passed twice."""
    inner, outer = carrier(Hairpinning.NONE), carrier(Hairpinning.EXTERNAL_SOURCE)
    both = [behind("EIM+APDF", inner, outer, shared=2) for _ in range(2)]
    assert direct_path_possible(*both) == PLAIN_KNOWN


def test_a_mapping_that_dies_within_the_punch_makes_a_race_of_it() -> None:
    short = behind(nat("EIM+APDF", lifetime=9.0))
    race = Verdict(Possibility.TACTICS, Cause.MAPPING_EXPIRES)
    assert direct_path_possible(short, behind("EIM+APDF")) == race
    assert direct_path_possible(short, behind("EIM+ADF")) == PLAIN_KNOWN, "the new port shows itself"
    assert direct_path_possible(behind(nat("EIM+APDF", lifetime=10.0)), behind("EIM+APDF")) == PLAIN_KNOWN
    preserving = behind(nat("EIM+APDF", Allocation.PRESERVING, lifetime=1.0))
    assert direct_path_possible(preserving, behind("EIM+APDF")) == PLAIN_KNOWN, "it gets the same port again"


def test_a_port_that_the_gateway_mapped_is_open_to_all() -> None:
    asked = behind(router("APDM+APDF", gateway=Gateway(pcp=True)), maps_port=True)
    assert direct_path_possible(asked, behind("APDM+APDF")) == PLAIN_LEARNED
    assert direct_path_possible(replace(asked, maps_port=False), behind("APDM+APDF")) == BOTH_HARD
    lying = behind(router("APDM+APDF", gateway=Gateway(upnp=True, lie=Lie.NOT_MAPPED)), maps_port=True)
    assert direct_path_possible(lying, behind("APDM+APDF")) == BOTH_HARD
    doubled = behind(router("APDM+APDF", gateway=Gateway(upnp=True)), "APDM+APDF", maps_port=True)
    assert direct_path_possible(doubled, behind("APDM+APDF")) == BOTH_HARD, "the carrier's NAT knows nothing of it"
