"""When UDP is left for the link to the server, and when it is taken up again: counts, a clock, and a model network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from tunnel.dataplane.flow import Overflows, Received
from tunnel.machines.stalls import Stalls
from tunnel.model.reasons import ReasonCode
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.peer.throughput import FAST, LEAST, PEER_SAYS, WINDOW, Phase, Throughput
from tunnel.wire.session_packets import Tally


@dataclass
class Network:
    """One side sends as much as it likes; so much of it arrives, by UDP and by the link. Bytes a second."""

    wanted: float = 1_000_000.0
    udp: float = 100_000.0
    link: float = 1_000_000.0
    now: float = 0.0
    got: Tally = field(default_factory=lambda: Tally(0, 0))
    phases: list[tuple[float, Phase]] = field(default_factory=list)
    stalls: Stalls = field(default_factory=Stalls)
    throughput: Throughput = field(init=False)

    def __post_init__(self) -> None:
        self.throughput = Throughput(DEFAULT_TIMINGS, self.stalls, Received())

    def run(self, seconds: float, *, may_try: bool = True) -> Phase:
        """A tally each second."""
        end = self.now + seconds
        while self.now < end:
            self.now += 1.0
            if self.throughput.is_udp_avoided(self.now):
                self.got = replace(self.got, link=self.got.link + int(min(self.wanted, self.link)))
            else:
                came = int(min(self.wanted, self.udp))
                counted, arrived = self.got.counted + int(self.wanted) // 1000, self.got.came + came // 1000
                self.got = replace(self.got, udp=self.got.udp + came, counted=counted, came=arrived)
            before = self.throughput.phase
            self.throughput.note_tally(self.got, self.now, may_try=may_try)
            if self.throughput.phase is not before:
                self.phases.append((self.now, self.throughput.phase))
        return self.throughput.phase


def test_udp_that_is_slowed_down_is_left_within_seconds_and_the_reason_has_the_figures() -> None:
    network = Network()
    assert network.run(12.0) is Phase.LINK
    reason = network.throughput.reason(network.now)
    assert reason is not None
    assert reason.code is ReasonCode.UDP_THROTTLED
    assert reason.evidence == "UDP carried 0.8 Mbit/s and lost 90.0%; the link to the server carried 8.0 Mbit/s"


def test_a_fast_path_is_kept_whatever_it_loses() -> None:
    """No network slows UDP down to that: it is busy, or far away, and a trial would cost four seconds of it."""
    network = Network(wanted=8_000_000.0, udp=7_000_000.0, link=100_000_000.0)
    assert network.run(60.0) is Phase.UDP
    assert network.phases == []


def test_a_line_that_is_slow_for_all_stays_with_udp_and_is_tried_less_and_less_often() -> None:
    """The link takes the same line: a trial costs a few seconds, and finds nothing."""
    network = Network(link=150_000.0)
    network.run(7200.0)
    assert {phase for _, phase in network.phases} == {Phase.TRYING_LINK, Phase.UDP}
    trials = [at for at, phase in network.phases if phase is Phase.TRYING_LINK]
    gaps = [later - earlier for earlier, later in pairwise(trials)]
    assert gaps == sorted(gaps)
    assert len(trials) <= 7


def test_udp_that_stays_slow_is_tried_less_and_less_often_and_never_flaps() -> None:
    network = Network()
    network.run(3 * 3600.0)
    stays = [at for at, phase in network.phases if phase is Phase.LINK]
    slow = [at for at, phase in network.phases if phase is Phase.TRYING_UDP]
    assert {phase for _, phase in network.phases[1:]} == {Phase.LINK, Phase.TRYING_UDP}
    assert len(slow) <= 6
    assert [int(later - earlier) // 10 * 10 for earlier, later in pairwise(stays)][:3] == [60, 300, 900]


def test_udp_is_taken_up_again_when_it_carries_as_much() -> None:
    network = Network()
    network.run(12.0)
    network.udp = 900_000.0
    assert network.run(DEFAULT_TIMINGS.udp_trials[0] + 2 * WINDOW) is Phase.UDP
    assert network.throughput.reason(network.now) is None


def test_a_trial_in_which_we_had_no_turn_begins_anew() -> None:
    """We sent nothing meanwhile, whatever UDP would have carried."""
    network = Network()
    network.run(12.0)
    network.udp = network.wanted
    while network.throughput.phase is Phase.LINK:
        network.run(1.0)
    network.run(1.0)
    network.stalls.note(network.now, network.now + 3.0)
    network.now += 3.0
    assert network.run(2 * WINDOW) is Phase.UDP
    assert [phase for _, phase in network.phases].count(Phase.TRYING_UDP) == 1


def test_somewhat_better_is_not_good_enough_to_come_back() -> None:
    """It would be left again at once: half of what the link carries is where it was given up."""
    network = Network()
    network.run(12.0)
    network.udp = 600_000.0
    assert network.run(DEFAULT_TIMINGS.udp_trials[0] + 2 * WINDOW) is Phase.LINK


def test_who_sends_little_goes_back_since_nothing_slows_it_down() -> None:
    network = Network()
    network.run(12.0)
    network.wanted = LEAST / 10
    assert network.run(DEFAULT_TIMINGS.udp_trials[0] + 2 * WINDOW) is Phase.UDP


def test_loss_of_a_moment_or_of_little_traffic_or_without_a_relay_tries_nothing() -> None:
    moment = Network(udp=1_000_000.0)
    moment.run(10.0)
    moment.udp = 100_000.0
    moment.run(1.0)
    moment.udp = 1_000_000.0
    little = Network(wanted=LEAST / 2, udp=LEAST / 8)
    alone = Network()
    assert moment.run(20.0) is little.run(20.0) is alone.run(20.0, may_try=False) is Phase.UDP
    assert moment.phases == little.phases == alone.phases == []


def test_a_path_that_was_fast_a_moment_ago_is_not_left() -> None:
    """A stream may have begun anew, and slowly: the first trial comes a minute after the path was last fast."""
    network = Network(wanted=1.05 * FAST, udp=FAST, link=10 * FAST)
    network.run(60.0)
    network.udp = FAST / 5
    assert network.run(50.0) is Phase.UDP
    assert network.run(20.0) is Phase.LINK


def test_the_side_that_only_acknowledges_what_comes_fast_tries_nothing() -> None:
    """What it sends is as little as what a policed path carries, and loses as much as the path loses at random."""
    received = Received()
    network = Network(udp=990_000.0)
    network.throughput = Throughput(DEFAULT_TIMINGS, network.stalls, received)
    for _ in range(30):
        received.by_udp += int(FAST)
        network.throughput.is_tally_due(network.now)
        assert network.run(1.0) is Phase.UDP


def test_the_peer_is_told_and_told_again_and_its_word_lapses() -> None:
    """What it says may be lost: neither side avoids UDP for a message that is not repeated."""
    network = Network()
    network.run(12.0)
    assert network.throughput.has_news(network.now)
    assert not network.throughput.has_news(network.now + 1.0)
    assert network.throughput.has_news(network.now + PEER_SAYS / 3)
    told = Throughput(DEFAULT_TIMINGS, Stalls(), Received())
    assert told.note_tally(network.throughput.tally(), 0.0, may_try=True)
    reason = told.reason(1.0)
    assert reason is not None
    assert "the other side" in reason.evidence
    assert told.is_udp_avoided(PEER_SAYS - 0.1)
    assert not told.is_udp_avoided(PEER_SAYS)
    assert not told.has_news(1.0), "it has nothing to say of its own"


def test_a_peer_that_counts_anew_is_no_loss() -> None:
    network = Network(udp=1_000_000.0)
    network.run(10.0)
    network.got = Tally(0, 0)
    assert network.run(20.0) is Phase.UDP
    assert network.phases == []


def test_a_tally_is_due_once_a_second_while_much_comes_in_and_never_for_little() -> None:
    busy, quiet = Received(), Received()
    told = {received: Throughput(DEFAULT_TIMINGS, Stalls(), received) for received in (busy, quiet)}

    def is_due(received: Received, size: int, now: float) -> bool:
        received.by_udp += size
        return now >= received.due and told[received].is_tally_due(now)

    due = [is_due(busy, 1200, step / 100) for step in range(1000)]
    assert 8 <= sum(due) <= 10
    assert not any(is_due(quiet, 100, step / 10) for step in range(1000))
    assert told[busy].tally() == Tally(1_200_000, 0)


def test_another_network_begins_anew() -> None:
    network = Network()
    network.run(12.0)
    network.throughput.forget()
    assert network.throughput.phase is Phase.UDP
    assert not network.throughput.is_udp_avoided(network.now)


def test_what_is_missing_is_told_by_the_counters_of_what_came() -> None:
    """Not by the bytes that were sent: those under way would look lost whenever a stream gains speed."""
    received = Received()
    throughput = Throughput(DEFAULT_TIMINGS, Stalls(), received)
    for counter in (0, 1, 2, 5, 4, 9):
        received.note(7, counter, 1, is_udp=True)
    received.note(7, 10, 1, is_udp=False)  # over the link
    received.note(8, 0, 1, is_udp=True)  # new keys
    received.note(8, 1, 1, is_udp=True)
    tally = throughput.tally()
    assert (tally.counted, tally.came) == (12, 8)


def test_a_record_counts_as_the_datagrams_that_it_came_in() -> None:
    """What a path loses is told in datagrams: how large a record may be follows from it."""
    received = Received()
    throughput = Throughput(DEFAULT_TIMINGS, Stalls(), received)
    received.note(7, 0, 50, is_udp=True)
    received.note_broken(50, 48)  # of record 1 two fragments are missing
    received.note(7, 2, 3, is_udp=True)
    tally = throughput.tally()
    assert (tally.counted, tally.came) == (103, 101)


def test_no_tally_divides_by_zero_whatever_a_peer_says_in_it() -> None:
    """What came may fall in it while what was counted stands still: no share of that was lost."""
    throughput = Throughput(DEFAULT_TIMINGS, Stalls(), Received())
    for second in range(1, 60):
        said = Tally(second * 1_000_000, 0, 1000, max(0, 1_000_000 - second * 1000))
        throughput.note_tally(said, float(second), may_try=True)
    assert throughput.phase is Phase.UDP


@pytest.mark.parametrize(
    "fallen",
    [
        Tally(0, 1_000_000, 1000, 100),
        Tally(1_000_000, 0, 1000, 100),
        Tally(1_000_000, 1_000_000, 0, 100),
        Tally(1_000_000, 1_000_000, 1000, 0),
    ],
)
def test_any_count_that_falls_begins_anew(fallen: Tally) -> None:
    """Loss on its far side was not seen."""
    throughput = Throughput(DEFAULT_TIMINGS, Stalls(), Received())
    said = Tally(1_000_000, 1_000_000, 1000, 100)
    for second in range(4):
        throughput.note_tally(said, float(second), may_try=True)
    throughput.note_tally(fallen, 4.0, may_try=True)
    assert len(throughput._samples) == 1


def test_tallies_without_end_keep_no_more_than_a_few() -> None:
    """A second needs two at most, or each peer could fill the memory of this one."""
    throughput = Throughput(DEFAULT_TIMINGS, Stalls(), Received())
    for number in range(20_000):
        throughput.note_tally(Tally(number, number, number, number), number / 2000, may_try=True)
    assert len(throughput._samples) <= 2 * (WINDOW + DEFAULT_TIMINGS.tally) + 1


def test_what_a_full_socket_of_ours_lost_is_no_loss_of_the_path() -> None:
    """It may be found missing a second late. What is missing before and after that counts."""
    full = Overflows()
    received = Received(full)
    told = Throughput(DEFAULT_TIMINGS, Stalls(), received)
    missing = []
    for second, full.count in enumerate((0, 0, 3, 3, 3, 3)):
        received.note(7, 10 * second + 8, 1, is_udp=True)
        received.note(7, 10 * second + 9, 1, is_udp=True)
        tally = told.tally()
        missing.append(tally.counted - tally.came)
    assert missing == [0, 8, 8, 8, 16, 24]


def test_what_was_full_before_a_peer_came_is_no_excuse_for_its_path() -> None:
    """A node that once had much to do would hide the loss of the first seconds from each new peer."""
    full = Overflows()
    full.count = 7
    received = Received(full)
    received.note(7, 9, 1, is_udp=True)
    received.note(7, 19, 1, is_udp=True)
    tally = Throughput(DEFAULT_TIMINGS, Stalls(), received).tally()
    assert tally.counted - tally.came == 9


def test_no_count_falls_when_a_socket_was_full() -> None:
    """The peer would take a fall for a new beginning. Late datagrams are no loss either."""
    full, last = Overflows(), 0
    received = Received(full)
    for full.count, counter in enumerate((5, 50, 20, 21, 22, 90, 60)):
        received.note(7, counter, 1, is_udp=True)
        received.leave_out_overflows()
        assert received.counted >= last
        assert received.counted >= received.came
        last = received.counted


def test_a_tally_is_due_too_when_much_comes_of_which_no_record_is_whole() -> None:
    """Else a peer that loses every record would never hear that they are too large."""
    received = Received()
    told = Throughput(DEFAULT_TIMINGS, Stalls(), received)
    received.note_broken(fragments=40, came=10)
    assert not told.is_tally_due(0.0)
    received.note_broken(fragments=40, came=30)
    assert told.is_tally_due(1.0)
    assert told.tally() == Tally(0, 0, counted=78, came=40)
