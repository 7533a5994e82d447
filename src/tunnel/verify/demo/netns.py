"""The demo on real NATs: a lab of network namespaces, `up` with TUN interfaces, and the system's own ping.

desk --- kernel NAT ---+--- internet ---+--- kernel NAT --- laptop
                              |
                           server
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio

from tunnel.machines.notifier import Notifier
from tunnel.model.errors import DeviceError, Unreachable
from tunnel.network.os.controls import RealControls
from tunnel.node.control_client import open_control
from tunnel.node.control_lines import Lines
from tunnel.verify.demo.console import DemoConsole
from tunnel.verify.demo.findings import (
    DIRECT_PATIENCE,
    LONGEST_HOLE,
    LOSS_PATIENCE,
    RECOVERY_PATIENCE,
    Arrivals,
    Findings,
    duration,
    round_trips,
    throughput,
)
from tunnel.verify.demo.peer_progress import PeerProgress, wait_direct, wait_given_up
from tunnel.verify.demo.processes import DemoFailed, last_words
from tunnel.verify.netlab import Kind, Lab, SiteSpec, open_lab
from tunnel.verify.netlab.namespaces import check_privilege
from tunnel.verify.netlab.programs import LabPrograms

DELAY = 10.0
"""Milliseconds, one way, of each site's link: 40 ms from desk to laptop and back."""
_TUN = Path("/dev/net/tun")
_START_PATIENCE = 20.0
_PING_GAP = 0.1
_MEASURE = 2.0
_RELAY_SETTLES = 3.5
_AFTER_THE_LIFT = 1.5
_TCP_SECONDS = 1.5
_TCP_PORT = 5201
_LOOK_AGAIN = 0.05
_REFRESH = 0.2
_TCP_THROUGHPUT = [sys.executable, "-I", "-S", str(Path(__file__).with_name("tcp_throughput.py"))]
_ANSWER = re.compile(rb"\[([\d.]+)\] \d+ bytes from .* time=([\d.]+) ms")


async def run_netns_demo(console: DemoConsole, findings: Findings) -> None:
    """The whole demo. Raises DeviceError with the remedy where this machine or user cannot run it; DemoFailed."""
    _check_machine()
    console.title("A server and two nodes behind kernel NATs, in network namespaces, with TUN interfaces.")
    sites = (SiteSpec(name, Kind.PORT_PRESERVING, delay=DELAY) for name in ("home", "office"))
    with tempfile.TemporaryDirectory(prefix="p2pt-demo-") as folder, ExitStack() as until_all_left:
        async with AsyncExitStack() as stack:
            console.heading("Building the lab, and starting a server and two nodes")
            with console.waiting("building namespaces, routers and NATs"), _remedy():
                lab = await stack.enter_async_context(open_lab(*sites))
            lab_programs = await stack.enter_async_context(_open_lab_programs(lab, Path(folder)))
            nursery = await stack.enter_async_context(trio.open_nursery())
            await _NetnsDemo(console, findings, lab, lab_programs, nursery).run()
            nursery.cancel_scope.cancel()
            until_all_left.enter_context(console.waiting("all leave"))


def _check_machine() -> None:
    with _remedy():
        check_privilege(("ip", "nft", "ping"))
        if not _TUN.exists():
            raise DeviceError(f"there is no {_TUN}: load the kernel module tun")


@contextmanager
def _remedy() -> Iterator[None]:
    """Add what this machine and this user can do to the error that says what they cannot."""
    try:
        yield
    except DeviceError as error:
        raise DeviceError(f"{error}; or run `demo` without --netns, which needs no privilege") from None


class _NetnsDemo:
    """One demo in one lab."""

    def __init__(
        self, console: DemoConsole, findings: Findings, lab: Lab, lab_programs: LabPrograms, nursery: trio.Nursery
    ) -> None:
        self._console = console
        self._findings = findings
        self._lab = lab
        self._lab_programs = lab_programs
        self._nursery = nursery  # of everything that goes on meanwhile; ends with the demo
        self._desk, self._laptop = (PeerProgress(name, console) for name in ("desk", "laptop"))
        self._addresses: dict[str, str] = {}
        self._arrivals = Arrivals()
        self._rtts: list[float] = []
        self._notifier = Notifier()

    async def run(self) -> None:
        await self._start()
        if await self._connect():
            await self._measure("direct path")
            await self._cut_and_lift()
        self._desk.is_muted = self._laptop.is_muted = True

    async def _start(self) -> None:
        console, lab_programs = self._console, self._lab_programs
        with console.waiting("starting the server"):
            await trio.to_thread.run_sync(lab_programs.start_server)
        with console.waiting("starting two nodes, until they know each other"):
            for progress, site in ((self._desk, "home"), (self._laptop, "office")):
                await trio.to_thread.run_sync(lab_programs.start_node, self._lab.sites[site].host, progress.node)
                self._nursery.start_soon(self._watch, progress)
            with trio.move_on_after(_START_PATIENCE) as patience:
                await self._notifier.wait_until(self._are_ready)
            if patience.cancelled_caught:
                raise DemoFailed(f"the nodes did not hear of each other within {_START_PATIENCE:g} s")
        for progress in (self._desk, self._laptop):
            console.say(progress.node, f"is up as {self._addresses[progress.node]}")

    def _are_ready(self) -> bool:
        both = (self._desk, self._laptop)
        return all(progress.node in self._addresses and progress.state != "detecting" for progress in both)

    async def _connect(self) -> bool:
        console, findings = self._console, self._findings
        target = self._addresses["laptop"]
        console.heading(f"ping {target}: relay first, direct once proved")
        began = time.time()
        self._nursery.start_soon(self._ping, target)
        with console.waiting("the first answer"), trio.move_on_after(DIRECT_PATIENCE):
            await self._notifier.wait_until(lambda: self._arrivals.count > 0)
        if not self._arrivals.count:
            return findings.expect_within("first ping answered", None, DIRECT_PATIENCE)
        answered = f"after {self._rtts[0] * 1000:.0f} ms, with handshake"
        console.say("desk", f"first ping answered {answered}")
        findings.note("first ping answered", answered)
        with console.waiting("waiting for the direct path"):
            direct = partial(wait_direct, self._desk, self._laptop)
            return await findings.expect_soon("direct path after", direct, began, DIRECT_PATIENCE)

    async def _measure(self, path: str) -> None:
        console = self._console
        console.heading(f"Measuring the {path}")
        del self._rtts[:]
        with console.waiting(f"pings for {_MEASURE:g} s"):
            await trio.sleep(_MEASURE)
        measured = round_trips(self._rtts)
        console.say("desk", f"round trip {measured}")
        self._findings.note(f"round trip, {path}", measured)
        with console.waiting(f"one TCP stream to laptop for {_TCP_SECONDS:g} s"):
            rate = await self._tcp_throughput()
        console.say("desk", f"{rate} to laptop")
        self._findings.note(f"TCP throughput, {path}", rate)

    async def _cut_and_lift(self) -> None:
        console, findings, lab = self._console, self._findings, self._lab
        home, office = lab.sites["home"], lab.sites["office"]
        console.heading("The direct path is cut under the running ping: the relay takes over")
        self._arrivals.begin(time.time())
        cut_at = time.time()
        await trio.to_thread.run_sync(lab.cut, home, office)
        console.say("", "CUT: the internet drops every UDP packet between the two")
        with console.waiting("how long nothing is answered"):
            await trio.sleep(_RELAY_SETTLES)
        hole = self._arrivals.longest(time.time())
        console.say("", f"longest silence: {duration(hole)}")
        findings.expect_within("longest hole of the cut", hole, LONGEST_HOLE)
        await self._measure("relay")
        with console.waiting("until both charts give the path up"):
            given_up = partial(wait_given_up, self._desk, self._laptop)
            if not await findings.expect_soon("path given up after the cut", given_up, cut_at, LOSS_PATIENCE):
                return

        console.heading("The cut is lifted: back to the direct path")
        self._arrivals.begin(time.time())
        lifted_at = time.time()
        await trio.to_thread.run_sync(lab.lift, home, office)
        console.say("", "LIFTED")
        with console.waiting("waiting for the direct path"):
            direct = partial(wait_direct, self._desk, self._laptop)
            await findings.expect_soon("direct again after the lift", direct, lifted_at, RECOVERY_PATIENCE)
            await trio.sleep(_AFTER_THE_LIFT)
        findings.note("longest hole of the lift", duration(self._arrivals.longest(time.time())))

    # What goes on meanwhile.

    async def _watch(self, progress: PeerProgress) -> None:
        """Follow a node's status over its control socket, as `status --json --watch` does."""
        running = self._lab_programs.nodes[progress.node]
        assert running.control is not None
        controls = RealControls()
        newest = 0.0
        while True:
            if running.process.poll() is not None:
                log = self._lab_programs.folder / f"{progress.node}.log"
                raise DemoFailed(f"the process of {progress.node} ended early{last_words(log)}")
            with suppress(Unreachable):
                async with open_control(controls, running.control) as channel:
                    news = await channel.ask({"do": "watch", "every": _REFRESH})
                    while True:
                        newest = self._take(progress, news["status"], newest)
                        self._notifier.notify()
                        news = await channel.receive()
            await trio.sleep(_LOOK_AGAIN)

    def _take(self, progress: PeerProgress, status: dict[str, Any], newest: float) -> float:
        """Note what is newer than the newest move so far. Returns the newest."""
        address = next((one for one in status["node"]["addresses"] if ":" not in one), None)
        if address is not None:
            self._addresses[progress.node] = address
        for peer in status["peers"]:
            for move in peer["history"]:
                if move["at"] > newest:
                    newest = move["at"]
                    progress.note_move(peer["name"], move["from"], move["event"], move["to"], move["at"])
            progress.note_path(peer["name"], peer["path"] and peer["path"]["kind"], time.time())
        return newest

    async def _ping(self, target: str) -> None:
        """The system's ping from desk to laptop, until the demo ends."""
        argv = ["ping", "-n", "-D", "-i", str(_PING_GAP), target]
        async with self._open(self._lab_programs.nodes["desk"].host, argv) as process:
            assert process.stdout is not None
            lines = Lines(process.stdout, 4096)
            while (line := await lines.receive_untrusted()) is not None:
                if answer := _ANSWER.match(line):
                    self._arrivals.note(float(answer[1]))
                    self._rtts.append(float(answer[2]) / 1000)
                    self._notifier.notify()
        raise DemoFailed("ping ended early")

    async def _tcp_throughput(self) -> str:
        """The throughput of one TCP stream from desk to laptop."""
        nodes, address = self._lab_programs.nodes, self._addresses["laptop"]
        where = [address, str(_TCP_PORT)]
        async with self._open(nodes["laptop"].host, [*_TCP_THROUGHPUT, "receive", *where]) as receiver:
            assert receiver.stdout is not None
            lines = Lines(receiver.stdout, 4096)
            with trio.move_on_after(_TCP_SECONDS + 4):
                if await lines.receive_untrusted() == b"ready":
                    async with self._open(nodes["desk"].host, [*_TCP_THROUGHPUT, "send", *where, str(_TCP_SECONDS)]):
                        words = (await lines.receive_untrusted() or b"").split()
                        if len(words) == 2:
                            return throughput(int(words[0]), float(words[1]))
        return "not measured: the stream did not come through"

    @asynccontextmanager
    async def _open(self, host: Any, argv: list[str]) -> AsyncIterator[trio.Process]:
        process = await trio.lowlevel.open_process(
            self._lab.command(host, argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            process_group=0,
        )
        try:
            yield process
        finally:
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()
                assert process.stdout is not None
                await process.stdout.aclose()


@asynccontextmanager
async def _open_lab_programs(lab: Lab, folder: Path) -> AsyncIterator[LabPrograms]:
    lab_programs = LabPrograms(lab, folder)
    try:
        yield lab_programs
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(lab_programs.__exit__, None, None, None)
