"""A server may say anything about the others: the node goes on, and its memory stays bounded."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tunnel.crypto.node_keys import node_id_of
from tunnel.model.announcement import MAX_CANDIDATES
from tunnel.model.candidate import Candidate, CandidateKind
from tunnel.model.endpoint import Endpoint
from tunnel.model.identity import NodeId
from tunnel.model.way import Way
from tunnel.node import peer_signals as peer_signals
from tunnel.peer.connection import PeerConnection
from tunnel.wire.relay_batch import encode_relay_batch
from tunnel.wire.signals import (
    Announced,
    Challenge,
    Introduced,
    PeerDown,
    PeerUp,
    Pending,
    Pong,
    Refusal,
    Signal,
    Welcome,
)

if TYPE_CHECKING:
    from tests.node.conftest import OpenNode, PuppetServer, ScriptedPeer

    from tunnel.embedding import Node

    Member = Callable[[str], ScriptedPeer]

IDS = st.binary(min_size=16, max_size=16)
NUMBERS = st.integers(0, 2**63 - 1)
TEXTS = st.text(max_size=64)


def junk_signals(ids: st.SearchStrategy[bytes]) -> st.SearchStrategy[Signal]:
    """Well-formed signals, as `decode_signal` lets them through, that mean nothing."""
    return st.one_of(
        st.builds(PeerUp, ids, IDS, NUMBERS, st.binary(max_size=256)),
        st.builds(PeerDown, ids, st.sampled_from(["left", "lost", "", "?"])),
        st.builds(Introduced, NUMBERS, ids, IDS, NUMBERS, st.binary(max_size=256), IDS, NUMBERS, st.floats(0, 1e11)),
        st.builds(Refusal, NUMBERS, ids, TEXTS, TEXTS),
        st.builds(Pending, NUMBERS, ids, TEXTS),
        st.builds(Announced, NUMBERS),
        st.builds(Pong, NUMBERS),
    )


def is_well(node: Node) -> bool:
    return node.program.is_registered and node.program.peer_signals.refused >= 0 and bool(node.status().id)


async def test_a_member_that_the_server_tells_of_is_met(
    puppet: PuppetServer, open_in: OpenNode, member: Member
) -> None:
    async with open_in("desk") as desk:
        await desk.wait_registered()
        puppet.say(member("ghost").up(name="laptop"))
        await trio.sleep(0.1)
        (peer,) = desk.status().peers
        assert (peer.name, peer.id) == ("laptop", str(member("ghost").keys.id))


async def test_however_many_ways_lead_to_a_peer_its_candidates_have_one_bound(
    puppet: PuppetServer, open_in: OpenNode, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever answers for the resolver chooses the prefixes of a NAT64, and each multiplies what is probed."""

    def reach(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        return tuple(
            Endpoint(f"2001:db8:{way:x}::1", each.port) if way else each for each in endpoints for way in range(5)
        )

    ghost = member("ghost")
    told = tuple(
        Candidate(Endpoint("25.3.0.1", port), CandidateKind.REFLEXIVE) for port in range(5000, 5000 + MAX_CANDIDATES)
    )
    async with open_in("desk") as desk:
        await desk.wait_registered()
        monkeypatch.setattr(desk.program.peer_signals._nat64, "reach", reach)
        puppet.say(ghost.up(candidates=told))
        await trio.sleep(0.1)
        known = desk.program.peer_table.at(ghost.keys.id)
        assert known is not None
        assert known.card is not None
        endpoints = [candidate.endpoint for candidate in known.card.body.candidates]
        assert len(endpoints) == MAX_CANDIDATES
        assert endpoints[:6] == [*reach([told[0].endpoint]), told[1].endpoint], "the best with all their ways"


async def test_what_nobody_of_the_network_has_sealed_is_nobody(
    puppet: PuppetServer, open_in: OpenNode, member: Member
) -> None:
    ghost = member("ghost")
    truth = ghost.up()
    lies = [
        PeerUp(truth.peer, truth.epoch, truth.seq, truth.body[:-1]),
        PeerUp(truth.peer, truth.epoch, truth.seq, truth.body + b"\0"),
        PeerUp(truth.peer, truth.epoch, truth.seq + 1, truth.body),
        PeerUp(truth.peer, bytes([1]) * 16, truth.seq, truth.body),
        PeerUp(bytes([1]) * 16, truth.epoch, truth.seq, truth.body),
        PeerUp(truth.peer, truth.epoch, truth.seq, b""),
        member("other").up(about=ghost.keys.id),
    ]
    async with open_in("desk") as desk:
        await desk.wait_registered()
        puppet.say(*lies)
        await trio.sleep(0.1)
        assert desk.status().peers == ()
        assert desk.program.peer_signals.refused == len(lies)
        assert is_well(desk)


async def test_word_of_ourselves_makes_no_peer(puppet: PuppetServer, open_in: OpenNode) -> None:
    async with open_in("desk") as desk:
        await desk.wait_registered()
        await trio.sleep(0.1)
        own = desk.program.announcer.card
        assert own is not None
        raw = desk.program.keys.id.raw
        puppet.say(PeerUp(raw, own.epoch, own.seq, b""), PeerDown(raw, "left"), Refusal(1, raw, "peer_offline"))
        await trio.sleep(0.1)
        assert desk.status().peers == ()
        assert is_well(desk)


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31)], ids=["zero", "one"])
async def test_a_member_with_a_key_that_no_honest_node_has_is_refused(
    puppet: PuppetServer, open_in: OpenNode, member: Member, key: bytes
) -> None:
    """A point of low order (RFC 7748, section 6.1): every exchange with it gives zero, so it proves nothing."""
    ghost = member("ghost")
    async with open_in("desk") as desk:
        await desk.wait_registered()
        puppet.say(ghost.up(about=node_id_of(key), static_key=key, addresses=()))
        await trio.sleep(1.0)
        assert desk.program.peer_signals.refused == 1
        assert len(puppet.hellos) == 1
        assert desk.status().peers == ()


async def test_two_ids_that_begin_alike_are_never_mixed_up(
    puppet: PuppetServer, open_in: OpenNode, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay names nodes by eight bytes. Here every id of a member collides; the first one stays."""
    monkeypatch.setattr(NodeId, "handle", property(lambda _: b"the same"))
    async with open_in("desk") as desk:
        await desk.wait_registered()
        puppet.say(member("first").up(), member("second").up())
        await trio.sleep(0.1)
        assert [peer.id for peer in desk.status().peers] == [str(member("first").keys.id)]


async def test_of_too_many_peers_the_absent_ones_are_forgotten(
    puppet: PuppetServer, open_in: OpenNode, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that lives for years sees more nodes than it ever has at once."""
    monkeypatch.setattr(peer_signals, "MAX_PEERS", 4)
    async with open_in("desk") as desk:
        await desk.wait_registered()
        indices: list[int] = []
        for number in range(40):
            ghost = member(f"ghost {number}")
            puppet.say(ghost.up(), PeerDown(ghost.keys.id.raw, "left"))
            await trio.sleep(0.1)
            desk.program.inboxes.put(ghost.keys.id, b"what nobody reads")
            indices.append(len(desk.program._indices))
        assert len(desk.status().peers) == len(desk.program.inboxes) == 4
        assert indices[4] == indices[-1]
        assert not desk.program.peer_signals.knows(member("ghost 0").keys.id.handle)


async def test_a_forgotten_peer_that_comes_back_gets_no_probe_counter_twice(
    puppet: PuppetServer, open_in: OpenNode, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same epochs the probe keys are the same: a counter that began anew would repeat nonces."""
    monkeypatch.setattr(peer_signals, "MAX_PEERS", 1)
    ghost = member("ghost")
    async with open_in("desk") as desk:
        await desk.wait_registered()
        puppet.say(ghost.up())
        await trio.sleep(0.1)
        first = desk.program.peer_table.at(ghost.keys.id)
        assert first is not None
        for _ in range(3):
            first._probes.ask(Way(0, Endpoint("25.3.0.1", 5000)))
        used = first.probe_counter
        puppet.say(PeerDown(ghost.keys.id.raw, "lost"), member("other").up())
        puppet.say(PeerDown(member("other").keys.id.raw, "lost"), ghost.up())
        await trio.sleep(0.1)
        second = desk.program.peer_table.at(ghost.keys.id)
        assert second is not None
        assert second is not first
        assert second.probe_counter >= used >= 3


async def test_present_peers_are_not_forgotten_for_new_ones(
    puppet: PuppetServer, open_in: OpenNode, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_signals, "MAX_PEERS", 4)
    async with open_in("desk") as desk:
        await desk.wait_registered()
        puppet.say(*(member(f"ghost {number}").up() for number in range(9)))
        await trio.sleep(0.1)
        known = {peer.id for peer in desk.status().peers}
        assert known == {str(member(f"ghost {number}").keys.id) for number in range(4)}
        assert desk.program.peer_signals.refused == 5


async def test_hundreds_of_peers_cost_no_more_each_than_ten(
    puppet: PuppetServer, open_in: OpenNode, member: Member
) -> None:
    async with open_in("desk", survey=False) as desk:
        await desk.wait_registered()
        handle = desk.program.peer_signals.handle_untrusted
        for number in range(300):
            handle(member(f"ghost {number}").up(name=f"ghost {number}"))
        assert len(desk.program.peer_table) == 300
        assert desk.status().notes == ()
        assert desk.program.peer_table.find("ghost 277").node == member("ghost 277").keys.id


async def test_a_peer_that_is_only_known_costs_little_memory(
    puppet: PuppetServer, open_in: OpenNode, member: Member
) -> None:
    """4096 may be known, and a member makes as many as it likes (`bench.performance.idle_node` measures it)."""
    async with open_in("desk", survey=False) as desk:
        await desk.wait_registered()

        async def meet(first: int, after: int) -> None:
            for number in range(first, after):
                desk.program.peer_signals.handle_untrusted(member(f"ghost {number}").up(name=f"ghost {number}"))
            await trio.sleep(1.0)
            gc.collect()

        await meet(0, 10)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            await meet(10, 60)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (after - before) / 50 < 50_000


async def test_a_flood_of_lies_is_told_a_few_times_only(
    puppet: PuppetServer, open_in: OpenNode, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_in("desk") as desk:
        await desk.wait_registered()
        for number in range(1000):
            desk.program.peer_signals.handle_untrusted(PeerUp(number.to_bytes(16), bytes(16), 1, b"junk"))
        told = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(told) == 10
        assert desk.program.peer_signals.refused == 1000


async def test_signals_that_a_server_does_not_say_to_a_registered_node_do_nothing(
    puppet: PuppetServer, open_in: OpenNode
) -> None:
    async with open_in("desk") as desk:
        await desk.wait_registered()
        await trio.sleep(1.0)
        before = desk.addresses
        puppet.say(
            Challenge(bytes(32), bytes(32)),
            Welcome("10.86.9.9/16", 1.0, puppet.welcome.observed, ()),  # type: ignore[union-attr]
        )
        await trio.sleep(1.0)
        assert desk.addresses == before
        assert is_well(desk)


async def test_an_introduction_far_in_the_future_costs_one_punch_at_most(
    puppet: PuppetServer, open_in: OpenNode, member: Member
) -> None:
    ghost = member("ghost")
    async with open_in("desk") as desk:
        await desk.wait_registered()
        await trio.sleep(5.0)
        up = ghost.up()
        puppet.say(Introduced(1, up.peer, up.epoch, up.seq, up.body, bytes(16), 1, 1e11))
        await trio.sleep(60.0)
        assert desk.status().peers[0].state in ("relayed", "announced")
        assert is_well(desk)


async def test_a_bug_that_a_signal_finds_costs_one_peer_and_never_the_link(
    puppet: PuppetServer,
    open_in: OpenNode,
    member: Member,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("a bug")

    async with open_in("desk") as desk:
        await desk.wait_registered()
        puppet.say(member("ghost").up(), member("other").up())
        await trio.sleep(0.1)
        monkeypatch.setattr(PeerConnection, "note_down", explode)
        puppet.say(PeerDown(member("ghost").keys.id.raw, "lost"))
        await trio.sleep(0.1)
        reasons = {peer.id: peer.reason for peer in desk.status().peers}
        reason = reasons[str(member("ghost").keys.id)]
        assert reason is not None
        assert (reason.code.value, reason.evidence) == ("internal_error", "RuntimeError")
        assert reasons[str(member("other").keys.id)] is None
        assert "a bug" in caplog.text
        assert is_well(desk)
        assert len(puppet.hellos) == 1


async def test_whatever_a_server_says_the_node_goes_on(
    puppet: PuppetServer, open_in: OpenNode, member: Member, caplog: pytest.LogCaptureFixture
) -> None:
    """Junk of every kind, about strangers, a true member and ourselves."""
    ghost = member("ghost")
    async with open_in("desk") as desk:
        await desk.wait_registered()
        puppet.say(ghost.up())
        await trio.sleep(0.1)
        known = st.sampled_from([ghost.keys.id.raw, desk.program.keys.id.raw])

        @settings(max_examples=400)
        @given(st.one_of(junk_signals(IDS), junk_signals(known)))
        def hear(signal: Signal) -> None:
            desk.program.server_signals.hear_untrusted(signal)

        hear()
        await trio.sleep(60.0)
        assert [peer.id for peer in desk.status().peers] == [str(ghost.keys.id)]
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
        assert is_well(desk)


async def test_a_frame_that_is_no_signal_costs_the_connection_and_nothing_else(
    puppet: PuppetServer, open_in: OpenNode
) -> None:
    async with open_in("desk") as desk:
        for number, junk in enumerate((b"", b"\x93", b"\x81" * 5000, b"x" * 70000), start=1):
            await desk.wait_registered()
            await puppet.links[-1]._channel.send(junk)
            with trio.fail_after(10.0):
                await desk.program.notifier.wait_until(lambda: not desk.program.is_registered)
                await desk.wait_registered()
            assert len(puppet.hellos) == number + 1


async def test_a_damaged_batch_of_relay_frames_costs_its_frames_only(
    puppet: PuppetServer, open_in: OpenNode, member: Member
) -> None:
    ghost = member("ghost")
    async with open_in("desk") as desk:
        await desk.wait_registered()
        puppet.say(ghost.up())
        await trio.sleep(1.0)
        whole = encode_relay_batch([(ghost.keys.id.handle, bytes(40)), (bytes(8), bytes(40))])
        for junk in (b"\xc1", b"\xc1" + bytes(9), whole[:-1], whole, b"\xc1" + b"\xff" * 4000):
            await puppet.links[-1]._channel.send(junk)
        await trio.sleep(1.0)
        assert desk.program.inbound.counts.malformed == 2
        assert len(puppet.hellos) == 1
