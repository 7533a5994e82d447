"""Every patience, interval and ladder of the project, in seconds, in one place, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """All durations are seconds. A test may replace some with `dataclasses.replace`; nothing else does."""

    # Survey (nat/): RFC 8489 section 6.2.1 with a shorter ladder, since several servers are asked at once.
    stun_retransmits: tuple[float, ...] = (0.25, 0.5, 1.0)
    survey_settle: float = 0.5
    """After the first answer, wait so long for a second opinion."""
    survey_cap: float = 3.0
    survey_refresh: float = 300.0
    inspection_calm: float = 60.0
    """A node whose mapping is easy leaves it at the verdict for so long: nothing that a peer needs is missing."""

    # Port mapping (RFC 6886 section 3.1; RFC 6887 section 11.2.1).
    port_waits: tuple[float, ...] = (0.25, 0.5, 1.0)
    """Between sending a question to a gateway again; the last one until it is given up."""
    port_probe: float = 16.0
    """A UPnP search takes up to three seconds, and an errand to a gateway that was found up to ten more."""
    port_lease: float = 7200.0
    port_least_renewal: float = 4.0
    """No gateway makes us ask more often, however short its leases are."""
    port_watch: float = 60.0
    """Between looking whether the gateway still knows us."""
    port_watch_silent: float = 15.0
    """The same while it does not answer."""
    port_doubt_gap: float = 2.0
    port_lost: tuple[float, ...] = (0.1, 1.0, 5.0, 30.0, 60.0)
    port_retries: tuple[float, ...] = (15.0, 60.0, 300.0, 900.0, 3600.0)

    # The TUN interface.
    interface_restores: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
    """Before what somebody took off it is put back; the ladder of who does it again and again."""
    interface_calm: float = 120.0
    """After so long without that the ladder begins anew."""

    # Announcement (the mission's ladder).
    announce_retries: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    announce_slow_retry: float = 30.0
    announce_debounce: float = 0.05

    # Server link.
    server_connect: float = 10.0
    server_backoff: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    server_backoff_jitter: float = 0.2
    """A share of the step, up or down."""
    return_patience: float = 20.0
    """The others may register so long after us, if it was the server that was away; who has not by then is offline."""
    server_ping: float = 15.0
    server_ping_patience: float = 10.0
    server_suspect_patience: float = 1.0
    """When a path is in distress and the server does not answer a ping for so long, the link is dialled again."""

    # Introduction.
    introduction_wait: float = 10.0
    """On the server: how long both peers' announcements may take."""
    request_patience: float = 12.0

    # Punching.
    punch_patience: float = 10.0
    punch_ladder: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
    punch_interval: float = 1.0
    punch_low_ttl_shots: int = 2
    """Volleys before the first that may arrive. A peer that begins later than that one comes finds its NAT poisoned, if
    it is a sloppy one: with one opening volley a stall of 70 ms did it (measured, on a busy machine), two bear 120."""
    prediction_patience: float = 20.0
    """A punch in which a port must be guessed."""
    prediction_after: float = 1.2
    """Before that, plain probes have so long: a STUN server may have lied, and no guess is needed."""
    prediction_turn: float = 3.0
    """So long a hard punch waits for another one of this node to end."""
    prediction_agreement: float = 5.0
    """So long it waits for the peer to join: longer than the peer may wait for its turn."""
    prediction_busy: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0, 60.0, 300.0, 3600.0)
    """To the next punch where a hard one did not begin: the two missed each other, or a node's turn was another's. The
    first four reach beyond the rest that a costly punch needs behind it."""
    prediction_again: tuple[float, ...] = (22.0, 3600.0)
    """To the next punch where a hard one found nothing. Once more soon, with the roles changed where both could play
    both: a busy machine, or a throw of the dice, is no reason to wait for an hour."""
    unverified_addresses: int = 8
    unverified_gap: float = 0.2
    """At least so long between two probes back to one unverified address."""

    # Round trips.
    round_trip_most: float = 5.0
    """An answer that is older measures no way: one of the two machines stood still meanwhile, or a queue did."""

    # Paths.
    heartbeat: float = 1.0
    path_in_use: float = 5.0
    """A path counts as in use for so long after the last data we sent."""
    keepalive: float = 15.0
    """Until the lifetime of an idle mapping was measured; then half of that, within the next two."""
    keepalive_least: float = 5.0
    keepalive_most: float = 60.0
    lifetime_rungs: tuple[float, ...] = (8.0, 18.0, 28.0, 58.0, 118.0, 178.0)
    """For so long mappings are left idle when their lifetime is measured: two seconds less than NATs are set to."""
    lifetime_refresh: float = 86400.0
    path_suspect: float = 0.5
    """A heartbeat unanswered for so long (or four round trips, if that is more) puts data on both ways at once."""
    path_suspect_probe: float = 0.25
    relay_echo: float = 2.0
    """When the peer falls back to the relay we answer on both ways for so long."""
    path_trust: float = 6.5
    path_burial: float = 15.0
    relay_heartbeat: float = 5.0
    relay_trust: float = 15.0
    upgrade_ladder: tuple[float, ...] = (5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
    old_path_probe: float = 1.0
    old_path_patience: float = 120.0
    """After a path was lost its endpoint is still probed for so long, once each `old_path_probe`."""

    # Throughput.
    tally: float = 1.0
    """Between two words about what came in, while much does."""
    link_trials: tuple[float, ...] = (60.0, 300.0, 1800.0)
    """To the next trial of the link to the server, where it carried no more than the lossy path."""
    udp_trials: tuple[float, ...] = (60.0, 300.0, 900.0, 3600.0)
    """To the next trial of UDP, where it carried far less than the link: each costs a busy pair four slow seconds."""

    # Circuits of the UDP relay.
    circuit_delay: float = 1.0
    """A pair gets one when it has been without a direct path for so long: most have one by then."""
    circuit_probes: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 5.0)
    """Between two probes over one that is not proved."""
    circuit_keepalive: float = 15.0
    """Between two binds of one that stands, and between two probes over one that is idle."""
    circuit_binds: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    """Between two binds that nobody answers; after the last one it is given up."""
    circuit_bind_gap: float = 5.0
    """Between two binds for one peer in the long run, whatever the server says."""
    circuit_halves: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 15.0)
    """Between two binds while the peer has not bound its side."""
    circuit_asks: tuple[float, ...] = (5.0, 10.0, 30.0, 60.0, 300.0)
    """Between two requests for one, when none came or none worked."""
    circuit_alone: float = 3.0
    """When the link to the server breaks, a circuit carries on for so long after it was last heard."""
    circuit_idle: float = 60.0
    """One that nobody uses for so long is let go."""

    # Sessions.
    handshake_retries: tuple[float, ...] = (0.3, 0.6, 1.2, 2.4, 4.8)
    handshake_slow_retry: float = 10.0
    reassembly: float = 2.0
    session_trust: float = 2.0
    """What was sent is asked after when nothing came back for so long; after as long again new keys are made."""
    session_doubts: tuple[float, ...] = (1.0, 5.0, 15.0, 60.0)
    """From new keys that were made on suspicion to the next look, while they are answered no more than those before."""
    rekey_after: float = 120.0
    key_life: float = 180.0

    # Peers.
    wanted: float = 10.0
    """A peer counts as wanted for so long after somebody last sent to it or asked for it."""
    blind_punch: float = 5.0
    """Without a server, what we know of a wanted peer is tried again after so long."""
    crash_backoff: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    leave_patience: float = 2.0

    # Server.
    handshake_patience: float = 5.0
    send_patience: float = 10.0
    """A connection that takes no bytes for so long is closed."""
    silence_patience: float = 60.0
    """A connection that says nothing for so long is closed; nodes ping every `server_ping`."""
    relay_max_wait: float = 0.05


DEFAULT_TIMINGS = Timings()


def rung(ladder: tuple[float, ...], step: int) -> float:
    """The step'th wait of a ladder; the last one for ever after."""
    return ladder[min(step, len(ladder) - 1)]
