"""The demo without privileges: a real server and two real nodes on loopback. A switch in one node cuts the direct path.

desk ---- TLS ---- server ---- TLS ---- laptop
  \\_switch_________ UDP _________________/
"""

from __future__ import annotations

import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path

import trio

from tunnel.crypto.network_keys import new_invite
from tunnel.network.os.machine import RealEntropy
from tunnel.network.tls import parse_pin
from tunnel.verify.demo.console import DemoConsole
from tunnel.verify.demo.findings import (
    DIRECT_PATIENCE,
    LONGEST_HOLE,
    LOSS_PATIENCE,
    RECOVERY_PATIENCE,
    Findings,
    duration,
    round_trips,
    throughput,
)
from tunnel.verify.demo.peer_progress import wait_direct, wait_given_up
from tunnel.verify.demo.processes import Commands, NodeHandle, open_demo_node, open_server
from tunnel.wire.invites import encode_invite

_BEFORE_THE_CUT = 1.0
_AFTER_THE_LIFT = 1.5
"""Seconds in which a gap would show that the return to the direct path makes."""
_RELAY_SETTLES = 3.5
"""Seconds after the cut in which the gap must have begun and ended: longer than the gap that is allowed."""
_PINGS = 20
_BULK = 1.0
_SECRET_BYTES = 32


async def run_loopback_demo(commands: Commands, console: DemoConsole, findings: Findings) -> None:
    """The whole demo. It ends early when an expectation fails that the rest depends on. Raises DemoFailed."""
    console.title("A server and two nodes on this machine, each a process of its own, without any privilege.")
    with tempfile.TemporaryDirectory(prefix="p2pt-demo-") as folder, ExitStack() as until_all_left:
        async with AsyncExitStack() as stack:
            desk, laptop = await _start(commands, console, Path(folder), stack)
            if await _connect(console, findings, desk, laptop):
                await _measure(console, findings, "direct path", desk, laptop)
                await _cut_and_lift(console, findings, desk, laptop)
            desk.progress.is_muted = laptop.progress.is_muted = True
            until_all_left.enter_context(console.waiting("all leave"))


async def _start(
    commands: Commands, console: DemoConsole, folder: Path, stack: AsyncExitStack
) -> tuple[NodeHandle, NodeHandle]:
    console.heading("A server, and two nodes that join its network")
    with console.waiting("starting the server"):
        url, pin = await stack.enter_async_context(open_server(commands.server, folder))
    console.say("server", f"serves {url}, pinned by {pin}")
    invite = encode_invite(new_invite(url, parse_pin(pin), "demo", RealEntropy().token(_SECRET_BYTES)))
    with console.waiting("starting two nodes"):
        desk = await stack.enter_async_context(open_demo_node(commands.node, "desk", invite, folder, console))
        laptop = await stack.enter_async_context(open_demo_node(commands.node, "laptop", invite, folder, console))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_meet, console, desk, "laptop")
            nursery.start_soon(_meet, console, laptop, "desk")
    return desk, laptop


async def _meet(console: DemoConsole, node: NodeHandle, peer: str) -> None:
    met = await node.ask("meet", peer=peer)
    console.say(node.name, f"registered as {met['addresses'][0]}, and knows {peer}")


async def _connect(console: DemoConsole, findings: Findings, desk: NodeHandle, laptop: NodeHandle) -> bool:
    console.heading("The first datagram: relay first, direct once proved")
    began = time.time()
    with console.waiting("greeting both ways"):
        greeting = await desk.ask("greet", text="hello, laptop")
        findings.note("first answer, with handshake", f"{duration(greeting['seconds'])}, over {greeting['over']}")
        await laptop.ask("greet", text="hello, desk")
    with console.waiting("waiting for the direct path"):
        return await findings.expect_soon(
            "direct path after", partial(wait_direct, desk.progress, laptop.progress), began, DIRECT_PATIENCE
        )


async def _measure(console: DemoConsole, findings: Findings, path: str, desk: NodeHandle, laptop: NodeHandle) -> None:
    console.heading(f"Measuring the {path}")
    with console.waiting(f"{_PINGS} round trips"):
        measured = round_trips((await desk.ask("ping", count=_PINGS))["seconds"])
    console.say(desk.name, f"round trip {measured}")
    findings.note(f"round trip, {path}", measured)
    for node, peer in ((desk, laptop), (laptop, desk)):
        with console.waiting(f"throughput to {peer.name} for {_BULK:g} s"):
            bulk = await node.ask("bulk", seconds=_BULK)
        rate = throughput(bulk["bytes"], bulk["seconds"])
        console.say(node.name, f"{rate} to {peer.name}")
        findings.note(f"{node.name} to {peer.name}, {path}", rate)


async def _cut_and_lift(console: DemoConsole, findings: Findings, desk: NodeHandle, laptop: NodeHandle) -> None:
    both = (desk, laptop)
    console.heading("The direct path is cut under a running stream: the relay takes over")
    for node in both:
        await node.ask("flow")
    with console.waiting("20 datagrams a second each way"):
        await trio.sleep(_BEFORE_THE_CUT)
    for node in both:
        await node.ask("gaps")
    cut_at = (await desk.ask("cut"))["at"]
    console.say("", "CUT: every UDP datagram between the two vanishes", cut_at)
    with console.waiting("how long nothing arrives"):
        await trio.sleep(_RELAY_SETTLES)
    hole = max([(await node.ask("gaps"))["longest"] for node in both])
    console.say("", f"longest silence: {duration(hole)}")
    findings.expect_within("longest hole of the cut", hole, LONGEST_HOLE)
    await _measure(console, findings, "relay", desk, laptop)
    with console.waiting("until both charts give the path up"):
        given_up = partial(wait_given_up, desk.progress, laptop.progress)
        if not await findings.expect_soon("path given up after the cut", given_up, cut_at, LOSS_PATIENCE):
            return

    console.heading("The cut is lifted: back to the direct path")
    for node in both:
        await node.ask("gaps")
    lifted = await desk.ask("lift")
    console.say("", f"LIFTED, after {lifted['swallowed']} swallowed datagrams", lifted["at"])
    with console.waiting("waiting for the direct path"):
        direct = partial(wait_direct, desk.progress, laptop.progress)
        await findings.expect_soon("direct again after the lift", direct, lifted["at"], RECOVERY_PATIENCE)
        await trio.sleep(_AFTER_THE_LIFT)
    hole = max([(await node.ask("gaps"))["longest"] for node in both])
    findings.note("longest hole of the lift", duration(hole))
    await _count_losses(findings, desk, laptop)


async def _count_losses(findings: Findings, desk: NodeHandle, laptop: NodeHandle) -> None:
    counts: dict[str, dict[str, int]] = {}
    async with trio.open_nursery() as nursery:
        for node in (desk, laptop):
            nursery.start_soon(partial(_halt, node, counts))
    for node, peer in ((desk, laptop), (laptop, desk)):
        sent, arrived = counts[node.name]["sent"], counts[peer.name]["arrived"]
        findings.note(f"stream {node.name} to {peer.name}", f"{sent} sent, {max(0, sent - arrived)} lost")


async def _halt(node: NodeHandle, counts: dict[str, dict[str, int]]) -> None:
    counts[node.name] = await node.ask("halt")
