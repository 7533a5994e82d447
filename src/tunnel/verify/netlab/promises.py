"""Which pairs of sites must come to a direct path, judged by what each site is alone. Runs nothing.

the two share no address family            relayed: nothing to send from the one to the other
UDP is blocked at one                      relayed, over the WebSocket
a gateway opens ports at one               direct: the other knows where to knock
no hard mapping (RFC 4787 4.1)             direct: both punch
a hard one, the other lets strangers in    direct: it answers where it was spoken to from
a hard one, the other filters by port too  direct: by prediction where ports are counted, else by birthday
two hard ones                              direct if both count their ports, else relayed
"""

from __future__ import annotations

from tunnel.model.nat import Allocation, Filtering, NatReport, Udp
from tunnel.verify.netlab.sites import SiteSpec

_OPEN = (Filtering.NONE, Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT)

_FINDABLE = (Allocation.SEQUENTIAL, Allocation.RANDOM, Allocation.BLOCK)


def is_direct_promised(one: SiteSpec, other: SiteSpec) -> bool:
    """Whether hosts of these two sites must reach each other directly, given time for every tactic."""
    sites = (one, other)
    if all(site.has_ipv6 for site in sites):
        return not any(site.truth.udp is Udp.BLOCKED for site in sites)
    if not all(site.kind.has_ipv4 for site in sites) or any(site.truth.udp is Udp.BLOCKED for site in sites):
        return False
    if any(site.kind.gateway is not None for site in sites):
        return True
    return _can_punch(one.truth, other.truth)


def _can_punch(one: NatReport, other: NatReport) -> bool:
    if one.is_hard and other.is_hard:
        return one.allocation is other.allocation is Allocation.SEQUENTIAL
    if not one.is_hard and not other.is_hard:
        return True
    hard, easy = (one, other) if one.is_hard else (other, one)
    return easy.filtering in _OPEN or hard.allocation in _FINDABLE
