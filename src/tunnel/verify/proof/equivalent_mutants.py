"""Equivalent mutants: those that break no property, and why nothing is lost by them.

The proof fails if one is missing here, or if one is here that breaks a property.
"""

from __future__ import annotations

_ACTIVITY = "the activity says `introduced` only where it can be acted on, so the guard is only a second check"
_LADDER = "if no direct path is possible, the patience of `relayed` never ends: the guard is only a second check"

REASONS: dict[str, str] = {
    "peer_connection: announced --introduced [relay_carries and not may_go_direct]--> relayed forgets relay_carries": (
        _ACTIVITY
    ),
    "peer_connection: requested --introduced [relay_carries and not may_go_direct]--> relayed forgets relay_carries": (
        _ACTIVITY
    ),
    "peer_connection: relayed --introduced [may_go_direct]--> punching forgets may_go_direct": _ACTIVITY,
    "peer_connection: relayed --patience_ended [may_go_direct]--> punching forgets may_go_direct": _LADDER,
    "peer_connection: requested --patience_ended [relay_carries]--> relayed is removed": (
        "a server that has a link to us answers each request: this patience is for one that does not"
    ),
    "announcement: announcing --changed--> announcing leads to stale": "it announces all the same, 50 ms later",
    "announcement: acknowledged --changed--> stale leads to announcing": (
        "it announces at once instead of waiting 50 ms for more to change"
    ),
    "announcement: announcing --patience_ended--> announcing is removed": (
        "TCP loses nothing: repeating an announcement is for a server that has forgotten it"
    ),
    "introduction: waiting --patience_ended--> timed_out is removed": (
        "in the model every node announces or leaves at some time: this patience is for one that never does"
    ),
}
"""By the name of a mutant, or by what the names of several begin with."""


def reason_of(mutant: str) -> str:
    """Why nothing is lost by this mutant. Empty where no reason is known."""
    return next((reason for name, reason in REASONS.items() if mutant.startswith(name)), "")


def outdated(unkilled: tuple[str, ...]) -> tuple[str, ...]:
    """The names of reasons that fit none of these mutants, which break no property."""
    return tuple(name for name in REASONS if not any(mutant.startswith(name) for mutant in unkilled))
