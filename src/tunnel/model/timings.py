"""Every timeout, interval and retry schedule of the project, in seconds, in one place, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """All durations are seconds. A test may replace some with `dataclasses.replace`; nothing else does."""

    # Survey (nat/): RFC 8489 section 6.2.1, but shorter, since several servers are asked at once.
    stun_retransmits: tuple[float, ...] = (0.25, 0.5, 1.0)
    survey_settle: float = 0.5
    """How long to wait for a second answer after the first one."""
    survey_cap: float = 3.0
    survey_refresh: float = 300.0
    discovery_delay: float = 60.0
    """From the verdict to behavior discovery where the mapping is not hard: peers need nothing more for now."""

    # Port mapping (RFC 6886 section 3.1; RFC 6887 section 11.2.1).
    port_waits: tuple[float, ...] = (0.25, 0.5, 1.0)
    """Between retransmits of a request to a gateway; after the last one it is given up."""
    port_probe: float = 16.0
    """A UPnP search takes up to three seconds, and a call to a gateway that was found up to ten more."""
    port_lease: float = 7200.0
    port_least_renewal: float = 4.0
    """Renewals are never closer than this, however short the gateway's leases are."""
    port_watch: float = 60.0
    """Between two checks that the gateway still knows us."""
    port_watch_silent: float = 15.0
    """The same while it does not answer."""
    port_doubt_gap: float = 2.0
    port_lost: tuple[float, ...] = (0.1, 1.0, 5.0, 30.0, 60.0)
    port_retries: tuple[float, ...] = (15.0, 60.0, 300.0, 900.0, 3600.0)

    # The TUN interface.
    interface_restores: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
    """Before an address or route that somebody removed is put back; longer each time it is removed again."""
    interface_calm: float = 120.0
    """When nothing was removed for this long, the waits start over."""

    # Announcement.
    announce_retries: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    announce_slow_retry: float = 30.0
    announce_debounce: float = 0.05

    # Server link.
    server_connect: float = 10.0
    server_backoff: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    server_backoff_jitter: float = 0.2
    """A fraction of the wait, up or down."""
    return_patience: float = 20.0
    """If the server was away, the others may register this much later than we; then a missing peer is offline."""
    server_ping: float = 15.0
    server_ping_patience: float = 10.0
    server_suspect_patience: float = 1.0
    """When a path is suspect and the server does not answer a ping for this long, the link is dialed again."""

    # Introduction.
    introduction_wait: float = 10.0
    """On the server: how long it waits for the announcements of both peers."""
    request_patience: float = 12.0

    # Punching.
    punch_patience: float = 10.0
    punch_ladder: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
    punch_interval: float = 1.0
    punch_low_ttl_shots: int = 2
    """Volleys of low TTL before the first that may arrive. If that one reaches a careless NAT before the peer behind it
    has sent anything, it spoils the mapping. Measured on a busy machine: after one volley of low TTL a stall of 70 ms
    was enough for that; two bear 120 ms."""
    prediction_patience: float = 20.0
    """For a punch in which a port must be guessed."""
    prediction_after: float = 1.2
    """Plain probes come first, for this long: a STUN server may have lied, and then no guess is needed."""
    prediction_slot: float = 3.0
    """How long a port prediction waits for another one of this node to end."""
    prediction_agreement: float = 5.0
    """How long it waits for the peer to join: longer than the peer may wait for its slot."""
    prediction_busy: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0, 60.0, 300.0, 3600.0)
    """To the next punch after a port prediction that did not begin: the two missed each other, or a node was busy with
    another peer. The first four together are longer than the rest after a costly one."""
    prediction_again: tuple[float, ...] = (22.0, 3600.0)
    """To the next punch after a port prediction that found nothing. The first try again is soon, with the roles changed
    if each side can take either: a busy machine, or bad luck, is no reason to wait for an hour."""
    unverified_addresses: int = 8
    unverified_gap: float = 0.2
    """Least time between two probes back to one unverified address."""

    # Round trips.
    round_trip_most: float = 5.0
    """An answer that is older does not measure the path: one of the two machines, or a queue, stood still meanwhile."""

    # Paths.
    heartbeat: float = 1.0
    path_in_use: float = 5.0
    """A path counts as in use for this long after we last sent data."""
    keepalive: float = 15.0
    """Until the lifetime of an idle mapping is measured; then half of that, between the next two."""
    keepalive_least: float = 5.0
    keepalive_most: float = 60.0
    lifetime_rungs: tuple[float, ...] = (8.0, 18.0, 28.0, 58.0, 118.0, 178.0)
    """How long mappings are left idle to measure their lifetime: two seconds less than what NATs are usually set to."""
    lifetime_refresh: float = 86400.0
    path_suspect: float = 0.5
    """When a heartbeat is unanswered for this long (or four round trips, if longer), data goes on both ways at once."""
    path_suspect_probe: float = 0.25
    relay_echo: float = 2.0
    """When the peer falls back to the relay, we send on both ways for this long."""
    path_trust: float = 6.5
    path_burial: float = 15.0
    relay_heartbeat: float = 5.0
    relay_trust: float = 15.0
    upgrade_ladder: tuple[float, ...] = (5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
    old_path_probe: float = 1.0
    old_path_patience: float = 120.0
    """The endpoint of a lost path is still probed for this long, once every `old_path_probe`."""

    # Path MTU (RFC 8899, section 5.1).
    mtu_watch: float = 1.0
    """Between two probes of the size in use, while the path is used."""
    mtu_patience: float = 0.15
    """How long one is waited for, or two round trips, if longer; then it is asked again."""
    mtu_raise: float = 600.0
    """PMTU_RAISE_TIMER: from one search for a larger MTU to the next."""

    # Throughput.
    tally: float = 1.0
    """Between two reports to the peer of what came in, while much does."""
    link_trials: tuple[float, ...] = (60.0, 300.0, 1800.0)
    """To the next trial of the link to the server, after one that carried no more than the lossy path."""
    udp_trials: tuple[float, ...] = (60.0, 300.0, 900.0, 3600.0)
    """To the next trial of UDP, after it carried far less than the link: each costs a busy pair four slow seconds."""

    # Circuits of the UDP relay.
    circuit_delay: float = 1.0
    """A pair asks for one after this long without a direct path: most pairs have one by then."""
    circuit_probes: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 5.0)
    """Between two probes over one that is not proved yet."""
    circuit_keepalive: float = 15.0
    """Between two binds of one that works, and between two probes over one that is idle."""
    circuit_binds: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    """Between two unanswered binds; after the last one it is given up."""
    circuit_bind_gap: float = 5.0
    """Average time between two binds for one peer, whatever the server says."""
    circuit_halves: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 15.0)
    """Between two binds while the peer has not bound its side."""
    circuit_asks: tuple[float, ...] = (5.0, 10.0, 30.0, 60.0, 300.0)
    """Between two requests for one, when none was given or none worked."""
    circuit_alone: float = 3.0
    """When the link to the server breaks, a circuit is still used for this long after something last came over it."""
    circuit_idle: float = 60.0
    """One that is unused for this long is given up."""

    # Sessions.
    handshake_retries: tuple[float, ...] = (0.3, 0.6, 1.2, 2.4, 4.8)
    handshake_slow_retry: float = 10.0
    reassembly: float = 2.0
    session_trust: float = 2.0
    """After this long without an answer to what we sent, ask for an echo; after as long again, make new keys."""
    session_doubts: tuple[float, ...] = (1.0, 5.0, 15.0, 60.0)
    """From new keys made on suspicion to the next check, as long as those are not answered either."""
    rekey_after: float = 120.0
    key_life: float = 180.0

    # Peers.
    wanted: float = 10.0
    """A peer counts as wanted for this long after somebody last sent to it or asked for it."""
    blind_punch: float = 5.0
    """Without a server, the known candidates of a wanted peer are tried again after this long."""
    crash_backoff: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    leave_patience: float = 2.0

    # Server.
    handshake_patience: float = 5.0
    send_patience: float = 10.0
    """A connection that takes no bytes for this long is closed."""
    silence_patience: float = 60.0
    """A connection that is silent for this long is closed; nodes ping every `server_ping`."""
    relay_max_wait: float = 0.05


DEFAULT_TIMINGS = Timings()


def rung(ladder: tuple[float, ...], step: int) -> float:
    """Wait number `step` (from 0) of a list of growing waits; from its end on always the last one."""
    return ladder[min(step, len(ladder) - 1)]
