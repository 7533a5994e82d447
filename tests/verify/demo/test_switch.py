"""A cut loses what goes between peers, and nothing else."""

from __future__ import annotations

import trio

from tunnel.model.endpoint import Endpoint
from tunnel.model.offload import Offload
from tunnel.network.datagrams import Segments, Transmit
from tunnel.verify.demo.switch import SwitchedDatagrams
from tunnel.wire.stun import binding_request, encode_stun

PEER = Endpoint("127.0.0.1", 7)
STUN = encode_stun(binding_request(bytes(12)))
DATA = b"\x02" + bytes(40)


class ScriptedSocket:
    """Keeps what is sent; receives what the script says."""

    local = Endpoint("127.0.0.1", 4242)

    def __init__(self, *batches: list[tuple[bytes, Endpoint]]) -> None:
        self.sent: list[bytes] = []
        self.batches = list(batches)
        self.is_closed = False

    @property
    def offloads(self) -> frozenset[Offload]:
        return frozenset()

    def send_nowait(self, datagram: bytes, remote: Endpoint, ttl: int | None = None) -> bool:
        self.sent.append(datagram)
        return True

    def send_batch(self, transmit: Transmit) -> int:
        raise NotImplementedError("one by one")

    def unsent_bytes(self) -> int:
        return 0

    async def receive_batch(self) -> list[tuple[bytes, Endpoint]]:
        await trio.lowlevel.checkpoint()
        return self.batches.pop(0)

    async def receive_segments(self) -> list[Segments]:
        raise NotImplementedError("each is looked at")

    def close(self) -> None:
        self.is_closed = True


class ScriptedDatagrams:
    def __init__(self, socket: ScriptedSocket) -> None:
        self.socket = socket

    async def open_socket(self, local: Endpoint) -> ScriptedSocket:
        await trio.lowlevel.checkpoint()
        return self.socket


async def test_a_cut_swallows_what_goes_to_peers_and_comes_from_them_but_never_stun() -> None:
    real = ScriptedSocket([(DATA, PEER)], [(DATA, PEER), (STUN, PEER)], [(DATA, PEER)])
    switch = SwitchedDatagrams(ScriptedDatagrams(real))
    socket = await switch.open_socket(Endpoint("127.0.0.1", 0))
    assert socket.local == real.local

    switch.cut()
    assert socket.send_nowait(DATA, PEER), "who sends into a cut is told nothing"
    assert socket.send_nowait(STUN, PEER)
    assert await socket.receive_batch() == [(STUN, PEER)], "a batch that was swallowed whole is no batch"
    assert (real.sent, switch.swallowed) == ([STUN], 3)

    switch.lift()
    assert socket.send_nowait(DATA, PEER, 3)
    assert await socket.receive_batch() == [(DATA, PEER)]
    assert (real.sent, switch.swallowed) == ([STUN, DATA], 3)
    socket.close()
    assert real.is_closed
