"""What the oracle expects of a population, exactly: no run, no chance, every kind of pair with its probability."""

from __future__ import annotations

from dataclasses import dataclass

from bench.studies.choices import Chooser, every_draw
from bench.studies.population_draw import Site, draw_site
from bench.studies.population_mix import Mix

from tunnel.verify.reachability.nat_chain import NatChain, reach_of, side_of
from tunnel.verify.reachability.oracle import Cause, Possibility, Verdict, direct_path_possible
from tunnel.verify.reachability.topology import Udp


@dataclass(frozen=True, slots=True)
class Forecast:
    """The share of pairs by verdict; the shares add up to 1."""

    verdicts: dict[Verdict, float]

    def share(self, what: Possibility | Cause) -> float:
        """The share of all pairs with this possibility, or this cause."""
        return sum(share for verdict, share in self.verdicts.items() if what in (verdict.possibility, verdict.cause))


def forecast(mix: Mix, *, ipv6: bool = True, maps_port: bool = False) -> Forecast:
    """The verdicts of independent pairs of this population. Without `ipv6` no host has it."""
    kinds = _kinds_of(mix, ipv6=ipv6, maps_port=maps_port)
    verdicts: dict[Verdict, float] = {}
    for place, (share, one) in enumerate(kinds):
        for other_share, other in kinds[place:]:
            verdict = direct_path_possible(one, other)
            both = share * other_share * (1.0 if one is other else 2.0)
            verdicts[verdict] = verdicts.get(verdict, 0.0) + both
    return Forecast(verdicts)


def _kinds_of(mix: Mix, *, ipv6: bool, maps_port: bool) -> list[tuple[float, NatChain]]:
    """Endpoints that the oracle cannot tell apart, as one chain with their common share."""

    def draw(choose: Chooser) -> Site:
        return draw_site(mix, choose, "one", 1)

    shares: dict[tuple[object, ...], float] = {}
    examples: dict[tuple[object, ...], NatChain] = {}
    for share, site in every_draw(draw):
        has_ipv6 = ipv6 and any(":" in address for address in site.host.addresses)
        nat_chain = NatChain(routers=tuple(site.routers.values()), ipv6=has_ipv6, maps_port=maps_port)
        is_blocked = any(router.udp is not Udp.OPEN for router in nat_chain.routers)
        side = side_of(nat_chain.routers, nat_chain)
        ways = tuple((hop.mapping, hop.filtering, hop.expires) for hop in side)
        kind = (ways, reach_of(side), has_ipv6, is_blocked)
        shares[kind] = shares.get(kind, 0.0) + share
        examples.setdefault(kind, nat_chain)
    return [(share, examples[kind]) for kind, share in shares.items()]
