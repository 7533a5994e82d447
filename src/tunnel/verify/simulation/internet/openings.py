"""What a NAT or firewall remembers of one inner endpoint: for how long, and which remotes it lets in.

Shared by NATs (mappings.py) and firewalls that do not translate (firewall.py). Filtering is RFC 4787, section 5; the
timers are those of section 4.3. Each permission has its own lifetime, as a flow has in netfilter: a mapping that one
remote keeps alive does not stay open for another.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from tunnel.model.endpoint import Endpoint
from tunnel.model.errors import SettingsError
from tunnel.model.nat import Filtering
from tunnel.verify.reachability.topology import UDP_LIFETIME, UNANSWERED_LIFETIME, Nat, Refresh

STREAM_LIFETIME = 7440.0
"""RFC 5382, requirement 5: an established connection may be idle for 2 h 4 min."""
TRANSITORY_LIFETIME = 240.0
"""The same for a connection that is only opening, or closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How long openings live, and whom they let in."""

    filtering: Filtering
    lifetime: float = UDP_LIFETIME
    unanswered_lifetime: float = UNANSWERED_LIFETIME
    outbound_refreshes: bool = True
    inbound_refreshes: bool = True

    def __post_init__(self) -> None:
        if self.filtering is Filtering.UNKNOWN:
            raise SettingsError("a simulated box must know how it filters")


def datagram_policy(nat: Nat, filtering: Filtering | None = None) -> Policy:
    """The policy for UDP: as the NAT says, with another filtering if one is given."""
    return Policy(
        filtering=filtering or nat.filtering,
        lifetime=nat.lifetime,
        unanswered_lifetime=nat.unanswered_lifetime,
        outbound_refreshes=nat.refresh is not Refresh.INBOUND,
        inbound_refreshes=nat.refresh is not Refresh.OUTBOUND,
    )


def stream_policy(filtering: Filtering) -> Policy:
    """The policy for TCP."""
    return Policy(filtering=filtering, lifetime=STREAM_LIFETIME, unanswered_lifetime=TRANSITORY_LIFETIME)


class Opening:
    """One inner endpoint, open to the remotes that the policy lets in."""

    __slots__ = ("_answered", "_filtering", "_permissions", "_policy", "_since", "inner")

    def __init__(self, inner: Endpoint, policy: Policy, now: float) -> None:
        self.inner = inner
        self._policy = policy
        self._filtering = policy.filtering
        self._since = now
        self._answered = False
        self._permissions: dict[Hashable, _Permission] = {}

    def is_alive(self, now: float) -> bool:
        """Whether it is still remembered."""
        policy = self._policy
        return now < self._since + (policy.lifetime if self._answered else policy.unanswered_lifetime)

    def admits(self, remote: Endpoint, now: float) -> bool:
        """Whether a packet from there may come in."""
        filtering = self._filtering
        if filtering is Filtering.ENDPOINT_INDEPENDENT or filtering is Filtering.NONE:
            return True
        permission = self._permissions.get(remote if filtering is not Filtering.ADDRESS_DEPENDENT else remote.host)
        return permission is not None and permission.is_alive(self._policy, now)

    def note_outbound(self, remote: Endpoint, now: float) -> None:
        """A packet left for there."""
        policy = self._policy
        if policy.outbound_refreshes:
            self._since = now
        filtering = self._filtering
        if filtering is Filtering.ENDPOINT_INDEPENDENT or filtering is Filtering.NONE:
            return
        key = remote if filtering is not Filtering.ADDRESS_DEPENDENT else remote.host
        permission = self._permissions.get(key)
        if permission is None or not permission.is_alive(policy, now):
            self._permissions[key] = _Permission(now)
        elif policy.outbound_refreshes:
            permission.since = now

    def note_inbound(self, remote: Endpoint, now: float) -> None:
        """A packet came in from there."""
        refreshes = self._policy.inbound_refreshes
        self._answered = True
        if refreshes:
            self._since = now
        filtering = self._filtering
        if filtering is Filtering.ENDPOINT_INDEPENDENT or filtering is Filtering.NONE:
            return
        permission = self._permissions.get(remote if filtering is not Filtering.ADDRESS_DEPENDENT else remote.host)
        if permission is not None:
            permission.answered = True
            if refreshes:
                permission.since = now

    def retire(self, now: float) -> None:
        """Nothing more is expected: from now on it has the lifetime of an unanswered one."""
        self._since = now
        self._answered = False


class _Permission:
    """The permission of one remote to send in."""

    __slots__ = ("answered", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self.answered = False

    def is_alive(self, policy: Policy, now: float) -> bool:
        return now < self.since + (policy.lifetime if self.answered else policy.unanswered_lifetime)
