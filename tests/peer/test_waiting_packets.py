"""Tests of what waits for keys or a way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from tests.peer.conftest import Bench


async def test_sixty_four_packets_wait_for_keys_and_the_oldest_is_dropped(bench: Bench) -> None:
    bench.relay = False
    bench.left.card(relay_only=True)
    bench.meet()
    for number in range(70):
        bench.left.peer.send_packet(b"\x00%d" % number)
    bench.relay = True
    await trio.sleep(1.0)
    assert bench.right.received == [b"\x00%d" % number for number in range(6, 70)]
    assert bench.left.peer.session.waiting.dropped == 6
