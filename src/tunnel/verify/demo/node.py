"""A node of the demo, in a process of its own: it takes orders on stdin, and reports on stdout what happens.

    {"invite": ..., "name": "desk"}               first: no secret is ever on a command line
    {"do": "meet", "peer": "laptop"}              one order a line; each is answered by one line with "ok"
    {"news": "move", "from": ..., "at": ...}      reported in between: what happened, with its Unix time

When stdin ends, the node leaves the network and the process ends: it never outlives its demo.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

import trio

from tunnel.embedding import Node, Peer, open_node
from tunnel.machines.notifier import Notifier
from tunnel.model.errors import PeerUnreachable, SettingsError, TunnelError
from tunnel.model.settings import NodeSettings
from tunnel.network.ports import World
from tunnel.node.control_lines import Lines, decode_line, encode_line, failure_of
from tunnel.verify.demo.findings import Arrivals
from tunnel.verify.demo.switch import SwitchedDatagrams
from tunnel.wire.session_packets import MAX_APPLICATION_DATAGRAM

MAX_LINE = 64 * 1024
MEET_PATIENCE = 20.0
FLOW_GAP = 0.05
"""Seconds between two datagrams of the steady stream."""
_GREETING_PATIENCE = 10.0
_GREET_AGAIN = 1.0
_LOOK_AGAIN = 0.02
_WINDOW = 64
_ACK_EVERY = 8
_ACK_PATIENCE = 0.25

_GREETING, _REPLY, _FLOW, _BULK, _ACK = (bytes([byte]) for byte in range(5))
Order = dict[str, Any]


class DemoNode:
    """One node, its one peer, and what it measures. `carry_out(order)` returns the answer."""

    def __init__(self, node: Node, switch: SwitchedDatagrams, report: Callable[[Order], Awaitable[None]]) -> None:
        self._node = node
        self._switch = switch
        self._report = report
        self._met: Peer | None = None
        self._flowing = trio.CancelScope()
        self._flow_sent = 0
        self._arrivals = Arrivals()
        self._reply: tuple[bytes, str] | None = None
        self._bulk_run = 0
        self._bulk_heard = (0, 0, -1)  # whose run, how many of it came, the newest of them
        self._bulk_acked = (0, 0, -1)
        self._notifier = Notifier()
        self._orders: dict[str, Callable[[Order], Awaitable[Order]]] = {
            "meet": self._meet,
            "greet": self._greet,
            "ping": self._ping,
            "bulk": self._bulk,
            "flow": self._flow,
            "gaps": self._gaps,
            "halt": self._halt,
            "cut": self._cut,
            "lift": self._lift,
        }

    async def run(self) -> None:
        """Report the news and answer the peer, for ever."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self._report_moves()

    async def carry_out(self, order: Order) -> Order:
        """Do as one order says. Raises TunnelError."""
        action = self._orders.get(str(order.get("do")))
        if action is None:
            raise SettingsError(f"a demo node does {', '.join(self._orders)}")
        return await action(order)

    @property
    def _peer(self) -> Peer:
        if self._met is None:
            raise SettingsError("meet the peer first")
        return self._met

    # Orders.

    async def _meet(self, order: Order) -> Order:
        """Wait until the server knows us and we know the peer."""
        with trio.move_on_after(MEET_PATIENCE):
            await self._node.wait_registered()
            while self._met is None:
                with suppress(PeerUnreachable):
                    self._met = self._node.peer(order["peer"])
                await trio.sleep(_LOOK_AGAIN)
        if self._met is None:
            server = self._node.status().server
            link = f"link to the server: {server.state}" + (f", {server.reason}" if server.reason else "")
            raise PeerUnreachable(
                f"{self._node.name} did not hear of {order['peer']} within {MEET_PATIENCE:g} s ({link})"
            )
        self._nursery.start_soon(self._listen, self._met)
        self._nursery.start_soon(self._report_paths, self._met)
        return {"addresses": list(self._node.addresses)}

    async def _greet(self, order: Order) -> Order:
        """The first datagram, and how long it took from wanting the peer to the answer."""
        text = str(order["text"]).encode()
        began = trio.current_time()
        self._reply = None
        with trio.move_on_after(_GREETING_PATIENCE):
            while self._reply is None:
                await self._peer.send_datagram(_GREETING + text)
                with trio.move_on_after(_GREET_AGAIN):
                    await self._notifier.wait_until(lambda: self._reply is not None)
        if self._reply is None:
            raise PeerUnreachable(f"{self._peer.name} answered no greeting within {_GREETING_PATIENCE:g} s")
        return {"seconds": trio.current_time() - began, "text": self._reply[0].decode(), "over": self._reply[1]}

    async def _ping(self, order: Order) -> Order:
        """Some round trips inside the session."""
        seconds = []
        for _ in range(order["count"]):
            seconds.append((await self._peer.ping()).rtt)
            await trio.sleep(_LOOK_AGAIN)
        return {"seconds": seconds}

    async def _bulk(self, order: Order) -> Order:
        """Send as fast as it goes with 64 datagrams in flight, for some seconds. Counts what the peer acknowledges."""
        self._bulk_run += 1
        run, filling = self._bulk_run, bytes(MAX_APPLICATION_DATAGRAM - 9)
        self._bulk_acked = (run, 0, -1)
        began, sent = trio.current_time(), 0
        ends = began + order["seconds"]
        written_off = -1
        while (now := trio.current_time()) < ends:
            newest = max(self._bulk_acked[2], written_off)
            if sent - newest <= _WINDOW:
                await self._peer.send_datagram(_BULK + run.to_bytes(4, "big") + sent.to_bytes(4, "big") + filling)
                sent += 1
                continue
            acked = self._bulk_acked
            with trio.move_on_at(min(ends, now + _ACK_PATIENCE)) as patience:
                await self._notifier.wait_until(lambda acked=acked: self._bulk_acked != acked)  # type: ignore[misc]
            if patience.cancelled_caught:
                written_off = sent - 1
        arrived = self._bulk_acked[1] * MAX_APPLICATION_DATAGRAM
        return {"bytes": arrived, "seconds": trio.current_time() - began}

    async def _flow(self, _: Order) -> Order:
        """Begin a steady stream of small datagrams."""
        self._flowing.cancel()
        self._flowing = trio.CancelScope()
        self._nursery.start_soon(self._stream, self._flowing)
        return {}

    async def _gaps(self, _: Order) -> Order:
        """The longest gap in the peer's stream since the last such order."""
        now = trio.current_time()
        longest = self._arrivals.longest(now)
        self._arrivals.begin(now)
        return {"longest": longest}

    async def _halt(self, _: Order) -> Order:
        """End the stream: how many datagrams we sent, and how many of the peer's arrived."""
        self._flowing.cancel()
        await trio.sleep(4 * FLOW_GAP)  # what is on its way may arrive
        return {"sent": self._flow_sent, "arrived": self._arrivals.count}

    async def _cut(self, _: Order) -> Order:
        self._switch.cut()
        return {"at": time.time()}

    async def _lift(self, _: Order) -> Order:
        self._switch.lift()
        return {"at": time.time(), "swallowed": self._switch.swallowed}

    # What goes on meanwhile.

    async def _listen(self, peer: Peer) -> None:
        while True:
            datagram = await peer.receive_datagram()
            kind, content = datagram[:1], datagram[1:]
            if kind == _FLOW:
                self._arrivals.note(trio.current_time())
            elif kind == _BULK:
                await self._acknowledge(peer, content)
            elif kind == _ACK:
                run, count, newest = (int.from_bytes(content[i : i + 4], "big") for i in (0, 4, 8))
                if run == self._bulk_acked[0] and newest > self._bulk_acked[2]:
                    self._bulk_acked = (run, count, newest)
            elif kind == _GREETING:
                await self._report({"news": "heard", "text": content.decode("utf-8", "replace"), "at": time.time()})
                await peer.send_datagram(_REPLY + content)
            elif kind == _REPLY:
                self._reply = (content, _kind_of(peer) or "no path")
            self._notifier.notify()

    async def _acknowledge(self, peer: Peer, content: bytes) -> None:
        run, number = int.from_bytes(content[:4], "big"), int.from_bytes(content[4:8], "big")
        known, count, newest = self._bulk_heard
        count, newest = (count + 1, max(newest, number)) if run == known else (1, number)
        self._bulk_heard = (run, count, newest)
        if count % _ACK_EVERY == 0:
            await peer.send_datagram(_ACK + b"".join(n.to_bytes(4, "big") for n in self._bulk_heard))

    async def _stream(self, flowing: trio.CancelScope) -> None:
        with flowing:
            while True:
                self._flow_sent += 1
                await self._peer.send_datagram(_FLOW)
                await trio.sleep(FLOW_GAP)

    async def _report_moves(self) -> None:
        async with aclosing(self._node.watch()) as changes:
            async for change in changes:
                move = change.move
                taken = {"from": move.source, "event": move.event, "to": move.target, "at": move.at}
                await self._report({"news": "move", "peer": change.peer.name, **taken})

    async def _report_paths(self, peer: Peer) -> None:
        known = None
        while True:
            kind = _kind_of(peer)
            if kind != known:
                known = kind
                await self._report({"news": "path", "peer": peer.name, "kind": kind, "at": time.time()})
            await trio.sleep(_LOOK_AGAIN)


async def run_node(orders: trio.abc.ReceiveStream, reports: trio.abc.SendStream, world: World) -> None:
    """Run the node that the first line describes, until `orders` end. A switch is put before the UDP of `world`."""
    lines, turn = Lines(orders, MAX_LINE), trio.Lock()

    async def report(document: Order) -> None:
        async with turn:
            await reports.send_all(encode_line(document))

    first = await lines.receive_untrusted()
    if first is None:
        return
    start = decode_line(first)
    switch = SwitchedDatagrams(world.datagrams)
    settings = NodeSettings(name=start["name"], default_stun=False, port_mapping=False)  # it is all on this machine
    async with (
        open_node(invite=start["invite"], settings=settings, world=replace(world, datagrams=switch)) as node,
        trio.open_nursery() as nursery,
    ):
        demo_node = DemoNode(node, switch, report)
        nursery.start_soon(demo_node.run)
        while (line := await lines.receive_untrusted()) is not None:
            try:
                answer = await demo_node.carry_out(decode_line(line))
            except TunnelError as error:
                await report(failure_of(error))
            else:
                await report({"ok": True, "result": answer})
        nursery.cancel_scope.cancel()


def _kind_of(peer: Peer) -> str | None:
    path = peer.path
    return None if path is None else path.kind
