"""A peer that speaks another version: no session is tried, it is said why at once, and an update ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tunnel.model.protocol_version import PROTOCOL_VERSION
from tunnel.model.reasons import Reason, ReasonCode
from tunnel.wire.frames import Kind
from tunnel.wire.signals import Connect

if TYPE_CHECKING:
    from tests.peer.conftest import Bench, Side

OLD, NEW = 1, PROTOCOL_VERSION + 1


def make_old(side: Side) -> None:
    """Run the side as version 1 ran, on a bench whose connections are open: it takes no notice of others' versions."""
    session = side.peer.session
    session._prologue = session._prologue.replace(b"p2ptunnel.v2", b"p2ptunnel.v1")
    side.card(protocol_version=OLD)


@pytest.mark.parametrize(("version", "where"), [(OLD, "there"), (NEW, "here")])
async def test_a_peer_of_another_version_stays_announced_with_a_reason_and_is_sent_nothing(
    bench: Bench, version: int, where: str
) -> None:
    bench.right.card(protocol_version=version)
    bench.meet()
    bench.left.peer.want()
    bench.left.peer.send_packet(b"\x45 for nobody")
    await trio.sleep(60.0)
    status = bench.left.peer.status()
    told = f"{bench.right.keys.id} speaks version {version}, this node 2: update p2ptunnel-trio {where}"
    assert (status.state, status.path) == ("announced", None)
    assert status.reason == Reason(ReasonCode.VERSION_MISMATCH, told)
    assert bench.left.sent == []
    assert not [signal for signal in bench.left.signals if isinstance(signal, Connect)]
    assert bench.left.peer.flow.waiting.is_empty(trio.current_time())


async def test_the_reason_is_there_with_the_announcement_and_calls_the_peer_by_its_name(bench: Bench) -> None:
    bench.right.card(protocol_version=OLD)
    bench.meet()
    bench.left.peer.note_name("laptop")
    reason = bench.left.peer.status().reason
    assert reason is not None
    assert reason.evidence == "laptop speaks version 1, this node 2: update p2ptunnel-trio there"


async def test_a_peer_of_before_that_asks_is_neither_answered_nor_believed(bench: Bench) -> None:
    """It knows nothing of versions: an old server introduces both, and it shakes hands and probes."""
    make_old(bench.right)
    bench.introduce()
    bench.right.peer.send_packet(b"\x45 hello?")
    await trio.sleep(30.0)
    asked = [kind for kind in bench.right.kinds_sent() if kind in (Kind.HANDSHAKE, Kind.PROBE)]
    assert set(asked) == {Kind.HANDSHAKE, Kind.PROBE}
    assert bench.left.inbound.counts.not_authentic > len(asked) / 2
    assert (bench.left.sent, bench.left.received, bench.right.received) == ([], [], [])
    assert bench.left.peer.state == "announced"


async def test_a_peer_whose_announcement_lies_about_its_version_gets_no_session(bench: Bench) -> None:
    """The prologue of the handshake holds the version that each speaks, so what the announcement says is not enough."""
    make_old(bench.right)
    bench.right.card()
    bench.meet()
    bench.left.peer.send_packet(b"\x45 hello?")
    bench.right.peer.send_packet(b"\x45 hello?")
    await trio.sleep(30.0)
    assert not bench.left.peer.can_carry
    assert not bench.right.peer.can_carry
    assert (bench.left.received, bench.right.received) == ([], [])
    assert bench.left.rejected + bench.right.rejected > 0


async def test_an_introduction_to_a_peer_of_before_is_of_no_use_even_after_its_update(bench: Bench) -> None:
    bench.right.card(protocol_version=OLD)
    bench.introduce()
    bench.introduces = False
    bench.right.restart()
    bench.right.card()
    bench.meet()
    await trio.sleep(5.0)
    assert bench.left.peer.state == "announced"


async def test_a_peer_that_comes_back_with_our_version_is_reached_as_soon_as_it_is_wanted(bench: Bench) -> None:
    bench.right.card(protocol_version=OLD)
    bench.meet()
    bench.left.peer.want()
    await trio.sleep(5.0)
    bench.right.card()
    bench.meet()
    assert await bench.wait_state(bench.left, "connected") < 1.0
    assert bench.left.peer.status().reason is None
    with trio.fail_after(5.0):
        await bench.left.peer.echo()


async def test_a_connected_peer_that_comes_back_with_another_version_is_let_go_at_once(bench: Bench) -> None:
    """What is sent to it from then on is not kept for it either."""
    await bench.connect()
    bench.right.restart()
    bench.left.peer.meet(bench.right.card(protocol_version=OLD))
    await bench.wait_state(bench.left, "announced", 0.1)
    bench.left.sent.clear()
    bench.left.peer.send_packet(b"\x45 for nobody")
    await trio.sleep(30.0)
    assert not bench.left.peer.can_carry
    assert bench.left.sent == []
    assert bench.left.peer.flow.waiting.is_empty(trio.current_time())


async def test_a_peer_that_changes_its_version_without_a_new_start_is_let_go_too(bench: Bench) -> None:
    """No honest node does, but whoever says so has no session with us from then on."""
    await bench.connect()
    bench.left.peer.meet(bench.right.card(protocol_version=NEW))
    await bench.wait_state(bench.left, "announced", 0.1)
    assert not bench.left.peer.can_carry
    assert not bench.left.peer.session.is_established


async def test_an_absent_peer_of_another_version_is_offline(bench: Bench) -> None:
    """That is what its user can do something about first."""
    bench.right.card(protocol_version=OLD)
    bench.meet()
    await trio.sleep(1.0)
    bench.left.peer.note_down("left")
    reason = bench.left.peer.status().reason
    assert reason is not None
    assert reason.code is ReasonCode.PEER_OFFLINE


async def test_no_ip_packet_is_accepted_for_a_peer_of_another_version(bench: Bench) -> None:
    """The TUN plane answers with an ICMP error, as for a peer without an interface; `status` does not call it one."""
    bench.right.card(protocol_version=OLD)
    bench.meet()
    assert not bench.left.peer.flow.takes_ip
    assert bench.left.peer.status().takes_ip
    bench.right.card()
    bench.meet()
    assert bench.left.peer.flow.takes_ip


async def test_a_node_tells_its_version_in_the_prologue_of_its_handshakes(bench: Bench) -> None:
    assert bench.left.peer.session._prologue.startswith(b"p2ptunnel.v2 session")
