"""Every request for an introduction is answered, both sides begin together, and no pair is introduced twice at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import trio
from tests.server.counting_entropy import CountingEntropy

from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.protocol_version import PROTOCOL_VERSION
from tunnel.model.rates import TokenBucket
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.server import introductions as module
from tunnel.server.introductions import MAX_START_IN, REPEAT_WINDOW, TOO_MANY, Introductions
from tunnel.server.presence import Member, Presence
from tunnel.wire.signals import Announce, Connect, Introduced, Pending, Refusal, Signal

HOME = NetworkId(b"h" * 16)
WORK = NetworkId(b"w" * 16)
EPOCH = b"e" * 16


@dataclass
class Box:
    """What a member was told at once."""

    told: list[Signal] = field(default_factory=list)

    def send_signal(self, signal: Signal) -> None:
        self.told.append(signal)

    def queue_relay(self, handle: bytes, datagram: bytes) -> bool:
        return False

    def flush_relay(self) -> None:
        pass


class Table:
    """A server's introductions with nothing around them. Members are known by their names."""

    def __init__(self) -> None:
        self.presence = Presence(1000)
        self.introductions = Introductions(self.presence, DEFAULT_TIMINGS, CountingEntropy(100))
        self.members: dict[str, Member] = {}
        self.boxes: dict[str, Box] = {}

    def join(
        self,
        name: str,
        *,
        network: NetworkId = HOME,
        announced: bool = True,
        rtt: float | None = None,
        version: int = PROTOCOL_VERSION,
    ) -> None:
        box = self.boxes[name] = Box()
        node = NodeId(name.encode().ljust(16, b"."))
        member = self.members[name] = Member(network, node, box, lambda code, text: None, TokenBucket(1e6, 1e6, 0.0))
        member.protocol_version = version
        if rtt is not None:
            member.add_rtt(rtt)
        self.presence.join(member)
        if announced:
            self.announce(name)

    def announce(self, name: str, seq: int = 1) -> None:
        assert self.presence.announce(self.members[name], Announce(EPOCH, seq, f"{name} {seq}".encode()))

    def connect(self, asker: str, peer: str, request: int = 1) -> None:
        self.introductions.request(self.members[asker], Connect(request, self.members[peer].node.raw))

    def told(self, name: str) -> list[Signal]:
        """What a member was told since the last look, apart from who is there."""
        signals = [*self.boxes[name].told, *self._introduced(self.members[name])]
        self.boxes[name].told.clear()
        return signals

    @staticmethod
    def _introduced(member: Member) -> list[Signal]:
        words = []
        while (word := member.updates.take_nowait()) is not None:
            words.append(word)
        return [word for word in words if isinstance(word, Introduced)]

    def peer_of(self, name: str) -> bytes:
        return self.members[name].node.raw


@pytest.fixture
async def table(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Table]:
    table = Table()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(table.introductions.run)
        yield table
        nursery.cancel_scope.cancel()


async def settle() -> None:
    await trio.sleep(0.001)


async def test_two_who_have_announced_are_introduced_at_once(table: Table) -> None:
    table.join("a")
    table.join("b")
    table.connect("a", "b", 7)
    assert table.told("a") == [
        Pending(7, table.peer_of("b"), ""),
        Introduced(100, table.peer_of("b"), EPOCH, 1, b"b 1", EPOCH, 1, 0.0),
    ]
    assert table.told("b") == [Introduced(100, table.peer_of("a"), EPOCH, 1, b"a 1", EPOCH, 1, 0.0)]
    assert table.introductions.waiting == 0


@pytest.mark.parametrize(
    ("own", "peer", "missing"), [(False, True, "own"), (True, False, "peer"), (False, False, "both")]
)
async def test_an_introduction_waits_for_the_announcements(table: Table, own: bool, peer: bool, missing: str) -> None:
    table.join("a", announced=own)
    table.join("b", announced=peer)
    table.connect("a", "b")
    assert table.told("a") == [Pending(1, table.peer_of("b"), missing)]
    await trio.sleep(9.0)
    assert table.told("a") == table.told("b") == []
    if not own:
        table.announce("a")
    if not peer:
        table.announce("b")
    await settle()
    assert [type(signal) for signal in table.told("a") + table.told("b")] == [Introduced, Introduced]


async def test_an_announcement_that_does_not_come_in_time_is_a_typed_refusal(table: Table) -> None:
    table.join("a")
    table.join("b", announced=False)
    table.connect("a", "b", 3)
    await trio.sleep(DEFAULT_TIMINGS.introduction_wait + 0.001)
    assert table.told("a")[1:] == [
        Refusal(3, table.peer_of("b"), "peer_info_timeout", "no announcement within 10 s (missing: peer)")
    ]
    assert table.told("b") == []
    assert table.introductions.statistics.timed_out == 1
    table.announce("b")
    table.connect("a", "b", 4)
    await settle()
    assert [type(signal) for signal in table.told("a")] == [Pending, Introduced], "the next request finds no remains"


@pytest.mark.parametrize("network", [HOME, WORK])
async def test_a_peer_that_is_not_online_in_this_network_is_refused_at_once(table: Table, network: NetworkId) -> None:
    table.join("a")
    table.join("b", network=network)
    if network == HOME:
        table.presence.leave(table.members["b"])
    table.connect("a", "b", 5)
    assert table.told("a") == [Refusal(5, table.peer_of("b"), "peer_offline", "not registered at the server")]
    assert table.told("b") == []


async def test_a_peer_that_withdrew_is_offline(table: Table) -> None:
    table.join("a")
    table.join("b")
    table.presence.withdraw(table.members["b"])
    table.connect("a", "b")
    assert [signal.code for signal in table.told("a") if isinstance(signal, Refusal)] == ["peer_offline"]


async def test_a_peer_that_leaves_while_we_wait_is_refused_at_once(table: Table) -> None:
    table.join("a")
    table.join("b", announced=False)
    table.connect("a", "b", 6)
    await trio.sleep(1.0)
    table.presence.leave(table.members["b"])
    await settle()
    assert table.told("a")[1:] == [Refusal(6, table.peer_of("b"), "peer_offline", "it left while we waited")]


async def test_an_asker_that_leaves_leaves_nothing_behind(table: Table) -> None:
    table.join("a", announced=False)
    table.join("b")
    table.connect("a", "b")
    await settle()
    table.presence.leave(table.members["a"])
    await settle()
    assert table.introductions.waiting == 0
    assert table.told("b") == []


async def test_nobody_is_introduced_to_himself(table: Table) -> None:
    table.join("a")
    table.connect("a", "a")
    assert [signal.code for signal in table.told("a") if isinstance(signal, Refusal)] == ["refused"]


async def test_both_may_ask_for_each_other_and_are_introduced_once(table: Table) -> None:
    table.join("a", announced=False)
    table.join("b")
    table.connect("a", "b", 1)
    table.connect("b", "a", 2)
    table.connect("a", "b", 3)
    table.announce("a")
    await settle()
    a, b = table.told("a"), table.told("b")
    assert a[:2] == [Pending(1, table.peer_of("b"), "own"), Pending(3, table.peer_of("b"), "own")]
    assert b[:1] == [Pending(2, table.peer_of("a"), "peer")]
    assert [type(signal) for signal in a[2:] + b[1:]] == [Introduced, Introduced]
    assert table.introductions.statistics.introduced == 1


async def test_a_request_that_crossed_gets_the_answer_that_was_given(table: Table) -> None:
    table.join("a")
    table.join("b")
    table.connect("a", "b", 1)
    await trio.sleep(REPEAT_WINDOW / 2)
    table.told("a")
    first = table.told("b")
    table.connect("b", "a", 2)
    await settle()
    assert table.told("b") == [Pending(2, table.peer_of("a"), ""), *first]
    assert table.told("a") == [], "its round is under way already"


async def test_the_same_request_again_gets_the_same_answer_and_the_peer_is_left_alone(table: Table) -> None:
    table.join("a")
    table.join("b")
    for _ in range(3):
        table.connect("a", "b", 1)
        await settle()
    heard = table.told("a")
    assert {signal.id for signal in heard if isinstance(signal, Introduced)} == {100}
    assert len(table.told("b")) == 1


@pytest.mark.parametrize("change", ["another request", "a new announcement", "much later"])
async def test_a_new_request_makes_a_new_introduction(table: Table, change: str) -> None:
    table.join("a")
    table.join("b")
    table.connect("a", "b", 1)
    await settle()
    table.told("b")
    if change == "a new announcement":
        table.announce("b", 2)
    if change == "much later":
        await trio.sleep(REPEAT_WINDOW + 0.1)
    table.connect("a", "b", 2 if change == "another request" else 1)
    await settle()
    assert [signal.id for signal in table.told("b") if isinstance(signal, Introduced)] == [101]


async def test_an_answer_about_a_link_that_has_gone_is_not_repeated(table: Table) -> None:
    table.join("a")
    table.join("b")
    table.connect("a", "b", 1)
    await settle()
    table.told("a")
    table.join("b", announced=False)
    table.connect("a", "b", 1)
    await settle()
    assert table.told("a") == [Pending(1, table.peer_of("b"), "peer")]


async def test_both_begin_at_the_same_instant(table: Table) -> None:
    """The farther one hears later and begins at once; the nearer one waits for it."""
    table.join("near", rtt=0.020)
    table.join("far", rtt=0.300)
    table.connect("near", "far")
    (near,) = (signal for signal in table.told("near") if isinstance(signal, Introduced))
    (far,) = table.told("far")
    assert isinstance(far, Introduced)
    assert far.start_in == pytest.approx(0.0)
    assert near.start_in + 0.020 / 2 == pytest.approx(far.start_in + 0.300 / 2)


async def test_who_takes_its_introduction_later_waits_less(table: Table) -> None:
    table.join("near", rtt=0.020)
    table.join("far", rtt=0.300)
    table.connect("near", "far")
    await trio.sleep(0.1)
    (near,) = (signal for signal in table.told("near") if isinstance(signal, Introduced))
    assert near.start_in == pytest.approx(0.14 - 0.1)


async def test_a_node_that_pretends_to_be_far_away_holds_nobody_long(table: Table) -> None:
    table.join("near", rtt=0.020)
    table.join("liar", rtt=9.0)
    table.connect("near", "liar")
    await settle()
    (near,) = (signal for signal in table.told("near") if isinstance(signal, Introduced))
    assert 0.0 <= near.start_in <= MAX_START_IN


async def test_a_new_link_of_a_node_inherits_its_introduction(table: Table) -> None:
    table.join("a")
    table.join("b", announced=False)
    table.connect("a", "b", 1)
    await settle()
    table.join("b", announced=True)
    await settle()
    assert [type(signal) for signal in table.told("b")] == [Introduced]


async def test_all_pairs_of_a_network_may_wait_at_once(table: Table) -> None:
    names = [f"n{number}" for number in range(12)]
    for name in names:
        table.join(name, announced=False)
    for asker in names:
        for peer in names:
            if asker != peer:
                table.connect(asker, peer)
    assert table.introductions.waiting == 12 * 11 // 2
    for name in names:
        table.announce(name)
    await settle()
    assert table.introductions.waiting == 0
    for name in names:
        assert len([signal for signal in table.told(name) if isinstance(signal, Introduced)]) == 11


@pytest.mark.parametrize("bound", ["MAX_WAITING", "MAX_WAITING_PER_NETWORK", "MAX_WAITING_PER_ASKER"])
async def test_there_is_an_end_to_what_waits(table: Table, bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, bound, 2)
    for name in ("a", "b", "c", "d"):
        table.join(name, announced=False)
    for peer in ("b", "c", "d"):
        table.connect("a", peer)
    assert [type(signal) for signal in table.told("a")] == [Pending, Pending, Refusal]
    table.connect("b", "c")
    expected = Pending if bound == "MAX_WAITING_PER_ASKER" else Refusal
    assert [type(signal) for signal in table.told("b")] == [expected]


async def test_two_who_have_announced_need_no_place_among_those_who_wait(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 0)
    table.join("a")
    table.join("b")
    table.connect("a", "b")
    assert [type(signal) for signal in table.told("a") + table.told("b")] == [Pending, Introduced, Introduced]


async def test_strangers_of_another_network_deny_no_pair_its_wait(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever lets most introductions wait gives way, and is told."""
    monkeypatch.setattr(module, "MAX_WAITING", 4)
    crowd = [f"x{number}" for number in range(5)]
    for name in crowd:
        table.join(name, network=WORK, announced=False)
    for name in crowd[1:]:
        table.connect(crowd[0], name)
    table.told(crowd[0])
    table.join("a", announced=False)
    table.join("b")
    table.connect("a", "b")
    assert [type(signal) for signal in table.told("a")] == [Pending]
    await settle()
    assert table.introductions.waiting == 4
    assert table.told(crowd[0]) == [Refusal(1, table.peer_of(crowd[1]), "refused", TOO_MANY)]
    table.connect(crowd[0], crowd[1])
    assert [type(signal) for signal in table.told(crowd[0])] == [Refusal], "there is no room for those who have most"
    table.announce("a")
    await settle()
    assert [type(signal) for signal in table.told("a") + table.told("b")] == [Introduced, Introduced]
    for name in crowd:
        table.announce(name)
    await settle()
    assert table.introductions.waiting == 0


async def test_what_was_settled_is_forgotten(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SETTLED", 2)
    for name in ("a", "b", "c", "d"):
        table.join(name)
    for peer in ("b", "c", "d"):
        table.connect("a", peer)
        await settle()
    table.told("b")
    table.connect("a", "b")
    await settle()
    assert len(table.told("b")) == 1, "not found any more, so introduced anew"


async def test_a_bug_in_one_introduction_is_an_answer_and_ends_no_other(
    table: Table, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def __init__(self, *args: object, **kwargs: object) -> None:
            self.state = "waiting"

        async def run(self) -> None:
            raise ZeroDivisionError

    for name in ("a", "b", "c"):
        table.join(name, announced=False)
    with monkeypatch.context() as patch:
        patch.setattr(module, "StateRunner", Broken)
        table.connect("a", "b", 1)
        await settle()
    table.connect("a", "c", 2)
    table.announce("a")
    table.announce("c")
    await settle()
    heard = table.told("a")
    assert [signal.code for signal in heard if isinstance(signal, Refusal)] == ["internal_error"]
    assert [signal.peer for signal in heard if isinstance(signal, Introduced)] == [table.peer_of("c")]
    assert "an introduction failed" in caplog.text


@pytest.mark.parametrize(
    ("asker", "peer", "evidence"),
    [
        (1, 2, "the peer speaks version 2, this node 1: update p2ptunnel-trio here"),
        (2, 1, "the peer speaks version 1, this node 2: update p2ptunnel-trio there"),
    ],
)
async def test_nodes_of_different_versions_are_not_introduced_and_the_asker_hears_why(
    table: Table, asker: int, peer: int, evidence: str
) -> None:
    """A node of before asks, since it takes no notice of versions, and shows this to its user."""
    table.join("desk", version=asker)
    table.join("laptop", version=peer)
    table.connect("desk", "laptop")
    await settle()
    assert table.told("desk") == [Refusal(1, table.peer_of("laptop"), "version_mismatch", evidence)]
    assert table.told("laptop") == []
    assert (table.introductions.waiting, table.introductions.statistics.refused) == (0, 1)


async def test_two_nodes_of_before_are_introduced_by_a_server_of_now(table: Table) -> None:
    table.join("desk", version=1)
    table.join("laptop", version=1)
    table.connect("desk", "laptop")
    await settle()
    assert [type(signal) for signal in table.told("laptop")] == [Introduced]
