"""Two peer connections talk: relay first, direct once proved, healed when it dies; in virtual time."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.model.nat import Mapping, NatReport, Udp
from tunnel.model.reasons import ReasonCode
from tunnel.model.way import RELAY, Way
from tunnel.peer.path import NEVER
from tunnel.peer.path_table import PathTable
from tunnel.wire.frames import BASE_SIZE, Kind
from tunnel.wire.signals import Connect, Introduced, Refusal

if TYPE_CHECKING:
    from tests.peer.conftest import Bench, Side

HARD = NatReport(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, udp=Udp.OPEN)
BLOCKED = NatReport(udp=Udp.BLOCKED)


async def ping(side: Side, patience: float = 5.0) -> float:
    with trio.fail_after(patience):
        return await side.peer.echo()


async def longest_hole(side: Side, seconds: float) -> float:
    """Echoes each 100 ms; the longest time without an answer."""
    answers = [trio.current_time()]

    async def one() -> None:
        with trio.move_on_after(10.0):
            await side.peer.echo()
            answers.append(trio.current_time())

    end = trio.current_time() + seconds
    async with trio.open_nursery() as nursery:
        while trio.current_time() < end:
            nursery.start_soon(one)
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    answers.append(trio.current_time())
    return max(later - earlier for earlier, later in pairwise(answers))


async def test_the_first_packet_goes_over_the_relay_and_nothing_is_lost(bench: Bench) -> None:
    bench.meet()
    await trio.sleep(1.0)
    for number in range(10):
        bench.left.peer.send_packet(b"\x81%d" % number)
    await trio.sleep(0.3)
    assert bench.right.received == [b"\x81%d" % number for number in range(10)]


async def test_a_direct_path_is_proved_both_ways_and_takes_over(bench: Bench) -> None:
    bench.meet()
    began = trio.current_time()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "connected")
    await bench.wait_state(bench.right, "connected")
    assert trio.current_time() - began < 0.5
    assert await ping(bench.left) == pytest.approx(0.04, abs=0.001)
    for side in (bench.left, bench.right):
        assert side.peer.flow.route == (Way(0, bench.other(side).endpoint),)
        status = side.peer.status()
        assert status.path is not None
        assert (status.path.kind, status.reason) == ("direct", None)


async def test_it_is_told_once_that_somebody_here_sends_to_a_peer(bench: Bench) -> None:
    bench.meet()
    await ping(bench.left)
    assert bench.left.spoken == []
    for _ in range(3):
        bench.left.peer.send_packet(b"\x81hello")
    await trio.sleep(0.3)
    assert bench.left.spoken == [bench.right.keys.id]
    assert bench.right.spoken == []


async def test_quiet_is_asked_for_in_the_name_of_a_peer_that_is_sent_to(bench: Bench) -> None:
    """Where many peers ask for it, those that this machine does not send to come last."""

    def count(side: Side, way: Way, datagram: bytes) -> bool:
        del way
        side.carried += len(datagram)
        return False

    bench.drop = count
    bench.meet()
    bench.left.peer.want()
    await trio.sleep(1.0)
    assert (set(bench.left.hushes), set(bench.right.hushes)) == ({True}, {False})


async def test_a_path_counts_only_after_full_size_probes_went_both_ways(bench: Bench) -> None:
    """One that passes pings and drops data is no path (tailscale#19457, #311)."""
    bench.drop = lambda side, way, datagram: way != RELAY and len(datagram) >= BASE_SIZE
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "relayed")
    reason = bench.left.peer.status().reason
    assert reason is not None
    assert reason.code is ReasonCode.PATH_TOO_SMALL
    assert await ping(bench.left) > 0


async def test_a_path_in_use_that_begins_to_swallow_big_packets_is_lost(bench: Bench) -> None:
    """A detour with a smaller MTU: small heartbeats would keep a path alive that carries no data."""
    await bench.connect()
    bench.drop = lambda side, way, datagram: way != RELAY and len(datagram) >= BASE_SIZE
    assert await longest_hole(bench.left, 8.0) < 2.0
    assert await bench.wait_state(bench.left, "relayed", 30.0) > 0
    reason = bench.left.peer.status().reason
    assert reason is not None
    assert reason.code is ReasonCode.PATH_TOO_SMALL


async def test_a_path_that_works_one_way_only_is_never_connected(bench: Bench) -> None:
    bench.drop = lambda side, way, datagram: way != RELAY and side is bench.right
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "relayed")
    assert "connected" not in {state for side in (bench.left, bench.right) for move in side.moves for state in move}
    reason = bench.left.peer.status().reason
    assert reason is not None
    assert reason.code is ReasonCode.PROBES_UNANSWERED


@pytest.mark.parametrize(
    ("ours", "theirs", "code"),
    [
        ({"nat": HARD}, {"nat": HARD}, ReasonCode.BOTH_HARD_NATS),
        ({"nat": BLOCKED}, {}, ReasonCode.UDP_BLOCKED),
        ({}, {"nat": BLOCKED}, ReasonCode.UDP_BLOCKED),
        ({"relay_only": True}, {}, ReasonCode.RELAY_ONLY_BY_POLICY),
        ({}, {"relay_only": True}, ReasonCode.RELAY_ONLY_BY_POLICY),
        ({}, {"candidates": ()}, ReasonCode.NO_CANDIDATES),
    ],
)
async def test_a_relayed_peer_says_why(
    bench: Bench, ours: dict[str, object], theirs: dict[str, object], code: ReasonCode
) -> None:
    bench.direct = False
    bench.left.card(**ours)
    bench.right.card(**theirs)
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "relayed", 5.0)
    reason = bench.left.peer.status().reason
    assert reason is not None
    assert reason.code is code
    assert await ping(bench.left) > 0


async def test_lying_reports_do_not_cost_a_direct_path(bench: Bench) -> None:
    """Both sides look hard, yet the path works: one simultaneous round is always tried."""
    bench.left.card(nat=HARD)
    bench.right.card(nat=HARD)
    bench.meet()
    bench.left.peer.want()
    assert await bench.wait_state(bench.left, "connected") < 1.0


async def test_a_cut_path_makes_a_hole_of_two_seconds_at_most(bench: Bench) -> None:
    await bench.connect()
    await longest_hole(bench.left, 2.0)
    bench.direct = False
    assert await longest_hole(bench.left, 6.0) < 2.0
    assert await bench.wait_state(bench.left, "relayed", 30.0) > 0
    bench.direct = True
    assert await bench.wait_state(bench.left, "connected", 5.0) < 3.0


async def test_a_path_lost_in_one_direction_heals_too(bench: Bench) -> None:
    await bench.connect()
    await longest_hole(bench.left, 2.0)
    bench.drop = lambda side, way, datagram: way != RELAY and side is bench.right
    assert await longest_hole(bench.left, 12.0) < 2.0


async def test_a_changed_address_of_the_peer_is_followed(bench: Bench) -> None:
    """Roaming: the other side's packets come from elsewhere, the session stays."""
    await bench.connect()
    session = bench.left.peer.session
    await longest_hole(bench.left, 2.0)
    bench.right.endpoint = bench.right.endpoint._replace(host="25.9.0.9")
    assert await longest_hole(bench.left, 5.0) < 2.5
    assert bench.left.peer.flow.route == (Way(0, bench.right.endpoint),)
    assert bench.left.peer.session is session


async def test_the_server_going_away_does_not_touch_a_direct_path(bench: Bench) -> None:
    await bench.connect()
    for side in (bench.left, bench.right):
        side.is_registered = False
        side.peer.note_down("lost")
    bench.relay = False
    assert await longest_hole(bench.left, 60.0) < 0.2


async def test_a_path_is_found_again_without_any_server(bench: Bench) -> None:
    """What we know of the peer may still hold when no server can introduce us."""
    await bench.connect()
    for side in (bench.left, bench.right):
        side.is_registered = False
        side.peer.note_down("lost")
    bench.direct = False
    hole = trio.current_time()
    with trio.move_on_after(40.0):
        await longest_hole(bench.left, 60.0)
    assert bench.left.peer.state in ("announced", "punching")
    bench.direct = True
    bench.left.peer.want()
    bench.right.peer.want()
    await bench.wait_state(bench.left, "connected", 30.0)
    assert trio.current_time() > hole


async def test_a_restarted_peer_gets_a_new_session(bench: Bench) -> None:
    await bench.connect()
    bench.right.peer.close()
    await bench.wait_state(bench.right, "closed")
    bench.right.restart()
    bench.right.card()
    bench.open(bench.right)
    bench.meet()
    began = trio.current_time()
    await ping(bench.left)
    assert trio.current_time() - began < 0.5
    await bench.wait_state(bench.left, "connected")


async def test_a_peer_that_left_is_offline_and_says_so(bench: Bench) -> None:
    await bench.connect()
    bench.right.peer.say_farewell()
    await bench.wait_state(bench.left, "announced")
    reason = bench.left.peer.status().reason
    assert reason is not None
    assert reason.code is ReasonCode.PEER_OFFLINE


async def test_a_refused_request_waits_longer_each_time(bench: Bench) -> None:
    bench.introduces = False
    bench.meet()
    bench.direct = False
    asked: list[float] = []

    async def refuse() -> None:
        seen = 0
        while len(asked) < 4:
            await trio.sleep(0.05)
            if len(bench.left.signals) > seen:
                seen = len(bench.left.signals)
                asked.append(trio.current_time())
                request = bench.left.signals[-1]
                assert isinstance(request, Connect)
                bench.left.peer.note_refused(Refusal(request.id, request.peer, "peer_offline", "nobody there"))
            bench.left.peer.want()

    with trio.fail_after(30.0):
        await refuse()
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert gaps == [pytest.approx(1.0, abs=0.2), pytest.approx(2.0, abs=0.2), pytest.approx(4.0, abs=0.2)]


async def test_a_silent_server_is_no_reason_to_give_up(bench: Bench) -> None:
    """12 s without a word: relayed, with the reason, since the relay works."""
    bench.introduces = False
    bench.meet()
    bench.direct = False
    bench.left.peer.want()
    await bench.wait_state(bench.left, "requested")
    assert 11.9 < await bench.wait_state(bench.left, "relayed") < 12.1


async def test_a_request_is_sent_again_after_each_registration(bench: Bench) -> None:
    bench.introduces = False
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "requested")
    await trio.sleep(1.0)
    bench.left.registrations += 1
    bench.left.peer.note_change()
    await trio.sleep(0.1)
    connects = [signal for signal in bench.left.signals if isinstance(signal, Connect)]
    assert len(connects) == 2
    assert connects[0] == connects[1]


async def test_an_idle_path_is_kept_alive_and_not_judged(bench: Bench) -> None:
    await bench.connect()
    await trio.sleep(10.0)
    bench.left.sent.clear()
    await trio.sleep(300.0)
    assert bench.left.peer.state == "connected"
    probes = bench.left.kinds_sent().count(Kind.PROBE)
    assert 20 <= probes <= 2 * 300 / 15 + 5


async def test_probes_never_bounce_for_ever(bench: Bench) -> None:
    """Upstream's B9: an answer that is answered. Here full-size probes are lost, so no path is ever proved."""
    bench.drop = lambda side, way, datagram: way != RELAY and len(datagram) >= BASE_SIZE
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "relayed")
    await bench.wait_state(bench.right, "relayed")
    bench.left.sent.clear()
    bench.right.sent.clear()
    await trio.sleep(4.0)
    assert len(bench.left.kinds_sent()) + len(bench.right.kinds_sent()) < 20


async def test_recorded_datagrams_change_nothing(bench: Bench) -> None:
    """Replay: every datagram so far once more, from a stranger's address."""
    await bench.connect()
    await trio.sleep(5.0)
    tape, received = list(bench.tape), list(bench.right.received)
    routes = bench.left.peer.flow.route, bench.right.peer.flow.route
    sent = len(bench.tape)
    for side, _, datagram in tape:
        bench.other(side).receive(datagram, Way(0, bench.left.endpoint._replace(host="66.6.6.6")))
    assert len(bench.tape) == sent
    assert bench.right.received == received
    assert (bench.left.peer.flow.route, bench.right.peer.flow.route) == routes
    fragments_that_only_wait = 2  # of the two handshake messages
    assert bench.left.rejected + bench.right.rejected == len(tape) - fragments_that_only_wait


async def test_an_error_nobody_foresaw_costs_one_peer_a_backoff_and_never_the_node(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("a bug")

    await bench.connect()
    with monkeypatch.context() as patched:
        patched.setattr(PathTable, "abandon", explode)
        bench.left.peer.note_down("left")
        await trio.sleep(0.1)
        reason = bench.left.peer.status().reason
        assert reason is not None
        assert reason.code is ReasonCode.INTERNAL_ERROR
    assert "a bug" in caplog.text
    await trio.sleep(2.0)
    bench.meet()
    assert await ping(bench.left, 10.0) > 0


async def test_many_handshakes_before_an_error_delay_none_after_it(bench: Bench) -> None:
    """The other side keeps count of them: a count that began anew would be refused as a recording for hours."""
    await bench.connect()
    for _ in range(40):
        await ping(bench.left)
        await trio.sleep(30.0)
    for side in (bench.left, bench.right):
        side.peer.fail(RuntimeError("a bug"))
        await trio.sleep(3.0)
        bench.meet()
        assert await ping(side, 3.0) > 0


async def test_an_upgrade_that_fails_is_one_punch_on_each_side(bench: Bench) -> None:
    """The side that begins asks for an introduction, and gets it during its own punch: no reason for another."""
    bench.direct = False
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "relayed")
    await bench.wait_state(bench.right, "relayed")
    await trio.sleep(0.1)
    for side in (bench.left, bench.right):
        side.moves.clear()
    await trio.sleep(17.0)
    for side in (bench.left, bench.right):
        assert side.moves == [("relayed", "punching"), ("punching", "relayed")]


async def test_a_report_amidst_a_punch_ends_it_soon_if_it_speaks_against_it(bench: Bench) -> None:
    """The other side's survey takes three seconds to find UDP blocked: so no side punches on for ten."""
    bench.direct = False
    bench.meet()
    bench.left.peer.want()
    await bench.wait_state(bench.left, "punching")
    await trio.sleep(2.0)
    bench.right.card(nat=BLOCKED)
    bench.meet()
    assert await bench.wait_state(bench.left, "relayed") < 1.5
    reason = bench.left.peer.status().reason
    assert reason is not None
    assert reason.code is ReasonCode.UDP_BLOCKED


async def test_a_node_that_allows_the_relay_only_confirms_no_guessed_address(bench: Bench) -> None:
    """The peer knows the keys and guesses where we are: no probe and no data there is answered, or changes anything."""
    bench.right.card(relay_only=True)
    bench.meet()
    curious, hidden = bench.left, bench.right
    curious.peer.want()
    await bench.wait_state(curious, "relayed")
    await ping(curious)
    guess = Way(0, hidden.endpoint)
    key, curious.own_card = curious.own_card, None  # this one does not keep the rule itself
    curious.peer._peer.card, card = None, curious.peer._peer.card
    for _ in range(12):
        curious.peer._probes.ask(guess)
        await trio.sleep(0.25)
    curious.own_card, curious.peer._peer.card = key, card
    keys = curious.peer.flow.keys.current
    assert keys is not None
    datagram = keys.sealer.seal(Kind.DATA, keys.peer_index, b"\x81are you there?")
    assert hidden.rejected == 12
    curious.send(guess, datagram)
    await trio.sleep(10.0)
    assert hidden.rejected == 13
    assert [way for _, way, _, _ in hidden.sent if way.is_direct] == []
    assert hidden.received == []
    assert hidden.peer.paths.direct == {}
    assert curious.peer.paths.direct[guess].answered == NEVER
    assert {curious.peer.state, hidden.peer.state} == {"relayed"}


async def test_a_node_whose_peer_turned_to_the_relay_alone_asks_it_directly_no_more(bench: Bench) -> None:
    """It was direct, and starts again with other settings: its old address must not be probed, as a lost path's is."""
    await bench.connect()
    bench.right.restart()
    bench.right.card(relay_only=True)
    turned = trio.current_time()
    bench.left.peer.meet(bench.right.own_card)  # type: ignore[arg-type]
    bench.left.peer._probes.ask(Way(0, bench.right.endpoint))
    await trio.sleep(20.0)
    assert [way for at, way, _, _ in bench.left.sent if way.is_direct and at >= turned] == []


async def test_who_only_receives_and_never_heard_of_the_introduction_gets_direct_too(bench: Bench) -> None:
    """It was lost with a link. The peer is connected, for its probes are answered; this side must not stay behind."""
    bench.introduces = False
    bench.meet()
    await trio.sleep(1.0)
    own, card = bench.left.own_card, bench.right.own_card
    assert own is not None
    assert card is not None
    bench.left.peer.note_introduced(Introduced(1, card.node, card.epoch, card.seq, b"", own.epoch, own.seq, 0.0))
    bench.left.peer.want()
    await bench.wait_state(bench.left, "connected")
    assert bench.right.peer.state == "announced"
    bench.introduces = True
    for _ in range(5):
        bench.left.peer.send_packet(b"\x81one way")
        await trio.sleep(1.0)
    assert (bench.left.peer.state, bench.right.peer.state) == ("connected", "connected")
