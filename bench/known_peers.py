"""The memory that a node needs for each peer that it knows but does not talk to.

Run it as `python bench/known_peers.py [--peers N]`. It announces N members to a node, lets a virtual minute pass, and
prints the resident memory (kernel) and the Python objects (tracemalloc) that each of them added.
"""

from __future__ import annotations

import argparse
import gc
import os
import tracemalloc
from pathlib import Path

import trio
from trio.testing import MockClock

from tunnel.crypto.announcement_seal import seal_announcement
from tunnel.crypto.network_keys import NetworkKeys, derive_network_keys
from tunnel.crypto.node_keys import NodeKeys
from tunnel.embedding import open_node
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
"""Peers before the measurement, so that everything that is made once exists."""
BOUND = 50_000
"""Bytes of Python objects."""


def peer_up(network: NetworkKeys, number: int) -> PeerUp:
    """The server's message about one member: four candidates, a key and a name of its own."""
    keys, epoch = NodeKeys(number.to_bytes(16, "big") * 2), number.to_bytes(16, "big")
    candidates = tuple(Candidate(Endpoint(f"192.168.{net}.7", 4242), CandidateKind.LAN) for net in range(4))
    body = encode_announcement(Announcement(f"node {number}", keys.public, (), candidates, NatReport()))
    sealed = seal_announcement(
        network.announcement_key, node=keys.id, epoch=epoch, seq=1, body=body, nonce=number.to_bytes(12, "big")
    )
    return PeerUp(keys.id.raw, epoch, 1, sealed)


def resident() -> int:
    """The resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def measure(peers: int, trace: bool) -> float:
    """The bytes that each of so many peers costs."""
    network = derive_network_keys("bench", SECRET)
    invite = Invite("ws://25.0.0.1:8443", None, "bench", network.network_id, SECRET)
    settings = NodeSettings(name="desk", survey=False, default_stun=False, port_mapping=False)
    async with open_memory_internet() as internet:
        world = internet.add_host("desk", "26.0.0.1").world()
        async with open_node(invite=invite, settings=settings, world=world) as node:
            await trio.sleep(1.0)

            async def meet(first: int, after: int) -> None:
                for number in range(first, after):
                    node.program.peer_signals.handle_untrusted(peer_up(network, number))
                    await trio.sleep(0.01)
                await trio.sleep(60.0)
                gc.collect()

            await meet(1, WARM_UP + 1)
            if trace:
                tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0] if trace else resident()
            await meet(WARM_UP + 1, WARM_UP + peers + 1)
            after = tracemalloc.get_traced_memory()[0] if trace else resident()
            tracemalloc.stop()
            return (after - before) / peers


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, default=500)
    peers = parser.parse_args().peers
    for what, trace in (("resident memory", False), ("Python objects", True)):
        each = trio.run(measure, peers, trace, clock=MockClock(autojump_threshold=0))
        print(f"{what}: {each / 1000:.1f} kB for each of {peers} known, idle peers")
    return int(each > BOUND)


if __name__ == "__main__":
    raise SystemExit(main())
