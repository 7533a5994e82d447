"""Which pairs of sites must come to a direct path: those for which the oracle knows a way. Runs nothing.

A pair that needs a port guessed is promised one too: it is given time for every tactic.
"""

from __future__ import annotations

from dataclasses import replace

from tunnel.verify.netlab.sites import SiteSpec
from tunnel.verify.reachability.oracle import Possibility, direct_path_possible


def is_direct_promised(one: SiteSpec, other: SiteSpec) -> bool:
    """Whether hosts of these two sites must reach each other directly. Without a common address family: no."""
    if not (one.has_ipv6 and other.has_ipv6) and not (one.kind.has_ipv4 and other.kind.has_ipv4):
        return False
    chains = [replace(site.kind.chain, ipv6=site.has_ipv6) for site in (one, other)]
    return direct_path_possible(*chains).possibility is not Possibility.IMPOSSIBLE
