"""A node that knows so many idle peers: python -m bench.performance.idle_node PEERS [--objects].

It prints `rss`, its resident memory in bytes, and `cpu`, CPU seconds for each virtual second of idle time. With
`--objects` it prints `objects`, the bytes of Python objects that each peer adds (tracemalloc, which slows it down).
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import tracemalloc

import trio
from bench.performance.processes import memory
from trio.testing import MockClock

from tunnel.crypto.announcement_seal import seal_announcement
from tunnel.crypto.network_keys import NetworkKeys, derive_network_keys
from tunnel.crypto.node_keys import NodeKeys
from tunnel.embedding import Node, open_node
from tunnel.model.announcement import Announcement
from tunnel.model.candidate import Candidate, CandidateKind
from tunnel.model.endpoint import Endpoint
from tunnel.model.invite import Invite
from tunnel.model.nat import NatReport
from tunnel.model.settings import NodeSettings
from tunnel.verify.memory.internet import open_memory_internet
from tunnel.wire.announcement_body import encode_announcement
from tunnel.wire.signals import PeerUp

SECRET = bytes(32)
WARM_UP = 16
"""Peers before objects are counted, so that everything that is made once exists."""
SETTLING = 60.0
IDLE = 300.0
"""Virtual seconds that are measured."""


async def idle(peers: int, counts_objects: bool) -> dict[str, float]:
    """Introduce the peers, let the node settle, and measure while nothing happens."""
    network = derive_network_keys("bench", SECRET)
    invite = Invite("ws://25.0.0.1:8443", None, "bench", network.network_id, SECRET)
    settings = NodeSettings(name="desk", survey=False, default_stun=False, port_mapping=False)
    async with open_memory_internet() as internet:
        world = internet.add_host("desk", "26.0.0.1").world()
        async with open_node(invite=invite, settings=settings, world=world) as node:
            await trio.sleep(1.0)
            if counts_objects:
                await _introduce(node, network, 1, WARM_UP)
                tracemalloc.start()
                await _introduce(node, network, WARM_UP + 1, WARM_UP + peers)
                return {"objects": tracemalloc.get_traced_memory()[0] / peers}
            await _introduce(node, network, 1, peers)
            before = time.process_time()
            await trio.sleep(IDLE)
            used = time.process_time() - before
            return {"rss": memory([os.getpid()]).now, "cpu": used / IDLE}


async def _introduce(node: Node, network: NetworkKeys, first: int, last: int) -> None:
    for number in range(first, last + 1):
        node.program.peer_signals.handle_untrusted(_peer_up(network, number))
        await trio.sleep(0.01)
    await trio.sleep(SETTLING)
    gc.collect()


def _peer_up(network: NetworkKeys, number: int) -> PeerUp:
    """The server's message about one member: four candidates, a key and a name of its own."""
    keys, epoch = NodeKeys(number.to_bytes(16, "big") * 2), number.to_bytes(16, "big")
    candidates = tuple(Candidate(Endpoint(f"192.168.{net}.7", 4242), CandidateKind.LAN) for net in range(4))
    body = encode_announcement(Announcement(f"node {number}", keys.public, (), candidates, NatReport()))
    sealed = seal_announcement(
        network.announcement_key, node=keys.id, epoch=epoch, seq=1, body=body, nonce=number.to_bytes(12, "big")
    )
    return PeerUp(keys.id.raw, epoch, 1, sealed)


if __name__ == "__main__":
    print(json.dumps(trio.run(idle, int(sys.argv[1]), "--objects" in sys.argv, clock=MockClock(autojump_threshold=0))))
