"""Which way carries: proofs, costs, hysteresis, and room for a few unverified addresses at a time."""

from __future__ import annotations

import pytest
from tests.peer.conftest import Vpn

from tunnel.machines.stalls import Stalls
from tunnel.model.endpoint import Endpoint
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.model.way import RELAY, Way
from tunnel.peer.path import NEVER, Path
from tunnel.peer.path_table import MAX_DIRECT, PathTable
from tunnel.wire.frames import BASE_SIZE

LAN = Way(0, Endpoint("192.168.1.9", 7))
HAIRPIN = Way(0, Endpoint("25.9.9.9", 7))
WIDE = Way(0, Endpoint("25.8.8.8", 7))
WIDE6 = Way(1, Endpoint("2001:db8::8", 7))


@pytest.fixture
def paths() -> PathTable:
    return PathTable(DEFAULT_TIMINGS, Stalls())


def prove(paths: PathTable, way: Way, rtt: float, now: float = 0.0) -> Path:
    path = paths.expect(way)
    path.note_answer(now, rtt)
    path.is_proved = True
    return path


def unverified(number: int) -> Way:
    return Way(0, Endpoint(f"66.6.6.{number}", 6))


def test_a_way_that_is_not_proved_is_not_chosen(paths: PathTable) -> None:
    paths.expect(WIDE).note_answer(0.0, 0.001)
    assert not paths.promote(0.0)
    assert paths.chosen is None


def test_the_first_proved_way_is_chosen(paths: PathTable) -> None:
    path = prove(paths, WIDE, 0.1)
    assert paths.promote(0.0)
    assert paths.chosen is path
    assert not paths.promote(0.0)


def test_the_lan_beats_the_hairpin_even_where_that_is_a_little_quicker(paths: PathTable) -> None:
    prove(paths, HAIRPIN, 0.001)
    lan = prove(paths, LAN, 0.004)
    paths.promote(0.0)
    assert paths.chosen is lan


def test_ipv6_beats_ipv4_at_the_same_round_trip(paths: PathTable) -> None:
    prove(paths, WIDE, 0.040)
    six = prove(paths, WIDE6, 0.040)
    paths.promote(0.0)
    assert paths.chosen is six


@pytest.mark.parametrize(
    ("rtt", "is_better"), [(0.100, False), (0.095, False), (0.085, False), (0.079, False), (0.070, True), (0.010, True)]
)
def test_a_little_better_is_not_enough(paths: PathTable, rtt: float, is_better: bool) -> None:
    """Two ways of about the same length would otherwise take turns."""
    current = prove(paths, WIDE, 0.100)
    paths.promote(0.0)
    prove(paths, HAIRPIN, rtt)
    assert paths.promote(0.0) is is_better
    assert (paths.chosen is current) is not is_better


def test_a_silent_way_yields_at_once_to_a_worse_one(paths: PathTable) -> None:
    fast = prove(paths, LAN, 0.001)
    paths.promote(0.0)
    fast.asked = 0.0
    slow = prove(paths, WIDE, 0.200, now=0.4)
    assert not paths.promote(DEFAULT_TIMINGS.path_suspect)
    assert paths.promote(DEFAULT_TIMINGS.path_suspect + 0.01)
    assert paths.chosen is slow


def test_silence_is_measured_by_the_round_trips_of_a_long_way() -> None:
    path = Path(WIDE)
    path.note_answer(0.0, 0.3)
    path.asked = 1.0
    assert not path.is_silent(2.1, DEFAULT_TIMINGS, Stalls())
    assert path.is_silent(2.3, DEFAULT_TIMINGS, Stalls())


def test_what_is_merely_heard_does_not_break_a_silence() -> None:
    """A path that works inwards only must be found out."""
    path = Path(WIDE)
    path.asked = 0.0
    path.heard = 10.0
    assert path.is_silent(10.0, DEFAULT_TIMINGS, Stalls())
    path.note_answer(10.0, 0.1)
    assert not path.is_silent(11.0, DEFAULT_TIMINGS, Stalls())


def test_round_trips_are_smoothed() -> None:
    path = Path(WIDE)
    path.note_answer(0.0, 0.080)
    path.note_answer(1.0, 0.160)
    assert path.rtt == pytest.approx(0.090)


def test_eight_unverified_addresses_are_open_at_most(paths: PathTable) -> None:
    admitted = []
    for number in range(20):
        path = paths.admit(unverified(number), 100.0)
        if path is not None:
            path.heard = 100.0
            admitted.append(path)
    assert len(admitted) == DEFAULT_TIMINGS.unverified_addresses == 8


def test_a_verified_address_makes_room_for_the_next(paths: PathTable) -> None:
    for number in range(8):
        path = paths.admit(unverified(number), 100.0)
        assert path is not None
        path.heard = 100.0
    assert paths.admit(unverified(9), 100.0) is None
    paths.direct[unverified(0)].note_answer(100.0, 0.1)
    assert paths.admit(unverified(9), 100.0) is not None


def test_an_address_that_was_not_heard_for_long_keeps_no_room(paths: PathTable) -> None:
    """A peer that moved eight times without ever being answered is followed the ninth time too."""
    for number in range(8):
        path = paths.admit(unverified(number), 100.0)
        assert path is not None
        path.heard = 100.0
    later = 100.0 + DEFAULT_TIMINGS.path_burial
    assert paths.admit(unverified(9), later - 0.1) is None
    assert paths.admit(unverified(9), later) is not None


def test_ways_are_bounded_and_the_chosen_one_is_never_forgotten(paths: PathTable) -> None:
    chosen = prove(paths, WIDE, 0.1)
    paths.promote(0.0)
    for number in range(3 * MAX_DIRECT):
        paths.expect(unverified(number))
    assert len(paths.direct) == MAX_DIRECT
    assert paths.at(WIDE) is chosen


def test_a_new_round_voids_the_proofs_and_keeps_the_choice(paths: PathTable) -> None:
    chosen = prove(paths, WIDE, 0.1)
    paths.promote(0.0)
    chosen.probe_backs = 5
    chosen.note_size(1472, 0.0)
    paths.begin_round(0.0)
    assert paths.chosen is chosen
    assert (chosen.is_proved, chosen.probe_backs, chosen.asked) == (False, 0, NEVER)
    assert chosen.datagram_size == BASE_SIZE


def test_a_new_process_of_the_peer_forgets_everything(paths: PathTable) -> None:
    prove(paths, WIDE, 0.1)
    paths.promote(0.0)
    paths.relay.heard = 5.0
    paths.forget_all()
    assert paths.chosen is None
    assert not paths.direct
    assert paths.at(RELAY) is paths.relay
    assert paths.relay.heard == NEVER


def test_a_private_address_behind_another_vpn_is_no_lan() -> None:
    """33 ms over it were kept against 12 ms outside, since private addresses have no handicap."""
    paths = PathTable(DEFAULT_TIMINGS, Stalls(), Vpn({"10.99.0.2"}))
    vpn, outside = (paths.expect(Way(0, Endpoint(host, 5000))) for host in ("10.99.0.2", "25.0.0.2"))
    for path, rtt in ((vpn, 0.033), (outside, 0.012)):
        path.note_answer(1.0, rtt)
    vpn.is_proved = True
    assert paths.promote(1.0)
    outside.is_proved = True
    assert paths.promote(1.0)
    assert paths.chosen is outside


def test_where_a_way_leads_is_asked_anew_when_the_routes_changed() -> None:
    vpn = Vpn()
    paths = PathTable(DEFAULT_TIMINGS, Stalls(), vpn)
    path = paths.expect(Way(0, Endpoint("10.99.0.2", 5000)))
    path.note_answer(1.0, 0.01)
    cost = path.cost
    vpn.hosts.add("10.99.0.2")
    paths.doubt_proofs(0.0)
    assert path.cost > cost


def test_no_size_that_a_way_carried_is_trusted_when_the_routes_changed() -> None:
    paths = PathTable(DEFAULT_TIMINGS, Stalls())
    paths.relays.use(Way(0, Endpoint("25.0.0.1", 3478), 77))
    circuit = paths.relays.circuit
    assert circuit is not None
    known = [paths.expect(Way(0, Endpoint("25.0.0.2", 5000))), circuit]
    for path in known:
        path.note_size(1472, 1.0)
        path.search_due = 601.0
    paths.doubt_proofs(2.0)
    assert {(path.datagram_size, path.search_due) for path in known} == {(BASE_SIZE, NEVER)}


def test_a_path_that_may_lead_through_the_tunnel_carries_no_more_once_it_is_distrusted() -> None:
    """Another one carries while a new path is looked for; this one would carry in circles."""
    for may_ride in (False, True):
        paths = PathTable(DEFAULT_TIMINGS, Stalls())
        path = paths.expect(Way(0, Endpoint("25.0.0.2", 5000)))
        path.note_answer(1.0, 0.01)
        path.is_proved = True
        paths.promote(1.0)
        if may_ride:
            paths.doubt_proofs(0.0)
        paths.begin_round(0.0)
        assert (paths.chosen is None) is may_ride


def test_of_answers_that_come_at_once_the_quickest_measures_the_path() -> None:
    """Their sender had no turn for a while. Taken one by one they made the path look as slow as that for minutes."""
    path = Path(RELAY, rtt=0.04)
    for rtt in (1.64, 1.39, 1.14, 0.89, 0.64, 0.39):
        path.note_answer(10.0, rtt)
    assert path.rtt == pytest.approx(0.04 + 0.35 / 8)
    path.note_answer(10.25, 0.14)
    assert path.rtt == pytest.approx((0.04 + 0.35 / 8) * 7 / 8 + 0.14 / 8)
    new = Path(RELAY)
    new.note_answer(10.0, 0.6)
    new.note_answer(10.05, 0.2)
    assert new.rtt == 0.2
