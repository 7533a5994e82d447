"""A node that knows so many idle peers: python -m bench.performance.idle_node PEERS.

It prints `rss`, its resident memory in bytes, and `cpu`, CPU seconds for each virtual second of idle time.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time

import trio
from bench.known_peers import SECRET, peer_up
from bench.performance.processes import memory
from trio.testing import MockClock

from tunnel.crypto.network_keys import derive_network_keys
from tunnel.embedding import open_node
from tunnel.model.invite import Invite
from tunnel.model.settings import NodeSettings
from tunnel.verify.memory.internet import open_memory_internet

SETTLING = 60.0
IDLE = 300.0
"""Virtual seconds that are measured."""


async def idle(peers: int) -> dict[str, float]:
    """Introduce the peers, let the node settle, and measure while nothing happens."""
    network = derive_network_keys("bench", SECRET)
    invite = Invite("ws://25.0.0.1:8443", None, "bench", network.network_id, SECRET)
    settings = NodeSettings(name="desk", survey=False, default_stun=False, port_mapping=False)
    async with open_memory_internet() as internet:
        world = internet.add_host("desk", "26.0.0.1").world()
        async with open_node(invite=invite, settings=settings, world=world) as node:
            await trio.sleep(1.0)
            for number in range(1, peers + 1):
                node.program.peer_signals.handle_untrusted(peer_up(network, number))
                await trio.sleep(0.01)
            await trio.sleep(SETTLING)
            gc.collect()
            before = time.process_time()
            await trio.sleep(IDLE)
            used = time.process_time() - before
            return {"rss": memory([os.getpid()]).now, "cpu": used / IDLE}


if __name__ == "__main__":
    print(json.dumps(trio.run(idle, int(sys.argv[1]), clock=MockClock(autojump_threshold=0))))
