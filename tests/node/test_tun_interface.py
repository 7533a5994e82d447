"""What others do to the node's interface: it is put back, told, and a lease is given to it without making it anew."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
import trio

from tunnel.dataplane.outbound import Outbound
from tunnel.machines.notifier import Notifier
from tunnel.model.identity import NetworkId, NodeId
from tunnel.model.interface_kind import InterfaceKind
from tunnel.model.timings import DEFAULT_TIMINGS
from tunnel.network.interface_choice import InterfaceChoice
from tunnel.network.memory_store import MemoryStore
from tunnel.node.lease import Lease
from tunnel.node.name_holders import NameHolders
from tunnel.node.peer_table import PeerTable
from tunnel.node.pool_routes import PoolRoutes
from tunnel.node.tun_interface import NOTED, OFTEN, Interface
from tunnel.riders.loop_guard import LoopGuard
from tunnel.riders.tun_plane import TunPlane
from tunnel.verify.memory.devices import DEBOUNCE, MemoryDevice, MemoryDevices
from tunnel.verify.memory.machine import MemoryInterfaces

pytestmark = pytest.mark.usefixtures("autojump_clock")
SERVER = "25.0.0.1"
SOON = DEBOUNCE + 0.01


class Bench:
    """An interface that runs, on a machine of its own."""

    def __init__(self) -> None:
        self.devices = MemoryDevices()
        self.notifier = Notifier()
        self.lease = Lease(MemoryStore(), NetworkId(bytes(16)), NodeId(bytes(16)))
        plane = TunPlane(lambda address: None, lambda address: False, LoopGuard(), Outbound({}))
        network, node = NetworkId(bytes(16)), NodeId(bytes(16))
        peers = PeerTable(network, node, "desk", NameHolders(MemoryStore(), network), self.notifier)
        pool = PoolRoutes("p2pt0", self.lease, MemoryInterfaces(), peers)
        pool.note_configured([SERVER])
        choice = InterfaceChoice([InterfaceKind.KERNEL], {InterfaceKind.KERNEL: self.devices})
        self.interface = Interface(
            "p2pt0", 1280, pool, self.notifier, timings=DEFAULT_TIMINGS, choice=choice, plane=plane
        )

    @property
    def device(self) -> MemoryDevice:
        return self.devices.open["p2pt0"]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.interface.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.interface.run)
        await trio.testing.wait_all_tasks_blocked()
        yield bench
        nursery.cancel_scope.cancel()


async def test_what_somebody_takes_off_is_put_back_at_once_and_told(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    own = bench.device.addresses
    assert not bench.interface.notes
    bench.device.link.lose()
    assert bench.device.link.missing == own
    await trio.sleep(SOON)
    assert not bench.device.link.missing
    assert bench.interface.notes == (f"somebody changed p2pt0 once and removed {own[0]}: it was put back",)
    assert [record.message for record in caplog.records] == [
        f"somebody changed the interface, it is put back interface=p2pt0 lost={own[0]} times=1"
    ]
    await trio.sleep(NOTED + 1.0)
    assert not bench.interface.notes, "what is long over is no news"


async def test_what_happens_again_and_again_is_undone_after_longer_waits_and_the_remedy_is_named(bench: Bench) -> None:
    """Otherwise two programs that want different things would keep a core busy."""
    restored = []
    for _ in range(5):
        bench.device.link.lose()
        began = trio.current_time()
        while bench.device.link.missing:  # noqa: ASYNC110 - the double tells nobody
            await trio.sleep(0.05)
        restored.append(round(trio.current_time() - began))
    assert restored == [0, 1, 2, 4, 8]
    assert "nmcli device set p2pt0 managed no" in bench.interface.notes[0]
    assert "5 times" in bench.interface.notes[0]
    await trio.sleep(DEFAULT_TIMINGS.interface_calm + 1.0)
    bench.device.link.lose()
    await trio.sleep(SOON)
    assert not bench.device.link.missing


async def test_a_machine_that_does_not_let_us_any_more_is_told_and_asked_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    link = bench.device.link
    link.is_stubborn = True
    link.lose()
    await trio.sleep(10.0)
    assert "cannot be put back: no right to change the interface" in bench.interface.notes[0]
    assert any("not restored" in record.message for record in caplog.records)
    link.is_stubborn = False
    await trio.sleep(20.0)
    assert not link.missing
    assert bench.interface.notes[0].partition("; ")[0].endswith("it was put back")


async def test_a_new_lease_is_put_on_the_interface_that_is_there(bench: Bench) -> None:
    """To make one anew takes rights that a careful node has given up by then, and loses the packets that wait."""
    device = bench.device
    bench.lease.take("10.86.0.7/16", 1.0)
    bench.notifier.notify()
    await trio.sleep(0.0)
    await trio.testing.wait_all_tasks_blocked()
    assert bench.device is device
    assert device.addresses[0] == "10.86.0.7/16"
    device.link.lose("10.86.0.7/16")
    await trio.sleep(SOON)
    assert device.link.present == device.addresses


async def test_any_disturbance_is_undone(bench: Bench) -> None:
    """By whatever is taken off, whenever, as long as it ends."""
    chance = random.Random(7)
    link = bench.device.link
    for _ in range(20):
        await trio.sleep(chance.uniform(0.0, 30.0))
        link.lose(*chance.sample(link.addresses, 1))
    await trio.sleep(DEFAULT_TIMINGS.interface_restores[-1] + 1.0)
    assert not link.missing
    assert "20 times" not in bench.interface.notes[0], "what is lost twice before it is put back counts once"
    assert int(bench.interface.notes[0].split()[3]) > OFTEN
